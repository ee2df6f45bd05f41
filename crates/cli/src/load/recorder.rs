//! Latencies. Each worker has a recorder. Only the worker's green threads and the watcher of the run use it, so its lock is nearly always
//! free; and nobody blocks while holding it.

use std::mem;
use std::sync::{Mutex, PoisonError};

use hdrhistogram::Histogram;

/// The resolution of short latencies, in nanoseconds.
const FINEST_NS: u64 = 64;

/// Longer latencies count as this, in nanoseconds: an hour.
const LONGEST_NS: u64 = 3_600_000_000_000;

/// The measurements of a span of time.
pub(super) struct Measured {
    /// From a message's start to its reply, in nanoseconds; one entry per message.
    pub(super) latency: Histogram<u64>,
    /// How late messages were sent, in nanoseconds; open loop only, one entry per message.
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

/// The measurements of one worker's connections since the watcher last took them.
pub(super) struct Recorder(Mutex<Measured>);

impl Recorder {
    pub(super) fn new() -> Recorder {
        Recorder(Mutex::new(Measured::new()))
    }

    /// Records `messages` replies, each `latency_ns` after its start.
    #[inline]
    pub(super) fn replied(&self, latency_ns: u64, messages: u64) {
        self.with(|measured| measured.latency.saturating_record_n(latency_ns, messages));
    }

    /// Records a message of the open loop that was sent late.
    pub(super) fn sent_late(&self, by_ns: u64) {
        self.with(|measured| measured.lateness.saturating_record(by_ns));
    }

    /// Runs `action` under the lock.
    #[inline]
    pub(super) fn with<R>(&self, action: impl FnOnce(&mut Measured) -> R) -> R {
        action(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes the measurements and leaves `empty` in their place.
    pub(super) fn exchange(&self, empty: Measured) -> Measured {
        self.with(|measured| mem::replace(measured, empty))
    }
}
