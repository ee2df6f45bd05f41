//! Ends the process when a test takes too long. A green thread that waits for ever cannot be told to fail, and neither can the
//! worker that waits for it; a message and a dead process is what is left.

use std::io::Write;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::Duration;

/// Far beyond what any test takes, on a slow machine with other work, too.
const LIMIT: Duration = Duration::from_secs(60);

/// As long as it lives, the time is counted.
#[derive(Debug)]
pub struct Watchdog {
    /// Dropped to call it off.
    alive: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Watchdog {
    /// Starts counting. After 60 s the process aborts, with a message that says `name`.
    ///
    /// # Panics
    /// If no OS thread can be started.
    pub fn start(name: &str) -> Watchdog {
        let name = name.to_owned();
        let (alive, watched) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            if watched.recv_timeout(LIMIT) == Err(RecvTimeoutError::Timeout) {
                // Not `eprintln!`: the test harness holds that back, and this process has no later.
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
