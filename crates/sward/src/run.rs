//! The door: [`run`] starts the workers, runs the main closure as the first green thread, ends what is left, and returns.

use std::io;
use std::panic::{Location, resume_unwind};
use std::sync::{Arc, Once, OnceLock, mpsc};

use sward_engine::{Choice, Engine, EngineKind, Opened};

use crate::diagnosis::{self, Console, Monitor, Settings, StackUse};
use crate::report::{self, report};
use crate::runtime::shared::{OnEnd, Shared};
use crate::runtime::task::Task;
use crate::runtime::wait;
use crate::runtime::worker::Worker;
use crate::thread::{Builder as ThreadBuilder, JoinHandle, Packet, TakeResult};

/// Address space of a green thread's stack unless somebody says otherwise, in bytes.
const STACK_BYTES: usize = 256 * 1024;

/// Address space of the main green thread's stack, in bytes: what a program's `main` has on Linux.
const MAIN_STACK_BYTES: usize = 8 * 1024 * 1024;

/// What to do when an OS thread or a descriptor cannot be had.
const RAISE_LIMITS: &str = "raise the limit of open files (ulimit -n) or of threads (ulimit -u)";

/// Runs `main` as the first green thread of a new runtime with default settings, and returns what it returns.
///
/// Inside, `sward::thread::spawn` makes green threads, and whatever blocks through this library suspends the green thread only.
/// There is a worker for each core; the calling OS thread is one of them until `run` returns. When `main` has returned,
/// threads that still run are [cancelled](crate::thread::JoinHandle::cancel), and `run` returns once they have ended.
///
/// # Safety
/// Green threads share OS threads, and a blocking call of this library switches between them. A yield of a
/// [`Generator`](crate::coroutine::Generator) and a switch of a [`Greenlet`](crate::coroutine::Greenlet) do the same with bodies. Rust's crates may assume that calls
/// on one OS thread nest: what has begun later ends earlier. So **the code that runs on green threads and in such bodies must not hold, across one of
/// these calls, a value that is right only because calls on one OS thread nest**:
///
/// - *A scoped thread-local value*: `scoped_tls::ScopedKey::set` around a blocking call.
/// - *The initializer of a `thread_local!`* must not make such a call: another green thread of the worker may initialize the same
///   value meanwhile and borrow it, and the first then replaces it. (That of a [`thread::Local`](crate::thread::Local) may.)
/// - *A token that stands for the OS thread*: pyo3's `Python<'py>`, a current OpenGL context, and whatever else C code keeps for the calling OS thread
///   between two calls. Give it back before the blocking call, or do all of it inside [`offload`](crate::offload).
/// - *A reentrant lock* of another crate: `parking_lot`'s `ReentrantMutex` and std's `ReentrantLock` let another green thread of the same worker in.
/// - *Across a yield or a switch only: any borrow that a function lends to a closure for the length of the call*, such as that of `LocalKey::with`,
///   of [`thread::Local::with`](crate::thread::Local::with), or of another crate's scope. A body can be kept for longer than what was lent to it (in another thread-local
///   value, which is dropped later), and it can be forgotten, with the OS threads still running to which it has passed the borrow in a `std::thread::scope`. A green thread can not:
///   it always comes to its end before its values of `thread::Local` and its worker do, so *its* borrows may be held across blocking calls.
///
/// Ordinary `thread_local!` values, read or written between such calls, are fine: a green thread stays on its worker. What a body borrows from its own
/// frames is fine, too.
///
/// Not undefined behaviour, but wrong: a `std::sync` lock held across a blocking call, and a `LazyLock` of std's whose initializer makes one, hold up the worker when
/// another green thread of it wants them; `tracing`'s `Span::enter` across a blocking call gives wrong spans, without the feature `tracing`.
/// Channel and queue calls count as blocking even when there is nothing to wait for.
///
/// # Errors
/// If the engine cannot be opened or an OS thread cannot be started.
///
/// # Panics
/// If `main` panics, with its panic; and if called inside a green thread.
///
/// # Examples
/// ```
/// // SAFETY: nothing here holds a scoped thread-local value across a blocking call.
/// let sum = unsafe {
///     sward::run(|| {
///         let threads: Vec<_> = (1..=3).map(|n| sward::thread::spawn(move || n * n)).collect();
///         threads.into_iter().map(|thread| thread.join().unwrap()).sum::<i32>()
///     })
/// };
/// assert_eq!(sum.unwrap(), 14);
/// ```
#[track_caller]
pub unsafe fn run<F, T>(main: F) -> io::Result<T>
where
    F: FnOnce() -> T,
{
    // SAFETY: the caller keeps the contract, which is the same.
    unsafe { Builder::new().run(main) }
}

