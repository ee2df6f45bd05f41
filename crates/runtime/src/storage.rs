//! Where a thread keeps its values of `thread::Local`, and what becomes of them at its end.

use std::any::Any;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::task::Task;
use super::wait;
use crate::report::fatal;

/// The values of one thread, by the address of their `Local`.
///
/// Boxed, since most threads have none.
pub type Storage = Option<Box<HashMap<usize, Box<dyn Any>>>>;

/// Drops the values of the calling thread, whose task is `task`: when its closure has returned, and for an OS thread that sward
/// did not start, when it ends. Each may make new ones.
pub fn drop_locals(task: &Task) {
    // SAFETY: it is the calling thread's own task, and nothing of its storage is borrowed any more: the thread is in no `with`.
    while let Some(values) = unsafe { (*task.local().storage.get()).take() } {
        if catch_unwind(AssertUnwindSafe(|| wait::shield(|| drop(values)))).is_err() {
            fatal(format_args!("a thread-local value panicked when it was dropped"));
        }
    }
}
