//! A runtime for steps.

use std::io;

/// Runs `main` on green threads, all on one worker.
///
/// # Errors
/// The runtime does not start.
#[allow(unsafe_code)]
pub(crate) fn on_green_threads<T>(main: impl FnOnce() -> T) -> io::Result<T> {
    // SAFETY: what the steps run holds no scoped thread-local value across a blocking call; they use none at all.
    unsafe { sward::Builder::new().workers(1).run(main) }
}
