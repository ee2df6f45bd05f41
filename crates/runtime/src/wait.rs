//! Every blocking call of the library ends up here: in [`perform`] (the kernel), [`sleep`] (the clock) or [`park`]
//! (another thread). Nothing else suspends a green thread.
//!
//! | the caller is | perform | sleep | park |
//! |---|---|---|---|
//! | a green thread | submit to the engine, suspend | timer, suspend | `PARKED`, suspend |
//! | an OS thread | `poll(2)` + the call | futex | futex |
//!
//! That a thread unwinds changes nothing about this: a destructor may block, and suspends its green thread (`unwinding.rs`). But nothing
//! unwinds out of a destructor, so a cancel or a deadline from outside it is kept for later. When such a thread is cancelled once
//! more, or its runtime ends, it is *hurried*: calls to the kernel do what can be done at once and otherwise fail with `ECANCELED`, and
//! sleeping ends.
//!
//! Invariants kept here:
//! 1. The frame that owns an operation in flight is not left before its completion: `perform` has one suspension
//!    point, which does not unwind, and only the completion resumes it.
//! 2. Cancel and timeout only *ask* the engine; the operation's own completion ends the wait. If it brings a result, the result wins,
//!    and a cancel is delivered at the next blocking call.
//! 3. What can be asked of a thread (cancel, deadline, the runtime's end) is looked at after the last point before a wait at which it
//!    may have been switched out.

use std::panic::{Location, resume_unwind};
use std::ptr::NonNull;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sward_engine::{Operation, Request, Submitted, perform_blocking};

use super::current::{with_current_task, with_local};
use super::deadline::{self, Cancelled};
use super::pending_panic;
use super::reason::{What, because};
use super::scope_data::ScopeData;
use super::task::{Local, Task, Waiting};
use super::timers::Timer;
use super::unwinding::is_open_to_cancel;
use super::worker::Worker;

/// Whether a blocking call would suspend a green thread here (and not hold up an OS thread).
#[inline]
pub fn is_green() -> bool {
    Worker::is_current()
}

/// Whether something may have been asked of the thread that ends its waits.
#[inline]
fn is_asked(task: &Task, local: &Local) -> bool {
    task.is_cancelled() || local.expired.get()
}

/// Unwinds if the calling thread has been cancelled, or a deadline of its has passed, and nothing keeps that off.
#[inline]
fn deliver(task: &Task) {
    // SAFETY: it is the calling thread's own task.
    let local = unsafe { task.local() };
    if is_asked(task, local) {
        deliver_asked(task, local);
    }
}

#[cold]
fn deliver_asked(task: &Task, local: &Local) {
    let may_cancel = is_open_to_cancel(local);
    if may_cancel && task.is_cancelled() {
        resume_unwind(Box::new(Cancelled::unwinding()));
    }
    if let Some(expired) = deadline::due(local) {
        resume_unwind(Box::new(expired));
    }
    if may_cancel && let Some(report) = pending_panic::take(task) {
        local.expired.set(false);
        panic!("{report}");
    }
}

/// Whether the thread, which is the calling one, is to wait for nothing any more, since it unwinds and has been asked again.
#[inline]
fn is_hurried(worker: &Worker, local: &Local) -> bool {
    (worker.is_stopping() || local.unwinding.is_hurried())
        && std::thread::panicking()
        && local.shields.get() == 0
}

/// What a request came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The system call's result: not negative, or a negative errno.
    Done(i32),
    /// The time was over first.
    TimedOut,
}

/// Does what `request` asks, and blocks the calling thread, green or not, until it is done. A cancellation point.
///
/// # Safety
/// The pointers in `request` are good for its lengths, and its descriptor stays open, until this returns.
#[inline]
pub unsafe fn perform(request: Request, timeout: Option<Duration>) -> Outcome {
    // SAFETY: used in this frame, which is the calling green thread's.
    let Some((worker, task)) = (unsafe { Worker::current() }) else {
        // SAFETY: the caller promises that pointers and descriptor are good until this returns.
        return unsafe { perform_blocking(&request, timeout) }.map_or(Outcome::TimedOut, Outcome::Done);
    };
    deliver(task);
    if worker.is_over_budget() {
        worker.yield_now(task);
        deliver(task);
    }
    let operation = Operation::new(request, (task as *const Task).cast());
    // SAFETY: the operation and its buffers stay in place: we are suspended until its completion resumes us.
    if unsafe { worker.submit(&operation) } == Submitted::Done {
        return Outcome::Done(operation.result());
    }
    // SAFETY: the running task is ours.
    let local = unsafe { task.local() };
    local.waiting.set(Waiting::Operation(NonNull::from(&operation)));
    if is_hurried(worker, local) {
        worker.cancel_operation(NonNull::from(&operation));
    }
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
    under_stress(worker, task);
    if operation.result() == -libc::ECANCELED {
        deliver(task);
        if timed_out {
            return Outcome::TimedOut;
        }
    }
    Outcome::Done(operation.result())
}

/// Blocks the calling thread for `duration` at least. A cancellation point.
#[inline]
pub fn sleep(duration: Duration) {
    let deadline = Instant::now().checked_add(duration);
    // SAFETY: used in this frame, which is the calling green thread's.
    let (Some((worker, task)), Some(deadline)) = (unsafe { Worker::current() }, deadline) else {
        while deadline.is_none_or(|deadline| Instant::now() < deadline) {
            park(deadline);
        }
        return;
    };
    deliver(task);
    // SAFETY: the running task is ours.
    let local = unsafe { task.local() };
    if is_hurried(worker, local) {
        return worker.yield_now(task);
    }
    let timer = Timer::new(task);
    local.waiting.set(Waiting::Clock(NonNull::from(&timer)));
    // SAFETY: it has fired or been removed when we are resumed.
    unsafe { worker.start_timer(&timer, deadline) };
    worker.suspend(task);
    under_stress(worker, task);
    deliver(task);
}

