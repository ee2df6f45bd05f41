//! A part of a worker: nobody else touches it, and what looks into it calls nothing that could look into it again.

use std::cell::UnsafeCell;

/// A part of a worker that only its OS thread touches, for the length of one `with`.
pub(super) struct Owned<T>(UnsafeCell<T>);

impl<T> Owned<T> {
    pub(super) fn new(value: T) -> Owned<T> {
        Owned(UnsafeCell::new(value))
    }

    /// Lends the part. `action` must not run user code nor lend the same part again.
    #[inline]
    pub(super) fn with<R>(&self, action: impl FnOnce(&mut T) -> R) -> R {
        // SAFETY: `Worker` is not Sync, so there is no other thread; every `action` is a few calls into
        // the part itself, so there is no second loan of it either.
        action(unsafe { &mut *self.0.get() })
    }
}
