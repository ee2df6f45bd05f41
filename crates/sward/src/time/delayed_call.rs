//! A closure that is called later, on a thread of its own.

use std::io;
use std::time::Duration;

use crate::thread::{Builder, Cancelled, JoinHandle, Result, shield, sleep};

/// Calls `f` when `delay` is over, on a thread of its own: Python's `threading.Timer`.
///
/// The thread sleeps until then. Once `f` has begun it runs to its end, since it runs [shielded](shield).
///
/// # Errors
/// The error of [`Builder::spawn`] if the thread cannot be started.
///
/// # Examples
/// ```
/// use sward::time::{Duration, call_later};
/// let call = call_later(Duration::from_millis(1), || 42)?;
/// assert_eq!(call.join().unwrap(), Some(42));
///
/// let call = call_later(Duration::from_secs(1000), || 42)?;
/// call.cancel();
/// assert_eq!(call.join().unwrap(), None);
/// # std::io::Result::Ok(())
/// ```
#[doc(alias = "Timer")]
#[track_caller]
pub fn call_later<F, T>(delay: Duration, f: F) -> io::Result<DelayedCall<T>>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    let run = move || {
        sleep(delay);
        shield(f)
    };
    Builder::new().name("delayed call".into()).spawn(run).map(DelayedCall)
}

/// A call that [`call_later`] has scheduled. Dropping it does not cancel the call.
#[doc(alias = "Timer")]
#[derive(Debug)]
pub struct DelayedCall<T>(JoinHandle<T>);

impl<T> DelayedCall<T> {
    /// Cancels the call, unless it has begun.
    pub fn cancel(&self) {
        self.0.cancel();
    }

    /// Returns whether the closure has returned or panicked, or the call has been cancelled, so that [`join`](DelayedCall::join) would
    /// not wait.
    pub fn is_finished(&self) -> bool {
        self.0.is_finished()
    }

    /// Waits until the closure has returned, and returns its result, or `None` if the call was cancelled before it began.
    ///
    /// # Errors
    /// The payload of the closure's panic.
    ///
    /// # Cancellation
    /// This is a cancellation point. The call is made all the same.
    pub fn join(self) -> Result<Option<T>> {
        match self.0.join() {
            Ok(value) => Ok(Some(value)),
            Err(payload) if payload.is::<Cancelled>() => Ok(None),
            Err(payload) => Err(payload),
        }
    }
}
