//! The spin lock around what this library shares inside: lists of waiters, buffers, counts.
//!
//! Protocol: a critical section takes a bounded time, never suspends a green thread, and runs no user code that could: no
//! comparison or formatting of values, and no destructor of theirs (messages are dropped outside). The one exception is the global
//! allocator, which therefore must not use this library. So the lock may hold up an OS thread, but no suspended green thread
//! ever holds it, and destructors may take it while they unwind. A panic under it does not poison it.
//!
//! It is held for some tens of nanoseconds, so a contender spins, and yields its core only after a while: then the holder's
//! OS thread has been preempted. This needs no list of sleepers, and unlocking is a plain store, unlike with a futex. (With
//! std's mutex, a round trip through a channel took a third longer.)

use std::cell::UnsafeCell;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::time::Duration;

use crate::primitive::{AtomicBool, sleep, spin_loop, yield_now};

/// How often a contender spins before it yields its core.
const SPINS: u32 = 100;

/// After this many tries a contender sleeps: yielding does not give the core to a holder of lower priority.
const PATIENCE: u32 = 200;

const NAP: Duration = Duration::from_micros(50);

/// See the head of this file.
#[derive(Default)]
pub(crate) struct SpinLock<T> {
    held: AtomicBool,
    value: UnsafeCell<T>,
}

// SAFETY: threads have the value by turns only (`held`), which is what `T: Send` allows.
unsafe impl<T: Send> Sync for SpinLock<T> {}
impl<T> UnwindSafe for SpinLock<T> {}
impl<T> RefUnwindSafe for SpinLock<T> {}

impl<T> SpinLock<T> {
    pub(crate) const fn new(value: T) -> SpinLock<T> {
        SpinLock { held: AtomicBool::new(false), value: UnsafeCell::new(value) }
    }

    #[inline]
    pub(crate) fn lock(&self) -> SpinGuard<'_, T> {
        while !self.try_hold() {
            self.wait();
        }
        SpinGuard { lock: self, not_sync: PhantomData }
    }

    #[inline]
    fn try_hold(&self) -> bool {
        self.held.compare_exchange(false, true, Acquire, Relaxed).is_ok()
    }

    /// Waits until the lock has been seen free.
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

/// Holds a [`SpinLock`] until it is dropped.
pub(crate) struct SpinGuard<'a, T> {
    lock: &'a SpinLock<T>,
    /// It lends the value, and the value need not be Sync.
    not_sync: PhantomData<*const ()>,
}

impl<T> Deref for SpinGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: `lock` has set `held` for this guard, and only its drop clears it.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T> DerefMut for SpinGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: `lock` has set `held` for this guard, and only its drop clears it.
        unsafe { &mut *self.lock.value.get() }
    }
}

impl<T> Drop for SpinGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.lock.held.store(false, Release);
    }
}
