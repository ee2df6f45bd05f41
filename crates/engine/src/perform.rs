//! One non-blocking attempt at a request: the only place where a readiness engine calls `recv`, `send` and the like.
//!
//! Nothing here changes a descriptor for good. `O_NONBLOCK` belongs to the user, every clone shares it, and other processes
//! see it. So each call is made non-blocking on its own:
//!
//! | request | how it is kept from blocking |
//! |---|---|
//! | receive and send | `MSG_DONTWAIT` |
//! | read and write | `RWF_NOWAIT`; where a file does not support it (a terminal, pipes before Linux 6.4) `poll(2)` first, and then no more than is sure to fit |
//! | accept | there is no per-call flag: the listener has `O_NONBLOCK` already |
//! | connect | there is no per-call flag: `O_NONBLOCK` is set for the call and cleared again |
//!
//! A connect is called again once the socket is writable, and then returns how it went. `SO_ERROR` says that as well, but
//! leaves the socket "connecting": after a failure it could not connect again, and after success it could.

use std::cell::Cell;
use std::os::fd::RawFd;
use std::ptr;
use std::time::{Duration, Instant};

use crate::abi::{self, errno};
use crate::address::SocketAddress;
use crate::operation::{Interest, Request};

/// The step of a connect after its first call.
const CONNECT_BEGUN: u8 = 1;

/// Tries `request` once. Returns the call's result or a negative errno; `None` if the call would block.
///
/// `step` starts at 0 and belongs to the request until it is over.
///
/// # Safety
/// Every pointer in `request` is valid for the length that stands beside it.
pub(crate) unsafe fn perform(request: &Request, step: &Cell<u8>) -> Option<i32> {
    match *request {
        // SAFETY: the request's address is null or valid.
        Request::Accept { listener, address } => unsafe { accept(listener.fd, address) },
        // SAFETY: the request's address is valid.
        Request::Connect { socket, address } => unsafe { connect(socket.fd, address, step) },
        Request::Receive { socket, buffer, length, flags } => {
            let flags = flags | libc::MSG_DONTWAIT;
            // SAFETY: the request's buffer is valid for writes of its length.
            attempt(|| unsafe { recv(socket.fd, buffer, capped(length), flags) })
        }
        // Only an engine has buffers to provide. The caller has a buffer of its own for this case.
        Request::ReceiveProvided { .. } => Some(-libc::ENOBUFS),
        Request::Send { socket, buffer, length, flags } => {
            let flags = flags | libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
            // SAFETY: the request's buffer is valid for reads of its length.
            attempt(|| unsafe { send(socket.fd, buffer, capped(length), flags) })
        }
        Request::ReceiveMessage { socket, message, flags } => {
            // SAFETY: the request's message is valid, and so is what it points to.
            attempt(|| unsafe { libc::recvmsg(socket.fd, message, flags | libc::MSG_DONTWAIT) })
        }
        Request::SendMessage { socket, message, flags } => {
            let flags = flags | libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
            // SAFETY: the request's message is valid, and so is what it points to.
            attempt(|| unsafe { libc::sendmsg(socket.fd, message, flags) })
        }
        // SAFETY: the request's buffer is valid for writes of its length.
        Request::Read { file, buffer, length } => unsafe { read(file.fd, buffer, capped(length)) },
        // SAFETY: the request's buffer is valid for reads of its length.
        Request::Write { file, buffer, length } => unsafe { write(file.fd, buffer, capped(length)) },
        Request::Poll { source, interest } => poll(source.fd, interest, Some(Duration::ZERO)),
    }
}

/// `recv(2)`, without the C library's function, which is a cancellation point of POSIX threads. Nobody uses those here, and they
/// cost two locked instructions a call.
///
/// # Safety
/// `buffer` is valid for writes of `length` bytes.
#[inline]
unsafe fn recv(socket: RawFd, buffer: *mut u8, length: usize, flags: i32) -> isize {
    let no_address = ptr::null::<u8>();
    // SAFETY: `buffer` is valid for writes of `length` bytes. Null pointers: no address is asked for.
    unsafe {
        libc::syscall(libc::SYS_recvfrom, socket, buffer, length, flags, no_address, no_address) as isize
    }
}

