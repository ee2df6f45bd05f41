//! The calling thread's task. A green thread's is what its worker runs. An OS thread has one as well, from the first time that it is
//! asked for, or from the thread that has spawned it.

use std::cell::OnceCell;
use std::panic::Location;
use std::sync::Arc;

use super::task::Task;
use super::worker::Worker;

thread_local! {
    /// The identity of an OS thread that uses this library.
    static HERE: OnceCell<Arc<Task>> = const { OnceCell::new() };
}

/// Lends the calling thread's task, green or not.
#[track_caller]
pub(crate) fn with_current_task<R>(action: impl FnOnce(&Arc<Task>) -> R) -> R {
    if let Some((_, task)) = Worker::current() {
        // SAFETY: the worker keeps a reference while the task runs, and this one is not dropped.
        let task = std::mem::ManuallyDrop::new(unsafe { Arc::from_raw(task) });
        return action(&task);
    }
    let here = HERE.try_with(|here| {
        Arc::clone(
            here.get_or_init(|| Task::os(std::thread::current().name().map(Into::into), Location::caller())),
        )
    });
    // The OS thread is ending and its locals are gone: an identity for this one call.
    action(&here.unwrap_or_else(|_| Task::os(None, Location::caller())))
}

/// Gives the calling OS thread the identity that its spawner has made for it.
pub(crate) fn set_current_task(task: Arc<Task>) {
    let set = HERE.with(|here| here.set(task));
    debug_assert!(set.is_ok(), "an OS thread that we start has no identity yet");
}
