//! `std::sync::Condvar`, green.
//!
//! A waiter enters the parking lot before it unlocks the mutex, so a thread that changes the condition under the mutex
//! finds it there. A notification reaches exactly the first waiters; a cancel that comes between being
//! notified and holding the mutex again passes it on.

use std::fmt;
use std::panic::{Location, RefUnwindSafe, UnwindSafe};
use std::sync::LockResult;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::parking_lot::{self, ParkResult, QueueEnd};
use super::{Mutex, MutexGuard};
use crate::runtime::reason::{What, because};

/// Lets threads wait for something to become true about what a [`Mutex`] protects: [`std::sync::Condvar`].
///
/// WakeList up for no reason less often than std's, but the condition has to be looked at again here, too.
///
/// A wait unlocks the mutex, and may be where a [cancel](crate::thread::JoinHandle::cancel) ends the thread. The mutex is not locked and not
/// poisoned then, and a notification that had been for this thread goes to another. As before any wait, the data are to be in
/// order; see [what a lock protects](super#cancel-and-what-a-lock-protects).
pub struct Condvar {
    /// How many wait, so that notifying nobody is one load.
    waiting: AtomicU32,
}

impl UnwindSafe for Condvar {}
impl RefUnwindSafe for Condvar {}

impl Condvar {
    /// Creates a condition variable.
    pub const fn new() -> Condvar {
        Condvar { waiting: AtomicU32::new(0) }
    }