/// `send(2)`; see [`recv`].
///
/// # Safety
/// `buffer` is valid for reads of `length` bytes.
#[inline]
unsafe fn send(socket: RawFd, buffer: *const u8, length: usize, flags: i32) -> isize {
    let no_address = ptr::null::<u8>();
    // SAFETY: `buffer` is valid for reads of `length` bytes. A null pointer of length 0: no address is given.
    unsafe { libc::syscall(libc::SYS_sendto, socket, buffer, length, flags, no_address, 0) as isize }
}

/// Performs `request` on the calling OS thread, which sleeps until the request is over or the time is. Returns the result, or
/// `None` after `timeout`.
///
/// This is for callers without an engine: plain OS threads, and green threads that must not switch because they unwind.
///
/// # Safety
/// Every pointer in `request` is valid for the length that stands beside it.
pub unsafe fn perform_blocking(request: &Request, timeout: Option<Duration>) -> Option<i32> {
    let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    let step = Cell::new(0);
    loop {
        // SAFETY: the request's pointers are valid until we return.
        if let Some(result) = unsafe { perform(request, &step) } {
            return Some(result);
        }
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        if left == Some(Duration::ZERO) {
            return None;
        }
        // The answer does not matter: the next attempt finds out.
        poll(request.source().fd, request.interest(), left);
    }
}

/// Repeats `call` until no signal interrupts it. Returns `None` if it would have blocked.
fn attempt(mut call: impl FnMut() -> isize) -> Option<i32> {
    loop {
        let returned = call();
        if returned >= 0 {
            // Every length is capped, by `capped` or by the kernel, so no count is beyond an i32.
            return Some(returned as i32);
        }
        match errno() {
            libc::EINTR => continue,
            libc::EAGAIN => return None,
            error => return Some(-error),
        }
    }
}

/// Returns a length whose count fits a result.
fn capped(length: usize) -> usize {
    length.min(i32::MAX as usize)
}

/// # Safety
/// `address` is null or valid.
unsafe fn accept(listener: RawFd, address: *mut SocketAddress) -> Option<i32> {
    attempt(|| {
        let (storage, length) = if address.is_null() {
            (ptr::null_mut(), ptr::null_mut())
        } else {
            // SAFETY: `address` is not null, so it is valid.
            unsafe {
                (*address).length = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
                (&raw mut (*address).storage, &raw mut (*address).length)
            }
        };
        // SAFETY: both pointers are null, or the storage has the length that is given.
        unsafe { libc::accept4(listener, storage.cast(), length, libc::SOCK_CLOEXEC) as isize }
    })
}

/// # Safety
/// `address` is valid.
unsafe fn connect(socket: RawFd, address: *const SocketAddress, step: &Cell<u8>) -> Option<i32> {
    let begun = step.replace(CONNECT_BEGUN) == CONNECT_BEGUN;
    // SAFETY: `address` is valid.
    match unsafe { connect_without_waiting(socket, address) } {
        // In progress, perhaps since an earlier connect that was cancelled. A blocking connect waits for that, too.
        Some(error) if error == -libc::EINPROGRESS || error == -libc::EALREADY => None,
        Some(error) if error == -libc::EISCONN && begun => Some(0),
        // The backlog of a Unix listener is full. No readiness tells when that ends.
        None => Some(-libc::EAGAIN),
        over => over,
    }
}

/// # Safety
/// `address` is valid.
unsafe fn connect_without_waiting(socket: RawFd, address: *const SocketAddress) -> Option<i32> {
    let was_blocking = !is_nonblocking(socket);
    if was_blocking {
        set_nonblocking(socket, true);
    }
    // SAFETY: `address` is valid, and has `length` bytes in its storage.
    let result = attempt(|| unsafe {
        libc::connect(socket, (&raw const (*address).storage).cast(), (*address).length) as isize
    });
    if was_blocking {
        set_nonblocking(socket, false);
    }
    result
}

