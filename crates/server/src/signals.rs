//! SIGINT and SIGTERM: the first stops the server, the second ends the process.
//!
//! The signal handlers only `send` to a socket pair (signal-hook's self-pipe), which an OS thread reads.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::{Handle, Signals};
use sward::thread::{Builder, JoinHandle};

use crate::advice;

/// The signals that stop a server.
const SIGNALS: [i32; 2] = [SIGINT, SIGTERM];

/// A program that a signal ends has this exit code, plus the signal's number.
const EXIT_CODE: i32 = 128;

/// Watches for the signals until dropped. Afterwards they do nothing: their handlers stay.
pub(crate) struct SignalWatch {
    handle: Handle,
    thread: Option<JoinHandle<()>>,
}

impl SignalWatch {
    /// Begins to watch, and calls `stop` at the first signal, on a thread of its own. Must be called on an OS thread.
    pub(crate) fn start(stop: impl Fn() + Send + 'static) -> io::Result<SignalWatch> {
        SignalWatch::try_start(stop)
            .map_err(|error| advice::explain("watching for SIGINT and SIGTERM", &error))
    }

    fn try_start(stop: impl Fn() + Send + 'static) -> io::Result<SignalWatch> {
        let mut signals = Signals::new(SIGNALS)?;
        let mut watch = SignalWatch { handle: signals.handle(), thread: None };
        let read = move || {
            let mut signals = signals.forever();
            if signals.next().is_some() {
                stop();
                if let Some(second) = signals.next() {
                    std::process::exit(EXIT_CODE + second);
                }
            }
        };
        watch.thread = Some(Builder::new().name("signals".into()).spawn(read)?);
        Ok(watch)
    }
}

impl Drop for SignalWatch {
    fn drop(&mut self) {
        self.handle.close();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Makes SIGINT and SIGTERM do nothing to this process; programs that it starts are not affected. This is for a child, which its
/// parent stops: a supervisor sends SIGTERM to all processes of a service at once.
pub(crate) fn leave_to_parent() -> io::Result<()> {
    for signal in SIGNALS {
        signal_hook::flag::register(signal, Arc::new(AtomicBool::new(false)))?;
    }
    Ok(())
}
