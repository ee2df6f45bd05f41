//! What interrupts a thread: [`timeout`], a closure with a deadline that all its blocking calls inherit, and [`Cancelled`], the payload
//! of a cancel.
//!
//! Each call of [`timeout`] puts a [`Deadline`] into its own frame, linked to the one outside it. When its timer fires,
//! whatever the thread waits for is interrupted as by a cancel, and the blocking call unwinds, up to that frame and no further. If several
//! deadlines have passed, it is the outermost that the thread unwinds to.
//!
//! Between the frame and the blocking call there may be a shield, or a destructor of a thread that unwinds already. A deadline does
//! not unwind through those: it is *open* only where the thread is under as many shields, and unwinds as deep, as when it began. So a `timeout` inside a shield or a destructor works as anywhere, and one outside waits until that has ended.

use std::cell::Cell;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::{Duration, Instant};

use super::current::with_local;
use super::task::Local;
use super::timers::Timer;
use super::unwinding::{Interruption, depth};
use super::worker::Worker;

/// A deadline that a thread is under. Lies in the frame of [`timeout`]; `Local::deadline` leads to the innermost.
pub struct Deadline {
    at: Instant,
    outer: *const Deadline,
    expired: Cell<bool>,
    /// The thread's shields when it began.
    shields: u32,
    /// How deep the thread unwound when it began.
    depth: u32,
}

/// What unwinds a thread up to the frame of the deadline with this address.
pub struct Expired {
    deadline: usize,
    _interruption: Interruption,
}

/// The time of a [`timeout`] was over before its closure was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elapsed {
    duration: Duration,
}

impl Elapsed {
    /// The duration that the [`timeout`] was given: with nested ones it says which it was.
    pub fn duration(&self) -> Duration {
        self.duration
    }
}

impl fmt::Display for Elapsed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "not done within {:?}", self.duration)
    }
}

impl std::error::Error for Elapsed {}

impl From<Elapsed> for std::io::Error {
    fn from(elapsed: Elapsed) -> Self {
        std::io::Error::new(std::io::ErrorKind::TimedOut, elapsed)
    }
}

/// Runs `f`, for `duration` at most: then its blocking call, or its next one, unwinds up to here.
///
/// Destructors run, no panic message is printed, locks are not poisoned. A result wins over the deadline, even a late
/// one, and so do bytes that have arrived. Timeouts nest: the nearest deadline ends the closure that it was set for.
/// On an OS thread, waiting for other threads and sleeping are interrupted, waiting for I/O is not.
/// Nothing unwinds through C code: a callback is to be shielded, see `thread::JoinHandle::cancel`.
///
/// # Errors
/// [`Elapsed`], if the time was over first.
///
/// # Panics
/// With `f`'s panic; and in a program that is compiled with `panic = "abort"`, when the time is over.
///
/// ```
/// use sward::{thread, time::{timeout, Duration}};
/// assert!(timeout(Duration::from_millis(1), || thread::sleep(Duration::from_secs(100))).is_err());
/// assert_eq!(timeout(Duration::from_secs(100), || 5), Ok(5));
/// ```
#[inline]
pub fn timeout<F, T>(duration: Duration, f: F) -> Result<T, Elapsed>
where
    F: FnOnce() -> T,
{
    let Some(at) = Instant::now().checked_add(duration) else { return Ok(f()) };
    with_local(|task, local| {
        let deadline = Deadline {
            at,
            outer: local.deadline.get(),
            expired: Cell::new(false),
            shields: local.shields.get(),
            depth: depth(local),
        };
        local.deadline.set(&deadline);
        // SAFETY: used in this frame, which is the calling green thread's.
        let result = match unsafe { Worker::current() } {
            None => catch_unwind(AssertUnwindSafe(f)),
            Some((worker, _)) => {
                let timer = Timer::deadline(&**task, &deadline);
                // SAFETY: stopped below, before the frame is left.
                unsafe { worker.start_timer(&timer, at) };
                let result = catch_unwind(AssertUnwindSafe(f));
                worker.stop_timer(&timer);
                result
            }
        };
        local.deadline.set(deadline.outer);
        local.expired.set(chain(local).any(|deadline| deadline.expired.get()));
        result.or_else(|payload| match payload.downcast_ref::<Expired>() {
            Some(expired) if expired.deadline == (&raw const deadline).addr() => Err(Elapsed { duration }),
            _ => resume_unwind(payload),
        })
    })
}

