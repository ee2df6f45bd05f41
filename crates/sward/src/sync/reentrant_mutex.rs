//! A mutex that its holder may lock again. (Python's `threading.RLock`, std's unstable `ReentrantLock`.)

use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
use std::panic::{RefUnwindSafe, UnwindSafe};

use super::raw_mutex::RawMutex;
use crate::primitive::{AtomicU64, Ordering};
use crate::runtime::current::with_current_task;
use crate::runtime::wait;

/// A mutex that the thread which holds it may lock any number of times more. The holder is a thread in the
/// sense of [`sward::thread`](crate::thread): a green one, where it is green, and not the OS thread that it
/// runs on.
///
/// A guard gives shared access only, since there may be several; put a `Cell` or `RefCell` inside.
///
/// Nothing poisons it, neither a panic nor a [cancel](crate::thread::JoinHandle::cancel): code that breaks an invariant of the data and blocks
/// before mending it [shields](crate::thread::shield) that, or mends it in a destructor. See [what a lock
/// protects](super#cancel-and-what-a-lock-protects).
///
/// # Examples
/// ```
/// use std::cell::Cell;
/// let balance = sward::sync::ReentrantMutex::new(Cell::new(10));
/// let outer = balance.lock();
/// let inner = balance.lock(); // a Mutex would wait here for ever
/// inner.set(outer.get() - 3);
/// assert_eq!(outer.get(), 7);
/// ```
pub struct ReentrantMutex<T: ?Sized> {
    raw: RawMutex,
    /// The id of the holder, or 0. Only the holder can find its own id here, so a relaxed load will do.
    owner: AtomicU64,
    /// How many guards the holder has. Touched by the holder only.
    depth: Cell<usize>,
    data: T,
}

// SAFETY: the data go wherever the mutex goes.
unsafe impl<T: ?Sized + Send> Send for ReentrantMutex<T> {}
// SAFETY: `depth` and `data` are touched by the holder of `raw` only; the holders take turns (`T: Send`).
unsafe impl<T: ?Sized + Send> Sync for ReentrantMutex<T> {}
impl<T: ?Sized + UnwindSafe> UnwindSafe for ReentrantMutex<T> {}
impl<T: ?Sized + RefUnwindSafe> RefUnwindSafe for ReentrantMutex<T> {}

fn this_thread() -> u64 {
    with_current_task(|task| task.id().get())
}

impl<T> ReentrantMutex<T> {
    /// An unlocked mutex.
    pub const fn new(value: T) -> ReentrantMutex<T> {
        ReentrantMutex { raw: RawMutex::new(), owner: AtomicU64::new(0), depth: Cell::new(0), data: value }
    }

    /// The data.
    pub fn into_inner(self) -> T {
        self.data
    }
}

impl<T: ?Sized> ReentrantMutex<T> {
    /// Waits until no other thread holds the mutex and takes it.
    ///
    /// # Panics
    /// If the thread holds it `usize::MAX` times already.
    ///
    /// # Cancellation
    /// This is a [cancellation point](crate::thread::JoinHandle::cancel) if it has to wait.
    #[track_caller]
    pub fn lock(&self) -> ReentrantMutexGuard<'_, T> {
        let this = this_thread();
        if self.owner.load(Ordering::Relaxed) != this {
            self.raw.lock("the ReentrantMutex");
            self.owner.store(this, Ordering::Relaxed);
        }
        self.guard()
    }

    /// Takes the mutex if no other thread holds it. Never waits; but a thread that [fails often](super#loops-that-try) lets others run.
    #[track_caller]
    pub fn try_lock(&self) -> Option<ReentrantMutexGuard<'_, T>> {
        let guard = self.attempt();
        if guard.is_none() {
            wait::count_operation();
        }
        guard
    }

    /// As [`ReentrantMutex::try_lock`], and never lets others run.
    #[track_caller]
    fn attempt(&self) -> Option<ReentrantMutexGuard<'_, T>> {
        let this = this_thread();
        if self.owner.load(Ordering::Relaxed) != this {
            if !self.raw.try_lock() {
                return None;
            }
            self.owner.store(this, Ordering::Relaxed);
        }
        Some(self.guard())
    }

    /// The thread holds `raw`.
    fn guard(&self) -> ReentrantMutexGuard<'_, T> {
        let depth = self.depth.get().checked_add(1).expect("too many holds on one ReentrantMutex");
        self.depth.set(depth);
        ReentrantMutexGuard { mutex: self, not_send: PhantomData }
    }

    /// The data, without locking: nobody else can see them.
    pub fn get_mut(&mut self) -> &mut T {
        &mut self.data
    }
}

impl<T: Default> Default for ReentrantMutex<T> {
    fn default() -> Self {
        ReentrantMutex::new(T::default())
    }
}

impl<T> From<T> for ReentrantMutex<T> {
    fn from(value: T) -> Self {
        ReentrantMutex::new(value)
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for ReentrantMutex<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = formatter.debug_struct("ReentrantMutex");
        // Not `try_lock`: the formatting thread may hold std's lock on the output.
        match self.attempt() {
            Some(guard) => debug.field("data", &&*guard),
            None => debug.field("data", &format_args!("<locked>")),
        };
        debug.finish_non_exhaustive()
    }
}

/// One of the holds on a [`ReentrantMutex`]; the last to be dropped unlocks.
#[must_use = "if unused the ReentrantMutex will immediately unlock"]
pub struct ReentrantMutexGuard<'a, T: ?Sized> {
    mutex: &'a ReentrantMutex<T>,
    /// The holder is this thread.
    not_send: PhantomData<*const ()>,
}

// SAFETY: a shared guard gives out `&T` only.
unsafe impl<T: ?Sized + Sync> Sync for ReentrantMutexGuard<'_, T> {}

impl<T: ?Sized> Deref for ReentrantMutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.mutex.data
    }
}

impl<T: ?Sized> Drop for ReentrantMutexGuard<'_, T> {
    fn drop(&mut self) {
        let depth = self.mutex.depth.get() - 1;
        self.mutex.depth.set(depth);
        if depth == 0 {
            self.mutex.owner.store(0, Ordering::Relaxed);
            self.mutex.raw.unlock();
        }
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for ReentrantMutexGuard<'_, T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(formatter)
    }
}

impl<T: ?Sized + fmt::Display> fmt::Display for ReentrantMutexGuard<'_, T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(formatter)
    }
}
