//! Snapshots of a runtime's green threads: their names, what they do, since when, and (if wanted) their stacks.
//!
//! Each worker runs an inspection: it lists its threads, then observes [`SLICE`] of them between turns and sends the result. When the
//! inspection is dropped, done or not, the channel disconnects.

use std::collections::HashSet;
use std::fmt;
use std::panic::Location;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

use sward_engine::Request;

use super::runtimes;
use crate::runtime::current::with_current_task;
use crate::runtime::inspection::{Activity, Observation, Progress, Started};
use crate::runtime::message::Message;
use crate::runtime::offload::offload;
use crate::runtime::reason::What;
use crate::runtime::shared::Shared;
use crate::runtime::task::Task;
use crate::runtime::wait;
use crate::runtime::worker::Worker;
use crate::thread::Thread;

/// How many threads a worker looks at between turns. Their stacks take some 10 µs each, so others wait a millisecond.
const SLICE: usize = 100;

/// A worker that has sent nothing for so long is stuck, and is not waited for.
const PATIENCE: Duration = Duration::from_secs(1);

/// Whether a snapshot includes stacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Depth {
    States,
    Stacks,
}

/// The live threads of one runtime, each as it was at its own moment.
pub(super) struct RuntimeSnapshot {
    pub(super) shared: Arc<Shared>,
    pub(super) threads: Vec<ThreadSnapshot>,
    /// Threads that have not started.
    pub(super) unstarted: usize,
    /// Workers that did not answer.
    pub(super) silent: Vec<usize>,
}

/// One thread, as its worker observed it.
#[derive(Clone)]
pub(super) struct ThreadSnapshot {
    pub(super) thread: Started,
    pub(super) snapshot: Snapshot,
    /// Changes whenever the thread runs.
    pub(super) stamp: u64,
    /// Return addresses, innermost first. Threads with the same stack share them.
    pub(super) stack: Option<Arc<[usize]>>,
}

impl ThreadSnapshot {
    pub(super) fn task(&self) -> &Arc<Task> {
        self.thread.task()
    }

    /// What it waits for, if that is another thread's doing.
    pub(super) fn wait(&self) -> Option<&Wait> {
        match &self.snapshot.state {
            State::Waiting(wait) => Some(wait),
            _ => None,
        }
    }
}

enum Report {
    Threads(Vec<ThreadSnapshot>),
    Unstarted(usize),
    Complete(usize),
}

/// Asks all workers of `shared`. Blocks the calling OS thread. If that is a worker (whose green thread unwinds, and so cannot
/// suspend), its own threads are looked at here and now.
pub(super) fn take(shared: &Arc<Shared>, depth: Depth) -> RuntimeSnapshot {
    let mut threads = Vec::new();
    let Unseen { unstarted, silent } = survey(shared, depth, PATIENCE, |seen| threads.push(seen));
    RuntimeSnapshot { shared: Arc::clone(shared), threads, unstarted, silent }
}

/// What a snapshot cannot show.
pub(super) struct Unseen {
    /// Threads that have not started.
    pub(super) unstarted: usize,
    /// Workers that did not answer.
    pub(super) silent: Vec<usize>,
}

/// Takes a snapshot like [`take`], but shows each thread to `see` and keeps none. Workers that have sent nothing for `patience` are silent.
pub(super) fn survey(
    shared: &Arc<Shared>,
    depth: Depth,
    patience: Duration,
    mut see: impl FnMut(ThreadSnapshot),
) -> Unseen {
    let (sender, receiver) = channel();
    let here = Worker::with_current(|worker, _| Arc::ptr_eq(worker.shared(), shared).then(|| worker.index()))
        .flatten();
    for index in 0..shared.workers() {
        let mut inspection = inspection(depth, sender.clone());
        match here.filter(|&here| here == index) {
            Some(_) => drop(Worker::with_current(|worker, _| while inspection(worker) == Progress::Again {})),
            None => shared.send(index, Message::Inspect(Box::new(inspection))),
        }
    }
    drop(sender);
    let mut unseen = Unseen { unstarted: shared.unstarted(), silent: (0..shared.workers()).collect() };
    loop {
        match receiver.recv_timeout(patience) {
            Ok(Report::Threads(threads)) => threads.into_iter().for_each(&mut see),
            Ok(Report::Unstarted(count)) => unseen.unstarted += count,
            Ok(Report::Complete(worker)) => unseen.silent.retain(|&silent| silent != worker),
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return unseen,
        }
    }
}

