//! spin: busy polling. It asks nobody what is ready, and has everything that waits tried again and again.
//!
//! No other engine is faster from a packet to its reader, and this one takes a whole core for it. A poll never sleeps, so
//! there is nothing to wake. Where another engine would sleep, this one yields the core to other threads.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::engine::{Engine, Wake, Waker};
use crate::kind::EngineKind;
use crate::open_error::OpenError;
use crate::operation::{Interest, Source};
use crate::poll_set::PollSet;
use crate::readiness::{Poller, Readiness, Ready};

/// Opens the engine. It needs nothing of the kernel, and never fails.
pub(crate) fn open() -> Result<Box<dyn Engine>, OpenError> {
    Readiness::open(EngineKind::Spin, "set-up", Ok(Spin::default()))
}

/// The poller that reports everything.
#[derive(Default)]
struct Spin {
    armed: PollSet,
    system_calls: u64,
}

impl Poller for Spin {
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

/// The waker of an engine that does not sleep.
struct Awake;

impl Wake for Awake {
    fn wake(&self) {}
}
