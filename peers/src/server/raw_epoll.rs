//! The limit for readiness-based I/O: one level-triggered epoll loop, with a `recv` and a `send` per event.

use std::io;
use std::net::TcpListener;
use std::os::fd::{AsRawFd, RawFd};

use super::BUFFER_BYTES;

const EVENTS_MAX: usize = 1024;

pub(crate) fn serve(listener: TcpListener) -> io::Result<()> {
    // SAFETY: no memory is involved.
    let epoll = check(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) } as isize)? as RawFd;
    watch(epoll, listener.as_raw_fd())?;
    let mut events = vec![libc::epoll_event { events: 0, u64: 0 }; EVENTS_MAX];
    let mut buffer = [0; BUFFER_BYTES];
    loop {
        // SAFETY: there is room for this many events.
        let count =
            check(unsafe { libc::epoll_wait(epoll, events.as_mut_ptr(), EVENTS_MAX as i32, -1) } as isize)?;
        for event in &events[..count] {
            let socket = event.u64 as RawFd;
            if socket == listener.as_raw_fd() {
                let stream = std::mem::ManuallyDrop::new(listener.accept()?.0);
                stream.set_nodelay(true)?;
                watch(epoll, stream.as_raw_fd())?;
            } else if upper(socket, &mut buffer).unwrap_or(0) == 0 {
                // SAFETY: it was accepted here, and nothing else uses it. Closing ends the watch.
                unsafe { libc::close(socket) };
            }
        }
    }
}

fn watch(epoll: RawFd, socket: RawFd) -> io::Result<()> {
    let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: socket as u64 };
    // SAFETY: the kernel reads one event.
    check(unsafe { libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, socket, &raw mut event) } as isize).map(drop)
}

/// Answers what has arrived. Returns 0 at the end of the stream.
fn upper(socket: RawFd, buffer: &mut [u8]) -> io::Result<usize> {
    // SAFETY: the buffer has this length.
    let length =
        check(unsafe { libc::recv(socket, buffer.as_mut_ptr().cast(), buffer.len(), libc::MSG_DONTWAIT) })?;
    let mut left = &mut buffer[..length];
    left.make_ascii_uppercase();
    while !left.is_empty() {
        // A client that does not read would block all others; the generator reads.
        // SAFETY: the bytes are there.
        let sent =
            check(unsafe { libc::send(socket, left.as_ptr().cast(), left.len(), libc::MSG_NOSIGNAL) })?;
        left = &mut left[sent..];
    }
    Ok(length)
}

fn check(returned: isize) -> io::Result<usize> {
    if returned < 0 { Err(io::Error::last_os_error()) } else { Ok(returned as usize) }
}