/// Returns the inspection that a worker runs. It may be dropped early, when the worker ends; and it ends early once nobody waits for its
/// result, since a worker that was stuck has several.
fn inspection(depth: Depth, sender: Sender<Report>) -> impl FnMut(&Worker) -> Progress + Send {
    let mut left: Option<Vec<Started>> = None;
    let mut stacks = HashSet::new();
    move |worker| {
        if left.is_none() && sender.send(Report::Unstarted(worker.unstarted())).is_err() {
            return Progress::Done;
        }
        let left = left.get_or_insert_with(|| worker.live());
        let slice = left.split_off(left.len().saturating_sub(SLICE));
        let seen = slice.iter().filter_map(|task| observe(worker, task, depth, &mut stacks)).collect();
        if sender.send(Report::Threads(seen)).is_err() {
            return Progress::Done;
        }
        if !left.is_empty() {
            return Progress::Again;
        }
        let _ = sender.send(Report::Complete(worker.index()));
        Progress::Done
    }
}

/// Observes a thread that was live on `worker` a moment ago. Returns `None` if it is over.
fn observe(
    worker: &Worker,
    thread: &Started,
    depth: Depth,
    stacks: &mut HashSet<Arc<[usize]>>,
) -> Option<ThreadSnapshot> {
    let (snapshot, stamp) =
        worker.observe(thread, |Observation { activity, since, stamp, has_deadline }| {
            let thread = Thread::new(Arc::clone(thread.task()));
            let mut state = State::new(&activity);
            if let State::Waiting(wait) = &mut state {
                wait.has_deadline |= has_deadline;
            }
            (Snapshot { thread, worker: worker.index(), state, since }, stamp)
        })?;
    let stack = (depth == Depth::Stacks).then(|| worker.trace(thread)).filter(|stack| !stack.is_empty());
    let stack = stack.map(|stack| match stacks.get(&*stack) {
        Some(known) => Arc::clone(known),
        None => {
            let new: Arc<[usize]> = stack.into();
            stacks.insert(Arc::clone(&new));
            new
        }
    });
    Some(ThreadSnapshot { thread: thread.clone(), snapshot, stamp, stack })
}

fn call(request: &Request) -> Call {
    let name = match request {
        Request::Accept { .. } => "accept",
        Request::Connect { .. } => "connect",
        Request::Receive { .. } | Request::ReceiveProvided { .. } => "recv",
        Request::Send { .. } => "send",
        Request::ReceiveMessage { .. } => "recvmsg",
        Request::SendMessage { .. } => "sendmsg",
        Request::Read { .. } => "read",
        Request::Write { .. } => "write",
        Request::Poll { .. } => "poll",
    };
    Call { name, descriptor: request.source().fd }
}

/// Reports the threads of a worker that the end of its runtime leaves behind. By that worker.
pub(crate) fn report_left_behind(worker: &Worker) {
    for thread in worker.live() {
        if let Some(seen) = observe(worker, &thread, Depth::States, &mut HashSet::new()) {
            crate::report(format_args!(
                "sward: the runtime ends without {}: it has been cancelled, and still {}, which nothing can end",
                Named(seen.task()),
                seen.snapshot.state
            ));
        }
    }
}

/// See [`thread::all`].
#[track_caller]
pub(crate) fn all_threads() -> Vec<Snapshot> {
    let runtimes = runtimes();
    let look = move || {
        let seen = runtimes.iter().flat_map(|shared| take(shared, Depth::States).threads);
        seen.map(|seen| seen.snapshot).collect::<Vec<_>>()
    };
    if !wait::is_green() {
        return look();
    }
    let mut snapshots = offload(look);
    with_current_task(|here| {
        for snapshot in snapshots.iter_mut().filter(|snapshot| Arc::ptr_eq(snapshot.thread.task(), here)) {
            // It waited for this very list.
            snapshot.state = State::Running;
        }
    });
    snapshots
}

/// What a green thread was doing when [`all`](crate::thread::all) looked at it.
#[derive(Clone, Debug)]
pub struct Snapshot {
    pub(super) thread: Thread,
    pub(super) worker: usize,
    pub(super) state: State,
    pub(super) since: Duration,
}

impl Snapshot {
    /// The thread: its name, its identity, where it was spawned.
    pub fn thread(&self) -> &Thread {
        &self.thread
    }

    /// The number of its worker, from 0.
    pub fn worker(&self) -> usize {
        self.worker
    }

