//! Waiting for a number of threads to be done. (As in crossbeam: each holds a clone and drops it.)

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::Event;
use crate::primitive::{AtomicUsize, Ordering};

/// Lets a thread wait until all clones of a handle are gone.
///
/// # Examples
/// ```
/// use sward::{sync::WaitGroup, thread};
/// let group = WaitGroup::new();
/// for _ in 0..4 {
///     let member = group.clone();
///     thread::spawn(move || {
///         // work
///         drop(member);
///     });
/// }
/// group.wait();
/// ```
pub struct WaitGroup(Arc<Group>);

struct Group {
    members: AtomicUsize,
    is_empty: Event,
}

impl WaitGroup {
    /// A group with one member.
    pub fn new() -> WaitGroup {
        WaitGroup(Arc::new(Group { members: AtomicUsize::new(1), is_empty: Event::new() }))
    }

    /// Leaves the group and waits until all others have.
    ///
    /// # Cancellation
    /// This is a [cancellation point](crate::thread::JoinHandle::cancel) if it has to wait.
    #[track_caller]
    pub fn wait(self) {
        self.leave().is_empty.wait();
    }

    /// Waits as [`wait`](WaitGroup::wait) does, but for `duration` at most. Returns whether all have left.
    ///
    /// # Cancellation
    /// This is a [cancellation point](crate::thread::JoinHandle::cancel) if it has to wait.
    #[track_caller]
    pub fn wait_timeout(self, duration: Duration) -> bool {
        self.leave().is_empty.wait_timeout(duration)
    }

    fn leave(self) -> Arc<Group> {
        Arc::clone(&self.0)
    }
}

impl Clone for WaitGroup {
    fn clone(&self) -> Self {
        self.0.members.fetch_add(1, Ordering::Relaxed);
        WaitGroup(Arc::clone(&self.0))
    }
}

impl Drop for WaitGroup {
    fn drop(&mut self) {
        if self.0.members.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.is_empty.set();
        }
    }
}

impl Default for WaitGroup {
    fn default() -> Self {
        WaitGroup::new()
    }
}

impl fmt::Debug for WaitGroup {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let members = self.0.members.load(Ordering::Relaxed);
        formatter.debug_struct("WaitGroup").field("members", &members).finish_non_exhaustive()
    }
}
