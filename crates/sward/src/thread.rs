//! `std::thread`, green: the same names and meanings. Inside [`run`](crate::run) a thread is a green thread; outside it is an OS
//! thread, and everything here works just the same and blocks that thread.

mod builder;
mod group;
mod join_handle;
mod local;
mod packet;
mod scope;

use std::fmt;
use std::num::NonZeroU64;
use std::panic::{Location, RefUnwindSafe, UnwindSafe};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::runtime::current::with_current_task;
use crate::runtime::task::Task;
use crate::runtime::wait;
use crate::runtime::worker::Worker;

pub use crate::diagnosis::{Call, Snapshot, State, Wait};
pub use crate::runtime::deadline::Cancelled;
pub use builder::Builder;
pub use group::{join_all, join_all_timeout, join_any};
pub use join_handle::JoinHandle;
pub use local::Local;
pub(crate) use packet::{OsPacket, Packet, TakeResult};
pub use scope::{Scope, ScopedJoinHandle, scope};
#[doc(no_inline)]
pub use std::thread::{AccessError, LocalKey, Result, available_parallelism, panicking};

/// Starts a thread: [`std::thread::spawn`], green inside a runtime.
///
/// The new thread first runs when the caller blocks, or earlier on another worker.
///
/// # Panics
/// If there is no memory for its stack, or the system cannot start an OS thread; [`Builder::spawn`] gives an error instead.
///
/// ```
/// let thread = sward::thread::spawn(|| "hello".len());
/// assert_eq!(thread.join().unwrap(), 5);
/// ```
#[track_caller]
pub fn spawn<F, T>(f: F) -> JoinHandle<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    Builder::new().spawn(f).expect("failed to spawn thread")
}

/// Blocks the calling thread for at least `duration`: [`std::thread::sleep`]. A cancellation point.
///
/// Precision: up to 66 µs later than asked; up to 1 ms more when many timers are pending on the worker (1 µs for each), since to wake
/// it costs as much as many timers, so they fire together; and as much later as the worker is busy.
pub fn sleep(duration: Duration) {
    wait::sleep(duration);
}

/// As [`sleep`], in milliseconds: [`std::thread::sleep_ms`]. A cancellation point.
#[deprecated(note = "replaced by `sleep`, as in std")]
pub fn sleep_ms(milliseconds: u32) {
    sleep(Duration::from_millis(milliseconds.into()));
}

/// Blocks the calling thread until at least `deadline`. A cancellation point.
pub fn sleep_until(deadline: Instant) {
    sleep(deadline.saturating_duration_since(Instant::now()));
}

/// Lets every thread run that is ready, then goes on: [`std::thread::yield_now`]. A cancellation point.
#[inline(always)]
pub fn yield_now() {
    wait::yield_now();
}

/// Blocks until the calling thread's token is there, and takes it: [`std::thread::park`]. As there, it may also return
/// for no reason. A cancellation point.
#[inline(always)]
pub fn park() {
    wait::user_park(None);
}

/// Blocks until the calling thread's token is there or `duration` is over: [`std::thread::park_timeout`]. A cancellation point.
pub fn park_timeout(duration: Duration) {
    wait::user_park(Instant::now().checked_add(duration));
}

/// As [`park_timeout`], in milliseconds: [`std::thread::park_timeout_ms`]. A cancellation point.
#[deprecated(note = "replaced by `park_timeout`, as in std")]
pub fn park_timeout_ms(milliseconds: u32) {
    park_timeout(Duration::from_millis(milliseconds.into()));
}

/// A handle to the calling thread: [`std::thread::current`].
pub fn current() -> Thread {
    Thread(with_current_task(Arc::clone))
}

/// Every green thread that has started and not ended: who it is, what it does, where it was spawned. Of the calling thread's runtime;
/// on an OS thread, of all runtimes of the process. A worker that does not switch for a second is left out.
///
/// ```
/// // SAFETY: nothing here holds a scoped thread-local value across a blocking call.
/// let names = unsafe {
///     sward::run(|| {
///         let thread = sward::thread::Builder::new().name("patient".into()).spawn(sward::thread::park).unwrap();
///         sward::thread::yield_now();
///         let all = sward::thread::all();
///         thread.thread().unpark();
///         all.iter().map(|snapshot| snapshot.thread().name().unwrap().to_owned()).collect::<std::collections::HashSet<_>>()
///     })
/// };
/// assert!(names.unwrap().contains("main"));
/// ```
#[track_caller]
pub fn all() -> Vec<Snapshot> {
    crate::diagnosis::all_threads()
}

/// How many green threads have started and not ended, in the calling thread's runtime; on an OS thread, 0.
pub fn count() -> usize {
    Worker::with_current(|worker, _| worker.shared().live()).unwrap_or(0)
}

/// Returns whether the calling thread has been [cancelled](JoinHandle::cancel).
///
/// A long computation that makes no blocking call can ask this now and then, and end early.
///
/// # Examples
/// ```
/// use sward::thread;
/// let thread = thread::spawn(|| {
///     while !thread::is_cancelled() {
///         std::hint::spin_loop();
///     }
/// });
/// thread.cancel();
/// let _ = thread.join();
/// ```
pub fn is_cancelled() -> bool {
    with_current_task(|task| task.is_cancelled())
}

/// Runs `f` to its end, whoever [cancels](JoinHandle::cancel) the thread meanwhile: the cancel is delivered at the first blocking call
/// after it.
///
/// ```
/// let total = sward::thread::shield(|| 1 + 1);
/// assert_eq!(total, 2);
/// ```
pub fn shield<F, T>(f: F) -> T
where
    F: FnOnce() -> T,
{
    wait::shield(f)
}

/// A handle to a thread: [`std::thread::Thread`].
#[derive(Clone)]
pub struct Thread(Arc<Task>);

// As std's: whoever unwinds leaves nothing half done in it.
impl UnwindSafe for Thread {}
impl RefUnwindSafe for Thread {}

impl Thread {
    pub(crate) fn new(task: Arc<Task>) -> Thread {
        Thread(task)
    }

    pub(crate) fn task(&self) -> &Arc<Task> {
        &self.0
    }

    /// Leaves the thread its token, and wakes it if it is in [`park`]. From any thread.
    #[inline]
    pub fn unpark(&self) {
        self.0.give_token();
    }

    /// The thread's identity.
    pub fn id(&self) -> ThreadId {
        ThreadId(self.0.id())
    }

    /// The name that its [`Builder`] gave it. The main thread's is "main".
    pub fn name(&self) -> Option<&str> {
        self.0.name()
    }

    /// Where it was spawned.
    pub fn spawned_at(&self) -> &'static Location<'static> {
        self.0.spawned_at()
    }
}

impl fmt::Debug for Thread {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Thread")
            .field("id", &self.id())
            .field("name", &self.name())
            .finish_non_exhaustive()
    }
}

/// Identifies a thread, green or not, for the life of the process: [`std::thread::ThreadId`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ThreadId(NonZeroU64);
