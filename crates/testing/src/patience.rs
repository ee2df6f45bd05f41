//! Waiting for what nobody tells: the state of another process, of the kernel, or a number that another thread counts.

use std::time::{Duration, Instant};

/// How long anything may take before it counts as lost. Generous: the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(120);

/// The time between two looks.
const PAUSE: Duration = Duration::from_millis(2);

/// Looks again and again until `holds` says yes. On an OS thread.
///
/// What can be waited for itself (a thread, a message, the end of a process) is not waited for by this.
///
/// # Panics
/// After two minutes, with `what`.
#[track_caller]
pub fn await_that(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        // Nothing wakes us when it comes true; without a pause we would keep it from doing so.
        std::thread::sleep(PAUSE);
    }
}
