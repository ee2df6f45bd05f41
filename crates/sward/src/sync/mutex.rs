//! `std::sync::Mutex`, green. The lock is [`RawMutex`]; here are the data, the guard and the poison.

use std::cell::UnsafeCell;
use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::{LockResult, TryLockError, TryLockResult};

use super::poison::{Entered, Poison};
use super::raw_mutex::RawMutex;
use crate::runtime::wait;

/// Protects data that threads share: [`std::sync::Mutex`]. A thread that waits for it lets its worker run other green
/// threads.
///
/// Works between green threads of any worker and OS threads. Not fair in the short run; but a thread that has once been
/// woken in vain is next.
///
/// A panic while it is held poisons it. A [cancel](crate::thread::JoinHandle::cancel) unlocks it and does not: code that breaks an invariant of
/// the data and blocks before mending it [shields](crate::thread::shield) that, or mends it in a destructor. See [what a lock
/// protects](super#cancel-and-what-a-lock-protects).
///
/// # Examples
/// ```
/// use sward::sync::{Arc, Mutex};
/// use sward::thread;
///
/// let count = Arc::new(Mutex::new(0));
/// let threads: Vec<_> = (0..10)
///     .map(|_| {
///         let count = Arc::clone(&count);
///         thread::spawn(move || *count.lock().unwrap() += 1)
///     })
///     .collect();
/// for thread in threads {
///     thread.join().unwrap();
/// }
/// assert_eq!(*count.lock().unwrap(), 10);
/// ```
pub struct Mutex<T: ?Sized> {
    raw: RawMutex,
    poison: Poison,
    data: UnsafeCell<T>,
}

// SAFETY: the data go wherever the mutex goes, and threads share them by turns only: `&mut` access from
// several threads, one after the other, is what `T: Send` allows.
unsafe impl<T: ?Sized + Send> Send for Mutex<T> {}
// SAFETY: only the holder reaches the data, and there is one at a time.
unsafe impl<T: ?Sized + Send> Sync for Mutex<T> {}
impl<T: ?Sized> UnwindSafe for Mutex<T> {}
impl<T: ?Sized> RefUnwindSafe for Mutex<T> {}

impl<T> Mutex<T> {
    /// An unlocked mutex.
    pub const fn new(value: T) -> Mutex<T> {
        Mutex { raw: RawMutex::new(), poison: Poison::new(), data: UnsafeCell::new(value) }
    }

    /// The data.
    ///
    /// # Errors
    /// The data in a [`PoisonError`](super::PoisonError), if a thread panicked while it held the lock.
    pub fn into_inner(self) -> LockResult<T> {
        self.poison.check(self.data.into_inner())
    }
}

impl<T: ?Sized> Mutex<T> {
    /// Waits until the mutex is free and takes it.
    ///
    /// A thread that locks a mutex which it holds already waits for ever: see
    /// [`ReentrantMutex`](super::ReentrantMutex).
    ///
    /// # Errors
    /// The guard in a [`PoisonError`](super::PoisonError), if a thread panicked while it held the lock.
    ///
    /// # Cancellation
    /// This is a [cancellation point](crate::thread::JoinHandle::cancel) if it has to wait.
    #[inline]
    #[track_caller]
    pub fn lock(&self) -> LockResult<MutexGuard<'_, T>> {
        self.raw.lock("the Mutex");
        self.guard()
    }

    /// Takes the mutex if it is free. Never waits; but a thread that [fails often](super#loops-that-try) lets others run.
    ///
    /// # Errors
    /// [`TryLockError::WouldBlock`] if it is not; [`TryLockError::Poisoned`] as for [`lock`](Mutex::lock).
    #[inline]
    #[track_caller]
    pub fn try_lock(&self) -> TryLockResult<MutexGuard<'_, T>> {
        if self.raw.try_lock() {
            return Ok(self.guard()?);
        }
        wait::count_operation();
        Err(TryLockError::WouldBlock)
    }

    /// The lock is ours since just now.
    #[inline]
    fn guard(&self) -> LockResult<MutexGuard<'_, T>> {
        self.poison.check(MutexGuard { mutex: self, entered: Poison::enter(), not_send: PhantomData })
    }

    /// Whether a thread panicked while it held the lock.
    pub fn is_poisoned(&self) -> bool {
        self.poison.get()
    }

    /// Declares the data good again.
    pub fn clear_poison(&self) {
        self.poison.clear();
    }

    /// The data, without locking: nobody else can see them.
    ///
    /// # Errors
    /// The data in a [`PoisonError`](super::PoisonError), if a thread panicked while it held the lock.
    pub fn get_mut(&mut self) -> LockResult<&mut T> {
        self.poison.check(self.data.get_mut())
    }
}

impl<T> From<T> for Mutex<T> {
    fn from(value: T) -> Self {
        Mutex::new(value)
    }
}

impl<T: Default> Default for Mutex<T> {
    fn default() -> Self {
        Mutex::new(T::default())
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for Mutex<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = formatter.debug_struct("Mutex");
        // Not `try_lock`: the formatting thread may hold std's lock on the output.
        match self.raw.try_lock().then(|| self.guard()) {
            Some(Ok(guard)) => debug.field("data", &&*guard),
            Some(Err(error)) => debug.field("data", &&**error.get_ref()),
            None => debug.field("data", &format_args!("<locked>")),
        };
        debug.field("poisoned", &self.poison.get()).finish_non_exhaustive()
    }
}

/// The hold on a [`Mutex`]; dropping it unlocks.
#[must_use = "if unused the Mutex will immediately unlock"]
pub struct MutexGuard<'a, T: ?Sized> {
    mutex: &'a Mutex<T>,
    entered: Entered,
    /// As in std.
    not_send: PhantomData<*const ()>,
}

// SAFETY: a shared guard gives out `&T` only.
unsafe impl<T: ?Sized + Sync> Sync for MutexGuard<'_, T> {}

impl<'a, T: ?Sized> MutexGuard<'a, T> {
    /// The mutex that it holds.
    pub(super) fn mutex(&self) -> &'a Mutex<T> {
        self.mutex
    }
}

impl<T: ?Sized> Deref for MutexGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: the guard exists only while its thread holds the lock, and there is one guard.
        unsafe { &*self.mutex.data.get() }
    }
}

impl<T: ?Sized> DerefMut for MutexGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as in `deref`.
        unsafe { &mut *self.mutex.data.get() }
    }
}

impl<T: ?Sized> Drop for MutexGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.mutex.poison.leave(self.entered);
        self.mutex.raw.unlock();
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for MutexGuard<'_, T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(formatter)
    }
}

impl<T: ?Sized + fmt::Display> fmt::Display for MutexGuard<'_, T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(formatter)
    }
}
