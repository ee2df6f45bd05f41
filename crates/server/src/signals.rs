//! SIGINT and SIGTERM: the first stops the server, the second ends the process.
//!
//! The handlers write into a socket pair (signal-hook's self-pipe); an OS thread reads it, so nothing but a `send` runs
//! inside a signal handler.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::{Handle, Signals};
use sward::thread::{Builder, JoinHandle};

use crate::shortage;

/// What stops a server.
const SIGNALS: [i32; 2] = [SIGINT, SIGTERM];

/// What a shell says of a program that a signal has ended: this and the signal's number.
const EXIT_CODE: i32 = 128;

/// Watches until dropped. The signals are ignored afterwards: their handlers stay, and do nothing.
pub(crate) struct SignalWatch {
    handle: Handle,
    thread: Option<JoinHandle<()>>,
}

impl SignalWatch {
    /// Begins to watch. `stop` is called at the first signal, on a thread of its own. Called on an OS thread.
    pub(crate) fn start(stop: impl Fn() + Send + 'static) -> io::Result<SignalWatch> {
        SignalWatch::try_start(stop)
            .map_err(|error| shortage::explain("watching for SIGINT and SIGTERM", &error))
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

/// From now on, SIGINT and SIGTERM do nothing to this process; programs that it starts are not affected. For a child, which ends as its
/// parent says: a supervisor sends SIGTERM to all processes of a service at once.
pub(crate) fn leave_to_parent() -> io::Result<()> {
    for signal in SIGNALS {
        signal_hook::flag::register(signal, Arc::new(AtomicBool::new(false)))?;
    }
    Ok(())
}