impl Deadline {
    /// Its timer has fired. The owning worker's.
    pub(crate) fn expire(&self) {
        self.expired.set(true);
    }
}

/// The deadlines of the thread that `local` belongs to, from the innermost out. That thread's, or its worker's.
fn chain(local: &Local) -> impl Iterator<Item = &Deadline> {
    // SAFETY: the frames of `timeout` nest, and each takes its deadline off the chain before it is left.
    let next = |pointer: *const Deadline| unsafe { pointer.as_ref() };
    std::iter::successors(next(local.deadline.get()), move |deadline| next(deadline.outer))
}

/// The deadlines that may unwind the thread from where it is now. The thread's, or its worker's.
fn open(local: &Local) -> impl Iterator<Item = &Deadline> {
    let (shields, depth) = (local.shields.get(), depth(local));
    chain(local).filter(move |deadline| deadline.shields == shields && deadline.depth == depth)
}

/// Whether a deadline has passed that may unwind the thread from where it is now. The thread's, or its worker's.
#[inline]
pub(crate) fn is_due(local: &Local) -> bool {
    open(local).any(|deadline| deadline.expired.get())
}

/// The payload to unwind the thread with, if [`is_due`].
pub(crate) fn due(local: &Local) -> Option<Expired> {
    let outermost = open(local).filter(|deadline| deadline.expired.get()).last()?;
    Some(Expired { deadline: (&raw const *outermost).addr(), _interruption: Interruption::begin() })
}

/// For OS threads, which have no timers: the earlier of `deadline` and those that may unwind the thread from where it is.
#[inline]
pub(crate) fn nearest(local: &Local, deadline: Option<Instant>) -> Option<Instant> {
    if local.deadline.get().is_null() {
        return deadline;
    }
    open(local).map(|outer| outer.at).chain(deadline).min()
}

/// For OS threads: marks what has passed.
#[inline]
pub(crate) fn look_at_clock(local: &Local) {
    if local.deadline.get().is_null() {
        return;
    }
    let now = Instant::now();
    for deadline in chain(local).filter(|deadline| deadline.at <= now) {
        deadline.expire();
        local.expired.set(true);
    }
}

/// Whether `payload` is one with which this library unwinds a thread, and not a panic.
pub fn is_interruption(payload: &(dyn std::any::Any + Send)) -> bool {
    payload.is::<Cancelled>() || payload.is::<Expired>()
}

/// How long is left of the nearest deadline that the calling thread is under; `None`: it is under none.
pub fn remaining() -> Option<Duration> {
    with_local(|_, local| {
        let nearest = chain(local).map(|deadline| deadline.at).min();
        nearest.map(|at| at.saturating_duration_since(Instant::now()))
    })
}

/// What `JoinHandle::join` returns as the error (in its `Box<dyn Any>`) for a thread that was cancelled.
///
/// ```
/// use sward::thread::{self, Cancelled};
/// // SAFETY: nothing here holds a scoped thread-local value across a blocking call.
/// unsafe {
///     sward::run(|| {
///         let thread = thread::spawn(|| thread::park());
///         thread.cancel();
///         assert!(thread.join().unwrap_err().is::<Cancelled>());
///     })
/// }
/// .unwrap();
/// ```
pub struct Cancelled {
    /// Of the payload that unwinds a thread. `None`: a result.
    _interruption: Option<Interruption>,
}

impl Cancelled {
    /// The result of a thread that has not started and never will.
    #[inline]
    pub(crate) fn before_start() -> Cancelled {
        Cancelled { _interruption: None }
    }

    /// The payload that unwinds the calling thread.
    #[inline]
    pub(crate) fn unwinding() -> Cancelled {
        Cancelled { _interruption: Some(Interruption::begin()) }
    }
}

impl Clone for Cancelled {
    fn clone(&self) -> Self {
        Cancelled { _interruption: None }
    }
}

impl PartialEq for Cancelled {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Cancelled {}

impl fmt::Debug for Cancelled {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Cancelled")
    }
}

impl fmt::Display for Cancelled {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("the thread was cancelled")
    }
}

impl std::error::Error for Cancelled {}
