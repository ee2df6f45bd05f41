//! A counting semaphore, first come, first served.
//!
//! The thread that adds permits grants them to the waiters directly, in order of arrival. So threads that want few
//! never starve one that wants many.

use std::fmt;
use std::panic::Location;
use std::time::{Duration, Instant};

use super::spin_lock::SpinLock;
use super::wait_list::{WaitList, WakeList, sleep_until_notified};
use crate::runtime::reason::{What, because};
use crate::runtime::wait;

/// A number of permits that threads take and give back.
///
/// A thread that is [cancelled](crate::thread::JoinHandle::cancel) gives its permits back, as one that panics does. If they stand for the
/// right to change something, see [what a lock protects](super#cancel-and-what-a-lock-protects).
///
/// # Examples
/// ```
/// use sward::sync::Semaphore;
/// let seats = Semaphore::new(2);
/// let first = seats.acquire(1);
/// let second = seats.acquire(1);
/// assert!(seats.try_acquire(1).is_none());
/// drop(first);
/// assert_eq!(seats.available_permits(), 1);
/// second.forget(); // never comes back
/// assert_eq!(seats.available_permits(), 1);
/// ```
pub struct Semaphore {
    state: SpinLock<SemaphoreState>,
    /// How many permits there may be at most.
    bound: usize,
}

struct SemaphoreState {
    permits: usize,
    /// Each with the number of permits it wants.
    waiting: WaitList<usize>,
}

impl SemaphoreState {
    /// Grants the requests of the first waiters, as far as the permits go.
    fn grant(&mut self) -> WakeList {
        let mut wakes = WakeList::new();
        while let Some(key) = self.waiting.first() {
            let count = *self.waiting.request_ref(key);
            if count > self.permits {
                break;
            }
            self.permits -= count;
            self.waiting.wake(key, &mut wakes);
        }
        wakes
    }

    /// Whether `count` permits can be had without overtaking anybody.
    fn take(&mut self, count: usize) -> bool {
        let taken = self.waiting.is_empty() && count <= self.permits;
        if taken {
            self.permits -= count;
        }
        taken
    }
}

impl Semaphore {
    /// Creates a semaphore with `permits` permits.
    pub const fn new(permits: usize) -> Semaphore {
        Semaphore::with_bound(permits, usize::MAX)
    }

    /// Creates a semaphore that never has more than the permits it starts with, and refuses to take back more than were taken.
    pub const fn bounded(permits: usize) -> Semaphore {
        Semaphore::with_bound(permits, permits)
    }

    const fn with_bound(permits: usize, bound: usize) -> Semaphore {
        Semaphore { state: SpinLock::new(SemaphoreState { permits, waiting: WaitList::new() }), bound }
    }

    /// Returns how many permits could be taken now.
    pub fn available_permits(&self) -> usize {
        self.state.lock().permits
    }

    /// Waits until `count` permits are there and it is the thread's turn, and takes them.
    ///
    /// # Cancellation
    /// This is a [cancellation point](crate::thread::JoinHandle::cancel) if it has to wait.
    #[track_caller]
    pub fn acquire(&self, count: usize) -> Permit<'_> {
        self.acquire_until(count, None).expect("without a deadline the wait ends when the permits are there")
    }

    /// Takes permits as [`acquire`](Semaphore::acquire) does, but waits for `duration` at most. Returns `None` if the time was over.
    ///
    /// # Cancellation
    /// This is a [cancellation point](crate::thread::JoinHandle::cancel) if it has to wait.
    #[track_caller]
    pub fn acquire_timeout(&self, count: usize, duration: Duration) -> Option<Permit<'_>> {
        self.acquire_until(count, Instant::now().checked_add(duration))
    }

    /// Takes `count` permits if they are there and nobody waits. Never waits; but a thread that [fails often](super#loops-that-try) lets
    /// others run.
    pub fn try_acquire(&self, count: usize) -> Option<Permit<'_>> {
        let taken = self.state.lock().take(count);
        if !taken {
            wait::count_operation();
        }
        taken.then(|| Permit { semaphore: self, count })
    }

    #[track_caller]
    fn acquire_until(&self, count: usize, deadline: Option<Instant>) -> Option<Permit<'_>> {
        let mut state = self.state.lock();
        if state.take(count) {
            return Some(Permit { semaphore: self, count });
        }
        let key = state.waiting.push_back(count);
        drop(state);
        // If we leave, those behind us may want less than we did.
        let what = What::Object("the Semaphore", (&raw const *self).addr());
        let acquired = because(what, Location::caller(), || {
            sleep_until_notified(
                &self.state,
                |state| &mut state.waiting,
                key,
                deadline,
                SemaphoreState::grant,
            )
        });
        acquired.then(|| Permit { semaphore: self, count })
    }

    /// Adds permits, for instance such as were [forgotten](Permit::forget).
    ///
    /// # Errors
    /// [`OverRelease`] if there would be more than the bound; then none are added.
    pub fn add_permits(&self, count: usize) -> Result<(), OverRelease> {
        let mut state = self.state.lock();
        if count > self.bound - state.permits {
            return Err(OverRelease { permits: state.permits, added: count, bound: self.bound });
        }
        state.permits += count;
        let wakes = state.grant();
        drop(state);
        wakes.unpark();
        Ok(())
    }
}

impl fmt::Debug for Semaphore {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Semaphore")
            .field("permits", &self.available_permits())
            .finish_non_exhaustive()
    }
}

/// Permits that were taken; dropping them gives them back.
#[must_use = "if unused the permits are given back at once"]
#[derive(Debug)]
pub struct Permit<'a> {
    semaphore: &'a Semaphore,
    count: usize,
}

impl Permit<'_> {
    /// Returns the number of permits.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Keeps the permits for good: they come back by [`Semaphore::add_permits`] only.
    pub fn forget(self) {
        std::mem::forget(self);
    }
}

impl Drop for Permit<'_> {
    /// Permits that [`Semaphore::add_permits`] has put back already, although nobody forgot them, are not
    /// added again.
    fn drop(&mut self) {
        let _refused = self.semaphore.add_permits(self.count);
    }
}

/// More permits were added to a [bounded](Semaphore::bounded) semaphore than were missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OverRelease {
    permits: usize,
    added: usize,
    bound: usize,
}

impl fmt::Display for OverRelease {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let OverRelease { permits, added, bound } = self;
        write!(formatter, "adding {added} permits to {permits} exceeds the semaphore's bound of {bound}")
    }
}

impl std::error::Error for OverRelease {}