/// Settings of a runtime. It stands at the crate's root beside [`run`], as [`thread::Builder`](crate::thread::Builder) stands beside
/// [`thread::spawn`](crate::thread::spawn).
///
/// # Examples
/// ```
/// let engine = unsafe {
///     // SAFETY: nothing here holds a scoped thread-local value across a blocking call.
///     sward::Builder::new().workers(1).engine(sward::EngineKind::Epoll).run(sward::engine_name)
/// };
/// assert_eq!(engine.unwrap(), Some("epoll"));
/// ```
#[doc(alias = "Runtime")]
#[derive(Clone, Debug)]
pub struct Builder {
    workers: Option<usize>,
    engine: Wanted,
    stack_bytes: Option<usize>,
    dump_on_quit: bool,
}

impl Default for Builder {
    fn default() -> Self {
        Builder::new()
    }
}

impl Builder {
    /// A worker per core, the best engine that the kernel has (or the one that `SWARD_ENGINE` names), stacks of 256 KiB (or as many bytes as
    /// `RUST_MIN_STACK` says).
    pub fn new() -> Builder {
        Builder { workers: None, engine: Wanted::Any, stack_bytes: None, dump_on_quit: true }
    }

    /// How many OS threads run green threads. The thread that calls [`run`](Builder::run) is the first.
    ///
    /// # Panics
    /// If `workers` is 0.
    pub fn workers(mut self, workers: usize) -> Builder {
        assert!(workers > 0, "a runtime needs at least one worker");
        self.workers = Some(workers);
        self
    }

    /// Which engine to use. Then no other will do: if the kernel refuses it, `run` fails and says why.
    pub fn engine(mut self, engine: EngineKind) -> Builder {
        self.engine = Wanted::Kind(engine);
        self
    }