    /// Unlocks the mutex, waits to be notified, and locks it again.
    ///
    /// # Errors
    /// If the mutex is poisoned, as [`Mutex::lock`].
    ///
    /// # Cancellation
    /// This is a [cancellation point](crate::thread::JoinHandle::cancel).
    #[track_caller]
    pub fn wait<'a, T>(&self, guard: MutexGuard<'a, T>) -> LockResult<MutexGuard<'a, T>> {
        self.wait_until(guard, None).0
    }

    /// Waits as long as `condition` holds.
    ///
    /// # Errors
    /// If the mutex is poisoned, as [`Mutex::lock`].
    ///
    /// # Cancellation
    /// This is a [cancellation point](crate::thread::JoinHandle::cancel).
    #[track_caller]
    pub fn wait_while<'a, T, F>(
        &self,
        mut guard: MutexGuard<'a, T>,
        mut condition: F,
    ) -> LockResult<MutexGuard<'a, T>>
    where
        F: FnMut(&mut T) -> bool,
    {
        while condition(&mut *guard) {
            guard = self.wait(guard)?;
        }
        Ok(guard)
    }

    /// Waits as [`wait`](Condvar::wait) does, but for `duration` at most.
    ///
    /// # Errors
    /// If the mutex is poisoned, as [`Mutex::lock`].
    ///
    /// # Cancellation
    /// This is a [cancellation point](crate::thread::JoinHandle::cancel).
    #[track_caller]
    pub fn wait_timeout<'a, T>(
        &self,
        guard: MutexGuard<'a, T>,
        duration: Duration,
    ) -> LockResult<(MutexGuard<'a, T>, WaitTimeoutResult)> {
        let (guard, waited) = self.wait_until(guard, Instant::now().checked_add(duration));
        with_result(guard, WaitTimeoutResult(waited == ParkResult::TimedOut))
    }

    /// Waits as [`wait_timeout`](Condvar::wait_timeout) does, in milliseconds. Returns false if the time was over.
    ///
    /// # Errors
    /// If the mutex is poisoned, as [`Mutex::lock`].
    ///
    /// # Cancellation
    /// This is a [cancellation point](crate::thread::JoinHandle::cancel).
    #[deprecated(note = "replaced by `wait_timeout`, as in std")]
    #[track_caller]
    pub fn wait_timeout_ms<'a, T>(
        &self,
        guard: MutexGuard<'a, T>,
        milliseconds: u32,
    ) -> LockResult<(MutexGuard<'a, T>, bool)> {
        match self.wait_timeout(guard, Duration::from_millis(milliseconds.into())) {
            Ok((guard, result)) => Ok((guard, !result.timed_out())),
            Err(poisoned) => {
                let (guard, result) = poisoned.into_inner();
                Err(super::PoisonError::new((guard, !result.timed_out())))
            }
        }
    }

    /// Waits as [`wait_while`](Condvar::wait_while) does, but for `duration` at most.
    ///
    /// # Errors
    /// If the mutex is poisoned, as [`Mutex::lock`].
    ///
    /// # Cancellation
    /// This is a [cancellation point](crate::thread::JoinHandle::cancel).
    #[track_caller]
    pub fn wait_timeout_while<'a, T, F>(
        &self,
        mut guard: MutexGuard<'a, T>,
        duration: Duration,
        mut condition: F,
    ) -> LockResult<(MutexGuard<'a, T>, WaitTimeoutResult)>
    where
        F: FnMut(&mut T) -> bool,
    {
        let deadline = Instant::now().checked_add(duration);
        loop {
            if !condition(&mut *guard) {
                return Ok((guard, WaitTimeoutResult(false)));
            }
            if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                return Ok((guard, WaitTimeoutResult(true)));
            }
            match self.wait_until(guard, deadline).0 {
                Ok(again) => guard = again,
                poisoned => return with_result(poisoned, WaitTimeoutResult(false)),
            }
        }
    }

    /// WakeList one waiter, the one that has waited longest.
    pub fn notify_one(&self) {
        if self.waiting.load(Ordering::SeqCst) == 0 {
            return;
        }
        parking_lot::with_waiters(self.address(), |waiters| {
            if waiters.unpark_one() {
                self.waiting.fetch_sub(1, Ordering::Relaxed);
            }
        });
    }

    /// WakeList all waiters.
    pub fn notify_all(&self) {
        if self.waiting.load(Ordering::SeqCst) == 0 {
            return;
        }
        parking_lot::with_waiters(self.address(), |waiters| {
            while waiters.unpark_one() {
                self.waiting.fetch_sub(1, Ordering::Relaxed);
            }
        });
    }

    #[track_caller]
    fn wait_until<'a, T>(
        &self,
        guard: MutexGuard<'a, T>,
        deadline: Option<Instant>,
    ) -> (LockResult<MutexGuard<'a, T>>, ParkResult) {
        let mutex = guard.mutex();
        let count = || {
            self.waiting.fetch_add(1, Ordering::SeqCst);
            true
        };
        let withdraw = OnUnwind(|| {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
        });
        let waited = because(What::Object("the Condvar", self.address()), Location::caller(), || {
            parking_lot::park(self.address(), 0, QueueEnd::Back, deadline, count, || drop(guard))
        });
        if waited == ParkResult::Unparked {
            withdraw.defuse();
        } else {
            drop(withdraw);
        }
        (self.lock_again(mutex, waited), waited)
    }

    #[track_caller]
    fn lock_again<'a, T>(&self, mutex: &'a Mutex<T>, waited: ParkResult) -> LockResult<MutexGuard<'a, T>> {
        let pass_on = OnUnwind(|| {
            if waited == ParkResult::Unparked {
                self.notify_one();
            }
        });
        let guard = mutex.lock();
        pass_on.defuse();
        guard
    }

    fn address(&self) -> usize {
        (&raw const self.waiting).addr()
    }
}

/// Runs its closure when it is dropped, which is to say when the wait unwinds, unless it has been defused.
struct OnUnwind<F: FnMut()>(F);

impl<F: FnMut()> OnUnwind<F> {
    fn defuse(self) {
        std::mem::forget(self);
    }
}

impl<F: FnMut()> Drop for OnUnwind<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

fn with_result<G>(guard: LockResult<G>, result: WaitTimeoutResult) -> LockResult<(G, WaitTimeoutResult)> {
    match guard {
        Ok(guard) => Ok((guard, result)),
        Err(poisoned) => Err(super::PoisonError::new((poisoned.into_inner(), result))),
    }
}

impl Default for Condvar {
    fn default() -> Self {
        Condvar::new()
    }
}

impl fmt::Debug for Condvar {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Condvar").finish_non_exhaustive()
    }
}

/// Whether a timed wait ended because its time was over: [`std::sync::WaitTimeoutResult`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WaitTimeoutResult(bool);

impl WaitTimeoutResult {
    /// Returns whether the time was over.
    #[must_use]
    pub fn timed_out(&self) -> bool {
        self.0
    }
}
