//! Waiting for a thread, and ending it.

use std::fmt;
use std::panic::Location;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::packet::TakeResult;
use super::{Result, Thread};
use crate::runtime::current::with_current_task;
use crate::runtime::reason::{What, because};
use crate::runtime::task::Task;
use crate::runtime::wait;

/// The part that [`JoinHandle`] and [`super::ScopedJoinHandle`] share.
pub(super) struct Joiner<'scope, T> {
    pub(super) thread: Thread,
    pub(super) packet: Arc<dyn TakeResult<T> + 'scope>,
}

impl<T> Joiner<'_, T> {
    pub(super) fn task(&self) -> &Arc<Task> {
        &self.thread.0
    }

    pub(super) fn is_finished(&self) -> bool {
        let finished = self.task().is_complete();
        if !finished {
            wait::count_operation();
        }
        finished
    }

    #[track_caller]
    pub(super) fn join(self) -> Result<T> {
        await_completion(self.task(), None);
        self.packet.take().expect("a thread leaves its result before it is complete")
    }
}

/// Blocks until `task` is over; false if the deadline passed before. A cancellation point.
#[track_caller]
fn await_completion(task: &Arc<Task>, deadline: Option<Instant>) -> bool {
    /// Withdraws the registration, also when a cancel unwinds the wait.
    struct Registered<'a>(&'a Task);
    impl Drop for Registered<'_> {
        fn drop(&mut self) {
            self.0.clear_joiner();
        }
    }
    if task.is_complete() || !with_current_task(|here| task.set_joiner(here)) {
        return true;
    }
    let _registered = Registered(task);
    let what = if deadline.is_none() { What::End(task) } else { What::EndOrTime(task) };
    because(what, Location::caller(), || {
        while !task.is_complete() {
            if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                return false;
            }
            wait::park(deadline);
        }
        true
    })
}

/// Owns the permission to wait for a thread's end: [`std::thread::JoinHandle`]. Dropping it detaches the thread.
pub struct JoinHandle<T>(pub(super) Joiner<'static, T>);

impl<T> JoinHandle<T> {
    /// Returns a handle to the thread.
    pub fn thread(&self) -> &Thread {
        &self.0.thread
    }

    /// Waits until the thread has ended, and returns its result.
    ///
    /// # Errors
    /// The payload of the thread's panic, or a boxed [`Cancelled`](super::Cancelled) if it was cancelled.
    ///
    /// # Cancellation
    /// This is a cancellation point. The thread is detached then.
    #[track_caller]
    pub fn join(self) -> Result<T> {
        self.0.join()
    }

    /// Waits as [`join`](JoinHandle::join) does, but for `duration` at most.
    ///
    /// # Errors
    /// The handle itself if the thread has not ended in time.
    ///
    /// # Cancellation
    /// This is a cancellation point. The thread is detached then.
    #[track_caller]
    pub fn join_timeout(self, duration: Duration) -> std::result::Result<Result<T>, Self> {
        self.join_deadline(Instant::now().checked_add(duration))
    }

    /// Waits until `deadline` at most; without limit if there is none.
    #[track_caller]
    pub(super) fn join_deadline(self, deadline: Option<Instant>) -> std::result::Result<Result<T>, Self> {
        if await_completion(self.0.task(), deadline) { Ok(self.join()) } else { Err(self) }
    }

    /// Returns whether the thread has ended, so that [`join`](JoinHandle::join) would not wait. [A loop that
    /// asks](crate::sync#loops-that-try) lets others run.
    pub fn is_finished(&self) -> bool {
        self.0.is_finished()
    }

    /// Asks the thread to end. Does not wait for it.
    ///
    /// Its blocking call, or its next one, unwinds: destructors run, no panic message is printed, locks are not
    /// poisoned, and [`join`](JoinHandle::join) returns [`Cancelled`](super::Cancelled). A thread that has not started
    /// never does. The request is sticky: a `catch_unwind` that swallows it meets it again at the next blocking call.
    /// A thread that never blocks can call [`is_cancelled`](super::is_cancelled). An OS thread (spawned outside a
    /// runtime) is reached when it waits for another thread or sleeps, not when it waits for I/O.
    ///
    /// # Aborts
    /// Nothing unwinds out of an `extern "C"` function. If the blocking call is made in a callback that C code has called, the
    /// process aborts there, as it does when such a callback panics. [`shield`](super::shield) the body of the callback, and the
    /// cancel comes at the first blocking call after it. The same holds for [`timeout`](crate::time::timeout) around C code.
    ///
    /// # Panics
    /// In a program that is compiled with `panic = "abort"`: there is no way to unwind the thread.
    pub fn cancel(&self) {
        cancel(self.0.task());
    }
}

/// See [`JoinHandle::cancel`].
pub(super) fn cancel(task: &Arc<Task>) {
    if cfg!(panic = "abort") {
        panic!(
            "a thread is cancelled by unwinding it, and this program is compiled with panic = \"abort\": compile it with \"unwind\""
        );
    }
    task.cancel();
}

impl<T> fmt::Debug for JoinHandle<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("JoinHandle").field("thread", self.thread()).finish_non_exhaustive()
    }
}