/// Lets everything else run that is ready. A cancellation point.
#[inline(always)]
pub fn yield_now() {
    // SAFETY: used in this frame, which is the calling green thread's.
    let Some((worker, task)) = (unsafe { Worker::current() }) else { return std::thread::yield_now() };
    deliver(task);
    worker.yield_now(task);
}

/// Counts an operation that may complete without waiting, and yields after many in a row, so that a thread that only sends does not
/// monopolize its worker. Not a cancellation point.
#[inline]
pub fn count_operation() {
    // SAFETY: used in this frame, which is the calling green thread's.
    if let Some((worker, task)) = unsafe { Worker::current() }
        && worker.is_over_budget()
    {
        give_way(worker, task);
    }
}

#[cold]
fn give_way(worker: &Worker, task: &Task) {
    worker.yield_now(task);
}

/// Blocks the calling thread until its [`Task::unpark`] is called (or has been since the last park), or until the
/// deadline. May return for no reason, so the caller looks again at what it waits for. A cancellation point: it
/// may unwind, so the caller's claims (a place in a queue) are withdrawn by destructors.
#[inline(always)]
pub fn park(deadline: Option<Instant>) {
    // SAFETY: used in this frame, which is the calling green thread's.
    let Some((worker, task)) = (unsafe { Worker::current() }) else { return block(false, deadline) };
    under_stress(worker, task);
    deliver(task);
    if task.begin_park() {
        suspend_parked(worker, task, deadline);
    }
    under_stress(worker, task);
    deliver(task);
}

/// `thread::park`: as [`park`], but the user's token ends it, too.
#[inline(always)]
pub fn user_park(deadline: Option<Instant>) {
    // SAFETY: used in this frame, which is the calling green thread's.
    let Some((worker, task)) = (unsafe { Worker::current() }) else { return block(true, deadline) };
    under_stress(worker, task);
    deliver(task);
    if task.begin_user_park() {
        suspend_parked(worker, task, deadline);
    }
    under_stress(worker, task);
    deliver(task);
}

/// A place at which the calling thread may be switched out as well as not: see `stress.rs`.
#[inline(always)]
fn under_stress(worker: &Worker, task: &Task) {
    if worker.stress.strikes(2) {
        give_way(worker, task);
    }
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

/// Blocks the calling thread, which stands in a list of waiters, until it has been notified (`sync/wait_list.rs`) or the deadline has
/// passed. May return for no reason. A cancel ends it, too, but does not unwind, since the caller leaves the list
/// itself: ask [`is_cancel_due`] before and after, and call [`cancel_again`] out of the list.
#[inline(always)]
pub fn park_in_list(deadline: Option<Instant>) {
    // SAFETY: used in this frame, which is the calling green thread's.
    match unsafe { Worker::current() } {
        Some((worker, task)) => {
            // SAFETY: the running task is ours.
            unsafe { task.local() }.waiting.set(Waiting::Notification);
            suspend_parked(worker, task, deadline);
            // The thread stands in the list still, and whether it was woken stands there, too.
            under_stress(worker, task);
        }
        None => block_quietly(deadline),
    }
}

#[cold]
fn block_quietly(deadline: Option<Instant>) {
    with_local(|task, local| {
        task.block(false, deadline::nearest(local, deadline));
        deadline::look_at_clock(local);
    });
}

/// Whether a cancellation point would unwind the calling thread here.
#[inline]
pub fn is_cancel_due() -> bool {
    with_local(|task, local| is_asked(task, local) && is_due(task, local))
}

#[cold]
fn is_due(task: &Task, local: &Local) -> bool {
    let may_cancel = is_open_to_cancel(local);
    may_cancel && task.is_cancelled()
        || deadline::is_due(local)
        || may_cancel && pending_panic::is_requested(task)
}

/// Parks one that holds up its OS thread.
fn block(user: bool, deadline: Option<Instant>) {
    with_local(|task, local| {
        deadline::look_at_clock(local);
        deliver(task);
        task.block(user, deadline::nearest(local, deadline));
        deadline::look_at_clock(local);
        deliver(task);
    });
}

/// Waits until all threads of a scope have left it. `at` is where the user's code waits.
pub fn await_children(scope: &ScopeData, at: &'static Location<'static>) {
    because(What::Scope(scope), at, || {
        while scope.running() != 0 {
            park(None);
        }
    });
}

/// Unwinds if the calling thread has been cancelled: for those who have shielded a wait that the cancel was for.
#[inline]
pub fn cancel_again() {
    with_current_task(|task| deliver(task));
}

/// Runs `action` without delivering a cancel inside it.
#[inline]
pub fn shield<T>(action: impl FnOnce() -> T) -> T {
    struct Lower(Arc<Task>);
    impl Drop for Lower {
        fn drop(&mut self) {
            // SAFETY: it is the running thread's own task: `shield` returns on the thread that called it.
            let shields = &unsafe { self.0.local() }.shields;
            shields.set(shields.get() - 1);
        }
    }
    let task = with_current_task(Arc::clone);
    // SAFETY: it is the calling thread's own task.
    let shields = &unsafe { task.local() }.shields;
    shields.set(shields.get() + 1);
    let _lower = Lower(task);
    action()
}
