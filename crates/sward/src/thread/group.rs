//! Waiting for several threads at once.

use std::panic::Location;
use std::time::{Duration, Instant};

use super::{JoinHandle, Result};
use crate::runtime::current::with_current_task;
use crate::runtime::reason::{What, because};
use crate::runtime::wait;

/// Waits until all of `handles` have ended, and returns their results in the order of `handles`.
///
/// A thread that panics does not end the wait for the others: its result is an error, as from [`JoinHandle::join`].
///
/// # Cancellation
/// This is a cancellation point. The threads that have not been joined by then are detached.
///
/// # Examples
/// ```
/// use sward::thread;
/// let handles = (0..3).map(|n| thread::spawn(move || n * n)).collect::<Vec<_>>();
/// let squares: Vec<_> = thread::join_all(handles).into_iter().map(Result::unwrap).collect();
/// assert_eq!(squares, [0, 1, 4]);
/// ```
///
/// The values of all threads, or the first panic's payload:
/// ```
/// use sward::thread;
/// let handles = [thread::spawn(|| 1), thread::spawn(|| 2)];
/// let values: thread::Result<Vec<_>> = thread::join_all(handles).into_iter().collect();
/// assert_eq!(values.unwrap(), [1, 2]);
/// ```
#[doc(alias = "joinall")]
#[track_caller]
pub fn join_all<T>(handles: impl IntoIterator<Item = JoinHandle<T>>) -> Vec<Result<T>> {
    handles.into_iter().map(JoinHandle::join).collect()
}

/// Waits until all of `handles` have ended, but for `duration` at most.
///
/// Returns the results of the threads that have ended, and the handles of those that have not. Both are in the order of `handles`. The late
/// threads go on: join their handles later, [cancel](JoinHandle::cancel) them, or drop the handles to detach them. To know which thread a result
/// belongs to, return that from the thread, or call [`JoinHandle::join_timeout`] on each handle.
///
/// # Cancellation
/// This is a cancellation point. The threads that have not been joined by then are detached.
///
/// # Examples
/// ```
/// use sward::{thread, time::Duration};
/// let handles = [thread::spawn(|| "quick"), thread::spawn(|| { thread::park(); "slow" })];
/// let (mut results, late) = thread::join_all_timeout(handles, Duration::from_millis(20));
/// for handle in &late {
///     handle.thread().unpark();
/// }
/// results.extend(thread::join_all(late));
/// assert_eq!(results.len(), 2);
/// ```
#[track_caller]
pub fn join_all_timeout<T>(
    handles: impl IntoIterator<Item = JoinHandle<T>>,
    duration: Duration,
) -> (Vec<Result<T>>, Vec<JoinHandle<T>>) {
    let deadline = Instant::now().checked_add(duration);
    let (mut results, mut late) = (Vec::new(), Vec::new());
    for handle in handles {
        match handle.join_deadline(deadline) {
            Ok(result) => results.push(result),
            Err(handle) => late.push(handle),
        }
    }
    (results, late)
}

/// Waits until one of `handles` has ended. Returns its index, its result, and the other handles in order.
///
/// If several have ended, the one with the lowest index is taken.
///
/// # Panics
/// If `handles` is empty.
///
/// # Cancellation
/// This is a cancellation point. All the threads are detached then.
///
/// # Examples
/// ```
/// use sward::{thread, time::Duration};
/// let slow = thread::spawn(|| { thread::park_timeout(Duration::from_secs(1000)); "slow" });
/// let quick = thread::spawn(|| "quick");
/// let (index, result, others) = thread::join_any([slow, quick]);
/// assert_eq!((index, result.unwrap()), (1, "quick"));
/// for other in others {
///     other.thread().unpark();
/// }
/// ```
#[doc(alias = "select_all")]
#[track_caller]
pub fn join_any<T>(
    handles: impl IntoIterator<Item = JoinHandle<T>>,
) -> (usize, Result<T>, Vec<JoinHandle<T>>) {
    /// Withdraws the registrations, also when a cancel unwinds the wait.
    struct Registered<T>(Vec<JoinHandle<T>>);
    impl<T> Registered<T> {
        fn withdraw(&self) {
            for handle in &self.0 {
                handle.0.task().clear_joiner();
            }
        }
    }
    impl<T> Drop for Registered<T> {
        fn drop(&mut self) {
            self.withdraw();
        }
    }
    let mut waiting = Registered(handles.into_iter().collect());
    assert!(!waiting.0.is_empty(), "there is no thread to wait for");
    for handle in &waiting.0 {
        with_current_task(|here| handle.0.task().set_joiner(here));
    }
    let at = Location::caller();
    let index = loop {
        match waiting.0.iter().position(|handle| handle.0.task().is_complete()) {
            Some(index) => break index,
            None => because(What::Object("the first of some threads", 0), at, || wait::park(None)),
        }
    };
    let done = waiting.0.remove(index);
    waiting.withdraw();
    let others = std::mem::take(&mut waiting.0);
    (index, done.join(), others)
}
