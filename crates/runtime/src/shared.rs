//! What the workers of one runtime share, and what the outside sees of it.

use std::num::NonZeroU64;
use std::panic::Location;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use crossbeam_deque::{Injector, Steal, Stealer};
use sward_coroutine::Stack;
use sward_engine::Waker;

use super::counters::{Counters, phase};
use super::mailbox::Mailbox;
use super::message::Message;
use super::scope_data::ScopeData;
use super::sleepers::Sleepers;
use super::stack_reservation::Released;
use super::task::Task;

/// Looks at the stack of a thread that is over and was spawned there.
pub type OnEnd = Box<dyn Fn(&'static Location<'static>, &mut Stack) + Send + Sync>;

/// One runtime. Every green thread holds a reference.
pub struct Shared {
    workers: Box<[Remote]>,
    /// Unstarted tasks from outside the workers.
    injector: Injector<Arc<Task>>,
    /// Workers that sleep and would take unstarted tasks.
    sleepers: Sleepers,
    /// The main closure has returned: nothing new is started.
    stopping: AtomicBool,
    /// Address space of a stack unless the thread's builder says otherwise.
    stack_bytes: usize,
    /// Counts the threads that the main closure's end waits for. There from the making of the main thread to its end
    /// (it holds that thread, which holds this).
    exit: Mutex<Option<Arc<ScopeData>>>,
    engine: &'static str,
    /// The number of the main thread.
    main: OnceLock<NonZeroU64>,
    watched: bool,
    on_end: Option<OnEnd>,
}

/// The outside of a worker.
struct Remote {
    mailbox: Mailbox<Message>,
    /// Set before the worker takes its first task, never changed.
    waker: OnceLock<Waker>,
    stealer: Stealer<Arc<Task>>,
    /// Tasks that it has been told to start and that are still in its mailbox.
    expected: AtomicUsize,
    released: Released,
    counters: Arc<Counters>,
}

impl Shared {
    pub fn new(
        stealers: Vec<Stealer<Arc<Task>>>,
        stack_bytes: usize,
        engine: &'static str,
        watched: bool,
        on_end: Option<OnEnd>,
    ) -> Shared {
        let workers = stealers.into_iter().map(|stealer| Remote {
            mailbox: Mailbox::new(),
            waker: OnceLock::new(),
            stealer,
            expected: AtomicUsize::new(0),
            released: Released::default(),
            counters: Arc::default(),
        });
        Shared {
            workers: workers.collect(),
            injector: Injector::new(),
            sleepers: Sleepers::new(),
            stopping: AtomicBool::new(false),
            stack_bytes,
            exit: Mutex::new(None),
            engine,
            main: OnceLock::new(),
            watched,
            on_end,
        }
    }

