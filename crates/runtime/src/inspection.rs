//! How a worker inspects its own green threads, at the request of another thread: an [`Inspection`] comes by mail.
//!
//! A suspended thread stands still as long as its worker does something else, so its frames may be read: that is where its
//! operation, its timer and its reason lie. And it may be resumed for a moment, if it suspends again at once and its wait is
//! left alone: to look at its own stack.

use std::panic::Location;
use std::ptr;
use std::sync::Arc;
use std::time::Duration;

use sward_coroutine::{Stack, Suspender, on_stack};
use sward_engine::Request;

use super::hooks::hooks;
use super::reason::What;
use super::task::{Local, Task, UserPark, Waiting};
use super::timers::coarse_milliseconds;
use super::worker::Worker;

/// Address space of the stack on which others are looked at, in bytes. A size of its own, so that no thread gets a
/// stack that looks deeper used than it was.
const TRACE_STACK_BYTES: usize = 260 * 1024;

/// A job for a worker, run between turns in short pieces, so that its green threads go on.
pub type Inspection = Box<dyn FnMut(&Worker) -> Progress + Send>;

/// What an [`Inspection`] returns after each piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    Again,
    Done,
}

/// What passes between a worker and a thread that it traces.
#[derive(Default)]
pub(crate) struct Trace {
    /// A stack for the unwinder, taken before the thread is resumed.
    stack: Option<Stack>,
    /// What was found.
    addresses: Vec<usize>,
}

/// A green thread that has started. Only a worker makes it, of its own threads.
#[derive(Clone)]
pub struct Started(Arc<Task>);

impl Started {
    pub fn task(&self) -> &Arc<Task> {
        &self.0
    }
}

/// What a worker observes of a thread.
pub struct Observation<'a> {
    pub activity: Activity<'a>,
    /// How long ago it ran last.
    pub since: Duration,
    /// Changes whenever it runs.
    pub stamp: u64,
    /// A deadline will end whatever it waits for.
    pub has_deadline: bool,
}

/// What a thread is doing.
pub enum Activity<'a> {
    Running,
    /// It stands in the run queue.
    Ready,
    Sleeping,
    /// It is in `thread::park`.
    Parked,
    Kernel(&'a Request),
    /// It waits for other threads; `None`: it does not say what for.
    Waiting(Option<(&'a What<'a>, &'static Location<'static>)>),
}

/// What a suspended thread says that it waits for.
fn waiting(local: &Local) -> Activity<'_> {
    // SAFETY: the reason lies in the frame of the thread, and `because` takes it back before the frame is left.
    let reason = unsafe { local.reason.get().as_ref() };
    Activity::Waiting(reason.map(|reason| (&reason.what, reason.at)))
}

impl Worker {
    /// Every green thread that has started here and is not over.
    pub fn live(&self) -> Vec<Started> {
        let share = |task: *const Task| {
            // SAFETY: the worker owns a reference to what is on the list.
            unsafe {
                Arc::increment_strong_count(task);
                Started(Arc::from_raw(task))
            }
        };
        self.live.borrow().iter().map(share).collect()
    }

    /// How many unstarted threads stand in the private run queue. Costs a walk.
    pub fn unstarted(&self) -> usize {
        // SAFETY: what is in the run queue is live or unstarted, and ours.
        let is_unstarted = |task: *const Task| unsafe { (*task).started() }.is_none();
        self.ready.entries().into_iter().filter(|&task| !task.is_null() && is_unstarted(task)).count()
    }

    /// Shows a thread of this worker to `see`, which runs no green thread. Returns `None` if the thread is over.
    pub fn observe<R>(&self, thread: &Started, see: impl FnOnce(Observation<'_>) -> R) -> Option<R> {
        let task = self.own(thread)?;
        // SAFETY: it is live and ours.
        let local = unsafe { task.local() };
        let activity = match local.waiting.get() {
            _ if ptr::eq(self.current.get(), task) => Activity::Running,
            // SAFETY: the operation lies in the frame of the suspended thread, which stands still meanwhile.
            Waiting::Operation(operation) => Activity::Kernel(unsafe { &operation.as_ref().request }),
            Waiting::Clock(_) => Activity::Sleeping,
            Waiting::Notification => waiting(local),
            Waiting::Nothing => match task.is_parked() {
                None => Activity::Ready,
                Some(UserPark(true)) => Activity::Parked,
                Some(UserPark(false)) => waiting(local),
            },
        };
        let stamp = local.stamp.get();
        let then = (stamp >> 32) as u32;
        let since = Duration::from_millis(coarse_milliseconds().wrapping_sub(then).into());
        let has_deadline = !local.deadline.get().is_null() && local.shields.get() == 0;
        Some(see(Observation { activity, since, stamp, has_deadline }))
    }

    /// The return addresses on the stack of a suspended thread of this worker, innermost first. Empty
    /// if it runs or is over, or if there is no memory.
    pub fn trace(&self, thread: &Started) -> Vec<usize> {
        let Some(task) = self.own(thread).filter(|task| !ptr::eq(self.current.get(), *task)) else {
            return Vec::new();
        };
        // Taken here, since the thread may have hardly any stack left.
        let Ok(stack) = self.stacks.borrow_mut().take(TRACE_STACK_BYTES) else { return Vec::new() };
        self.trace.borrow_mut().stack = Some(stack);
        // SAFETY: it is live, ours, and does not run. What is resumed comes back at once, without having run user
        // code, so nobody else touches the body.
        if let Some(coroutine) = unsafe { &mut *task.local().coroutine.get() } {
            self.is_tracing.set(true);
            let finished = coroutine.resume();
            self.is_tracing.set(false);
            debug_assert!(!finished, "who suspends again is not over");
        }
        let Trace { stack, addresses } = self.trace.take();
        if let Some(stack) = stack {
            self.stacks.borrow_mut().give_back(stack);
        }
        addresses
    }

    /// On the thread that is traced. The unwinder runs on a stack of its own: it wants some KiB, which a thread near
    /// the end of its stack does not have, and of which each of 100,000 threads would keep the pages.
    #[cold]
    pub(crate) fn leave_trace(&self, suspender: &Suspender) {
        let base = ptr::from_ref(suspender).addr();
        let trace = &mut *self.trace.borrow_mut();
        if let Some(stack) = &mut trace.stack {
            let walk = hooks().map(|hooks| hooks.return_addresses);
            trace.addresses = on_stack(stack, || walk.map_or(Vec::new(), |walk| walk(base)));
        }
    }

    /// Ends the wait of a thread of this worker as a deadline that has passed would; false if the thread has run since
    /// it had `stamp`.
    pub fn interrupt_parked(&self, thread: &Started, stamp: u64) -> bool {
        let Some(task) = self.own(thread) else { return false };
        // SAFETY: it is live and ours.
        let local = unsafe { task.local() };
        let stands_still = local.stamp.get() == stamp;
        if stands_still {
            local.expired.set(true);
            self.notify(task);
            task.unpark();
        }
        stands_still
    }

    /// The task, if it is live and this worker's.
    fn own<'a>(&self, thread: &'a Started) -> Option<&'a Task> {
        let Started(task) = thread;
        let is_of = |shared| Arc::ptr_eq(shared, self.shared());
        let is_ours = task.worker() == self.index() && task.shared().is_some_and(is_of);
        (is_ours && !task.is_complete()).then_some(task)
    }
}
