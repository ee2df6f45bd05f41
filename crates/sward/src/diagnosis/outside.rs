//! OS threads that wait for what green threads have, so that a circle which leads through one is found.
//!
//! Of an OS thread the library knows only what that says itself. So, while holds are recorded (`holds.rs`), it enters here each
//! wait for a lock, a thread or a scope that nothing else ends. It sleeps on its wake-up word then: an entry whose thread
//! does not sleep, not yet or not any more, does not count.
//!
//! What is not seen: waits that sward has no part in (`std::sync`, `std::thread::JoinHandle::join`, I/O), and a green thread that waits
//! for an OS thread by means of `offload`. And a circle of OS threads alone is theirs, not a runtime's.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::holds;
use super::snapshot::Wait;
use crate::runtime::current::with_current_task;
use crate::runtime::reason::{Reason, What};
use crate::runtime::task::Task;
use crate::time;

/// What is waited for now, by a number that no other wait has had.
static WAITS: Mutex<BTreeMap<u64, Outside>> = Mutex::new(BTreeMap::new());

/// The wait of an OS thread.
#[derive(Clone)]
pub(super) struct Outside {
    pub(super) task: Arc<Task>,
    pub(super) wait: Wait,
    /// The number of the wait.
    pub(super) stamp: u64,
    begin: Instant,
}

impl Outside {
    pub(super) fn since(&self) -> Duration {
        self.begin.elapsed()
    }
}

/// The calling OS thread is about to wait. Returns the number of the wait, if it is entered.
pub(super) fn enter(reason: &Reason<'_>) -> Option<u64> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let is_of_interest = !matches!(reason.what, What::Object(..) | What::EndOrTime(_));
    if !holds::is_recording() || !is_of_interest || time::remaining().is_some() {
        return None;
    }
    let stamp = NEXT.fetch_add(1, Ordering::Relaxed);
    let task = with_current_task(Arc::clone);
    let wait = Wait::new(&reason.what, reason.at);
    waits().insert(stamp, Outside { task, wait, stamp, begin: Instant::now() });
    Some(stamp)
}

/// The wait is over.
pub(super) fn leave(stamp: u64) {
    let ended = waits().remove(&stamp);
    drop(ended);
}

/// The OS threads that sleep now, in waits that are entered here.
pub(super) fn waiting() -> Vec<Outside> {
    waits().values().filter(|outside| outside.task.is_blocked()).cloned().collect()
}

fn waits() -> MutexGuard<'static, BTreeMap<u64, Outside>> {
    WAITS.lock().unwrap_or_else(PoisonError::into_inner)
}
