//! What a thread is unwinding with, and how deep.
//!
//! A blocking call suspends its green thread while that unwinds, too: in a destructor, whatever it unwinds from. Several threads of a
//! worker can be in the middle of it at once, since the unwinder keeps its state on the thread's own stack and in the exception. std
//! counts panics for each *OS* thread, so a thread that suspends takes its share of that count along
//! (`sward_coroutine::detach_panics`). Hence [`std::thread::panicking`] is always true of the running green thread alone, and this
//! library, foreign code and std's own locks may ask it as ever.
//!
//! The depth is that count: 0, or how many panics, cancels and timeouts are unwinding the thread, each in a destructor of
//! the one before. A cancel or a deadline may unwind code only at the depth at which it was there first: deeper, the blocking call
//! is a destructor's, and nothing unwinds out of a destructor.

use std::cell::Cell;
use std::num::NonZeroU64;

use sward_coroutine::{attach_panics, detach_panics, panic_count};

use super::current::with_local;
use super::task::Local;

/// A thread's marks. Touched by the thread itself, and by its worker while it is suspended.
#[derive(Default)]
pub struct Unwinding {
    /// How many payloads of cancels and timeouts that began on this thread have not been dropped.
    interruptions: Cell<u32>,
    /// While it is suspended: how deep it unwinds.
    depth: Cell<u32>,
    /// Whatever would wait in a destructor fails: the thread was cancelled once more.
    is_hurried: Cell<bool>,
}

impl Unwinding {
    /// The thread suspends and unwinds: puts its panics aside. [`Unwinding::resumed`] takes them back.
    pub(crate) fn suspends(&self) {
        self.depth.set(detach_panics());
    }

    /// See [`Unwinding::suspends`].
    pub(crate) fn resumed(&self) {
        attach_panics(self.depth.take());
    }

    /// Whether the thread, which is suspended, unwinds.
    pub(crate) fn is_suspended(&self) -> bool {
        self.depth.get() > 0
    }

    /// From now on, what would wait in its destructors fails.
    pub(crate) fn hurry(&self) {
        self.is_hurried.set(true);
    }

    pub(crate) fn is_hurried(&self) -> bool {
        self.is_hurried.get()
    }
}

/// How deep the thread of `local` unwinds: the calling one, or a suspended one of this worker.
pub(crate) fn depth(local: &Local) -> u32 {
    match local.unwinding.depth.get() {
        0 if std::thread::panicking() => panic_count(),
        depth => depth,
    }
}

/// Whether the calling thread unwinds because it was cancelled or its time was over, and not because it panicked.
#[cold]
pub fn is_interrupted() -> bool {
    with_local(|_, local| std::thread::panicking() && local.unwinding.interruptions.get() > 0)
}

/// Marks a thread as one that a cancel or a timeout unwinds, as long as it lives: it is part of the payload. Dropped on another
/// thread, it does nothing.
pub struct Interruption {
    thread: NonZeroU64,
}

impl Interruption {
    /// The calling thread is about to be unwound.
    pub(crate) fn begin() -> Interruption {
        with_local(|task, local| {
            let interruptions = &local.unwinding.interruptions;
            interruptions.set(interruptions.get() + 1);
            Interruption { thread: task.id() }
        })
    }
}

impl Drop for Interruption {
    fn drop(&mut self) {
        with_local(|task, local| {
            if task.id() == self.thread {
                let interruptions = &local.unwinding.interruptions;
                interruptions.set(interruptions.get() - 1);
            }
        });
    }
}

/// Returns whether a cancel may unwind the thread from where it is. The thread's, or its worker's.
#[inline]
pub(crate) fn is_open_to_cancel(local: &Local) -> bool {
    local.shields.get() == 0 && !local.unwinding.is_suspended() && !std::thread::panicking()
}
