//! The mark that a panic has left on what a lock protects. As in std, but a cancel leaves none: its unwinding
//! is an orderly end.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{LockResult, PoisonError};

use crate::runtime::unwinding::is_interrupted;

/// Whether somebody has panicked while holding the lock.
pub(super) struct Poison(AtomicBool);

/// What a guard remembers: whether its thread was unwinding when it took the lock.
#[derive(Clone, Copy)]
pub(super) struct Entered {
    unwinding: bool,
}

impl Poison {
    pub(super) const fn new() -> Poison {
        Poison(AtomicBool::new(false))
    }

    /// What the guard shall remember.
    #[inline]
    pub(super) fn enter() -> Entered {
        Entered { unwinding: std::thread::panicking() }
    }

    /// The guard is dropped, before the lock is let go.
    #[inline]
    pub(super) fn leave(&self, entered: Entered) {
        if !entered.unwinding && std::thread::panicking() && !is_interrupted() {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    #[inline]
    pub(super) fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    pub(super) fn clear(&self) {
        self.0.store(false, Ordering::Relaxed);
    }

    /// A guard, or the data themselves, as std gives them.
    #[inline]
    pub(super) fn check<G>(&self, guard: G) -> LockResult<G> {
        if self.get() { Err(PoisonError::new(guard)) } else { Ok(guard) }
    }
}
