//! What a cancelled thread unwinds with.

use std::fmt;

use super::wait;

/// What [`JoinHandle::join`](crate::thread::JoinHandle::join) gives as the error (in its `Box<dyn Any>`) for a thread that was cancelled.
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cancelled;

impl Drop for Cancelled {
    fn drop(&mut self) {
        wait::end_of_unwinding();
    }
}

impl fmt::Display for Cancelled {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("the thread was cancelled")
    }
}

impl std::error::Error for Cancelled {}
