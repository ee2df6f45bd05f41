//! As much of a runtime as waiting needs. Each green thread has a worker of its own, whose only work is to read its mail.

pub(crate) mod current {
    use std::sync::Arc;

    use super::task::Task;
    use crate::thread::Kind;

    shuttle::thread_local! {
        static CURRENT: std::cell::RefCell<Option<Arc<Task>>> = std::cell::RefCell::new(None);
    }

    pub(crate) fn with_current_task<R>(action: impl FnOnce(&Arc<Task>) -> R) -> R {
        // The model's main thread has no task yet.
        let task = CURRENT.with(|current| {
            current.borrow_mut().get_or_insert_with(|| Arc::new(Task::new(Kind::Os))).clone()
        });
        action(&task)
    }

    pub(crate) fn set_current_task(task: Arc<Task>) {
        CURRENT.with(|current| *current.borrow_mut() = Some(task));
    }
}

pub(crate) mod reason {
    use std::panic::Location;

    pub(crate) enum What {
        Held(&'static str, usize),
        Object(&'static str, usize),
    }

    pub(crate) struct Reason {
        pub(crate) what: What,
        pub(crate) at: &'static Location<'static>,
    }

    impl Reason {
        pub(crate) fn tell(&self) -> Option<()> {
            None
        }
    }

    pub(crate) fn because<T>(_: What, _: &'static Location<'static>, wait: impl FnOnce() -> T) -> T {
        wait()
    }
}

pub(crate) mod task {
    use std::num::NonZeroU64;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use shuttle::sync::{Condvar, Mutex};

    use crate::thread::Kind;

    pub(crate) struct Task {
        id: NonZeroU64,
        kind: Kind,
        state: Mutex<State>,
        changed: Condvar,
    }

    #[derive(Default)]
    struct State {
        /// It has been unparked (an OS thread), or its mail says that it has been notified (a green thread).
        woken: bool,
        cancelled: bool,
    }

    impl Task {
        pub(crate) fn new(kind: Kind) -> Task {
            static TASKS: AtomicU64 = AtomicU64::new(0);
            let id = NonZeroU64::MIN.saturating_add(TASKS.fetch_add(1, Ordering::Relaxed));
            Task { id, kind, state: Mutex::default(), changed: Condvar::new() }
        }

        pub(crate) fn id(&self) -> NonZeroU64 {
            self.id
        }

        pub(crate) fn is_green(&self) -> bool {
            self.kind == Kind::Green
        }

        /// For those who hold up their OS thread.
        pub(crate) fn unpark(&self) {
            assert!(!self.is_green(), "a green thread in a list is notified, not unparked");
            self.wake();
        }

        pub(super) fn wake(&self) {
            self.state.lock().unwrap().woken = true;
            self.changed.notify_all();
        }

        pub(crate) fn cancel(self: &Arc<Task>) {
            self.state.lock().unwrap().cancelled = true;
            self.wake();
        }

        pub(super) fn is_cancelled(&self) -> bool {
            self.state.lock().unwrap().cancelled
        }

        pub(super) fn forget_cancel(&self) {
            self.state.lock().unwrap().cancelled = false;
        }

        pub(super) fn wait(&self) {
            let mut state = self.state.lock().unwrap();
            while !state.woken {
                state = self.changed.wait(state).unwrap();
            }
            state.woken = false;
        }
    }
}

pub(crate) mod worker {
    use std::sync::Arc;

    use super::task::Task;

    pub(crate) struct Worker;

    impl Worker {
        pub(crate) fn schedule_notified_here(_: &Task) -> bool {
            false
        }

        /// It may come late, when the thread has left that list and waits in another.
        pub(crate) fn schedule_notified(task: Arc<Task>) {
            task.wake();
        }
    }
}

pub(crate) mod unwinding {
    pub(crate) fn is_interrupted() -> bool {
        false
    }
}

pub(crate) mod wait {
    use std::time::{Duration, Instant};

    use super::current::with_current_task;

    pub(crate) fn is_green() -> bool {
        with_current_task(|task| task.is_green())
    }

    pub(crate) fn count_operation() {}

    /// Cancels come only where threads wait in a list, and what is shielded here does not wait.
    pub(crate) fn shield<T>(action: impl FnOnce() -> T) -> T {
        action()
    }

    pub(crate) fn is_cancel_due() -> bool {
        with_current_task(|task| task.is_cancelled())
    }

    /// The library unwinds here. Here a cancel is over then, and the operation, which has withdrawn its claims, tries again.
    pub(crate) fn cancel_again() {
        with_current_task(|task| task.forget_cancel());
    }

    pub(crate) fn park_in_list(deadline: Option<Instant>) {
        match deadline {
            None => with_current_task(|task| task.wait()),
            Some(_) => shuttle::thread::yield_now(),
        }
    }

    pub(crate) fn park(deadline: Option<Instant>) {
        park_in_list(deadline);
    }

    pub(crate) fn sleep(_: Duration) {
        shuttle::thread::yield_now();
    }
}
