//! A worker: one OS thread, one engine, one run queue, and the loop that turns completions into running green threads.
//!
//! ```text
//!            ┌──────────────────────────────────────────────────────────────┐
//!            ▼                                                              │
//!   run what is ready ──▶ read the mail ──▶ fire timers ──▶ engine.wait ──▶ completions make tasks ready
//!   (128 turns at most)                                     (sleeps only if nothing is ready)
//! ```
//!
//! The run queue is strictly first in, first out, and private to the worker. A task that has not started stands in a
//! second queue from which other workers may steal; its place in the first queue is held by an empty entry. If it has
//! been stolen by then, the entry is nothing. So a worker that is alone runs everything in the order in which it became ready.
//!
//! Invariants kept here:
//! - A started task is resumed by its own worker only.
//! - A task is in the run queue at most once: it is put there by whoever ends its wait, and each wait ends once
//!   (`task.rs`).
//! - No borrow of the worker's parts is held while user code runs, so what a green thread calls can borrow them again.

mod calls;
mod interrupts;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use sward_coroutine::{Coroutine, OverflowReport, StackPool, watch_overflow};
use sward_engine::{Completed, Engine};

use super::counters::{self, Counters, phase};
use super::deadline::Cancelled;
use super::inspection::{Inspection, Progress, Trace};
use super::live_tasks::LiveTasks;
use super::message::Message;
use super::run_queue::RunQueue;
use super::shared::Shared;
use super::stress::Stress;
use super::task::{Local, Task, Waiting};
use super::timers::{Timers, coarse_milliseconds};
use crate::report::{fatal, report};

/// How many green threads run before mail, timers and I/O are looked at again.
const TURNS: u32 = 128;

/// How many operations of one green thread may succeed at once before others get their turn.
const INLINE_OPERATIONS: u32 = 32;

/// How many unused stacks are trimmed between two looks at the engine.
const TRIM: usize = 64;

/// How long a stack is unused before it is trimmed: this, and at most twice this.
const TRIM_PERIOD: Duration = Duration::from_secs(1);

/// How often a worker that has nothing to wait for looks whether the runtime can end at all, while it ends.
const QUIET_TICK: Duration = Duration::from_millis(100);

thread_local! {
    /// The worker that runs on this OS thread, or null.
    static WORKER: Cell<*const Worker> = const { Cell::new(ptr::null()) };
}

/// One OS thread's scheduler. Lives in the frame of the thread that runs it.
pub struct Worker {
    shared: Arc<Shared>,
    index: usize,
    /// The green thread that runs now, or null while the scheduler itself does.
    pub(crate) current: Cell<*const Task>,
    /// Runnable tasks, and (on a runtime's only worker) unstarted ones. Null: "start one from `fresh`, unless they have
    /// all been stolen".
    pub(crate) ready: RunQueue,
    fresh: crossbeam_deque::Worker<Arc<Task>>,
    /// Everything started here and not over. The worker owns one reference to each.
    pub(crate) live: RefCell<LiveTasks>,
    engine: RefCell<Box<dyn Engine>>,
    timers: RefCell<Timers>,
    pub(crate) stacks: RefCell<StackPool>,
    counters: Arc<Counters>,
    /// The coarse clock at this pass of the loop, in the upper half: the upper half of `Local::stamp`.
    clock: Cell<u64>,
    /// The clock, in milliseconds, when the present period of the stack pool began.
    trim_period: Cell<u32>,
    /// What to run between turns.
    inspections: RefCell<VecDeque<Inspection>>,
    /// Operations that the kernel has not completed.
    in_flight: Cell<usize>,
    /// A thread that is resumed now leaves its return addresses in `trace` and suspends again.
    pub(crate) is_tracing: Cell<bool>,
    pub(crate) trace: RefCell<Trace>,
    pub(crate) stress: Stress,
    /// How many operations the current task may still complete at once.
    inline_operations: Cell<u32>,
    stopping: Cell<bool>,
    /// The number of switches at the last quiet tick, and how many ticks it has been the same.
    quiet: Cell<(u64, u32)>,
    /// The runtime ends without its threads.
    is_abandoning: Cell<bool>,
}

