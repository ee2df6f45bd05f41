//! The waker of the engines that wait on descriptors: an eventfd that they watch among all others.
//!
//! A [`WakeFlag`] beside the descriptor makes many wakes before the engine looks cost one `write(2)`.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::Arc;

use crate::engine::{Wake, Waker};
use crate::wake_flag::WakeFlag;

/// The engine's end of its waker. The descriptor becomes readable when the engine has to wake.
#[derive(Debug)]
pub(crate) struct EventFd(Arc<Shared>);

/// Shared by the engine and its wakers, so that a waker may outlive its engine.
#[derive(Debug)]
struct Shared {
    /// Non-blocking.
    descriptor: OwnedFd,
    /// Set while a write is in the eventfd or about to be.
    flag: WakeFlag,
}

impl EventFd {
    /// Opens an eventfd that is not signalled.
    pub(crate) fn new() -> io::Result<EventFd> {
        // SAFETY: no pointers are passed.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel just gave us this descriptor, so nobody else owns it.
        let descriptor = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(EventFd(Arc::new(Shared { descriptor, flag: WakeFlag::default() })))
    }

    /// Returns the descriptor to watch for reading.
    pub(crate) fn fd(&self) -> RawFd {
        self.0.descriptor.as_raw_fd()
    }

    /// Takes the signal back. Call it after the descriptor became readable, in the wait that returns because of it.
    pub(crate) fn drain(&self) {
        let mut count = 0_u64;
        // The result does not matter: with nothing to read there is nothing to take back.
        // SAFETY: `count` has the 8 bytes that an eventfd writes.
        unsafe { libc::read(self.fd(), (&raw mut count).cast(), 8) };
        self.0.flag.lower();
    }

    /// Returns a waker that makes the descriptor readable.
    pub(crate) fn waker(&self) -> Waker {
        Waker::new(self.0.clone())
    }
}

impl Wake for Shared {
    fn wake(&self) {
        if self.flag.raise() {
            // This cannot fail: we keep the descriptor open, and a count of 1 does not overflow.
            // SAFETY: the 8 bytes are there.
            unsafe { libc::write(self.descriptor.as_raw_fd(), (&raw const ONE).cast(), 8) };
        }
    }
}

/// The number that a wake adds to the eventfd's count.
static ONE: u64 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    fn readable(event: &EventFd) -> bool {
        let mut entry = libc::pollfd { fd: event.fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one entry is passed, and its count.
        unsafe { libc::poll(&raw mut entry, 1, 0) == 1 }
    }

    #[test]
    fn wakes_are_one_until_drained_and_count_again_after() {
        let event = EventFd::new().unwrap();
        let waker = event.waker();
        assert!(!readable(&event));
        for _ in 0..3 {
            waker.wake();
            waker.wake();
            assert!(readable(&event));
            event.drain();
            assert!(!readable(&event));
        }
        event.drain();
        waker.wake();
        assert!(readable(&event), "a drain with nothing to drain must not lose the next wake");
        drop(event);
        waker.wake();
    }
}
