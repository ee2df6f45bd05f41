//! spin: asks no kernel what is ready, and tries everything that waits again and again.
//!
//! Busy polling has the shortest way from a packet to its reader, and takes a whole core for it. A poll never sleeps, so there
//! is nothing to wake either. A caller that would have slept has nothing else to do, so the core is offered to others.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::engine::{Wake, Waker};
use crate::operation::{Interest, Source};
use crate::poll_set::PollSet;
use crate::readiness::{Poller, Ready};

/// The poller that reports everything.
pub(crate) struct Spin {
    armed: PollSet,
    system_calls: u64,
}

impl Spin {
    /// Needs nothing of the kernel, and never fails.
    pub(crate) fn new() -> io::Result<Spin> {
        Ok(Spin { armed: PollSet::default(), system_calls: 0 })
    }
}

impl Poller for Spin {
    fn name(&self) -> &'static str {
        "spin"
    }

    fn arm(&mut self, source: Source, interest: Interest) -> io::Result<()> {
        self.armed.arm(source, interest);
        Ok(())
    }

    fn disarm(&mut self, source: Source, interest: Interest) {
        self.armed.disarm(source, interest);
    }

    fn forget(&mut self, source: Source) {
        self.armed.disarm(source, Interest::BOTH);
    }

    fn poll(&mut self, timeout: Option<Duration>, ready: &mut Vec<Ready>) -> io::Result<()> {
        if timeout != Some(Duration::ZERO) {
            self.system_calls += 1;
            std::thread::yield_now();
        }
        self.armed.report_all(ready);
        Ok(())
    }

    fn waker(&self) -> Waker {
        Waker::new(Arc::new(Awake))
    }

    fn system_calls(&self) -> u64 {
        self.system_calls
    }
}

/// The waker of one that does not sleep.
struct Awake;

impl Wake for Awake {
    fn wake(&self) {}
}
