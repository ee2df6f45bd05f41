//! A pool of things that are costly to make, such as connections.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::time::Duration;

use super::semaphore::{Permit, Semaphore};
use super::short_lock::ShortLock;

/// Lends things that a factory makes, up to a limit, and takes them back for the next.
///
/// What was used last is lent first. Nothing is made before it is needed.
///
/// A thread that is [cancelled](crate::thread::JoinHandle::cancel) in the middle of a conversation would leave a connection in the middle of it,
/// too; so what is lent to a thread that unwinds is [discarded](Pooled::discard).
///
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
    /// One permit for each thing that may be lent.
    places: Semaphore,
    limit: usize,
    idle: ShortLock<Vec<T>>,
    factory: Box<dyn Fn() -> Result<T, E> + Send + Sync>,
}

impl<T, E> Pool<T, E> {
    /// A pool that makes at most `limit` things, by calling `factory`.
    ///
    /// # Panics
    /// If `limit` is 0.
    pub fn new<F>(limit: usize, factory: F) -> Pool<T, E>
    where
        F: Fn() -> Result<T, E> + Send + Sync + 'static,
    {
        assert!(limit > 0, "a pool with limit 0 could never lend anything");
        Pool {
            places: Semaphore::bounded(limit),
            limit,
            idle: ShortLock::new(Vec::new()),
            factory: Box::new(factory),
        }
    }

    /// Borrows a thing; makes one if none is idle; waits, in order of arrival, while the limit is reached. A
    /// cancellation point.
    ///
    /// # Errors
    /// The factory's.
    #[track_caller]
    pub fn get(&self) -> Result<Pooled<'_, T, E>, E> {
        self.fill(self.places.acquire(1))
    }

    /// As [`get`](Pool::get), but waits for a place for at most `duration`. A cancellation point.
    ///
    /// # Errors
    /// [`PoolError::TimedOut`], or the factory's error.
    #[track_caller]
    pub fn get_timeout(&self, duration: Duration) -> Result<Pooled<'_, T, E>, PoolError<E>> {
        let place = self.places.acquire_timeout(1, duration).ok_or(PoolError::TimedOut)?;
        self.fill(place).map_err(PoolError::Factory)
    }

    /// As [`get`](Pool::get), but does not wait for a place; but who [fails often](super#loops-that-try) lets others run.
    ///
    /// # Errors
    /// [`PoolError::TimedOut`] if all are lent, or the factory's error.
    pub fn try_get(&self) -> Result<Pooled<'_, T, E>, PoolError<E>> {
        let place = self.places.try_acquire(1).ok_or(PoolError::TimedOut)?;
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

    /// How many things may be lent at once.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// How many things wait to be lent.
    pub fn idle(&self) -> usize {
        self.idle.lock().len()
    }

    /// How many things are lent.
    pub fn lent(&self) -> usize {
        self.limit - self.places.available_permits()
    }

    /// Drops what is idle.
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

/// A thing that was borrowed from a [`Pool`]; dropping it gives it back.
///
/// If it is dropped by a thread that unwinds (a panic, a cancel), nobody knows what state it is in, so it is
/// [discarded](Pooled::discard).
pub struct Pooled<'a, T, E = std::io::Error> {
    /// Always there until the end.
    item: Option<T>,
    pool: &'a Pool<T, E>,
    /// Declared last: the place is free after the thing is back.
    _place: Permit<'a>,
}

impl<T, E> Pooled<'_, T, E> {
    /// Drops the thing, because it is broken. The next one is made anew.
    pub fn discard(mut self) {
        // Before the place is free: a limit on connections shall hold for those that are being closed, too.
        drop(self.item.take());
    }

    /// Keeps the thing for good. The next one is made anew.
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

/// Why a [`Pool`] has lent nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolError<E> {
    /// All things were lent, for as long as one was willing to wait.
    TimedOut,
    /// A new one could not be made.
    Factory(E),
}

impl<E: fmt::Display> fmt::Display for PoolError<E> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PoolError::TimedOut => formatter.write_str("all things of the pool are lent"),
            PoolError::Factory(error) => write!(formatter, "the pool could not make a new thing: {error}"),
        }
    }
}

impl<E: std::error::Error + 'static> std::error::Error for PoolError<E> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            PoolError::TimedOut => None,
            PoolError::Factory(error) => Some(error),
        }
    }
}