    /// An engine of your own: each worker calls `open` on its OS thread and uses what that returns. `name` is for reports and
    /// [`engine_name`].
    ///
    /// # Safety
    /// What `open` returns keeps the contract of [`sward_engine::Engine`]: above all, it never completes an operation twice, nor while the
    /// kernel may still write to its buffers.
    ///
    /// # Examples
    /// ```
    /// // SAFETY: sward's own engine keeps the contract, and nothing here holds a scoped thread-local value across a blocking call.
    /// let name = unsafe {
    ///     let open = || sward_engine::EngineKind::Epoll.open().map_err(std::io::Error::other);
    ///     sward::Builder::new().workers(2).engine_with("mine", open).run(sward::engine_name)
    /// };
    /// assert_eq!(name.unwrap(), Some("mine"));
    /// ```
    pub unsafe fn engine_with<F>(mut self, name: &'static str, open: F) -> Builder
    where
        F: Fn() -> io::Result<Box<dyn Engine>> + Send + Sync + 'static,
    {
        self.engine = Wanted::Foreign(name, Foreign(Arc::new(open)));
        self
    }

    /// Address space of each green thread's stack, in bytes, unless [its builder](crate::thread::Builder::stack_size) says
    /// otherwise. Only pages that are used take memory. As in std, the environment variable `RUST_MIN_STACK` is for stacks that nobody
    /// has asked a size for. (The main thread has 8 MiB, as `main` has.)
    pub fn stack_size(mut self, bytes: usize) -> Builder {
        self.stack_bytes = Some(bytes);
        self
    }

    /// Whether SIGQUIT (Ctrl-\ on a terminal) prints a [`dump`](crate::dump) while the runtime is there, and the program goes on; yes, if not
    /// said otherwise. A handler that was there before is called as well. When `run` returns, the signal is what it was before, unless
    /// somebody has installed another handler meanwhile. `false` leaves the signal alone.
    ///
    /// Signals may arrive on a worker, on the stack of a green thread: install handlers of your own with `SA_ONSTACK`, so that they do not
    /// need room there.
    pub fn dump_on_quit(mut self, dump: bool) -> Builder {
        self.dump_on_quit = dump;
        self
    }

    /// Opens the first worker's engine, and says how the others open theirs.
    fn open_engine(&self) -> io::Result<(Box<dyn Engine>, Source)> {
        let choice = match &self.engine {
            Wanted::Kind(kind) => Choice::Named(*kind),
            Wanted::Any => Choice::from_environment().map_err(invalid)?,
            Wanted::Foreign(name, foreign) => {
                let source = Source::Foreign(name, foreign.clone());
                return Ok((source.open()?, source));
            }
        };
        let Opened { engine, kind, refusal } = choice.open().map_err(unsupported)?;
        if let Some(reason) = refusal {
            say_once(&format!("sward: running on {kind}, since {reason}"));
        }
        Ok((engine, Source::Kind(kind)))
    }

    /// Starts the runtime and runs `main` in it: see [`run`]. If the variable `SWARD_CONSOLE` is a path, `sward top` can watch the process
    /// there meanwhile (in a directory: at its `PID.sock`).
    ///
    /// # Safety
    /// As [`run`].
    ///
    /// # Errors
    /// If the engine cannot be opened, if `SWARD_ENGINE` names none, if another variable of sward's means nothing, if an OS thread
    /// cannot be started, or if there is no memory for the main thread's stack.
    ///
    /// # Panics
    /// If `main` panics, with its panic; and if called inside a green thread.
    #[track_caller]
    pub unsafe fn run<F, T>(self, main: F) -> io::Result<T>
    where
        F: FnOnce() -> T,
    {
        assert!(
            !Worker::is_here(),
            "sward::run was called inside a green thread; it starts a whole runtime. Use sward::thread::spawn there"
        );
        let spawned_at = Location::caller();
        let mut settings = Settings::from_environment().map_err(invalid)?;
        settings.dump_on_quit = self.dump_on_quit;
        let (engine, source) = self.open_engine()?;
        let workers =
            self.workers.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
        let mut queues: Vec<_> = (0..workers).map(|_| crossbeam_deque::Worker::new_fifo()).collect();
        let stealers = queues.iter().map(crossbeam_deque::Worker::stealer).collect();
        let stack_bytes = self.stack_bytes.unwrap_or_else(default_stack_bytes);
        let stack_use = settings.stack_report.then(Arc::<StackUse>::default);
        let on_end = stack_use
            .clone()
            .map(|stack_use| -> OnEnd { Box::new(move |at, stack| stack_use.record(at, stack)) });
        let is_watched = settings.stall_after.is_some() || settings.console.is_some();
        let shared = Arc::new(Shared::new(stealers, stack_bytes, source.name(), is_watched, on_end));
        let first = Worker::new(Arc::clone(&shared), 0, queues.remove(0), engine);
        let stop = StopAtEnd(Arc::clone(&shared));
        let main_stack = first.reserve_stack(MAIN_STACK_BYTES)?;
        let main = move || {
            let stop = stop;
            let result = main();
            if let Some(exit) = stop.0.exit() {
                wait::await_children(&exit, spawned_at);
            }
            result
        };
        // SAFETY: `run` does not return before the main task has ended, so what `main` borrows outlives it; and the task is
        // sent to the first worker, which is this OS thread.
        let packet = unsafe { Packet::new(main, None) };

        diagnosis::install_panic_hook();
        diagnosis::install_runtime_hooks();
        diagnosis::register(&shared);
        std::thread::scope(|scope| {
            let monitor = Monitor::start(scope, &shared, &settings);
            let _monitor = monitor.inspect_err(|error| {
                report(format_args!("sward: nothing watches this runtime: {error}; {RAISE_LIMITS}"))
            });
            let _console = settings.console.as_deref().map(Console::open);
            start_workers(scope, &shared, queues, &source).inspect_err(|_| shared.stop())?;
            let name = Some("main".into());
            let task =
                Task::green(Arc::clone(&shared), Some(0), name, packet.start(), main_stack, spawned_at);
            shared.set_main(&task);
            shared.send_start(0, task);
            first.run();
            io::Result::Ok(())
        })?;
        first.end();
        if let Some(stack_use) = stack_use {
            report::post(stack_use.to_string());
        }
        shared.abandon_unstarted();
        report::flush();
        match packet.take() {
            Some(Ok(value)) => Ok(value),
            Some(Err(payload)) => resume_unwind(payload),
            None => unreachable!("the first worker returns after the main task has"),
        }
    }
}

/// Which engine a runtime shall have.
#[derive(Clone, Debug)]
enum Wanted {
    /// What `SWARD_ENGINE` says, or the best that the kernel has.
    Any,
    Kind(EngineKind),
    Foreign(&'static str, Foreign),
}

/// Opens engines that are none of ours.
#[derive(Clone)]
struct Foreign(Arc<dyn Fn() -> io::Result<Box<dyn Engine>> + Send + Sync>);

impl std::fmt::Debug for Foreign {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Foreign")
    }
}

/// How each worker of a runtime opens its engine.
#[derive(Clone)]
enum Source {
    Kind(EngineKind),
    Foreign(&'static str, Foreign),
}

impl Source {
    fn name(&self) -> &'static str {
        match self {
            Source::Kind(kind) => kind.name(),
            Source::Foreign(name, _) => name,
        }
    }