    /// What it did.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// For how long, within some milliseconds.
    pub fn since(&self) -> Duration {
        self.since
    }
}

impl fmt::Display for Snapshot {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Snapshot { thread, worker, state, since } = self;
        write!(formatter, "{}, worker {worker}, {state} for {since:?}", Named(thread.task()))
    }
}

/// What a green thread does.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum State {
    /// It runs.
    Running,
    /// It could run, and waits for its turn.
    Ready,
    /// It sleeps for a time.
    Sleeping,
    /// It is in [`park`](crate::thread::park).
    Parked,
    /// It waits for the kernel.
    System(Call),
    /// It waits for other threads.
    Waiting(Wait),
}

impl State {
    fn new(activity: &Activity<'_>) -> State {
        match *activity {
            Activity::Running => State::Running,
            Activity::Ready => State::Ready,
            Activity::Sleeping => State::Sleeping,
            Activity::Parked => State::Parked,
            Activity::Kernel(request) => State::System(call(request)),
            Activity::Waiting(None) => State::Waiting(Wait::unknown()),
            Activity::Waiting(Some((what, at))) => State::Waiting(Wait::new(what, at)),
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            State::Running => formatter.write_str("runs"),
            State::Ready => formatter.write_str("is ready to run"),
            State::Sleeping => formatter.write_str("sleeps"),
            State::Parked => formatter.write_str("is parked"),
            State::System(Call { name, descriptor }) => {
                write!(formatter, "is in {name} on descriptor {descriptor}")
            }
            State::Waiting(wait) => write!(formatter, "waits for {wait}"),
        }
    }
}

/// A system call that a green thread waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    name: &'static str,
    descriptor: i32,
}

impl Call {
    /// The call's name, such as `recv`.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The descriptor that it is about.
    pub fn descriptor(&self) -> i32 {
        self.descriptor
    }
}

/// What a green thread waits for. Its text names it and, where it is known, the place in the source.
#[derive(Clone)]
pub struct Wait {
    pub(super) kind: WaitKind,
    /// A deadline will end it.
    pub(super) has_deadline: bool,
    at: Option<&'static Location<'static>>,
}

#[derive(Clone)]
pub(super) enum WaitKind {
    /// It does not say.
    Unknown,
    /// The end of each of these.
    Ends(Vec<Arc<Task>>),
    /// A lock, by its kind and address.
    Lock(&'static str, usize),
    /// Anything else that has an address, or 0.
    Object(&'static str, usize),
}

impl Wait {
    fn unknown() -> Wait {
        Wait { kind: WaitKind::Unknown, has_deadline: false, at: None }
    }

    pub(super) fn new(what: &What<'_>, at: &'static Location<'static>) -> Wait {
        let kind = match *what {
            What::End(task) | What::EndOrTime(task) => WaitKind::Ends(vec![Arc::clone(task)]),
            What::Scope(scope) => WaitKind::Ends(scope.unfinished()),
            What::Held(kind, address) => WaitKind::Lock(kind, address),
            What::Object(kind, address) => WaitKind::Object(kind, address),
        };
        Wait { kind, has_deadline: matches!(what, What::EndOrTime(_)), at: Some(at) }
    }

    /// The place in the source that waits, if it is known.
    pub fn at(&self) -> Option<&'static Location<'static>> {
        self.at
    }
}

impl fmt::Display for Wait {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            WaitKind::Unknown => formatter.write_str("another thread")?,
            WaitKind::Ends(tasks) => match &tasks[..] {
                [task] => write!(formatter, "the end of {}", Short(task))?,
                tasks => write!(formatter, "the end of {} threads", tasks.len())?,
            },
            WaitKind::Object(kind, 0) => formatter.write_str(kind)?,
            WaitKind::Lock(kind, address) | WaitKind::Object(kind, address) => {
                write!(formatter, "{kind} at {address:#x}")?;
            }
        }
        self.at.map_or(Ok(()), |at| write!(formatter, ", at {at}"))
    }
}

impl fmt::Debug for Wait {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Wait({self})")
    }
}

/// A thread with its number, name and spawn site.
pub(super) struct Named<'a>(pub(super) &'a Task);

impl fmt::Display for Named<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}, spawned at {}", Short(self.0), self.0.spawned_at())
    }
}

/// A thread with its number and name.
pub(super) struct Short<'a>(pub(super) &'a Task);

impl fmt::Display for Short<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "thread {}", self.0.id())?;
        self.0.name().map_or(Ok(()), |name| write!(formatter, " {name:?}"))
    }
}
