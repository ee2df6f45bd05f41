//! What other threads tell a worker, through its [`Mailbox`](super::mailbox::Mailbox).

use std::sync::Arc;

use super::inspection::Inspection;
use super::task::Task;

/// A message to a worker.
pub enum Message {
    /// This parked task has been notified: run it. The runtime's own reference keeps it alive until it has run.
    Ready(*const Task),
    /// This task has been notified in a list of waiters: run it, if it has not left the list before.
    Notified(Arc<Task>),
    /// Start this task here.
    Start(Arc<Task>),
    /// The task has its cancel bit set: interrupt what it waits for. Two first cancels at the same time may both say so.
    Cancel { task: Arc<Task>, is_first: bool },
    /// Run this between turns.
    Inspect(Inspection),
    /// Cancel all, then end.
    Stop,
    /// End, and leave the threads that are left where they are: nothing can end them.
    Abandon,
}

// SAFETY: all parts but one are Send. The pointer in `Ready` is to a `Task`, which is Sync, and it lives until the receiver has run it: it is
// parked, only a resume can end it, and the one notification that this message carries is what resumes it.
unsafe impl Send for Message {}