impl Worker {
    /// A worker for this OS thread, which has opened `engine`.
    pub fn new(
        shared: Arc<Shared>,
        index: usize,
        fresh: crossbeam_deque::Worker<Arc<Task>>,
        engine: Box<dyn Engine>,
    ) -> Worker {
        shared.set_waker(index, engine.waker());
        let counters = Arc::clone(shared.counters(index));
        Worker {
            shared,
            index,
            current: Cell::new(ptr::null()),
            ready: RunQueue::default(),
            fresh,
            live: RefCell::new(LiveTasks::new()),
            engine: RefCell::new(engine),
            timers: RefCell::new(Timers::new(Instant::now())),
            stacks: RefCell::new(StackPool::new()),
            counters,
            clock: Cell::new(0),
            trim_period: Cell::new(0),
            inspections: RefCell::new(VecDeque::new()),
            in_flight: Cell::new(0),
            is_tracing: Cell::new(false),
            trace: RefCell::new(Trace::default()),
            inline_operations: Cell::new(0),
            stress: Stress::new(),
            stopping: Cell::new(false),
            quiet: Cell::new((0, 0)),
            is_abandoning: Cell::new(false),
        }
    }

    /// After [`Worker::run`]. Threads that were abandoned stay where they are for ever, and so does all that they and the kernel
    /// may refer to: stacks, operations, this worker.
    pub fn end(self) {
        if self.is_abandoning.get() {
            std::mem::forget(self);
        }
    }

    /// Whether a worker runs on this OS thread.
    #[inline]
    pub fn is_here() -> bool {
        !WORKER.get().is_null()
    }

