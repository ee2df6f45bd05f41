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
/// If there is no memory for its stack, or the system cannot start an OS thread; [`Builder::spawn`] returns an error instead.
///
/// # Examples
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

/// Blocks the calling thread for at least `duration`: [`std::thread::sleep`].
///
/// It returns up to 66 µs late. When many timers are pending on the worker, they fire together to save wake-ups, which adds 1 µs for each
/// and 1 ms at most. A worker that is busy adds as long as it is busy.
///
/// # Cancellation
/// This is a cancellation point.
pub fn sleep(duration: Duration) {
    wait::sleep(duration);
}

/// Blocks as [`sleep`] does, for a number of milliseconds: [`std::thread::sleep_ms`].
///
/// # Cancellation
/// This is a cancellation point.
#[deprecated(note = "replaced by `sleep`, as in std")]
pub fn sleep_ms(milliseconds: u32) {
    sleep(Duration::from_millis(milliseconds.into()));
}

/// Blocks the calling thread until at least `deadline`.
///
/// # Cancellation
/// This is a cancellation point.
pub fn sleep_until(deadline: Instant) {
    sleep(deadline.saturating_duration_since(Instant::now()));
}

/// Lets every thread run that is ready, then returns: [`std::thread::yield_now`].
///
/// # Cancellation
/// This is a cancellation point.
#[inline(always)]
pub fn yield_now() {
    wait::yield_now();
}

/// Blocks until the calling thread's token is there, and takes it: [`std::thread::park`]. As there, it may also return
/// for no reason.
///
/// # Cancellation
/// This is a cancellation point.
#[inline(always)]
pub fn park() {
    wait::user_park(None);
}

/// Blocks until the calling thread's token is there or `duration` is over: [`std::thread::park_timeout`].
///
/// # Cancellation
/// This is a cancellation point.
pub fn park_timeout(duration: Duration) {
    wait::user_park(Instant::now().checked_add(duration));
}

/// Blocks as [`park_timeout`] does, for a number of milliseconds at most: [`std::thread::park_timeout_ms`].
///
/// # Cancellation
/// This is a cancellation point.
#[deprecated(note = "replaced by `park_timeout`, as in std")]
pub fn park_timeout_ms(milliseconds: u32) {
    park_timeout(Duration::from_millis(milliseconds.into()));
}

/// Returns a handle to the calling thread: [`std::thread::current`].
pub fn current() -> Thread {
    Thread(with_current_task(Arc::clone))
}

/// Returns a snapshot of every green thread that has started and not ended: who it is, what it does, where it was spawned.
///
/// Inside a runtime these are the runtime's threads; on any other OS thread, those of all runtimes of the process. The threads of a worker
/// that does not switch for a second are left out.
///
/// # Examples
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

/// Returns how many green threads of the calling thread's runtime have started and not ended; outside a runtime, 0.
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

/// Runs `f` to its end, even if the thread is [cancelled](JoinHandle::cancel) meanwhile.
///
/// The cancel is delivered at the first blocking call after `f`.
///
/// # Examples
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

    /// Makes the thread's token available, and wakes it if it is in [`park`]. Any thread may call this.
    #[inline]
    pub fn unpark(&self) {
        self.0.give_token();
    }

    /// Returns the thread's identity.
    pub fn id(&self) -> ThreadId {
        ThreadId(self.0.id())
    }

    /// Returns the name that its [`Builder`] gave it. The main thread's is "main".
    pub fn name(&self) -> Option<&str> {
        self.0.name()
    }

    /// Returns where it was spawned.
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