    #[inline]
    pub fn engine(&self) -> &'static str {
        self.engine
    }

    /// Whether a monitor or a console looks at what each worker is running.
    #[inline]
    pub fn is_watched(&self) -> bool {
        self.watched
    }

    /// What looks at the stack of a thread that is over, if somebody does.
    #[inline]
    pub(crate) fn on_end(&self) -> Option<&OnEnd> {
        self.on_end.as_ref()
    }

    /// Threads that have not started and stand where any worker may take them.
    pub fn unstarted(&self) -> usize {
        self.injector.len() + self.workers.iter().map(|worker| worker.stealer.len()).sum::<usize>()
    }

    /// The count of threads that are joined at exit; `main` is the one to wait for them.
    pub fn set_main(&self, main: &Arc<Task>) {
        let set = self.main.set(main.id());
        debug_assert!(set.is_ok(), "there is one main thread");
        *self.exit.lock().unwrap_or_else(PoisonError::into_inner) =
            Some(Arc::new(ScopeData::new(Arc::clone(main))));
    }

    /// The number of the main thread, which no other runtime of the process has; `None` before it has been made.
    pub fn main(&self) -> Option<NonZeroU64> {
        self.main.get().copied()
    }

    #[inline]
    pub fn is_main(&self, task: &Task) -> bool {
        self.main() == Some(task.id())
    }

    /// `None` once the runtime is ending.
    #[inline]
    pub fn exit(&self) -> Option<Arc<ScopeData>> {
        self.exit.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    #[inline]
    pub fn stack_bytes(&self) -> usize {
        self.stack_bytes
    }

    #[inline]
    pub fn workers(&self) -> usize {
        self.workers.len()
    }

    #[inline]
    pub fn mailbox(&self, worker: usize) -> &Mailbox<Message> {
        &self.workers[worker].mailbox
    }

    #[inline]
    pub fn counters(&self, worker: usize) -> &Arc<Counters> {
        &self.workers[worker].counters
    }

    /// Returns the green thread that a worker resumed last, if it is not over and the runtime is watched. From any thread.
    pub fn last_resumed(&self, worker: usize) -> Option<Arc<Task>> {
        // SAFETY: `then` calls this only if the runtime is watched.
        self.is_watched().then(|| unsafe { self.counters(worker).last_resumed() }).flatten()
    }

    /// Reservations of the worker that other workers have released.
    pub(crate) fn released(&self, worker: usize) -> &Released {
        &self.workers[worker].released
    }

    pub fn set_waker(&self, worker: usize, waker: Waker) {
        let set = self.workers[worker].waker.set(waker);
        debug_assert!(set.is_ok(), "a worker starts once");
    }

    #[inline]
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    /// Ends the runtime: each worker cancels what runs on it and returns when that is over.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
        let exit = self.exit.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(exit);
        for worker in 0..self.workers() {
            self.send(worker, Message::Stop);
        }
    }

    /// Ends the runtime without the threads that are left.
    pub fn abandon(&self) {
        for worker in 0..self.workers() {
            self.send(worker, Message::Abandon);
        }
    }

    /// How often a green thread has been resumed, over all workers.
    pub fn switches(&self) -> u64 {
        self.workers.iter().map(|worker| worker.counters.switches.load(Ordering::Relaxed)).sum()
    }

    /// Whether each worker but `worker` has ended, or sleeps and has nothing to wait for but mail.
    pub fn is_hopeless_but(&self, worker: usize) -> bool {
        let is_hopeless = |remote: &Remote| match remote.counters.phase.load(Ordering::Relaxed) {
            phase::ASLEEP => remote.mailbox.is_closed(),
            phase => phase == phase::HOPELESS && !remote.mailbox.has_mail(),
        };
        (0..self.workers()).filter(|&other| other != worker).all(|other| is_hopeless(&self.workers[other]))
    }

    /// Leaves a message for a worker and wakes it if it sleeps. From any thread.
    pub fn send(&self, worker: usize, message: Message) {
        match self.workers[worker].mailbox.push(message) {
            Ok(true) => self.wake(worker),
            Ok(false) => {}
            Err(Message::Start(task)) => task.abandon(),
            // It has ended after all its threads: there is nothing left to be told.
            Err(_) => {}
        }
    }

    fn wake(&self, worker: usize) {
        if let Some(waker) = self.workers[worker].waker.get() {
            waker.wake();
        }
    }

    // ---- unstarted tasks ----------------------------------------------------------------------------------------

    /// Takes in an unstarted task from a thread that is not a worker.
    pub fn inject(&self, task: Arc<Task>) {
        self.injector.push(task);
        self.work_has_come();
    }

    /// Some queue of unstarted tasks has got one: wakes a worker if one sleeps.
    #[inline]
    pub fn work_has_come(&self) {
        if let Some(worker) = self.sleepers.claim(self.workers.iter().map(|worker| &worker.mailbox)) {
            self.wake(worker);
        }
    }

    /// The lightest of the workers that sleep, if it has far fewer threads than `worker`: not even eight ninths of them less four.
    pub fn lighter_sleeper(&self, worker: usize) -> Option<usize> {
        if !self.sleepers.are_there() {
            return None;
        }
        let threads = |worker: usize| {
            let Remote { expected, counters, .. } = &self.workers[worker];
            counters.live.load(Ordering::Relaxed) + expected.load(Ordering::Relaxed)
        };
        let asleep = (0..self.workers()).filter(|&other| self.workers[other].mailbox.is_asleep());
        let lightest = asleep.min_by_key(|&other| threads(other))?;
        let few = threads(lightest);
        (few + few / 8 + 4 < threads(worker)).then_some(lightest)
    }

    /// Has a worker start a task.
    pub fn send_start(&self, worker: usize, task: Arc<Task>) {
        self.workers[worker].expected.fetch_add(1, Ordering::Relaxed);
        self.send(worker, Message::Start(task));
    }

    /// A worker has got a task by [`Shared::send_start`].
    pub fn start_arrived(&self, worker: usize) {
        self.workers[worker].expected.fetch_sub(1, Ordering::Relaxed);
    }

    /// Whether anybody has an unstarted task. After [`Shared::enter_sleep`], a "no" cannot be outdated.
    pub fn has_work(&self) -> bool {
        !self.injector.is_empty() || self.workers.iter().any(|worker| !worker.stealer.is_empty())
    }

    #[inline]
    pub fn injector_is_empty(&self) -> bool {
        self.injector.is_empty()
    }

    pub fn enter_sleep(&self) {
        self.sleepers.enter();
    }

    pub fn leave_sleep(&self) {
        self.sleepers.leave();
    }

    /// Takes an unstarted task from the injector or from another worker.
    pub fn steal(&self, thief: usize) -> Option<Arc<Task>> {
        let workers = self.workers.len();
        let others = (1..workers).map(|step| (thief + step) % workers);
        let mut sources = std::iter::once(None).chain(others.map(Some));
        sources.find_map(|source| {
            loop {
                let stolen = match source {
                    None => self.injector.steal(),
                    Some(worker) => self.workers[worker].stealer.steal(),
                };
                match stolen {
                    Steal::Success(task) => return Some(task),
                    Steal::Empty => return None,
                    Steal::Retry => {}
                }
            }
        })
    }

    /// The runtime is over or about to be: ends what no worker will start any more.
    pub fn abandon_unstarted(&self) {
        while let Some(task) = self.steal(0) {
            task.abandon();
        }
    }

    /// Green threads that live, over all workers.
    pub fn live(&self) -> usize {
        self.workers.iter().map(|worker| worker.counters.live.load(Ordering::Relaxed)).sum()
    }
}
