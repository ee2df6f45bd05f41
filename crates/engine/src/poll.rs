//! poll: each wait shows the kernel every armed descriptor, and the kernel looks at all of them.
//!
//! The set is kept between waits and changed in place; see [`PollSet`]. The call is `ppoll(2)`, for its nanoseconds.

use std::io;
use std::time::Duration;

use crate::engine::{Engine, Waker};
use crate::event_fd::EventFd;
use crate::kind::EngineKind;
use crate::open_error::OpenError;
use crate::operation::{Interest, Source};
use crate::poll_set::PollSet;
use crate::readiness::{Poller, Readiness, Ready};

/// Opens the engine.
pub(crate) fn open() -> Result<Box<dyn Engine>, OpenError> {
    Readiness::open(EngineKind::Poll, "eventfd", Poll::new())
}

/// The poller over `ppoll(2)`.
struct Poll {
    /// Always holds the waker's descriptor.
    armed: PollSet,
    wake: EventFd,
    wake_source: Source,
    system_calls: u64,
}

impl Poll {
    fn new() -> io::Result<Poll> {
        let wake = EventFd::new()?;
        let wake_source = Source::new(wake.fd());
        let mut armed = PollSet::default();
        armed.arm(wake_source, Interest::READ);
        Ok(Poll { armed, wake, wake_source, system_calls: 1 })
    }
}

impl Poller for Poll {
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
        self.system_calls += 1;
        self.armed.poll(timeout, ready)?;
        if let Some(position) = ready.iter().position(|ready| ready.source == self.wake_source) {
            ready.swap_remove(position);
            self.system_calls += 1;
            self.wake.drain();
            self.armed.arm(self.wake_source, Interest::READ);
        }
        Ok(())
    }

    fn waker(&self) -> Waker {
        self.wake.waker()
    }

    fn system_calls(&self) -> u64 {
        self.system_calls
    }
}
