//! OS threads for calls that cannot but block: name lookups, foreign C code, long computations.
//!
//! Threads are started as they are needed, up to [`THREADS`], and end after some idle seconds. Past that, jobs wait in line.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, Location, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use super::current::with_current_task;
use super::reason::{What, because};
use super::task::Task;
use super::wait;

/// How many OS threads there are at most. As many as tokio starts and more than gevent does: they mostly wait.
const THREADS: usize = 512;

/// How long a thread waits for another job before it ends.
const IDLE: Duration = Duration::from_secs(10);

type Job = Box<dyn FnOnce() + Send>;

struct Pool {
    state: Mutex<PoolState>,
    work: Condvar,
}

struct PoolState {
    jobs: VecDeque<Job>,
    threads: usize,
    idle: usize,
}

static POOL: Pool = Pool {
    state: Mutex::new(PoolState { jobs: VecDeque::new(), threads: 0, idle: 0 }),
    work: Condvar::new(),
};

/// Runs `f` on an OS thread of its own and blocks the calling green thread until it has returned; on an OS thread,
/// just calls it.
///
/// For whatever blocks without this library's knowledge (a C library, a file on a slow disk) and for long computations, which
/// would keep other green threads of the worker waiting.
///
/// The wait is not a cancellation point, since `f` cannot be stopped: a cancel is delivered at the next blocking call.
///
/// If no OS thread can be started and none is there, `f` runs on the worker, and holds it up.
///
/// # Panics
/// With `f`'s panic.
///
/// ```
/// // SAFETY: nothing here holds a scoped thread-local value across a blocking call.
/// let read = unsafe { sward::run(|| sward::offload(|| std::fs::read("/proc/self/comm"))) };
/// assert!(!read.unwrap().unwrap().is_empty());
/// ```
#[track_caller]
pub fn offload<F, T>(f: F) -> T
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    if !wait::is_green() {
        return f();
    }
    let caller = Location::caller();
    let done = Arc::new(Done {
        result: Mutex::new(None),
        ready: AtomicBool::new(false),
        caller: with_current_task(Arc::clone),
    });
    let theirs = Arc::clone(&done);
    let job = Box::new(move || {
        let result = catch_unwind(AssertUnwindSafe(f));
        *theirs.result.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
        theirs.ready.store(true, Ordering::Release);
        theirs.caller.unpark();
    });
    if let Err(job) = POOL.submit(job) {
        job();
    }
    wait::shield(|| {
        because(What::Object("an offloaded call", 0), caller, || {
            while !done.ready.load(Ordering::Acquire) {
                wait::park(None);
            }
        });
    });
    let result = done.result.lock().unwrap_or_else(PoisonError::into_inner).take();
    match result.expect("a job leaves its result before it says that it is ready") {
        Ok(value) => value,
        Err(payload) => resume_unwind(payload),
    }
}

/// Where a job's result goes, and whom it wakes.
struct Done<T> {
    result: Mutex<Option<std::thread::Result<T>>>,
    ready: AtomicBool,
    caller: Arc<Task>,
}

/// Returns how many calls run or wait for an OS thread.
pub fn running() -> usize {
    let state = POOL.state.lock().unwrap_or_else(PoisonError::into_inner);
    state.jobs.len() + state.threads - state.idle
}

/// Returns how many OS threads there are for calls.
pub fn threads() -> usize {
    POOL.state.lock().unwrap_or_else(PoisonError::into_inner).threads
}

impl Pool {
    /// Queues the job, and starts a thread if none is idle. Returns the job if there is no thread and none can be started.
    fn submit(&'static self, job: Job) -> Result<(), Job> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.idle <= state.jobs.len() && state.threads < THREADS {
            let thread = std::thread::Builder::new().name("sward-offload".into());
            match thread.spawn(|| self.serve()) {
                Ok(_) => state.threads += 1,
                Err(_) if state.threads > 0 => {}
                Err(_) => return Err(job),
            }
        }
        state.jobs.push_back(job);
        drop(state);
        self.work.notify_one();
        Ok(())
    }

    fn serve(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(job) = state.jobs.pop_front() {
                drop(state);
                job();
                state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            state.idle += 1;
            let (next, timeout) = self.work.wait_timeout(state, IDLE).unwrap_or_else(PoisonError::into_inner);
            state = next;
            state.idle -= 1;
            if timeout.timed_out() && state.jobs.is_empty() {
                state.threads -= 1;
                return;
            }
        }
    }
}
