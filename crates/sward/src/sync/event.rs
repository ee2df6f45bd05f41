//! A flag that threads wait for. (Python's `threading.Event`.)

use std::fmt;
use std::panic::Location;
use std::time::{Duration, Instant};

use super::spin_lock::SpinLock;
use super::wait_list::{WaitList, WakeList, sleep_until_notified};
use crate::primitive::{AtomicBool, Ordering};
use crate::runtime::reason::{What, because};

/// A flag that is up or down, and that threads can wait for.
///
/// # Examples
/// ```
/// use sward::sync::{Arc, Event};
/// let ready = Arc::new(Event::new());
/// let waiter = sward::thread::spawn({
///     let ready = Arc::clone(&ready);
///     move || ready.wait()
/// });
/// ready.set();
/// waiter.join().unwrap();
/// ```
pub struct Event {
    /// Written under the lock.
    is_set: AtomicBool,
    waiting: SpinLock<WaitList<()>>,
}

impl Event {
    /// Creates a flag that is down.
    pub const fn new() -> Event {
        Event { is_set: AtomicBool::new(false), waiting: SpinLock::new(WaitList::new()) }
    }

    /// Returns whether the flag is up.
    #[inline]
    pub fn is_set(&self) -> bool {
        self.is_set.load(Ordering::Acquire)
    }

    /// Raises the flag. All waiting threads go on, even if it is taken down again before they run.
    pub fn set(&self) {
        let mut wakes = WakeList::new();
        let mut waiting = self.waiting.lock();
        self.is_set.store(true, Ordering::Release);
        waiting.wake_all(&mut wakes);
        drop(waiting);
        wakes.unpark();
    }

    /// Lowers the flag.
    pub fn clear(&self) {
        let _waiting = self.waiting.lock();
        self.is_set.store(false, Ordering::Release);
    }

    /// Waits until the flag is up.
    ///
    /// # Cancellation
    /// This is a [cancellation point](crate::thread::JoinHandle::cancel) if it has to wait.
    #[track_caller]
    pub fn wait(&self) {
        self.wait_until(None);
    }

    /// Waits until the flag is up, for `duration` at most. Returns whether it was.
    ///
    /// # Cancellation
    /// This is a [cancellation point](crate::thread::JoinHandle::cancel) if it has to wait.
    #[track_caller]
    pub fn wait_timeout(&self, duration: Duration) -> bool {
        self.wait_until(Instant::now().checked_add(duration))
    }

    #[track_caller]
    fn wait_until(&self, deadline: Option<Instant>) -> bool {
        if self.is_set() {
            return true;
        }
        let mut waiting = self.waiting.lock();
        if self.is_set() {
            return true;
        }
        let key = waiting.push_back(());
        drop(waiting);
        because(What::Object("the Event", (&raw const *self).addr()), Location::caller(), || {
            sleep_until_notified(&self.waiting, |waiting| waiting, key, deadline, |_| WakeList::new())
        })
    }
}

impl Default for Event {
    fn default() -> Self {
        Event::new()
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Event").field("is_set", &self.is_set()).finish_non_exhaustive()
    }
}