    /// The worker of this OS thread and the green thread that runs on it, if that is where the caller is.
    ///
    /// # Safety
    /// The references are used by the calling green thread and do not leave its frames: it ends before its worker does.
    #[inline(always)]
    pub unsafe fn current<'a>() -> Option<(&'a Worker, &'a Task)> {
        let worker = WORKER.get();
        if worker.is_null() {
            return None;
        }
        // SAFETY: `run` sets the pointer for as long as its `&self` lives, and what runs meanwhile returns before.
        let worker = unsafe { &*worker };
        let task = worker.current.get();
        // SAFETY: the current task is live, and the worker keeps a reference to what is live.
        if task.is_null() { None } else { Some((worker, unsafe { &*task })) }
    }

    /// Lends the worker of this OS thread and the green thread that runs on it, if that is where the caller is.
    #[inline]
    pub fn with_current<R>(action: impl FnOnce(&Worker, &Task) -> R) -> Option<R> {
        // SAFETY: both are lent for the length of `action`, which runs in a frame of the calling green thread.
        unsafe { Worker::current() }.map(|(worker, task)| action(worker, task))
    }

    /// Whether the caller is a green thread.
    #[inline]
    pub fn is_current() -> bool {
        Worker::with_current(|_, _| ()).is_some()
    }

    #[inline]
    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    #[inline]
    pub fn index(&self) -> usize {
        self.index
    }

    /// Whether the runtime ends.
    #[inline]
    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.get()
    }

    // ---- the loop -----------------------------------------------------------------------------------------------

    /// Schedules until the runtime has been stopped and everything here is over.
    pub fn run(&self) {
        let scheduling = Scheduling;
        let _overflow = watch_overflow(describe_current);
        let outer = WORKER.replace(self);
        let mut completed = Completed::new();
        let mut messages = Vec::new();
        self.counters.os_thread.store(counters::this_os_thread(), Ordering::Relaxed);
        self.counters.phase.store(phase::AWAKE, Ordering::Relaxed);
        loop {
            Counters::add(&self.counters.passes, 1);
            self.clock.set(u64::from(coarse_milliseconds()) << 32);
            self.run_ready();
            if self.shared.mailbox(self.index).has_mail() {
                self.read_mail(&mut messages);
            }
            self.run_inspection();
            if self.is_abandoning.get() {
                for message in self.shared.mailbox(self.index).close_at_once() {
                    if let Message::Start(task) = message {
                        task.abandon();
                    }
                }
                break;
            }
            if self.stopping.get() && self.is_done() && self.shared.mailbox(self.index).close() {
                break;
            }
            self.fire_timers();
            self.wait(&mut completed);
            self.deliver(&mut completed);
        }
        self.counters.phase.store(phase::ASLEEP, Ordering::Relaxed);
        WORKER.set(outer);
        std::mem::forget(scheduling);
    }

    /// Resumes each ready task once, within limits.
    fn run_ready(&self) {
        for _ in 0..TURNS {
            // SAFETY: a task is in the run queue of its worker alone, and not over.
            match unsafe { self.ready.pop(&self.stress) } {
                None => break,
                Some(task) if task.is_null() => {
                    if let Some(task) = self.fresh.pop() {
                        self.assign(task);
                    }
                }
                Some(task) => self.resume(task),
            }
            if self.stress.strikes(2) {
                break;
            }
        }
        // A worker that is always busy takes its share of what comes from outside, too.
        if !self.shared.injector_is_empty()
            && let Some(task) = self.shared.steal(self.index)
        {
            self.assign(task);
        }
    }

    /// Switches to `task` until it suspends or ends.
    #[inline(always)]
    fn resume(&self, task: *const Task) {
        // SAFETY: what is in the run queue is live or unstarted, and ours. The loan of the body ends when the task
        // suspends; nothing touches the body of a running task.
        let Some(local) = (unsafe { (*task).started() }) else {
            // SAFETY: `spawn` made it raw.
            return self.start(unsafe { Arc::from_raw(task) });
        };
        self.inline_operations.set(INLINE_OPERATIONS);
        local.stamp.set(self.clock.get() | u64::from(self.count_switch() as u32));
        self.counters.set_last_resumed(task);
        // SAFETY: the loan ends when the task suspends, and nothing touches the coroutine of a running task.
        let coroutine = unsafe { (*local.coroutine.get()).as_mut() };
        let coroutine = coroutine.expect("`start` gives a task its coroutine");
        let outer = local.spans.enter();
        // Around the switch alone: a subscriber that blocks is no green thread, and holds up its OS thread.
        self.current.set(task);
        let finished = coroutine.resume();
        self.current.set(ptr::null());
        local.spans.exit(outer);
        if finished {
            self.finish(task);
        }
    }

    /// Counts a switch, and returns how many there have been.
    #[inline]
    fn count_switch(&self) -> u64 {
        let switches = self.counters.switches.load(Ordering::Relaxed).wrapping_add(1);
        self.counters.switches.store(switches, Ordering::Relaxed);
        switches
    }

    /// Starts a task here; or has it started by another worker that sleeps and has far fewer threads. For where a thread starts it
    /// stays, and one that accepts connections would keep them all while the others sleep.
    fn assign(&self, task: Arc<Task>) {
        match self.shared.lighter_sleeper(self.index) {
            Some(worker) => self.shared.send_start(worker, task),
            None => self.start(task),
        }
    }

    /// Makes an unstarted task one of this worker's, gives it a stack and its first turn.
    #[inline(never)]
    fn start(&self, task: Arc<Task>) {
        task.set_worker(self.index);
        // SAFETY: an unstarted task is touched by the one who has taken it from its queue, and that is us.
        let (start, reservation) = unsafe { task.take_start() };
        if self.stopping.get() || task.is_cancelled() {
            self.release_reservation(reservation);
            start.abandon(Box::new(Cancelled::before_start()));
            task.complete();
            return;
        }
        let mut stack = match self.take_stack(reservation) {
            Ok(stack) => stack,
            Err(error) => {
                if let Some(worker) = self.other_reserver(reservation) {
                    // SAFETY: taken above, and nobody has seen the task meanwhile.
                    unsafe { task.put_back(start, reservation) };
                    return self.shared.send_start(worker, task);
                }
                report(format_args!("sward: green thread {} has not started: {error}", task.id()));
                start.abandon(Box::new(format!("the green thread has not started: {error}")));
                task.complete();
                return;
            }
        };
        let local = stack.push(Local::new());
        // SAFETY: just placed; the stack is the task's until `finish`.
        let local = unsafe { local.as_ref() };
        local.spans.open(&task);
        let task = Arc::into_raw(task);
        // SAFETY: the worker's reference, just made raw, lives until `finish`; `run` does not unwind.
        let coroutine = unsafe {
            Coroutine::new(stack, move |suspender| {
                local.suspender.set(suspender);
                start.run();
                (*task).drop_locals();
            })
        };
        // SAFETY: nobody borrows it, and it is `None`; we are the owner, and the task does not run yet.
        unsafe {
            local.coroutine.get().write(Some(coroutine));
            (*task).set_local(local);
        }
        let mut live = self.live.borrow_mut();
        local.slot.set(live.insert(task) as u32);
        self.counters.live.store(live.len(), Ordering::Relaxed);
        drop(live);
        Counters::add(&self.counters.spawned, 1);
        self.resume(task);
    }

    /// `task` has returned: its stack goes back, its joiner goes on, its reference goes.
    #[inline(never)]
    fn finish(&self, task: *const Task) {
        // SAFETY: live until the `from_raw` below; we are its worker and it does not run any more.
        let local = unsafe { local_of(task) };
        let slot = local.slot.get() as usize;
        // SAFETY: live until the `from_raw` below.
        local.spans.close(unsafe { &*task });
        // SAFETY: the task is this worker's and does not run. The coroutine is taken off the stack on which it lies, and nobody finds `local` any
        // more.
        let coroutine = unsafe {
            (*task).set_local(ptr::null());
            (*local.coroutine.get()).take()
        };
        let mut stack = coroutine.expect("`start` gives a task its coroutine").into_stack();
        if let Some(on_end) = self.shared.on_end() {
            // SAFETY: live until the `from_raw` below.
            on_end(unsafe { &*task }.spawned_at(), &mut stack);
        }
        self.stacks.borrow_mut().give_back(stack);
        let mut live = self.live.borrow_mut();
        live.remove(slot);
        self.counters.live.store(live.len(), Ordering::Relaxed);
        drop(live);
        if self.shared.is_watched() {
            self.counters.forget_last_resumed();
        }
        // SAFETY: `start` made it raw, and it has left the list of live tasks just now.
        unsafe { Arc::from_raw(task) }.complete();
    }

    /// Whether nothing is left to do but to read mail that may come.
    fn is_done(&self) -> bool {
        self.live.borrow().is_empty()
            && self.ready.is_empty()
            && self.fresh.is_empty()
            && self.inspections.borrow().is_empty()
    }

    /// Runs a piece of the first inspection.
    #[inline]
    fn run_inspection(&self) {
        let inspection = self.inspections.borrow_mut().pop_front();
        if let Some(mut inspection) = inspection
            && inspection(self) == Progress::Again
        {
            self.inspections.borrow_mut().push_back(inspection);
        }
    }

    /// Hands over to the kernel, and sleeps in it if there is nothing else to do.
    fn wait(&self, completed: &mut Completed) {
        Counters::set(&self.counters.system_calls, self.engine.borrow_mut().system_calls());
        if !self.ready.is_empty() || !self.inspections.borrow().is_empty() {
            return self.enter_engine(Some(Duration::ZERO), completed);
        }
        if let Some(task) = self.shared.steal(self.index) {
            Counters::add(&self.counters.steals, 1);
            self.assign(task);
            return self.enter_engine(Some(Duration::ZERO), completed);
        }
        if self.trim_stacks() {
            return self.enter_engine(Some(Duration::ZERO), completed);
        }
        let mailbox = self.shared.mailbox(self.index);
        if !mailbox.prepare_sleep() {
            return;
        }
        self.shared.enter_sleep();
        if self.shared.has_work() {
            self.enter_engine(Some(Duration::ZERO), completed);
        } else {
            let deadline = self.timers.borrow_mut().next_deadline();
            let timeout = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            let hopeless = timeout.is_none() && self.in_flight.get() == 0;
            self.counters
                .phase
                .store(if hopeless { phase::HOPELESS } else { phase::ASLEEP }, Ordering::Relaxed);
            let trim = self.stacks.borrow_mut().is_cooling().then_some(TRIM_PERIOD);
            let tick = (hopeless && self.stopping.get()).then_some(QUIET_TICK);
            self.enter_engine(timeout.into_iter().chain(trim).chain(tick).min(), completed);
            if tick.is_some() {
                self.note_quiet_tick();
            }
            self.counters.phase.store(phase::AWAKE, Ordering::Relaxed);
        }
        self.shared.leave_sleep();
        mailbox.awake();
    }

    /// Returns memory of unused stacks to the kernel. Returns true if there may be more.
    fn trim_stacks(&self) -> bool {
        let now = (self.clock.get() >> 32) as u32;
        let mut stacks = self.stacks.borrow_mut();
        if u128::from(now.wrapping_sub(self.trim_period.get())) >= TRIM_PERIOD.as_millis() {
            self.trim_period.set(now);
            stacks.begin_period();
            self.ready.trim();
        }
        stacks.trim(TRIM) == TRIM
    }

    fn enter_engine(&self, timeout: Option<Duration>, completed: &mut Completed) {
        let mut engine = self.engine.borrow_mut();
        if let Err(error) = engine.wait(timeout, completed) {
            // The kernel holds addresses of frames and will not say what has become of them: nothing can go on.
            fatal(format_args!(
                "the {} engine cannot wait for the kernel: {error}; choose another (SWARD_ENGINE)",
                engine.name()
            ));
        }
    }

    /// Makes the tasks ready whose operations have completed.
    fn deliver(&self, completed: &mut Completed) {
        while let Some(operation) = completed.pop() {
            self.in_flight.set(self.in_flight.get() - 1);
            // SAFETY: it lies in the frame of the task that waits for it and that has not been resumed yet.
            let task = unsafe { operation.as_ref() }.waiter().cast::<Task>();
            // SAFETY: it lives, since it has not been resumed, and it belongs to this worker, whose engine completed the operation.
            unsafe { local_of(task) }.waiting.set(Waiting::Nothing);
            self.ready.push(task);
        }
    }
}

/// A worker schedules; forgotten when it has come to its end. If it unwinds instead (a `tracing` subscriber panicked, memory ran
/// out), its threads can neither go on nor be given up: their frames are lent to the kernel and to other threads.
struct Scheduling;

impl Drop for Scheduling {
    fn drop(&mut self) {
        fatal(format_args!("a worker's scheduler panicked, and its green threads cannot go on without it"));
    }
}

/// The owner's part of a live task.
///
/// # Safety
/// `task` is live on the calling worker.
pub(crate) unsafe fn local_of<'a>(task: *const Task) -> &'a Local {
    // SAFETY: the caller promises that the task is live here.
    unsafe { (*task).local() }
}

/// Runs inside the signal handler for a stack overflow: says whose stack it was.
fn describe_current(report: &mut OverflowReport) {
    Worker::with_current(|_, task| {
        report.set_id(task.id().get());
        if let Some(name) = task.name() {
            report.set_name(name);
        }
    });
}
