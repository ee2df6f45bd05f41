//! `std::sync::Barrier`, green.

use std::fmt;
use std::panic::Location;

use super::spin_lock::SpinLock;
use super::wait_list::{WaitList, WakeList, sleep_until_notified};
use crate::runtime::reason::{What, because};

/// Lets a number of threads wait for each other: [`std::sync::Barrier`].
///
/// A thread that is [cancelled](crate::thread::JoinHandle::cancel) while it waits has not come: the others wait for one more. A thread that must
/// not be missed [shields](crate::thread::shield) its wait.
pub struct Barrier {
    /// How many must come.
    parties: usize,
    /// The threads that have come before the last one.
    waiting: SpinLock<WaitList<()>>,
}

impl Barrier {
    /// Creates a barrier for `n` threads; 0 is as good as 1.
    pub const fn new(n: usize) -> Barrier {
        Barrier { parties: n, waiting: SpinLock::new(WaitList::new()) }
    }

    /// Waits until all threads have come. One of them is told that it is the leader. The barrier can be used again.
    ///
    /// # Cancellation
    /// This is a [cancellation point](crate::thread::JoinHandle::cancel) for all but the leader.
    #[track_caller]
    pub fn wait(&self) -> BarrierWaitResult {
        let mut waiting = self.waiting.lock();
        if waiting.len() + 1 >= self.parties {
            let mut wakes = WakeList::new();
            waiting.wake_all(&mut wakes);
            drop(waiting);
            wakes.unpark();
            return BarrierWaitResult { is_leader: true };
        }
        let key = waiting.push_back(());
        drop(waiting);
        because(What::Object("the Barrier", (&raw const *self).addr()), Location::caller(), || {
            sleep_until_notified(&self.waiting, |waiting| waiting, key, None, |_| WakeList::new())
        });
        BarrierWaitResult { is_leader: false }
    }
}

impl fmt::Debug for Barrier {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Barrier").finish_non_exhaustive()
    }
}

/// What [`Barrier::wait`] returns: [`std::sync::BarrierWaitResult`].
#[derive(Debug)]
pub struct BarrierWaitResult {
    is_leader: bool,
}

impl BarrierWaitResult {
    /// Returns whether this thread was told that it is the leader.
    #[must_use]
    pub fn is_leader(&self) -> bool {
        self.is_leader
    }
}
