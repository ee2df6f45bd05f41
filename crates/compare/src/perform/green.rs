//! A runtime for steps that need one.

use std::io;

/// Runs `main` on green threads, all on one worker.
///
/// # Errors
/// The runtime does not start.
#[allow(unsafe_code)]
pub(crate) fn on_green_threads<T>(main: impl FnOnce() -> T) -> io::Result<T> {
    // SAFETY: the steps use no thread-local values, so none is held across a blocking call.
    unsafe { sward::Builder::new().workers(1).run(main) }
}
