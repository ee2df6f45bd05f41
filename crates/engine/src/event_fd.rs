//! The waker of the engines that wait on descriptors: an eventfd that they watch among all others.
//!
//! Many wakes before the engine looks cost one `write(2)`, by a flag beside the descriptor. The protocol:
//!
//! ```text
//!   wake():   flag ← true; was it false? then write 1 to the eventfd       (any thread)
//!   drain():  read the eventfd to 0, and only then flag ← false            (the engine's thread, before its wait ends)
//! ```
//!
//! The order in `drain` matters. The other way round, a wake between the two steps would set the flag and have its
//! write swallowed, and every later wake would trust the flag. In this order, such a wake writes nothing, but the wait
//! that it wants to end is ending already, and the exchange of the flag shows the engine's thread what the waking
//! thread did before.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::engine::{Wake, Waker};

/// An engine's end of its waker. The descriptor becomes readable when the engine shall wake.
#[derive(Debug)]
pub(crate) struct EventFd(Arc<Shared>);

/// What the engine and its wakers hold together, so that a waker outlives its engine without harm.
#[derive(Debug)]
struct Shared {
    /// Non-blocking.
    descriptor: OwnedFd,
    /// A write is in the eventfd or about to be, and nobody need write another.
    signalled: AtomicBool,
}

impl EventFd {
    /// Opens one that is not signalled.
    pub(crate) fn new() -> io::Result<EventFd> {
        // SAFETY: no pointers are passed.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel just gave us this descriptor, so nobody else owns it.
        let descriptor = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(EventFd(Arc::new(Shared { descriptor, signalled: AtomicBool::new(false) })))
    }

    /// The descriptor to watch for reading.
    pub(crate) fn fd(&self) -> RawFd {
        self.0.descriptor.as_raw_fd()
    }

    /// Takes the signal back. Call it when the descriptor was readable, in the wait that returns because of it.
    pub(crate) fn drain(&self) {
        let mut count = 0_u64;
        // The result does not matter: with nothing to read there is nothing to take back.
        // SAFETY: `count` has the 8 bytes that an eventfd writes.
        unsafe { libc::read(self.fd(), (&raw mut count).cast(), 8) };
        self.0.signalled.swap(false, Ordering::AcqRel);
    }

    /// Something that makes the descriptor readable.
    pub(crate) fn waker(&self) -> Waker {
        Waker::new(self.0.clone())
    }
}

impl Wake for Shared {
    fn wake(&self) {
        if !self.signalled.swap(true, Ordering::AcqRel) {
            // It cannot fail: the descriptor is open as long as we are, and a count of 1 does not overflow.
            // SAFETY: the 8 bytes are there.
            unsafe { libc::write(self.descriptor.as_raw_fd(), (&raw const ONE).cast(), 8) };
        }
    }
}

/// What a wake adds to the count.
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
