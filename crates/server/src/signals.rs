//! SIGINT and SIGTERM: the first stops the server, the second ends the process.
//!
//! The handlers write a byte into a socket pair (signal-hook's self-pipe); an OS thread reads it, so nothing but a `send` runs
//! inside a signal handler.

use std::io::{self, Read};
use std::os::unix::net::UnixStream;

use signal_hook::SigId;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::low_level::{pipe, unregister};
use sward::thread::{Builder, JoinHandle};

use crate::shortage;

/// What a shell says of a program that SIGINT has ended.
const EXIT_CODE: i32 = 130;

/// Watches until dropped. The signals are ignored afterwards: their handlers stay, and do nothing.
pub(crate) struct SignalWatch {
    registered: Vec<SigId>,
    thread: Option<JoinHandle<()>>,
}

impl SignalWatch {
    /// Begins to watch. `stop` is called at the first signal, on a thread of its own. Called on an OS thread.
    pub(crate) fn start(stop: impl Fn() + Send + 'static) -> io::Result<SignalWatch> {
        SignalWatch::try_start(stop)
            .map_err(|error| shortage::explain("watching for SIGINT and SIGTERM", &error))
    }

    fn try_start(stop: impl Fn() + Send + 'static) -> io::Result<SignalWatch> {
        let (mut reader, writer) = UnixStream::pair()?;
        let mut watch = SignalWatch { registered: Vec::new(), thread: None };
        for signal in [SIGINT, SIGTERM] {
            watch.registered.push(pipe::register(signal, writer.try_clone()?)?);
        }
        let read = move || {
            let mut byte = [0];
            if matches!(reader.read(&mut byte), Ok(1)) {
                stop();
                if matches!(reader.read(&mut byte), Ok(1)) {
                    std::process::exit(EXIT_CODE);
                }
            }
        };
        watch.thread = Some(Builder::new().name("signals".into()).spawn(read)?);
        Ok(watch)
    }
}

impl Drop for SignalWatch {
    fn drop(&mut self) {
        for id in self.registered.drain(..) {
            unregister(id);
        }
        // The handlers held the writing ends, so the thread reads the end of the stream now.
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
