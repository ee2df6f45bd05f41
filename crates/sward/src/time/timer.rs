//! A call at a later time: Python's `threading.Timer`.

use std::io;
use std::time::Duration;

use crate::thread::{Builder, Cancelled, JoinHandle, Result, shield, sleep};

/// A thread that sleeps and then calls a closure, unless it is cancelled before.
///
/// Dropping the timer leaves it running.
///
/// ```
/// use sward::time::{Duration, Timer};
/// let timer = Timer::start(Duration::from_millis(1), || 42)?;
/// assert_eq!(timer.join().unwrap(), Some(42));
///
/// let timer = Timer::start(Duration::from_secs(1000), || 42)?;
/// timer.cancel();
/// assert_eq!(timer.join().unwrap(), None);
/// # std::io::Result::Ok(())
/// ```
#[derive(Debug)]
pub struct Timer<T>(JoinHandle<T>);

impl<T: Send + 'static> Timer<T> {
    /// Calls `f` on a thread of its own when `delay` is over.
    ///
    /// # Errors
    /// If the thread cannot be started.
    #[track_caller]
    pub fn start<F>(delay: Duration, f: F) -> io::Result<Timer<T>>
    where
        F: FnOnce() -> T + Send + 'static,
    {
        let run = move || {
            sleep(delay);
            shield(f)
        };
        Builder::new().name("timer".into()).spawn(run).map(Timer)
    }

    /// Keeps the closure from being called. One that runs already runs to its end.
    pub fn cancel(&self) {
        self.0.cancel();
    }

    /// Whether the closure has returned or the timer has been cancelled.
    pub fn is_finished(&self) -> bool {
        self.0.is_finished()
    }

    /// Waits for the closure's result; `None` if the timer was cancelled first. A cancellation point.
    ///
    /// # Errors
    /// The payload of the closure's panic.
    pub fn join(self) -> Result<Option<T>> {
        match self.0.join() {
            Ok(value) => Ok(Some(value)),
            Err(payload) if payload.is::<Cancelled>() => Ok(None),
            Err(payload) => Err(payload),
        }
    }
}
