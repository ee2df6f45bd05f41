//! The library's file, and the event that it waits with: one that is raised once.

#[path = "../../../crates/sward/src/sync/wait_group.rs"]
mod wait_group;

use std::time::Duration;

use loom::sync::atomic::{AtomicBool, Ordering};
use loom::sync::{Condvar, Mutex};

pub(crate) use wait_group::WaitGroup;

pub(crate) struct Event {
    is_set: AtomicBool,
    place: (Mutex<()>, Condvar),
}

impl Event {
    pub(crate) fn new() -> Event {
        Event { is_set: AtomicBool::new(false), place: (Mutex::new(()), Condvar::new()) }
    }

    pub(crate) fn set(&self) {
        self.is_set.store(true, Ordering::Release);
        let _guard = self.place.0.lock().unwrap();
        self.place.1.notify_all();
    }

    pub(crate) fn wait(&self) {
        let mut guard = self.place.0.lock().unwrap();
        while !self.is_set.load(Ordering::Acquire) {
            guard = self.place.1.wait(guard).unwrap();
        }
    }

    pub(crate) fn wait_timeout(&self, _: Duration) -> bool {
        self.is_set.load(Ordering::Acquire)
    }
}
