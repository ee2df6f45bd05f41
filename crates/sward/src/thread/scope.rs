//! Threads that may borrow: none of them outlives the scope.
//!
//! The scope is a function that takes a closure, so that there is no handle whose leak could end the wait: it
//! returns when its count of threads is zero, also if the closure panics, and also if its own thread is cancelled. In that case
//! it cancels its threads, waits for them (shielded), and unwinds then.

use std::fmt;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, Location, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::join_handle::Joiner;
use super::{Builder, Result, Thread};
use crate::runtime::deadline::is_interruption;
use crate::runtime::reason::{What, because};
use crate::runtime::task::Task;
use crate::runtime::wait;

/// A place to spawn threads that borrow: [`std::thread::Scope`]. Made by [`scope`].
pub struct Scope<'scope, 'env: 'scope> {
    data: Arc<ScopeData>,
    /// Invariant in both, as std's: a shorter scope must not pass for a longer one.
    scope: PhantomData<&'scope mut &'scope ()>,
    env: PhantomData<&'env mut &'env ()>,
}

/// The count of a scope's threads, and who waits for it.
pub(crate) struct ScopeData {
    running: AtomicUsize,
    panicked: AtomicBool,
    /// A panic of one thread cancels the others.
    cancel_on_panic: AtomicBool,
    owner: Arc<Task>,
    children: Mutex<Vec<Weak<Task>>>,
}

impl ScopeData {
    pub(crate) fn new(owner: Arc<Task>) -> ScopeData {
        ScopeData {
            running: AtomicUsize::new(0),
            panicked: AtomicBool::new(false),
            cancel_on_panic: AtomicBool::new(false),
            owner,
            children: Mutex::new(Vec::new()),
        }
    }

    /// A thread of the scope has been made; it will call [`ScopeData::leave`].
    pub(crate) fn enter(&self) {
        self.running.fetch_add(1, Ordering::Relaxed);
    }

    /// A thread of the scope does not touch what it borrowed any more.
    pub(crate) fn leave(&self) {
        if self.running.fetch_sub(1, Ordering::Release) == 1 {
            self.owner.unpark();
        }
    }

    /// A thread of the scope has panicked.
    pub(crate) fn child_panicked(&self) {
        if self.cancel_on_panic.load(Ordering::Relaxed) {
            self.cancel_children();
        }
    }

    /// A thread's panic has not been looked at by anyone.
    pub(crate) fn set_panicked(&self) {
        self.panicked.store(true, Ordering::Relaxed);
    }

    /// Remembers a thread, to be cancelled with the scope.
    pub(crate) fn add(&self, task: &Arc<Task>) {
        let mut children = self.children.lock().unwrap_or_else(PoisonError::into_inner);
        if children.len() == children.capacity() {
            children.retain(|child| child.upgrade().is_some_and(|task| !task.is_complete()));
        }
        children.push(Arc::downgrade(task));
    }

    fn cancel_children(&self) {
        let children = std::mem::take(&mut *self.children.lock().unwrap_or_else(PoisonError::into_inner));
        for task in children.iter().filter_map(Weak::upgrade) {
            task.cancel();
        }
    }

    #[track_caller]
    pub(crate) fn await_children(&self) {
        let at = Location::caller();
        because(What::Scope(self), at, || {
            while self.running.load(Ordering::Acquire) != 0 {
                wait::park(None);
            }
        });
    }

    /// Those that [`ScopeData::add`] has been told of and that are not over.
    pub(crate) fn unfinished(&self) -> Vec<Arc<Task>> {
        let children = self.children.lock().unwrap_or_else(PoisonError::into_inner);
        children.iter().filter_map(Weak::upgrade).filter(|task| !task.is_complete()).collect()
    }
}

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
        data: Arc::new(ScopeData::new(super::with_current_task(Arc::clone))),
        scope: PhantomData,
        env: PhantomData,
    };
    let result = catch_unwind(AssertUnwindSafe(|| f(&scope)));
    // `f` has been unwound completely, so this wait does not happen while unwinding.
    let cancelled = match &result {
        Err(payload) if is_interruption(&**payload) => true,
        _ => catch_unwind(AssertUnwindSafe(|| scope.data.await_children())).is_err(),
    };
    if cancelled {
        scope.data.cancel_children();
        wait::shield(|| scope.data.await_children());
        wait::cancel_again();
    }
    match result {
        Err(payload) => resume_unwind(payload),
        Ok(_) if scope.data.panicked.load(Ordering::Relaxed) => panic!("a scoped thread panicked"),
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
        self.data.cancel_on_panic.store(true, Ordering::Relaxed);
    }

    pub(super) fn data(&self) -> &Arc<ScopeData> {
        &self.data
    }
}

impl fmt::Debug for Scope<'_, '_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Scope").field("running", &self.data.running).finish_non_exhaustive()
    }
}

/// As [`JoinHandle`](super::JoinHandle), for a scoped thread: [`std::thread::ScopedJoinHandle`].
pub struct ScopedJoinHandle<'scope, T>(pub(super) Joiner<'scope, T>);

impl<T> ScopedJoinHandle<'_, T> {
    /// The thread.
    pub fn thread(&self) -> &Thread {
        &self.0.thread
    }

    /// Waits for the thread's end and gives its result. A cancellation point.
    ///
    /// # Errors
    /// The payload of the thread's panic, or [`Cancelled`](super::Cancelled) in its box.
    #[track_caller]
    pub fn join(self) -> Result<T> {
        self.0.join()
    }

    /// Whether the thread is over.
    pub fn is_finished(&self) -> bool {
        self.0.task().is_complete()
    }

    /// Asks the thread to end: see [`JoinHandle::cancel`](super::JoinHandle::cancel).
    ///
    /// # Panics
    /// In a program that is compiled with `panic = "abort"`.
    pub fn cancel(&self) {
        super::join_handle::cancel(self.0.task());
    }
}

impl<T> fmt::Debug for ScopedJoinHandle<'_, T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("ScopedJoinHandle").field("thread", self.thread()).finish_non_exhaustive()
    }
}
