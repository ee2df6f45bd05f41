//! `std::sync::RwLock`, green. The lock is [`RawRwLock`]; here are the data, the guards and the poison.

use std::cell::UnsafeCell;
use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::ptr::NonNull;
use std::sync::{LockResult, TryLockError, TryLockResult};

use super::poison::{Entered, Poison};
use super::raw_rwlock::RawRwLock;
use crate::runtime::wait;

/// Protects data that many threads may read at once, or one change: [`std::sync::RwLock`].
///
/// Threads get their turns in order of arrival, readers together; neither side starves the other. As with
/// std's, a thread that reads already and reads again may wait for ever if a writer has come between.
///
/// A panic of a writer poisons it. A [cancel](crate::thread::JoinHandle::cancel) of a writer unlocks it and does not: a writer that breaks an
/// invariant of the data and blocks before mending it [shields](crate::thread::shield) that, or mends it in a destructor. See [what a
/// lock protects](super#cancel-and-what-a-lock-protects).
///
/// # Examples
/// ```
/// let lock = sward::sync::RwLock::new(5);
/// {
///     let (first, second) = (lock.read().unwrap(), lock.read().unwrap());
///     assert_eq!(*first + *second, 10);
/// }
/// *lock.write().unwrap() += 1;
/// assert_eq!(lock.into_inner().unwrap(), 6);
/// ```
pub struct RwLock<T: ?Sized> {
    raw: RawRwLock,
    poison: Poison,
    data: UnsafeCell<T>,
}

// SAFETY: the data go wherever the lock goes.
unsafe impl<T: ?Sized + Send> Send for RwLock<T> {}
// SAFETY: writers take turns (`T: Send`), readers share `&T` (`T: Sync`).
unsafe impl<T: ?Sized + Send + Sync> Sync for RwLock<T> {}
impl<T: ?Sized> UnwindSafe for RwLock<T> {}
impl<T: ?Sized> RefUnwindSafe for RwLock<T> {}

impl<T> RwLock<T> {
    /// An unlocked lock.
    pub const fn new(value: T) -> RwLock<T> {
        RwLock { raw: RawRwLock::new(), poison: Poison::new(), data: UnsafeCell::new(value) }
    }

    /// The data.
    ///
    /// # Errors
    /// The data in a [`PoisonError`](super::PoisonError), if a thread panicked while it held the lock for writing.
    pub fn into_inner(self) -> LockResult<T> {
        self.poison.check(self.data.into_inner())
    }
}

impl<T: ?Sized> RwLock<T> {
    /// Waits until nobody writes and takes the lock for reading.
    ///
    /// # Errors
    /// The guard in a [`PoisonError`](super::PoisonError), if a thread panicked while it held the lock for writing.
    ///
    /// # Panics
    /// If 2^29 - 1 readers hold it already.
    ///
    /// # Cancellation
    /// This is a [cancellation point](crate::thread::JoinHandle::cancel) if it has to wait.
    #[inline]
    #[track_caller]
    pub fn read(&self) -> LockResult<RwLockReadGuard<'_, T>> {
        self.raw.read();
        self.read_guard()
    }

    /// Takes the lock for reading if that is possible at once. Never waits; but a thread that [fails often](super#loops-that-try) lets
    /// others run.
    ///
    /// # Errors
    /// [`TryLockError::WouldBlock`] if it is not; [`TryLockError::Poisoned`] as for [`read`](RwLock::read).
    #[inline]
    #[track_caller]
    pub fn try_read(&self) -> TryLockResult<RwLockReadGuard<'_, T>> {
        if self.raw.try_read() {
            return Ok(self.read_guard()?);
        }
        wait::count_operation();
        Err(TryLockError::WouldBlock)
    }

    /// Waits until nobody reads or writes and takes the lock for writing.
    ///
    /// # Errors
    /// The guard in a [`PoisonError`](super::PoisonError), if a thread panicked while it held the lock for writing.
    ///
    /// # Cancellation
    /// This is a [cancellation point](crate::thread::JoinHandle::cancel) if it has to wait.
    #[inline]
    #[track_caller]
    pub fn write(&self) -> LockResult<RwLockWriteGuard<'_, T>> {
        self.raw.write();
        self.write_guard()
    }

    /// Takes the lock for writing if that is possible at once. Never waits; but a thread that [fails often](super#loops-that-try) lets
    /// others run.
    ///
    /// # Errors
    /// [`TryLockError::WouldBlock`] if it is not; [`TryLockError::Poisoned`] as for [`write`](RwLock::write).
    #[inline]
    #[track_caller]
    pub fn try_write(&self) -> TryLockResult<RwLockWriteGuard<'_, T>> {
        if self.raw.try_write() {
            return Ok(self.write_guard()?);
        }
        wait::count_operation();
        Err(TryLockError::WouldBlock)
    }

    #[inline]
    fn read_guard(&self) -> LockResult<RwLockReadGuard<'_, T>> {
        self.poison.check(RwLockReadGuard::new(self))
    }

    #[inline]
    fn write_guard(&self) -> LockResult<RwLockWriteGuard<'_, T>> {
        self.poison.check(RwLockWriteGuard { lock: self, entered: Poison::enter(), not_send: PhantomData })
    }

    /// Whether a thread panicked while it held the lock for writing.
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
    /// The data in a [`PoisonError`](super::PoisonError), if a thread panicked while it held the lock for writing.
    pub fn get_mut(&mut self) -> LockResult<&mut T> {
        self.poison.check(self.data.get_mut())
    }
}