    fn open(&self) -> io::Result<Box<dyn Engine>> {
        match self {
            Source::Kind(kind) => kind.open().map_err(unsupported),
            Source::Foreign(_, Foreign(open)) => open(),
        }
    }
}

/// What `RUST_MIN_STACK` says, or our default. Read once, as std does.
fn default_stack_bytes() -> usize {
    static BYTES: OnceLock<usize> = OnceLock::new();
    *BYTES.get_or_init(|| {
        let value = std::env::var_os("RUST_MIN_STACK");
        value.and_then(|value| value.to_str()?.parse().ok()).unwrap_or(STACK_BYTES)
    })
}

/// Starts all workers but the first, each on an OS thread of its own. Returns when they have opened their engines.
///
/// # Errors
/// One of them has not. The others go on until the runtime is stopped.
fn start_workers<'scope>(
    scope: &'scope std::thread::Scope<'scope, '_>,
    shared: &Arc<Shared>,
    queues: Vec<crossbeam_deque::Worker<Arc<Task>>>,
    source: &Source,
) -> io::Result<()> {
    let (report, reports) = mpsc::channel();
    for (index, queue) in (1..).zip(queues) {
        let (theirs, source, report) = (Arc::clone(shared), source.clone(), report.clone());
        let thread = std::thread::Builder::new().name(format!("sward-worker-{index}"));
        let started = thread.spawn_scoped(scope, move || run_worker(theirs, index, queue, source, report));
        started.map_err(|error| {
            let text = format!("starting worker {index}: {error}; {RAISE_LIMITS}, or use fewer workers");
            io::Error::new(error.kind(), text)
        })?;
    }
    drop(report);
    // The channel hangs up when each worker has reported.
    reports.recv().map_or(Ok(()), Err)
}

/// A worker's OS thread: opens its engine, says how that went, and schedules.
fn run_worker(
    shared: Arc<Shared>,
    index: usize,
    queue: crossbeam_deque::Worker<Arc<Task>>,
    source: Source,
    report: mpsc::Sender<io::Error>,
) {
    match source.open() {
        Ok(engine) => {
            let worker = Worker::new(shared, index, queue, engine);
            drop(report);
            worker.run();
            worker.end();
        }
        Err(error) => {
            let _ = report.send(error);
        }
    }
}

/// Ends the runtime when the main closure returns or unwinds.
struct StopAtEnd(Arc<Shared>);

impl Drop for StopAtEnd {
    fn drop(&mut self) {
        self.0.stop();
    }
}

fn invalid(error: impl std::error::Error + Send + Sync + 'static) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, error)
}

fn unsupported(error: impl std::error::Error + Send + Sync + 'static) -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, error)
}

/// Tells the person who started the program, once in its life.
fn say_once(message: &str) {
    static SAID: Once = Once::new();
    SAID.call_once(|| report(message));
}

/// The name of the engine that the calling green thread's runtime uses; `None` on an OS thread.
pub fn engine_name() -> Option<&'static str> {
    Worker::with_current(|worker, _| worker.shared().engine())
}

/// The number of the worker that the calling green thread belongs to, from 0; `None` on an OS thread.
pub fn worker_index() -> Option<usize> {
    Worker::with_current(|worker, _| worker.index())
}

/// How many workers the calling green thread's runtime has; `None` on an OS thread.
pub fn worker_count() -> Option<usize> {
    Worker::with_current(|worker, _| worker.shared().workers())
}

/// A way into a runtime from an OS thread that is not one of its workers.
///
/// ```
/// // SAFETY: nothing here holds a scoped thread-local value across a blocking call.
/// let answer = unsafe {
///     sward::run(|| {
///         let handle = sward::Handle::current().expect("inside run");
///         let thread = std::thread::spawn(move || handle.spawn(|| 6 * 7).join().unwrap());
///         sward::offload(|| thread.join().unwrap())
///     })
/// };
/// assert_eq!(answer.unwrap(), 42);
/// ```
#[derive(Clone)]
pub struct Handle(Arc<Shared>);

impl Handle {
    /// The runtime of the calling green thread; `None` on an OS thread.
    pub fn current() -> Option<Handle> {
        Worker::with_current(|worker, _| Handle(Arc::clone(worker.shared())))
    }

    /// Starts a green thread in this runtime, from any thread. If there is no stack for it when it is to start, [joining](JoinHandle::join) it
    /// says so. Once the runtime is ending, the thread does not start and
    /// [joining](JoinHandle::join) it says [`Cancelled`](crate::thread::Cancelled).
    #[track_caller]
    pub fn spawn<F, T>(&self, f: F) -> JoinHandle<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        ThreadBuilder::new().spawn_in(&self.0, f)
    }

    /// Green threads that have started and not ended.
    pub fn live_threads(&self) -> usize {
        self.0.live()
    }
}

impl std::fmt::Debug for Handle {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Handle")
            .field("engine", &self.0.engine())
            .field("live", &self.live_threads())
            .finish()
    }
}
