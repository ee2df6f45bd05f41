//! Groups of threads that end together: those of a `scope`, and those that a runtime's end waits for.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::task::Task;

/// The count of a scope's running threads, and the thread that waits until it is 0.
pub struct ScopeData {
    running: AtomicUsize,
    panicked: AtomicBool,
    /// A panic of one thread cancels the others.
    cancel_on_panic: AtomicBool,
    owner: Arc<Task>,
    children: Mutex<Vec<Weak<Task>>>,
}

impl ScopeData {
    pub fn new(owner: Arc<Task>) -> ScopeData {
        ScopeData {
            running: AtomicUsize::new(0),
            panicked: AtomicBool::new(false),
            cancel_on_panic: AtomicBool::new(false),
            owner,
            children: Mutex::new(Vec::new()),
        }
    }

    /// A thread of the scope has been made; it will call [`ScopeData::leave`].
    #[inline]
    pub fn enter(&self) {
        self.running.fetch_add(1, Ordering::Relaxed);
    }

    /// A thread of the scope does not touch what it borrowed any more.
    #[inline]
    pub fn leave(&self) {
        if self.running.fetch_sub(1, Ordering::Release) == 1 {
            self.owner.unpark();
        }
    }

    /// A thread of the scope has panicked.
    #[inline]
    pub fn child_panicked(&self) {
        if self.cancel_on_panic.load(Ordering::Relaxed) {
            self.cancel_children();
        }
    }

    /// From now on, a thread that panics cancels the others.
    pub fn cancel_on_panic(&self) {
        self.cancel_on_panic.store(true, Ordering::Relaxed);
    }

    /// A thread's panic has not been looked at by anyone.
    pub fn set_panicked(&self) {
        self.panicked.store(true, Ordering::Relaxed);
    }

    /// Whether there was such a thread.
    #[inline]
    pub fn has_panicked(&self) -> bool {
        self.panicked.load(Ordering::Relaxed)
    }

    /// How many threads have not left yet.
    #[inline]
    pub fn running(&self) -> usize {
        self.running.load(Ordering::Acquire)
    }

    /// Remembers a thread, to be cancelled with the scope.
    pub fn add(&self, task: &Arc<Task>) {
        let mut children = self.children.lock().unwrap_or_else(PoisonError::into_inner);
        if children.len() == children.capacity() {
            children.retain(|child| child.upgrade().is_some_and(|task| !task.is_complete()));
        }
        children.push(Arc::downgrade(task));
    }

    /// Cancels those that [`ScopeData::add`] has been told of.
    pub fn cancel_children(&self) {
        let children = std::mem::take(&mut *self.children.lock().unwrap_or_else(PoisonError::into_inner));
        for task in children.iter().filter_map(Weak::upgrade) {
            task.cancel();
        }
    }

    /// Those that [`ScopeData::add`] has been told of and that are not over.
    pub fn unfinished(&self) -> Vec<Arc<Task>> {
        let children = self.children.lock().unwrap_or_else(PoisonError::into_inner);
        children.iter().filter_map(Weak::upgrade).filter(|task| !task.is_complete()).collect()
    }
}
