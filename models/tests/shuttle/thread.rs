//! Threads of both kinds, each with a task.

use std::sync::Arc;

use crate::runtime::task::Task;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Green,
    Os,
}

shuttle::thread_local! {
    static CURRENT: std::cell::RefCell<Option<Arc<Task>>> = std::cell::RefCell::new(None);
}

pub(crate) fn with_current_task<R>(action: impl FnOnce(&Arc<Task>) -> R) -> R {
    // The model's main thread has no task yet.
    let task = CURRENT
        .with(|current| current.borrow_mut().get_or_insert_with(|| Arc::new(Task::new(Kind::Os))).clone());
    action(&task)
}

pub(crate) struct Thread {
    task: Arc<Task>,
    handle: shuttle::thread::JoinHandle<()>,
}

pub(crate) fn spawn(kind: Kind, body: impl FnOnce() + Send + 'static) -> Thread {
    let task = Arc::new(Task::new(kind));
    let own = Arc::clone(&task);
    let handle = shuttle::thread::spawn(move || {
        CURRENT.with(|current| *current.borrow_mut() = Some(own));
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
