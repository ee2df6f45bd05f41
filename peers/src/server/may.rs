//! may with one worker: stackful coroutines over epoll.

use std::io;
use std::os::fd::{FromRawFd, IntoRawFd};

use may::net::{TcpListener, TcpStream};

use super::BUFFER_BYTES;

pub(crate) fn serve(listener: std::net::TcpListener) -> io::Result<()> {
    may::config().set_workers(1);
    listener.set_nonblocking(true)?;
    // SAFETY: the descriptor is ours and nobody else has it.
    let listener = unsafe { TcpListener::from_raw_fd(listener.into_raw_fd()) };
    let accept = move || -> io::Result<()> {
        loop {
            let (stream, _) = listener.accept()?;
            // SAFETY: it uses no thread-local values, and little stack.
            unsafe { may::coroutine::spawn(move || upper(stream)) };
        }
    };
    // SAFETY: it uses no thread-local values, and little stack.
    unsafe { may::coroutine::spawn(accept) }.join().expect("the acceptor does not panic")
}

fn upper(stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    super::upper(stream, &mut vec![0; BUFFER_BYTES])
}
