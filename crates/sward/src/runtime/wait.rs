//! Every blocking call of the library ends up here: in [`perform`] (the kernel), [`sleep`] (the clock) or [`park`]
//! (another thread). Nothing else suspends a green thread.
//!
//! | the caller is | perform | sleep | park |
//! |---|---|---|---|
//! | a green thread | submit to the engine, suspend | timer, suspend | `PARKED`, suspend |
//! | an OS thread | `poll(2)` + the call | `std::thread::sleep` | futex |
//! | unwinding | as an OS thread: it holds up its worker, since nothing may switch while it unwinds | | |
//!
//! Invariants kept here:
//! 1. The frame that owns an operation in flight is not left before its completion: `perform` has one suspension
//!    point, which does not unwind, and only the completion resumes it.
//! 2. Cancel and timeout only *ask* the engine; the operation's own completion ends the wait. If it brings a result, the result wins,
//!    and a cancel is delivered at the next blocking call.

use std::panic::resume_unwind;
use std::ptr::NonNull;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sward_engine::{Operation, Request, Submitted, perform_blocking};

use super::cancelled::Cancelled;
use super::current::with_current_task;
use super::deadline;
use super::task::{Local, Task, Waiting};
use super::timers::Timer;
use super::worker::Worker;
use crate::diagnosis;

/// The worker and task to suspend on, or `None` where blocking has to hold up the OS thread.
#[inline]
fn green<'a>() -> Option<(&'a Worker, &'a Task)> {
    Worker::current().filter(|_| !std::thread::panicking())
}

/// Whether a blocking call would suspend a green thread here (and not hold up an OS thread).
#[inline]
pub(crate) fn is_green() -> bool {
    green().is_some()
}

/// Unwinds if the calling thread has been cancelled, or a deadline of its has passed, and it is not shielded.
#[inline]
fn deliver_cancel(task: &Task) {
    // SAFETY: it is the calling thread's own task.
    let local = unsafe { task.local() };
    if (task.is_cancelled() || local.expired.get()) && local.shields.get() == 0 {
        unwind(task, local);
    }
}

#[cold]
fn unwind(task: &Task, local: &Local) -> ! {
    if !task.is_cancelled()
        && deadline::expired(local).is_none()
        && let Some(report) = diagnosis::sentence_of(task)
    {
        local.expired.set(false);
        panic!("{report}");
    }
    local.cancelling.set(true);
    match deadline::expired(local) {
        Some(expired) if !task.is_cancelled() => resume_unwind(Box::new(expired)),
        _ => resume_unwind(Box::new(Cancelled)),
    }
}

/// Whether the calling thread unwinds because it was cancelled, and not because it panicked: locks ask, since a cancel
/// does not poison them.
pub(crate) fn is_cancelling() -> bool {
    std::thread::panicking()
        && with_current_task(|task| {
            // SAFETY: it is the calling thread's own task.
            unsafe { task.local() }.cancelling.get()
        })
}

/// What a request came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The system call's result: not negative, or a negative errno.
    Done(i32),
    /// The time was over first.
    TimedOut,
}

/// Does what `request` asks, and blocks the calling thread, green or not, until it is done. A cancellation point.
///
/// # Safety
/// The pointers in `request` are good for its lengths, and its descriptor stays open, until this returns.
pub(crate) unsafe fn perform(request: Request, timeout: Option<Duration>) -> Outcome {
    let Some((worker, task)) = green() else {
        // SAFETY: the caller's word.
        return unsafe { perform_blocking(&request, timeout) }.map_or(Outcome::TimedOut, Outcome::Done);
    };
    deliver_cancel(task);
    if worker.is_over_budget() {
        worker.yield_now(task);
    }
    let operation = Operation::new(request, (task as *const Task).cast());
    // SAFETY: the operation and its buffers stay in place: we are suspended until its completion resumes us.
    if unsafe { worker.submit(&operation) } == Submitted::Done {
        return Outcome::Done(operation.result());
    }
    // SAFETY: the running task is ours.
    unsafe { task.local() }.waiting.set(Waiting::Operation(NonNull::from(&operation)));
    let timed_out = match timeout.and_then(|timeout| Instant::now().checked_add(timeout)) {
        None => {
            worker.suspend(task);
            false
        }
        Some(deadline) => {
            let timer = Timer::new(task);
            // SAFETY: stopped below, before the frame is left.
            unsafe { worker.start_timer(&timer, deadline) };
            worker.suspend(task);
            worker.stop_timer(&timer);
            timer.fired()
        }
    };
    if operation.result() == -libc::ECANCELED {
        deliver_cancel(task);
        if timed_out {
            return Outcome::TimedOut;
        }
    }
    Outcome::Done(operation.result())
}

/// Blocks the calling thread for `duration` at least. A cancellation point.
pub(crate) fn sleep(duration: Duration) {
    let deadline = Instant::now().checked_add(duration);
    let (Some((worker, task)), Some(deadline)) = (green(), deadline) else {
        while deadline.is_none_or(|deadline| Instant::now() < deadline) {
            park(deadline);
        }
        return;
    };
    deliver_cancel(task);
    let timer = Timer::new(task);
    // SAFETY: the running task is ours.
    unsafe { task.local() }.waiting.set(Waiting::Clock(NonNull::from(&timer)));
    // SAFETY: it has fired or been removed when we are resumed.
    unsafe { worker.start_timer(&timer, deadline) };
    worker.suspend(task);
    deliver_cancel(task);
}

