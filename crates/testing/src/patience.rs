//! Waits for a condition that sends no signal: the state of another process or of the kernel, or a number that another thread
//! counts.

use std::time::{Duration, Instant};

/// The longest wait. It is generous, since the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(120);

/// The time between two looks.
const PAUSE: Duration = Duration::from_millis(2);

/// Waits on an OS thread until `holds` returns true, which it calls again and again.
///
/// Do not use it for a thread, a message or the end of a process: wait for the thing itself.
///
/// # Panics
/// Two minutes are over. The message is `what`.
#[track_caller]
pub fn await_that(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        // Nothing wakes us when the condition becomes true. Without a pause, we would keep it from becoming true.
        std::thread::sleep(PAUSE);
    }
}
