//! Ends the process when a test takes too long. Nothing can make a green thread fail that waits for ever, nor the worker that
//! waits for it. So the watchdog writes a message and aborts.

use std::io::Write;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::Duration;

/// The longest time of a test: far more than any takes, even on a slow and busy machine.
const LIMIT: Duration = Duration::from_secs(60);

/// Counts the time as long as it lives.
#[derive(Debug)]
pub struct Watchdog {
    /// Dropped to stop the watchdog.
    alive: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Watchdog {
    /// Starts to count. After 60 s it writes a message with `name` and aborts the process.
    ///
    /// # Panics
    /// The OS thread cannot be started.
    pub fn start(name: &str) -> Watchdog {
        let name = name.to_owned();
        let (alive, watched) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            if watched.recv_timeout(LIMIT) == Err(RecvTimeoutError::Timeout) {
                // Not `eprintln!`, which the test harness would hold back until after the abort.
                let _ = writeln!(std::io::stderr(), "{name}: not over after {} s", LIMIT.as_secs());
                std::process::abort();
            }
        });
        Watchdog { alive: Some(alive), thread: Some(thread) }
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        drop(self.alive.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
