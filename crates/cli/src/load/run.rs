//! What the connections of a run share with its watcher ([`super::watcher`]).

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use sward::net::SocketAddr;
use sward::thread::Thread;
use sward::time::{Duration, Instant};

use super::failure::{Failure, Failures};
use super::payload::Payload;
use super::plan::LoadPlan;
use super::recorder::Recorder;

/// What the connections of a run share with its watcher.
pub(super) struct Run {
    pub(super) plan: LoadPlan,
    pub(super) payload: Payload,
    /// The address of the server that answers.
    pub(super) address: SocketAddr,
    pub(super) start: Instant,
    /// One for each worker.
    pub(super) recorders: Box<[Recorder]>,
    pub(super) failures: Mutex<Failures>,
    pub(super) ended: Mutex<Ended>,
    /// Connections may start to talk.
    pub(super) begin: AtomicBool,
    /// Connections must stop sending.
    pub(super) stop: AtomicBool,
    /// Connections that have started and are not open yet.
    pub(super) opening: AtomicUsize,
    /// Connections that have started and have not ended.
    pub(super) live: AtomicUsize,
    pub(super) watcher: Thread,
}

/// What connections that have ended leave behind.
#[derive(Default)]
pub(super) struct Ended {
    /// Messages answered, by connection, in no order.
    pub(super) messages: Vec<u64>,
    /// Messages sent and not answered.
    pub(super) unanswered: u64,
    /// How long the oldest of these has waited.
    pub(super) oldest: Duration,
}

impl Run {
    /// Returns the nanoseconds since the run started.
    #[inline]
    pub(super) fn now(&self) -> u64 {
        let elapsed = self.start.elapsed();
        elapsed.as_secs() * 1_000_000_000 + u64::from(elapsed.subsec_nanos())
    }

    #[inline]
    pub(super) fn is_stopping(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Returns the recorder of the calling thread's worker.
    pub(super) fn recorder(&self) -> &Recorder {
        &self.recorders[sward::worker_index().unwrap_or(0)]
    }

    pub(super) fn fail(&self, failure: &Failure) {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).add(failure);
    }

    /// Records the end of a connection.
    pub(super) fn settle(&self, messages: u64, unanswered: u64, waited: Duration) {
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        ended.messages.push(messages);
        ended.unanswered += unanswered;
        ended.oldest = ended.oldest.max(waited);
    }
}
