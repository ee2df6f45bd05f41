//! Threads that may borrow: none of them outlives the scope.
//!
//! The scope is a function that takes a closure, so that there is no handle whose leak could end the wait: it
//! returns when its count of threads is zero, also if the closure panics, and also if its own thread is cancelled. In that case
//! it cancels its threads, waits for them (shielded), and unwinds then.

use std::fmt;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, Location, RefUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Mutex};

use super::join_handle::Joiner;
use super::{Builder, Result, Thread};
use crate::runtime::current::with_current_task;
use crate::runtime::deadline::is_interruption;
use crate::runtime::scope_data::ScopeData;
use crate::runtime::wait;

/// A place to spawn threads that borrow: [`std::thread::Scope`]. Made by [`scope`].
pub struct Scope<'scope, 'env: 'scope> {
    data: Arc<ScopeData>,
    /// Invariant in both, as std's: a shorter scope must not pass for a longer one.
    scope: PhantomData<&'scope mut &'scope ()>,
    env: PhantomData<&'env mut &'env ()>,
}

// As std's: a scope counts its threads, and whoever unwinds leaves that whole.
impl RefUnwindSafe for Scope<'_, '_> {}

/// Runs `f`, which may spawn threads that borrow from the caller's frame, and returns when all of them have ended:
/// [`std::thread::scope`]. A cancellation point; the cancel goes to the scope's threads, too.
///
/// # Panics
/// With `f`'s panic; or if a thread panicked and nobody joined it.
///
/// ```
/// let mut numbers = vec![1, 2, 3];
/// sward::thread::scope(|scope| {
///     for number in &mut numbers {
///         scope.spawn(move || *number *= 2);
///     }
/// });
/// assert_eq!(numbers, [2, 4, 6]);
/// ```
#[track_caller]
pub fn scope<'env, F, T>(f: F) -> T
where
    F: for<'scope> FnOnce(&'scope Scope<'scope, 'env>) -> T,
{
    let scope = Scope {
        data: Arc::new(ScopeData::new(with_current_task(Arc::clone))),
        scope: PhantomData,
        env: PhantomData,
    };
    let at = Location::caller();
    let result = catch_unwind(AssertUnwindSafe(|| f(&scope)));
    let is_interrupted = result.as_ref().is_err_and(|payload| is_interruption(&**payload));
    // A cancel, a timeout, or a report that this wait would never end.
    let awaited = match is_interrupted {
        true => Ok(()),
        false => catch_unwind(AssertUnwindSafe(|| wait::await_children(&scope.data, at))),
    };
    if is_interrupted || awaited.is_err() {
        scope.data.cancel_children();
        wait::shield(|| wait::await_children(&scope.data, at));
    }
    match result.and_then(|value| awaited.map(|()| value)) {
        Err(payload) => resume_unwind(payload),
        Ok(_) if scope.data.has_panicked() => panic!("a scoped thread panicked"),
        Ok(value) => value,
    }
}

impl<'scope, 'env> Scope<'scope, 'env> {
    /// Starts a thread that may borrow what outlives the scope.
    ///
    /// # Panics
    /// As [`spawn`](super::spawn).
    #[track_caller]
    pub fn spawn<F, T>(&'scope self, f: F) -> ScopedJoinHandle<'scope, T>
    where
        F: FnOnce() -> T + Send + 'scope,
        T: Send + 'scope,
    {
        Builder::new().spawn_scoped(self, f).expect("failed to spawn thread")
    }

    /// From now on, if one of the scope's threads panics, the others are [cancelled](super::JoinHandle::cancel).
    ///
    /// ```
    /// use sward::thread::{self, Cancelled};
    /// thread::scope(|scope| {
    ///     scope.cancel_on_panic();
    ///     let patient = scope.spawn(|| loop { thread::park() });
    ///     assert!(scope.spawn(|| std::panic::resume_unwind(Box::new("lost"))).join().is_err());
    ///     assert!(patient.join().unwrap_err().is::<Cancelled>());
    /// });
    /// ```
    pub fn cancel_on_panic(&self) {
        self.data.cancel_on_panic();
    }

    pub(super) fn data(&self) -> &Arc<ScopeData> {
        &self.data
    }
}

impl fmt::Debug for Scope<'_, '_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Scope").field("running", &self.data.running()).finish_non_exhaustive()
    }
}

/// As [`JoinHandle`](super::JoinHandle), for a scoped thread: [`std::thread::ScopedJoinHandle`].
pub struct ScopedJoinHandle<'scope, T> {
    pub(super) joiner: Joiner<'scope, T>,
    /// As std's: it goes to another thread if the result may.
    pub(super) result: PhantomData<Arc<Mutex<T>>>,
}

impl<T> ScopedJoinHandle<'_, T> {
    /// The thread.
    pub fn thread(&self) -> &Thread {
        &self.joiner.thread
    }

    /// Waits for the thread's end and gives its result. A cancellation point.
    ///
    /// # Errors
    /// The payload of the thread's panic, or [`Cancelled`](super::Cancelled) in its box.
    #[track_caller]
    pub fn join(self) -> Result<T> {
        self.joiner.join()
    }

    /// Whether the thread is over. Who asks [again and again](crate::sync#loops-that-try) lets others run.
    pub fn is_finished(&self) -> bool {
        self.joiner.is_finished()
    }

    /// Asks the thread to end: see [`JoinHandle::cancel`](super::JoinHandle::cancel).
    ///
    /// # Panics
    /// In a program that is compiled with `panic = "abort"`.
    pub fn cancel(&self) {
        super::join_handle::cancel(self.joiner.task());
    }
}

impl<T> fmt::Debug for ScopedJoinHandle<'_, T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("ScopedJoinHandle").field("thread", self.thread()).finish_non_exhaustive()
    }
}
