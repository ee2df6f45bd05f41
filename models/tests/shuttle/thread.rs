//! Threads of both kinds, each with a task.

use std::sync::Arc;

use crate::runtime::current::set_current_task;
use crate::runtime::task::Task;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Green,
    Os,
}

pub(crate) struct Thread {
    task: Arc<Task>,
    handle: shuttle::thread::JoinHandle<()>,
}

pub(crate) fn spawn(kind: Kind, body: impl FnOnce() + Send + 'static) -> Thread {
    let task = Arc::new(Task::new(kind));
    let own = Arc::clone(&task);
    let handle = shuttle::thread::spawn(move || {
        set_current_task(own);
        body();
    });
    Thread { task, handle }
}

impl Thread {
    pub(crate) fn cancel(&self) {
        self.task.cancel();
    }

    pub(crate) fn join(self) {
        self.handle.join().unwrap();
    }
}
