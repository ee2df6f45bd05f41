//! Pending panics: the diagnosis asks a thread whose wait nothing can end to panic there, with a report.

use std::collections::HashMap;
use std::num::NonZeroU64;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::task::Task;

struct Pending {
    report: String,
    /// How often it was asked for again. (The thread may be shielded, and does not panic then.)
    repeats: u32,
}

/// Pending panics by thread number.
static PENDING: Mutex<Option<HashMap<NonZeroU64, Pending>>> = Mutex::new(None);

fn pending() -> MutexGuard<'static, Option<HashMap<NonZeroU64, Pending>>> {
    PENDING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Asks the thread `id` to panic with `report` at its next blocking call.
pub fn request(id: NonZeroU64, report: String) {
    pending().get_or_insert_default().insert(id, Pending { report, repeats: 0 });
}

/// Counts a further request for the thread `id`, which has not panicked yet. Returns `None` if there was no request.
pub fn repeat(id: NonZeroU64) -> Option<u32> {
    let mut pending = pending();
    let pending = pending.as_mut()?.get_mut(&id)?;
    pending.repeats += 1;
    Some(pending.repeats)
}

/// Returns whether `task` has a pending panic.
pub(crate) fn is_requested(task: &Task) -> bool {
    pending().as_ref().is_some_and(|pending| pending.contains_key(&task.id()))
}

/// Takes the report with which the calling thread, `task`, has to panic.
pub(crate) fn take(task: &Task) -> Option<String> {
    Some(pending().as_mut()?.remove(&task.id())?.report)
}
