//! What a cancelled thread unwinds with.

use std::fmt;

use super::unwinding::Interruption;

/// What `JoinHandle::join` returns as the error (in its `Box<dyn Any>`) for a thread that was cancelled.
///
/// ```
/// use sward::thread::{self, Cancelled};
/// // SAFETY: nothing here holds a scoped thread-local value across a blocking call.
/// unsafe {
///     sward::run(|| {
///         let thread = thread::spawn(|| thread::park());
///         thread.cancel();
///         assert!(thread.join().unwrap_err().is::<Cancelled>());
///     })
/// }
/// .unwrap();
/// ```
pub struct Cancelled {
    /// Of the payload that unwinds a thread. `None`: a result.
    _interruption: Option<Interruption>,
}

impl Cancelled {
    /// The result of a thread that has not started and never will.
    pub(crate) fn before_start() -> Cancelled {
        Cancelled { _interruption: None }
    }

    /// The payload that unwinds the calling thread.
    pub(crate) fn unwinding() -> Cancelled {
        Cancelled { _interruption: Some(Interruption::begin()) }
    }
}

impl Clone for Cancelled {
    fn clone(&self) -> Self {
        Cancelled { _interruption: None }
    }
}

impl PartialEq for Cancelled {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Cancelled {}

impl fmt::Debug for Cancelled {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Cancelled")
    }
}

impl fmt::Display for Cancelled {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("the thread was cancelled")
    }
}

impl std::error::Error for Cancelled {}