fn is_nonblocking(fd: RawFd) -> bool {
    // SAFETY: no memory is involved.
    let flags = unsafe { libc::fcntl(fd, libc::F_GETFL) };
    flags >= 0 && flags & libc::O_NONBLOCK != 0
}

/// Changes `O_NONBLOCK` by FIONBIO, which changes this flag only. F_SETFL would restore all others as they were a moment ago. A
/// failure means that the descriptor is not open, which the next call reports.
fn set_nonblocking(fd: RawFd, nonblocking: bool) {
    let mut value = i32::from(nonblocking);
    // SAFETY: FIONBIO reads one int.
    unsafe { libc::ioctl(fd, libc::FIONBIO, &raw mut value) };
}

/// Returns whether `socket` is a TCP socket, the one kind where a short count means that the kernel has no more.
pub(crate) fn is_tcp(socket: RawFd) -> bool {
    abi::socket_option(socket, libc::SO_PROTOCOL) == Some(libc::IPPROTO_TCP)
}

/// # Safety
/// `buffer` is valid for writes of `length` bytes.
unsafe fn read(fd: RawFd, buffer: *mut u8, length: usize) -> Option<i32> {
    let part = libc::iovec { iov_base: buffer.cast(), iov_len: length };
    // SAFETY: `buffer` is valid for writes of `length` bytes. Offset -1 is the file's own position.
    match attempt(|| unsafe { libc::preadv2(fd, &raw const part, 1, -1, libc::RWF_NOWAIT) }) {
        Some(error) if error == -libc::EOPNOTSUPP => {
            if let error @ ..0 = poll(fd, Interest::READ, Some(Duration::ZERO))? {
                return Some(error);
            }
        }
        None if is_regular(fd) => {}
        over => return over,
    }
    // SAFETY: `buffer` is valid for writes of `length` bytes.
    attempt(|| unsafe { libc::read(fd, buffer.cast(), length) })
}

/// # Safety
/// `buffer` is valid for reads of `length` bytes.
unsafe fn write(fd: RawFd, buffer: *const u8, mut length: usize) -> Option<i32> {
    let part = libc::iovec { iov_base: buffer.cast_mut().cast(), iov_len: length };
    // SAFETY: `buffer` is valid for reads of `length` bytes, and only read. Offset -1 is the file's own position.
    match attempt(|| unsafe { libc::pwritev2(fd, &raw const part, 1, -1, libc::RWF_NOWAIT) }) {
        Some(error) if error == -libc::EOPNOTSUPP => {
            if let error @ ..0 = poll(fd, Interest::WRITE, Some(Duration::ZERO))? {
                return Some(error);
            }
            // A pipe that is writable takes this much without blocking.
            if !is_nonblocking(fd) && !is_regular(fd) {
                length = length.min(libc::PIPE_BUF);
            }
        }
        None if is_regular(fd) => {}
        over => return over,
    }
    // SAFETY: `buffer` is valid for reads of `length` bytes, of which there may be fewer now.
    attempt(|| unsafe { libc::write(fd, buffer.cast(), length) })
}

/// Returns whether `fd` is a regular file. One that would block waits for the disk. No readiness tells when that ends, so the call
/// is repeated and blocks.
fn is_regular(fd: RawFd) -> bool {
    abi::has_file_type(fd, libc::S_IFREG)
}

/// `poll(2)` on one descriptor. Returns its events or a negative errno; `None` if there are none in time.
fn poll(fd: RawFd, interest: Interest, limit: Option<Duration>) -> Option<i32> {
    let mut descriptor = libc::pollfd { fd, events: abi::poll_events(interest), revents: 0 };
    let limit = limit.map(abi::timespec);
    // SAFETY: one pollfd; the timespec is null or valid; no signal mask.
    let count = unsafe { libc::ppoll(&raw mut descriptor, 1, abi::pointer(&limit), ptr::null()) };
    match count {
        ..0 if errno() == libc::EINTR => None,
        ..0 => Some(-errno()),
        0 => None,
        _ if descriptor.revents & libc::POLLNVAL != 0 => Some(-libc::EBADF),
        _ => Some(descriptor.revents.into()),
    }
}
