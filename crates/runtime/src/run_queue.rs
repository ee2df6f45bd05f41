//! The threads of a worker that can run, first in, first out.
//!
//! An entry is a started task that this worker owns, an unstarted one (on a runtime's only worker, where nobody could steal it), or null:
//! "start one of those that may be stolen, unless they all have been".

use std::cell::UnsafeCell;
use std::collections::VecDeque;

use sward_coroutine::prefetch;

use super::stress::Stress;
use super::task::Task;

/// An empty queue keeps room for this many threads.
const KEPT: usize = 1024;

/// See the head of this file. For one OS thread; that is what `UnsafeCell` makes of it. No method calls anything that could look into the
/// queue again.
#[derive(Default)]
pub(crate) struct RunQueue(UnsafeCell<VecDeque<*const Task>>);

impl RunQueue {
    #[inline(always)]
    fn queue(&self) -> *mut VecDeque<*const Task> {
        self.0.get()
    }

    #[inline(always)]
    pub(crate) fn push(&self, task: *const Task) {
        // SAFETY: this OS thread's alone, and not borrowed: no method here leads to another one.
        unsafe { &mut *self.queue() }.push_back(task);
    }

    /// Takes out the next task, and has the processor fetch what the ones after it will need: with thousands of threads, none of that is in its
    /// caches, nor the place of the stack in its table of pages.
    ///
    /// # Safety
    /// The entries are null, or tasks that are live or unstarted and belong to the calling worker.
    #[inline(always)]
    pub(crate) unsafe fn pop(&self, stress: &Stress) -> Option<*const Task> {
        // SAFETY: this OS thread's alone, and not borrowed: no method here leads to another one.
        let queue = unsafe { &mut *self.queue() };
        let drawn = stress.pick(queue.len());
        if drawn > 0 {
            queue.swap(0, drawn);
        }
        let task = queue.pop_front();
        if let Some(&after_next) = queue.get(1) {
            prefetch(after_next);
        }
        if let Some(&next) = queue.front()
            && !next.is_null()
            // SAFETY: the caller promises that it is live or unstarted, and the calling worker's.
            && let Some(local) = unsafe { (*next).started() }
        {
            prefetch(local);
        }
        task
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        // SAFETY: this OS thread's alone, and not borrowed mutably: no method here leads to another one.
        unsafe { &*self.queue() }.is_empty()
    }

    /// The entries, for reports. Costs a copy.
    pub(crate) fn entries(&self) -> Vec<*const Task> {
        // SAFETY: this OS thread's alone, and not borrowed mutably: no method here leads to another one.
        unsafe { &*self.queue() }.iter().copied().collect()
    }

    /// Frees the room that a burst has left.
    pub(crate) fn trim(&self) {
        // SAFETY: this OS thread's alone, and not borrowed: no method here leads to another one.
        let queue = unsafe { &mut *self.queue() };
        if queue.capacity() > KEPT {
            queue.shrink_to(KEPT);
        }
    }
}
