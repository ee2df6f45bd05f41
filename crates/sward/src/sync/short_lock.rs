//! The lock around what this library shares inside: lists of waiters, buffers, counts.
//!
//! Protocol: what is done under it takes a bounded time and never suspends a green thread, runs no user code
//! that could (so messages are dropped outside), and unparks nobody. So the lock may hold up an OS thread, is
//! never found held by a green thread that is suspended, and may be taken by destructors while they unwind. A
//! panic under it does not poison it.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// See the head of this file.
#[derive(Debug, Default)]
pub(crate) struct ShortLock<T>(Mutex<T>);

/// The hold on a [`ShortLock`].
pub(crate) type ShortGuard<'a, T> = MutexGuard<'a, T>;

impl<T> ShortLock<T> {
    pub(crate) const fn new(value: T) -> ShortLock<T> {
        ShortLock(Mutex::new(value))
    }

    #[inline]
    pub(crate) fn lock(&self) -> ShortGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