/// Lets everything else run that is ready. A cancellation point.
#[inline(always)]
pub(crate) fn yield_now() {
    let Some((worker, task)) = green() else { return std::thread::yield_now() };
    deliver_cancel(task);
    worker.yield_now(task);
}

/// Counts an operation that may do without waiting, and lets others run if the green thread has done many in a row: who only
/// sends does not keep its worker for itself. Not a cancellation point.
#[inline]
pub(crate) fn count_operation() {
    if let Some((worker, task)) = green()
        && worker.is_over_budget()
    {
        give_way(worker, task);
    }
}

#[cold]
fn give_way(worker: &Worker, task: &Task) {
    worker.yield_now(task);
}

/// The payload of a cancel, or of a deadline, is dropped: if the calling thread was unwinding with it, it has come to the end of
/// that, and what unwinds it from now on is a panic.
pub(crate) fn end_of_unwinding() {
    if !std::thread::panicking() {
        with_current_task(|task| {
            // SAFETY: it is the calling thread's own task.
            unsafe { task.local() }.cancelling.set(false);
        });
    }
}

/// Blocks the calling thread until its [`Task::unpark`] is called (or has been since the last park), or until the
/// deadline. May return for no reason, so the caller looks again at what it waits for. A cancellation point: it
/// may unwind, so the caller's claims (a place in a queue) are withdrawn by destructors.
#[inline(always)]
pub(crate) fn park(deadline: Option<Instant>) {
    let Some((worker, task)) = green() else { return block(false, deadline) };
    deliver_cancel(task);
    if task.begin_park() {
        suspend_parked(worker, task, deadline);
    }
    deliver_cancel(task);
}

/// `thread::park`: as [`park`], but the user's token ends it, too.
#[inline(always)]
pub(crate) fn user_park(deadline: Option<Instant>) {
    let Some((worker, task)) = green() else { return block(true, deadline) };
    deliver_cancel(task);
    if task.begin_user_park() {
        suspend_parked(worker, task, deadline);
    }
    deliver_cancel(task);
}

#[inline(always)]
fn suspend_parked(worker: &Worker, task: &Task, deadline: Option<Instant>) {
    match deadline {
        None => worker.suspend_parked(task),
        Some(deadline) => suspend_parked_until(worker, task, deadline),
    }
}

#[inline(never)]
fn suspend_parked_until(worker: &Worker, task: &Task, deadline: Instant) {
    let timer = Timer::new(task);
    // SAFETY: stopped below, before the frame is left.
    unsafe { worker.start_timer(&timer, deadline) };
    worker.suspend_parked(task);
    worker.stop_timer(&timer);
}

/// Blocks the calling thread, which stands in a list of waiters, until it has been chosen (`sync/wait_list.rs`) or the deadline has
/// passed. May return for no reason. A cancel ends it, too, but does not unwind, since the caller leaves the list
/// itself: ask [`is_cancel_due`] before and after, and call [`cancel_again`] out of the list.
#[inline(always)]
pub(crate) fn park_in_list(deadline: Option<Instant>) {
    match green() {
        Some((worker, task)) => {
            // SAFETY: the running task is ours.
            unsafe { task.local() }.waiting.set(Waiting::Choice);
            suspend_parked(worker, task, deadline);
        }
        None => block_quietly(deadline),
    }
}

#[cold]
fn block_quietly(deadline: Option<Instant>) {
    with_current_task(|task| {
        // SAFETY: it is the calling thread's own task.
        let local = unsafe { task.local() };
        task.block(false, deadline::nearest(local, deadline));
        deadline::look_at_clock(local);
    });
}

/// Whether a cancellation point would unwind the calling thread here.
#[inline]
pub(crate) fn is_cancel_due() -> bool {
    with_current_task(|task| {
        // SAFETY: it is the calling thread's own task.
        let local = unsafe { task.local() };
        (task.is_cancelled() || local.expired.get()) && local.shields.get() == 0
    }) && !std::thread::panicking()
}

/// Parks one that holds up its OS thread.
fn block(user: bool, deadline: Option<Instant>) {
    with_current_task(|task| {
        if std::thread::panicking() {
            return task.block(user, deadline);
        }
        // SAFETY: it is the calling thread's own task.
        let local = unsafe { task.local() };
        deadline::look_at_clock(local);
        deliver_cancel(task);
        task.block(user, deadline::nearest(local, deadline));
        deadline::look_at_clock(local);
        deliver_cancel(task);
    });
}

/// Unwinds if the calling thread has been cancelled: for those who have shielded a wait that the cancel was for.
pub(crate) fn cancel_again() {
    with_current_task(|task| deliver_cancel(task));
}

/// Runs `action` without delivering a cancel inside it.
pub(crate) fn shield<T>(action: impl FnOnce() -> T) -> T {
    struct Lower(Arc<Task>);
    impl Drop for Lower {
        fn drop(&mut self) {
            // SAFETY: it is the running thread's own task: `shield` returns on the thread that called it.
            let shields = &unsafe { self.0.local() }.shields;
            shields.set(shields.get() - 1);
        }
    }
    let task = with_current_task(Arc::clone);
    // SAFETY: as above.
    let shields = &unsafe { task.local() }.shields;
    shields.set(shields.get() + 1);
    let _lower = Lower(task);
    action()
}