impl<T> From<T> for RwLock<T> {
    fn from(value: T) -> Self {
        RwLock::new(value)
    }
}

impl<T: Default> Default for RwLock<T> {
    fn default() -> Self {
        RwLock::new(T::default())
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for RwLock<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = formatter.debug_struct("RwLock");
        // Not `try_read`: the formatting thread may hold std's lock on the output.
        match self.raw.try_read().then(|| self.read_guard()) {
            Some(Ok(guard)) => debug.field("data", &&*guard),
            Some(Err(error)) => debug.field("data", &&**error.get_ref()),
            None => debug.field("data", &format_args!("<locked>")),
        };
        debug.field("poisoned", &self.poison.get()).finish_non_exhaustive()
    }
}

/// A reader's hold on a [`RwLock`]; dropping it unlocks.
#[must_use = "if unused the RwLock will immediately unlock"]
pub struct RwLockReadGuard<'a, T: ?Sized> {
    /// The data, borrowed from the lock for `'a`. An address and not the lock itself: so, as in std, a guard of what lives
    /// long passes for a guard of what lives shortly, it is unwind-safe if `&T` is, and it is not `Send`.
    data: NonNull<T>,
    raw: &'a RawRwLock,
}

// SAFETY: a shared guard gives out `&T` only.
unsafe impl<T: ?Sized + Sync> Sync for RwLockReadGuard<'_, T> {}

impl<'a, T: ?Sized> RwLockReadGuard<'a, T> {
    /// The calling thread holds `lock` for reading since just now.
    #[inline]
    fn new(lock: &'a RwLock<T>) -> RwLockReadGuard<'a, T> {
        // SAFETY: the address of a part of what is borrowed is not null.
        let data = unsafe { NonNull::new_unchecked(lock.data.get()) };
        RwLockReadGuard { data, raw: &lock.raw }
    }
}

impl<T: ?Sized> Deref for RwLockReadGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: the lock is borrowed for `'a`, and while the guard exists it is held for reading, so nobody has `&mut`.
        unsafe { self.data.as_ref() }
    }
}

impl<T: ?Sized> Drop for RwLockReadGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.raw.unlock_read();
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for RwLockReadGuard<'_, T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(formatter)
    }
}

impl<T: ?Sized + fmt::Display> fmt::Display for RwLockReadGuard<'_, T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(formatter)
    }
}

/// The writer's hold on a [`RwLock`]; dropping it unlocks.
#[must_use = "if unused the RwLock will immediately unlock"]
pub struct RwLockWriteGuard<'a, T: ?Sized> {
    lock: &'a RwLock<T>,
    entered: Entered,
    /// As in std.
    not_send: PhantomData<*const ()>,
}

// SAFETY: a shared guard gives out `&T` only.
unsafe impl<T: ?Sized + Sync> Sync for RwLockWriteGuard<'_, T> {}

impl<'a, T: ?Sized> RwLockWriteGuard<'a, T> {
    /// Makes the writer a reader, without letting another writer in between.
    pub fn downgrade(guard: Self) -> RwLockReadGuard<'a, T> {
        let lock = guard.lock;
        lock.poison.leave(guard.entered);
        std::mem::forget(guard);
        lock.raw.downgrade();
        RwLockReadGuard::new(lock)
    }
}

impl<T: ?Sized> Deref for RwLockWriteGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: while the guard exists the lock is held for writing, and there is one such guard.
        unsafe { &*self.lock.data.get() }
    }
}

impl<T: ?Sized> DerefMut for RwLockWriteGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as in `deref`.
        unsafe { &mut *self.lock.data.get() }
    }
}

impl<T: ?Sized> Drop for RwLockWriteGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.lock.poison.leave(self.entered);
        self.lock.raw.unlock_write();
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for RwLockWriteGuard<'_, T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(formatter)
    }
}

impl<T: ?Sized + fmt::Display> fmt::Display for RwLockWriteGuard<'_, T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(formatter)
    }
}
