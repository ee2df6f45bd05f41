//! What green threads and other threads ask of a worker: to suspend, to be made ready, to start something, to begin an operation.

use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::time::Instant;

use sward_coroutine::Suspender;
use sward_engine::{MultishotReceive, Operation, ProvidedBuffer, Source, Submitted};

use super::{WORKER, Worker};
use crate::counters::Counters;
use crate::message::Message;
use crate::task::{Local, Task, Waiting};
use crate::timers::Timer;

impl Worker {
    /// Makes a parked task ready that has just been notified. From any thread; `task.rs` says that it happens once.
    #[inline]
    pub fn schedule(task: &Task) {
        let worker = WORKER.get();
        // SAFETY: as in `current`.
        if let Some(here) = unsafe { worker.as_ref() }
            && here.index == task.worker()
            && task.shared().is_some_and(|shared| Arc::ptr_eq(shared, &here.shared))
        {
            here.ready.push(task);
        } else if let Some(shared) = task.shared() {
            shared.send(task.worker(), Message::Ready(task));
        }
    }

    /// Makes a green thread ready that has been notified in a list of waiters. From any thread.
    #[inline]
    pub fn schedule_notified(task: Arc<Task>) {
        // (Once it is over, it waits for nothing.)
        if let Some(shared) = task.shared().cloned()
            && !task.is_complete()
        {
            shared.send(task.worker(), Message::Notified(task));
        }
    }

    /// As [`Worker::schedule_notified`], if the calling green thread belongs to the same worker; else false.
    #[inline]
    pub fn schedule_notified_here(task: &Task) -> bool {
        Worker::with_current(|here, _| {
            let is_here = here.index == task.worker()
                && task.shared().is_some_and(|shared| Arc::ptr_eq(shared, &here.shared));
            if is_here {
                here.notify(task);
            }
            is_here
        })
        .unwrap_or(false)
    }

    /// Ends the wait of a thread of this worker that waits in a list; nothing if it does not, or not any more.
    #[inline]
    pub fn notify(&self, task: &Task) {
        // SAFETY: it has entered a list, so it has started, here. (It may have left the list since, and be over.)
        if let Some(local) = unsafe { task.started() }
            && let Waiting::Notification = local.waiting.get()
        {
            local.waiting.set(Waiting::Nothing);
            self.ready.push(task);
        }
    }

    /// Takes in a new task from a green thread of this worker.
    #[inline]
    pub fn spawn(&self, task: Arc<Task>) {
        if self.shared.workers() == 1 {
            // Nobody could steal it, so it need not stand where one can.
            return self.ready.push(Arc::into_raw(task));
        }
        self.fresh.push(task);
        self.ready.push(ptr::null());
        self.shared.work_has_come();
    }

    /// Suspends the running `task` behind everything that is ready.
    #[inline(always)]
    pub fn yield_now(&self, task: &Task) {
        self.ready.push(task);
        self.suspend(task);
    }

    /// Suspends the running `task` until somebody has put it into the run queue.
    ///
    /// Always inlined, with all that leads to it: the processor predicts where a function returns to by the calls
    /// it has seen, and a switch leaves without returning. Each call between the switch and the loop that comes
    /// back to it costs about 10 ns.
    #[inline(always)]
    pub fn suspend(&self, task: &Task) {
        // SAFETY: the running task is ours.
        let local = unsafe { task.local() };
        if std::thread::panicking() {
            return self.suspend_unwinding(local);
        }
        self.switch(local);
    }

    /// [`Worker::suspend`], when the running thread unwinds.
    #[cold]
    fn suspend_unwinding(&self, local: &Local) {
        local.unwinding.suspends();
        self.switch(local);
        local.unwinding.resumed();
    }

    #[inline(always)]
    fn switch(&self, local: &Local) {
        // SAFETY: the task runs, so `start` has set the pointer, which is good for the coroutine's life.
        let suspender = unsafe { &*local.suspender.get() };
        suspender.suspend();
        if self.is_tracing.get() {
            self.suspend_again(suspender);
        }
    }

    #[cold]
    fn suspend_again(&self, suspender: &Suspender) {
        while self.is_tracing.get() {
            self.leave_trace(suspender);
            suspender.suspend();
        }
    }

    /// [`Worker::suspend`], with a count.
    #[inline(always)]
    pub fn suspend_parked(&self, task: &Task) {
        Counters::add(&self.counters.parks, 1);
        self.suspend(task);
    }

    /// Returns whether the running task has to let others run before its next operation.
    #[inline]
    pub fn is_over_budget(&self) -> bool {
        let left = self.inline_operations.get();
        self.inline_operations.set(left.wrapping_sub(1));
        left == 0 || self.stress.strikes(3)
    }

    /// Begins an operation on this worker's engine.
    ///
    /// # Safety
    /// As `Engine::submit`: the operation stays where it is until its completion has resumed its task.
    #[inline]
    pub unsafe fn submit(&self, operation: &Operation) -> Submitted {
        // SAFETY: the caller promises that the operation stays where it is.
        let submitted = unsafe { self.engine.borrow_mut().submit(NonNull::from(operation)) };
        Counters::add(&self.counters.operations, 1);
        self.in_flight.set(self.in_flight.get() + usize::from(submitted == Submitted::Pending));
        submitted
    }

    /// The descriptor is about to be closed.
    #[inline]
    pub fn forget(source: Source) {
        // SAFETY: as in `current`.
        if let Some(here) = unsafe { WORKER.get().as_ref() } {
            here.engine.borrow_mut().forget(source);
        }
    }

    /// Stops a multishot receive, because its reader ends or reads by itself from now on.
    #[inline]
    pub fn stop_multishot(multishot: &MultishotReceive) {
        // SAFETY: as in `current`.
        if let Some(here) = unsafe { WORKER.get().as_ref() } {
            here.engine.borrow_mut().stop_multishot(multishot);
        }
    }

    /// Returns a provided buffer to the engine.
    #[inline]
    pub fn return_buffer(buffer: ProvidedBuffer) {
        // SAFETY: as in `current`.
        if let Some(here) = unsafe { WORKER.get().as_ref() } {
            here.engine.borrow_mut().return_buffer(buffer);
        }
    }

    /// Starts a timer.
    ///
    /// # Safety
    /// As `Timers::insert`.
    #[inline]
    pub unsafe fn start_timer(&self, timer: &Timer, deadline: Instant) {
        // SAFETY: the caller promises that the timer stays where it is.
        unsafe { self.timers.borrow_mut().insert(NonNull::from(timer), deadline) };
        Counters::add(&self.counters.timers, 1);
    }

    /// Stops a timer that [`Worker::start_timer`] of this worker has started.
    #[inline]
    pub fn stop_timer(&self, timer: &Timer) {
        // SAFETY: if a wheel holds it, it is this one.
        unsafe { self.timers.borrow_mut().remove(timer) };
    }
}
