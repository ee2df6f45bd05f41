//! A pool of things that are costly to make, such as connections.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::time::Duration;

use super::semaphore::{Permit, Semaphore};
use super::spin_lock::SpinLock;

/// Lends items that a factory makes, up to a limit, and takes them back for the next borrower.
///
/// The item that was returned last is lent first. No item is made before it is needed.
///
/// A thread that is [cancelled](crate::thread::JoinHandle::cancel) in the middle of a conversation leaves its connection in the middle of it,
/// too. So an item that a thread holds while it unwinds is [discarded](Pooled::discard).
///
/// # Examples
/// ```
/// use std::io;
/// use sward::sync::Pool;
///
/// let pool = Pool::new(2, || io::Result::Ok(String::new()));
/// {
///     let mut item = pool.get()?;
///     item.push_str("used");
/// }
/// assert_eq!(*pool.get()?, "used");
/// pool.get()?.discard();
/// assert_eq!(*pool.get()?, "");
/// # io::Result::Ok(())
/// ```
pub struct Pool<T, E = std::io::Error> {
    /// One permit for each item that may be lent.
    places: Semaphore,
    limit: usize,
    idle: SpinLock<Vec<T>>,
    factory: Box<dyn Fn() -> Result<T, E> + Send + Sync>,
}

impl<T, E> Pool<T, E> {
    /// Creates a pool that lends at most `limit` items at once, and makes them by calling `factory`.
    ///
    /// # Panics
    /// If `limit` is 0.
    pub fn new<F>(limit: usize, factory: F) -> Pool<T, E>
    where
        F: Fn() -> Result<T, E> + Send + Sync + 'static,
    {
        assert!(limit > 0, "a pool with limit 0 could never lend an item");
        Pool {
            places: Semaphore::bounded(limit),
            limit,
            idle: SpinLock::new(Vec::new()),
            factory: Box::new(factory),
        }
    }

    /// Borrows an item, and makes one if none is idle. While all are lent, waits in order of arrival.
    ///
    /// # Errors
    /// The factory's error, if it could not make an item.
    ///
    /// # Cancellation
    /// This is a cancellation point.
    #[track_caller]
    pub fn get(&self) -> Result<Pooled<'_, T, E>, E> {
        self.fill(self.places.acquire(1))
    }

    /// Borrows an item as [`get`](Pool::get) does, but waits for `duration` at most.
    ///
    /// # Errors
    /// - [`PoolError::TimedOut`] if no item was returned in time.
    /// - [`PoolError::Factory`] if the factory could not make an item.
    ///
    /// # Cancellation
    /// This is a cancellation point.
    #[track_caller]
    pub fn get_timeout(&self, duration: Duration) -> Result<Pooled<'_, T, E>, PoolError<E>> {
        let place = self.places.acquire_timeout(1, duration).ok_or(PoolError::TimedOut)?;
        self.fill(place).map_err(PoolError::Factory)
    }

    /// Borrows an item as [`get`](Pool::get) does, but does not wait for one. [A loop that tries](super#loops-that-try) lets others run.
    ///
    /// # Errors
    /// - [`PoolError::Empty`] if all items are lent.
    /// - [`PoolError::Factory`] if the factory could not make an item.
    pub fn try_get(&self) -> Result<Pooled<'_, T, E>, PoolError<E>> {
        let place = self.places.try_acquire(1).ok_or(PoolError::Empty)?;
        self.fill(place).map_err(PoolError::Factory)
    }

    fn fill<'a>(&'a self, place: Permit<'a>) -> Result<Pooled<'a, T, E>, E> {
        let idle = self.idle.lock().pop();
        let item = match idle {
            Some(item) => item,
            None => (self.factory)()?,
        };
        Ok(Pooled { item: Some(item), pool: self, _place: place })
    }

    /// Returns how many items may be lent at once.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Returns how many items wait to be lent.
    pub fn idle(&self) -> usize {
        self.idle.lock().len()
    }

    /// Returns how many items are lent.
    pub fn lent(&self) -> usize {
        self.limit - self.places.available_permits()
    }

    /// Drops the idle items.
    pub fn clear(&self) {
        let idle = std::mem::take(&mut *self.idle.lock());
        drop(idle);
    }
}

impl<T, E> fmt::Debug for Pool<T, E> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Pool")
            .field("limit", &self.limit)
            .field("lent", &self.lent())
            .field("idle", &self.idle())
            .finish_non_exhaustive()
    }
}

/// An item borrowed from a [`Pool`]. Dropping it returns the item.
///
/// If a thread drops it while it unwinds (a panic, a cancel), nobody knows what state the item is in, so it is
/// [discarded](Pooled::discard).
pub struct Pooled<'a, T, E = std::io::Error> {
    /// Always there until the end.
    item: Option<T>,
    pool: &'a Pool<T, E>,
    /// Declared last: the place is free after the item is back.
    _place: Permit<'a>,
}

impl<T, E> Pooled<'_, T, E> {
    /// Drops the item, because it is broken. The factory makes the next one.
    pub fn discard(mut self) {
        // Before the place is free: a limit on connections shall hold for those that are being closed, too.
        drop(self.item.take());
    }

    /// Takes the item out of the pool for good. The factory makes the next one.
    pub fn detach(mut self) -> T {
        self.item.take().expect("it is there until the end")
    }
}

impl<T, E> Drop for Pooled<'_, T, E> {
    fn drop(&mut self) {
        if !std::thread::panicking()
            && let Some(item) = self.item.take()
        {
            self.pool.idle.lock().push(item);
        }
    }
}

impl<T, E> Deref for Pooled<'_, T, E> {
    type Target = T;

    fn deref(&self) -> &T {
        self.item.as_ref().expect("it is there until the end")
    }
}

impl<T, E> DerefMut for Pooled<'_, T, E> {
    fn deref_mut(&mut self) -> &mut T {
        self.item.as_mut().expect("it is there until the end")
    }
}

impl<T: fmt::Debug, E> fmt::Debug for Pooled<'_, T, E> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(formatter)
    }
}

/// Why a [`Pool`] has lent no item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PoolError<E> {
    /// All items are lent ([`Pool::try_get`]).
    Empty,
    /// All items were lent for as long as the caller waited ([`Pool::get_timeout`]).
    TimedOut,
    /// The factory could not make an item.
    Factory(E),
}

impl<E: fmt::Display> fmt::Display for PoolError<E> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PoolError::Empty => formatter.write_str("all items of the pool are lent"),
            PoolError::TimedOut => formatter.write_str("timed out while all items of the pool were lent"),
            PoolError::Factory(error) => write!(formatter, "the pool could not make an item: {error}"),
        }
    }
}

impl<E: std::error::Error + 'static> std::error::Error for PoolError<E> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            PoolError::Empty | PoolError::TimedOut => None,
            PoolError::Factory(error) => Some(error),
        }
    }
}
