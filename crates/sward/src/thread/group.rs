//! Waiting for several threads at once.

use std::panic::Location;
use std::time::{Duration, Instant};

use super::{JoinHandle, Result};
use crate::runtime::current::with_current_task;
use crate::runtime::reason::{What, because};
use crate::runtime::wait;

/// Waits for all of `handles`, for `timeout` at most (`None`: without limit). Gives each thread's result in order, or its
/// handle back if it was not over in time: gevent's `joinall`. A cancellation point.
///
/// ```
/// use sward::thread;
/// let threads = (0..3).map(|n| thread::spawn(move || n * n)).collect::<Vec<_>>();
/// let squares: Vec<_> = thread::join_all(threads, None).into_iter().map(|done| done.unwrap().unwrap()).collect();
/// assert_eq!(squares, [0, 1, 4]);
/// ```
#[track_caller]
pub fn join_all<T>(
    handles: impl IntoIterator<Item = JoinHandle<T>>,
    timeout: Option<Duration>,
) -> Vec<std::result::Result<Result<T>, JoinHandle<T>>> {
    let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    let join = |handle: JoinHandle<T>| match deadline {
        None => Ok(handle.join()),
        Some(deadline) => handle.join_timeout(deadline.saturating_duration_since(Instant::now())),
    };
    handles.into_iter().map(join).collect()
}

/// Waits until the first of `handles` is over. Gives its place, its result, and the others' handles in order. A cancellation point.
///
/// # Panics
/// If there is no handle.
///
/// ```
/// use sward::{thread, time::Duration};
/// let slow = thread::spawn(|| { thread::park_timeout(Duration::from_secs(1000)); "slow" });
/// let quick = thread::spawn(|| "quick");
/// let (place, result, others) = thread::first([slow, quick]);
/// assert_eq!((place, result.unwrap()), (1, "quick"));
/// for other in others {
///     other.thread().unpark();
/// }
/// ```
#[track_caller]
pub fn first<T>(handles: impl IntoIterator<Item = JoinHandle<T>>) -> (usize, Result<T>, Vec<JoinHandle<T>>) {
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
    let place = loop {
        match waiting.0.iter().position(|handle| handle.0.task().is_complete()) {
            Some(place) => break place,
            None => because(What::Object("the first of some threads", 0), at, || wait::park(None)),
        }
    };
    let done = waiting.0.remove(place);
    waiting.withdraw();
    let others = std::mem::take(&mut waiting.0);
    (place, done.join(), others)
}
