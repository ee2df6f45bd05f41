//! Latencies. Each worker has a recorder, which only its green threads and the watcher of the run touch, so its lock is as good as
//! always free; and nobody blocks while holding it.

use std::mem;
use std::sync::{Mutex, PoisonError};

use hdrhistogram::Histogram;

/// The finest difference that is told apart, in nanoseconds.
const FINEST_NS: u64 = 64;

/// What is longer counts as this, in nanoseconds: an hour.
const LONGEST_NS: u64 = 3_600_000_000_000;

/// What was measured in some span of time.
pub(super) struct Measured {
    /// From a message's start to its reply, in nanoseconds; one entry per message.
    pub(super) latency: Histogram<u64>,
    /// How much later than due messages were sent, in nanoseconds; open loop only, one entry per message.
    pub(super) lateness: Histogram<u64>,
}

impl Measured {
    pub(super) fn new() -> Measured {
        Measured { latency: histogram(), lateness: histogram() }
    }

    pub(super) fn add(&mut self, other: &Measured) {
        for (sum, part) in [(&mut self.latency, &other.latency), (&mut self.lateness, &other.lateness)] {
            sum.add(part).expect("all of them have the same bounds");
        }
    }

    pub(super) fn clear(&mut self) {
        self.latency.reset();
        self.lateness.reset();
    }
}

fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(FINEST_NS, LONGEST_NS, 3).expect("these bounds are right")
}

/// What one worker's connections have measured since the watcher last looked.
pub(super) struct Recorder(Mutex<Measured>);

impl Recorder {
    pub(super) fn new() -> Recorder {
        Recorder(Mutex::new(Measured::new()))
    }

    /// `messages` replies have come, `latency_ns` after the start of each.
    #[inline]
    pub(super) fn replied(&self, latency_ns: u64, messages: u64) {
        self.with(|measured| measured.latency.saturating_record_n(latency_ns, messages));
    }

    /// A message of the open loop has been sent so much later than it was due.
    pub(super) fn sent_late(&self, by_ns: u64) {
        self.with(|measured| measured.lateness.saturating_record(by_ns));
    }

    /// Runs `action` with what there is.
    #[inline]
    pub(super) fn with<R>(&self, action: impl FnOnce(&mut Measured) -> R) -> R {
        action(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes what there is and leaves `empty`, which is to be that, in its place.
    pub(super) fn exchange(&self, empty: Measured) -> Measured {
        self.with(|measured| mem::replace(measured, empty))
    }
}
