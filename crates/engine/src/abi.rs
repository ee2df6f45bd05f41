//! The kernel's side of what several engines share: timeouts, the bits of `poll(2)`, errors, and what a descriptor is.

use std::io;
use std::os::fd::RawFd;
use std::time::Duration;

use crate::operation::Interest;

/// Returns `timeout` as the kernel takes it. One that is longer than the kernel can count becomes the longest that it can.
pub(crate) fn timespec(timeout: Duration) -> libc::timespec {
    libc::timespec {
        tv_sec: libc::time_t::try_from(timeout.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_nsec: timeout.subsec_nanos().into(),
    }
}

/// Returns the pointer for an optional timespec. Null means no limit.
pub(crate) fn pointer(timeout: &Option<libc::timespec>) -> *const libc::timespec {
    timeout.as_ref().map_or(std::ptr::null(), std::ptr::from_ref)
}

/// Returns the events of `poll(2)` that stand for `interest`. io_uring and epoll use the same bits.
pub(crate) fn poll_events(interest: Interest) -> i16 {
    let mut events = 0;
    if interest.contains(Interest::READ) {
        events |= libc::POLLIN;
    }
    if interest.contains(Interest::WRITE) {
        events |= libc::POLLOUT;
    }
    events
}

/// Returns the directions in which `events` may let a call make progress. An error or a hangup ends a wait in either.
pub(crate) fn directions(events: i16) -> Interest {
    const BROKEN: i16 = libc::POLLHUP | libc::POLLERR | libc::POLLNVAL;
    let mut interest = Interest::NONE;
    if events & (libc::POLLIN | libc::POLLPRI | libc::POLLRDHUP | BROKEN) != 0 {
        interest = Interest::READ;
    }
    if events & (libc::POLLOUT | BROKEN) != 0 {
        interest = interest.union(Interest::WRITE);
    }
    interest
}

/// Returns whether `events` tell of a hangup, an error or urgent data, after which a short count proves nothing.
pub(crate) fn is_hangup(events: i16) -> bool {
    events & (libc::POLLPRI | libc::POLLRDHUP | libc::POLLHUP | libc::POLLERR | libc::POLLNVAL) != 0
}

/// Returns the errno of the call that has just failed.
pub(crate) fn errno() -> i32 {
    errno_of(&io::Error::last_os_error())
}

/// Returns the errno in `error`.
pub(crate) fn errno_of(error: &io::Error) -> i32 {
    error.raw_os_error().unwrap_or(libc::EIO)
}

/// Returns an integer option of a socket's own level; `None` if `fd` is not a socket.
pub(crate) fn socket_option(fd: RawFd, option: i32) -> Option<i32> {
    let mut value = 0;
    let mut length = size_of::<i32>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes to `value`.
    let returned =
        unsafe { libc::getsockopt(fd, libc::SOL_SOCKET, option, (&raw mut value).cast(), &raw mut length) };
    (returned == 0).then_some(value)
}

/// Returns whether `fd` is a file of type `kind`, one of the `S_IF…` constants.
pub(crate) fn has_file_type(fd: RawFd, kind: libc::mode_t) -> bool {
    let mut status = std::mem::MaybeUninit::<libc::stat>::uninit();
    // SAFETY: `status` has room for what fstat writes, and is read only after fstat has filled it in.
    unsafe {
        libc::fstat(fd, status.as_mut_ptr()) == 0 && status.assume_init().st_mode & libc::S_IFMT == kind
    }
}
