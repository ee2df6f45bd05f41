//! The calling thread's task. A green thread's is what its worker runs. An OS thread has one as well, from the first time that it is
//! asked for, or from the thread that spawned it.
//!
//! An OS thread keeps one identity to its very end: destructors of thread-locals may wait at locks, join and park as any other
//! code, and a waker needs an address that stays valid. Two things happen when the thread ends, in this order:
//!
//! 1. `AtExit`, a thread-local with a destructor, drops the thread's values of `thread::Local`.
//! 2. The destructor of a `pthread` key, which the C library calls after those of all thread-locals, drops what has been made
//!    since, and releases the identity. If something asks for an identity even later, it gets a new one, and the C library
//!    calls the destructor once more (POSIX, `pthread_key_create`).

use std::cell::Cell;
use std::ffi::c_void;
use std::mem::ManuallyDrop;
use std::panic::Location;
use std::ptr;
use std::sync::{Arc, OnceLock};

use super::task::{Local, Task};
use super::worker::Worker;

thread_local! {
    /// The identity of an OS thread that uses this library, an `Arc` made raw, or null. It has no destructor, so it can be read
    /// as long as the thread runs any code.
    static HERE: Cell<*const Task> = const { Cell::new(ptr::null()) };

    static AT_EXIT: AtExit = const { AtExit };
}

/// Drops the thread's values of `thread::Local` while the thread's other thread-locals can still be used.
struct AtExit;

impl Drop for AtExit {
    fn drop(&mut self) {
        // SAFETY: `HERE` holds a reference to what it points to.
        if let Some(task) = unsafe { HERE.get().as_ref() } {
            task.drop_locals();
        }
    }
}

/// Lends the calling thread's task, green or not.
#[inline]
#[track_caller]
pub fn with_current_task<R>(action: impl FnOnce(&Arc<Task>) -> R) -> R {
    // SAFETY: used in this frame, which is the calling green thread's.
    let task = match unsafe { Worker::current() } {
        Some((_, task)) => ptr::from_ref(task),
        None => here(),
    };
    // SAFETY: the worker holds a reference while a green thread runs, `HERE` one as long as the OS thread does, and this one is
    // not dropped.
    action(&ManuallyDrop::new(unsafe { Arc::from_raw(task) }))
}

/// Lends the calling thread's task, green or not, and the part of it that only the thread and its worker touch.
#[inline]
#[track_caller]
pub fn with_local<R>(action: impl FnOnce(&Arc<Task>, &Local) -> R) -> R {
    // SAFETY: it is the calling thread's own task, which has started and is not over while the thread runs `action`.
    with_current_task(|task| action(task, unsafe { task.local() }))
}

/// Lends the task of the calling OS thread if it has one already. For a panic hook, which should not make one.
#[inline]
pub fn with_known_task<R>(action: impl FnOnce(&Task) -> R) -> Option<R> {
    // SAFETY: `HERE` holds a reference to what it points to, and only the end of the thread takes it away.
    unsafe { HERE.get().as_ref() }.map(action)
}

/// Sets the identity of the calling OS thread to the one that its spawner has made.
pub fn set_current_task(task: Arc<Task>) {
    debug_assert!(HERE.get().is_null(), "an OS thread that we start has no identity yet");
    adopt(task);
}

/// The identity of the calling OS thread.
#[inline]
#[track_caller]
fn here() -> *const Task {
    match HERE.get() {
        task if task.is_null() => make(Location::caller()),
        task => task,
    }
}

#[cold]
fn make(caller: &'static Location<'static>) -> *const Task {
    // While the thread ends, std may not know its name any more, and making it up would leave an entry behind.
    let name = AT_EXIT.try_with(|_| std::thread::current().name().map(Into::into)).ok().flatten();
    adopt(Task::os(name, caller))
}

fn adopt(task: Arc<Task>) -> *const Task {
    // Registers the destructor. (It cannot be registered any more if the thread's locals are gone: then step 2 does it all.)
    let _ = AT_EXIT.try_with(|_| ());
    let task = Arc::into_raw(task);
    HERE.set(task);
    if let Some(key) = key() {
        // SAFETY: the key exists, and is never deleted. A failure (no memory) only means that the identity is never released.
        unsafe { libc::pthread_setspecific(key, task.cast()) };
    }
    task
}

/// The key whose destructor ends an OS thread's identity; `None` if the process has used up its keys: then identities are leaked.
fn key() -> Option<libc::pthread_key_t> {
    static KEY: OnceLock<Option<libc::pthread_key_t>> = OnceLock::new();
    *KEY.get_or_init(|| {
        let mut key = 0;
        // SAFETY: `key` is this frame's, and `release` takes what `adopt` sets.
        let result = unsafe { libc::pthread_key_create(&raw mut key, Some(release)) };
        (result == 0).then_some(key)
    })
}

/// The calling OS thread runs no more code but this and other such destructors.
unsafe extern "C" fn release(task: *mut c_void) {
    let task: *const Task = task.cast();
    // SAFETY: `adopt` made it raw, and this is the one call for that. It stays the thread's identity until its values are dropped.
    let task = unsafe { Arc::from_raw(task) };
    task.drop_locals();
    HERE.set(ptr::null());
}
