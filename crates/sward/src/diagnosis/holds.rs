//! The holders of locks, and where each lock was taken: for deadlock reports.
//!
//! A lock tells [`taken`] and [`released`], by its address. In a release build this is one relaxed load and nothing else, unless
//! `SWARD_DEADLOCK` asks for more; a lock that was taken before that is not known.

use std::collections::HashMap;
use std::panic::Location;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::runtime::current::with_current_task;
use crate::runtime::task::Task;

static RECORDING: AtomicBool = AtomicBool::new(cfg!(debug_assertions));

/// A power of two, so that threads with different locks seldom meet.
const SHARDS: usize = 64;

type Shard = Mutex<Option<HashMap<usize, Vec<Hold>>>>;

static HOLDS: [Shard; SHARDS] = [const { Mutex::new(None) }; SHARDS];

/// One thread's hold on one lock.
#[derive(Clone)]
pub(crate) struct Hold {
    pub(crate) holder: Arc<Task>,
    /// Where it was taken.
    pub(crate) at: &'static Location<'static>,
}

/// From now on, holds are recorded.
pub(super) fn start_recording() {
    RECORDING.store(true, Ordering::Relaxed);
}

/// Whether holds are recorded.
#[inline]
pub(super) fn is_recording() -> bool {
    RECORDING.load(Ordering::Relaxed)
}

/// The calling thread has taken the lock at `address`, at this place, and is the only one to hold it. From any thread.
#[inline]
pub(crate) fn taken(address: usize, at: &'static Location<'static>) {
    if is_recording() {
        record(address, at, std::mem::take);
    }
}

/// As [`taken`], beside others who may hold it as well.
#[inline]
pub(crate) fn taken_shared(address: usize, at: &'static Location<'static>) {
    if is_recording() {
        record(address, at, |_| Vec::new());
    }
}

/// The calling thread is about to let go of the lock at `address`. From any thread.
#[inline]
pub(crate) fn released(address: usize) {
    if is_recording() {
        forget(address);
    }
}

/// Returns the known holders of the lock at `address`. From any thread.
pub(super) fn of(address: usize) -> Vec<Hold> {
    shard(address).as_ref().and_then(|holds| holds.get(&address)).cloned().unwrap_or_default()
}

#[cold]
fn record(address: usize, at: &'static Location<'static>, stale: impl FnOnce(&mut Vec<Hold>) -> Vec<Hold>) {
    let holder = with_current_task(Arc::clone);
    let mut shard = shard(address);
    let holds = shard.get_or_insert_default().entry(address).or_default();
    // Left over from a lock that was freed while a guard of it had been forgotten. Dropped without the lock: with the last
    // reference to a thread, what its spans belong to may be told.
    let stale = stale(holds);
    holds.push(Hold { holder, at });
    drop(shard);
    drop(stale);
}

#[cold]
fn forget(address: usize) {
    with_current_task(|task| {
        let mut shard = shard(address);
        let Some(holds) = shard.as_mut() else { return };
        let Some(list) = holds.get_mut(&address) else { return };
        let mine = list.iter().rposition(|hold| Arc::ptr_eq(&hold.holder, task));
        let removed = mine.map(|place| list.swap_remove(place));
        if list.is_empty() {
            holds.remove(&address);
        }
        drop(shard);
        drop(removed);
    });
}

fn shard(address: usize) -> MutexGuard<'static, Option<HashMap<usize, Vec<Hold>>>> {
    let hash = (address as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    HOLDS[(hash >> (64 - SHARDS.trailing_zeros())) as usize].lock().unwrap_or_else(PoisonError::into_inner)
}
