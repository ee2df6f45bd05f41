//! A worker's counters. Only the worker writes them, with plain stores; any thread reads them at any time.

use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::task::Task;

/// Written by the owning worker, read by anyone.
#[derive(Default)]
#[repr(align(128))]
pub struct Counters {
    pub live: AtomicUsize,
    pub spawned: AtomicU64,
    pub switches: AtomicU64,
    pub steals: AtomicU64,
    /// Suspensions until another thread wakes this one.
    pub parks: AtomicU64,
    pub timers: AtomicU64,
    pub operations: AtomicU64,
    pub system_calls: AtomicU64,
    /// Passes of the loop.
    pub passes: AtomicU64,
    /// What the worker does: one of [`phase`].
    pub phase: AtomicU8,
    /// The kernel's number for its OS thread; 0 before it has started.
    pub os_thread: AtomicU32,
    /// The green thread that was resumed last, or null if that is over.
    last_resumed: AtomicPtr<Task>,
    /// Held by a thread that reads `last_resumed`, and for a moment by the worker before it lets go of that task.
    inspection: Mutex<()>,
}

/// What a worker does, for the monitor.
pub mod phase {
    /// Has not started, sleeps in its engine, or is over.
    pub const ASLEEP: u8 = 0;
    /// Sleeps in its engine, and has neither a timer nor an operation that could end the sleep.
    pub const HOPELESS: u8 = 1;
    /// Runs green threads, or looks for some.
    pub const AWAKE: u8 = 2;
}

impl Counters {
    /// Adds without a locked instruction: there is one writer.
    #[inline]
    pub fn add(counter: &AtomicU64, amount: u64) {
        counter.store(counter.load(Ordering::Relaxed).wrapping_add(amount), Ordering::Relaxed);
    }

    /// Stores what the owning worker alone writes.
    #[inline]
    pub fn set(counter: &AtomicU64, value: u64) {
        counter.store(value, Ordering::Relaxed);
    }

    /// Switches and passes of the loop, since one without the other is progress, too. While it stays the same, the worker is busy with
    /// one thing, or sleeps.
    pub fn progress(&self) -> u64 {
        self.switches.load(Ordering::Relaxed).wrapping_add(self.passes.load(Ordering::Relaxed))
    }

    /// Whether the worker runs green threads, or looks for some.
    pub fn is_awake(&self) -> bool {
        self.phase.load(Ordering::Relaxed) == phase::AWAKE
    }

    /// Returns the green thread that was resumed last, if it is not over. From any thread.
    ///
    /// # Safety
    /// The runtime is watched, so the worker calls [`Counters::forget_last_resumed`] before it lets go of a thread.
    pub(crate) unsafe fn last_resumed(&self) -> Option<Arc<Task>> {
        let _inspection = self.inspection.lock().unwrap_or_else(PoisonError::into_inner);
        let task = self.last_resumed.load(Ordering::Acquire);
        if task.is_null() {
            return None;
        }
        // SAFETY: the caller promises that the runtime is watched, so the worker's own reference is alive: before it goes, the worker makes the pointer null and takes the lock. It
        // has not done so before we did, or we would have seen null; and it cannot as long as we hold the lock.
        unsafe {
            Arc::increment_strong_count(task);
            Some(Arc::from_raw(task))
        }
    }

    /// `task`, which is this worker's, is about to be resumed.
    #[inline]
    pub(crate) fn set_last_resumed(&self, task: *const Task) {
        self.last_resumed.store(task.cast_mut(), Ordering::Release);
    }

    /// The thread that was resumed last is over, and the worker is about to let go of it. By the worker, in a watched runtime.
    pub(crate) fn forget_last_resumed(&self) {
        self.last_resumed.store(ptr::null_mut(), Ordering::Release);
        drop(self.inspection.lock());
    }
}

/// The kernel's number for the calling OS thread.
pub fn this_os_thread() -> u32 {
    // SAFETY: gettid has no preconditions.
    unsafe { libc::gettid() }.cast_unsigned()
}
