//! The OS thread that watches a runtime. It sleeps until SIGQUIT rings its bell (a byte in a socket pair), a tick is over, or the
//! runtime ends (the end of the stream). Without anything to watch for there are no ticks.

use std::io::{self, ErrorKind, Read};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use signal_hook::SigId;
use signal_hook::consts::SIGQUIT;
use signal_hook::low_level::{pipe, unregister};

use super::settings::{DeadlockWatch, Settings};
use super::stall::StallWatch;
use super::standstill::StandstillWatch;
use super::{deadlock, dump, holds};
use crate::report;
use crate::runtime::shared::Shared;

/// How often a runtime is looked at, at least.
const TICK: Duration = Duration::from_millis(100);

/// How often circles are looked for while other threads run.
const CIRCLE_TICK: Duration = Duration::from_secs(1);

/// The watch over a runtime; ends when dropped.
pub(crate) struct Monitor {
    quit: Option<SigId>,
    /// Ends the stream when dropped.
    _bell: UnixStream,
}

impl Monitor {
    /// Starts the watching thread in `scope`. The runtime's workers run already, or will.
    ///
    /// # Errors
    /// No descriptors or threads are left.
    pub(crate) fn start<'scope>(
        scope: &'scope thread::Scope<'scope, '_>,
        shared: &Arc<Shared>,
        settings: &Settings,
    ) -> io::Result<Monitor> {
        let (reader, writer) = UnixStream::pair()?;
        let watcher = Watcher::new(Arc::clone(shared), settings);
        reader.set_read_timeout(watcher.tick_length())?;
        let mut monitor = Monitor { quit: None, _bell: writer.try_clone()? };
        if settings.dump_on_quit {
            monitor.quit = Some(pipe::register(SIGQUIT, writer)?);
        }
        thread::Builder::new().name("sward-monitor".into()).spawn_scoped(scope, || watcher.run(reader))?;
        Ok(monitor)
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        // This drops the other writing end.
        self.quit.map(unregister);
    }
}

/// What the thread does.
struct Watcher {
    shared: Arc<Shared>,
    stall: Option<StallWatch>,
    standstill: Option<StandstillWatch>,
    /// When circles were looked for last, if they are.
    circles: Option<Instant>,
}

impl Watcher {
    fn new(shared: Arc<Shared>, settings: &Settings) -> Watcher {
        let workers = shared.workers();
        if settings.deadlocks > DeadlockWatch::Off {
            holds::start_recording();
        }
        Watcher {
            shared,
            stall: settings.stall_after.map(|after| StallWatch::new(after, workers)),
            standstill: (settings.deadlocks > DeadlockWatch::Off)
                .then(|| StandstillWatch::new(settings.deadlocks)),
            circles: (settings.deadlocks == DeadlockWatch::Partial).then(Instant::now),
        }
    }

    /// `None`: there is nothing to look for.
    fn tick_length(&self) -> Option<Duration> {
        let stall = self.stall.as_ref().map(StallWatch::tick_length);
        let standstill = self.standstill.as_ref().map(|_| TICK);
        stall.into_iter().chain(standstill).min()
    }

    fn run(mut self, mut bell: UnixStream) {
        let mut rings = [0; 64];
        loop {
            match bell.read(&mut rings) {
                Ok(0) => return,
                Ok(_) => report::post(dump::describe(&self.shared)),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    self.tick()
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return,
            }
        }
    }

    fn tick(&mut self) {
        if let Some(stall) = &mut self.stall {
            stall.tick(&self.shared);
        }
        if let Some(standstill) = &mut self.standstill {
            standstill.tick(&self.shared);
        }
        if self.circles.is_some_and(|last| last.elapsed() >= CIRCLE_TICK) {
            for circle in deadlock::confirmed(&self.shared) {
                deadlock::break_up(&self.shared, &circle);
            }
            self.circles = Some(Instant::now());
        }
    }
}
