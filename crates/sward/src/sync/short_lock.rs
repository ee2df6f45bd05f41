//! The lock around what this library shares inside: lists of waiters, buffers, counts.
//!
//! Protocol: what is done under it takes a bounded time and never suspends a green thread, and runs no user code
//! that could: no comparison or formatting of values, no destructor of theirs (messages are dropped outside). The one exception is the
//! global allocator, which therefore must not use this library. So the lock may hold up an OS thread, is never found held by a
//! green thread that is suspended, and may be taken by destructors while they unwind. A panic under it does not
//! poison it.
//!
//! It is held for some tens of nanoseconds, so who finds it held looks again, and gives the core away only when that has
//! lasted: then the holder's OS thread has been preempted. For that there is no list of sleepers, and letting go is
//! a plain store, which a lock that the kernel knows of cannot do. (With std's, a channel's round trip took a third
//! longer.)

use std::cell::UnsafeCell;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::time::Duration;

use crate::primitive::{AtomicBool, sleep, spin_loop, yield_now};

/// How often one looks again before one gives the core away.
const SPINS: u32 = 100;

/// After so many tries one sleeps: giving the core away does not give it to a holder of lower priority.
const PATIENCE: u32 = 200;

const NAP: Duration = Duration::from_micros(50);

/// See the head of this file.
#[derive(Default)]
pub(crate) struct ShortLock<T> {
    held: AtomicBool,
    value: UnsafeCell<T>,
}

// SAFETY: threads have the value by turns only (`held`), which is what `T: Send` allows.
unsafe impl<T: Send> Sync for ShortLock<T> {}
impl<T> UnwindSafe for ShortLock<T> {}
impl<T> RefUnwindSafe for ShortLock<T> {}

impl<T> ShortLock<T> {
    pub(crate) const fn new(value: T) -> ShortLock<T> {
        ShortLock { held: AtomicBool::new(false), value: UnsafeCell::new(value) }
    }

    #[inline]
    pub(crate) fn lock(&self) -> ShortGuard<'_, T> {
        while !self.try_hold() {
            self.wait();
        }
        ShortGuard { lock: self, not_sync: PhantomData }
    }

    #[inline]
    fn try_hold(&self) -> bool {
        self.held.compare_exchange(false, true, Acquire, Relaxed).is_ok()
    }

    /// Returns when it has been seen free.
    #[cold]
    fn wait(&self) {
        let mut tries = 0;
        while self.held.load(Relaxed) {
            match tries {
                0..SPINS => spin_loop(),
                SPINS..PATIENCE => yield_now(),
                _ => sleep(NAP),
            }
            tries += 1;
        }
    }
}

/// The hold on a [`ShortLock`].
pub(crate) struct ShortGuard<'a, T> {
    lock: &'a ShortLock<T>,
    /// It lends the value, and the value need not be Sync.
    not_sync: PhantomData<*const ()>,
}

impl<T> Deref for ShortGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: `lock` has set `held` for this guard, and only its drop clears it.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T> DerefMut for ShortGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as in `deref`.
        unsafe { &mut *self.lock.value.get() }
    }
}

impl<T> Drop for ShortGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.lock.held.store(false, Release);
    }
}
