//! The OS thread that watches a runtime. It sleeps until SIGQUIT comes, a tick is over, or the runtime ends (`quit.rs`). Without anything
//! to watch for there are no ticks.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::{Duration, Instant};

use super::quiescence::QuiescenceWatch;
use super::quit::{News, Quit, Watch, end_watch};
use super::settings::{DeadlockWatch, Settings};
use super::stall::StallWatch;
use super::{deadlock, dump, holds};
use crate::report;
use crate::runtime::shared::Shared;

/// How often a runtime is looked at, at least.
const TICK: Duration = Duration::from_millis(100);

/// How often circles are looked for while other threads run.
const CIRCLE_TICK: Duration = Duration::from_secs(1);

/// The watch over a runtime; ends when dropped.
pub(crate) struct Monitor {
    _quit: Option<Quit>,
    over: Arc<AtomicBool>,
}

impl Monitor {
    /// Starts the watching thread in `scope`. The runtime's workers run already, or will.
    ///
    /// # Errors
    /// No threads are left.
    pub(crate) fn start<'scope>(
        scope: &'scope thread::Scope<'scope, '_>,
        shared: &Arc<Shared>,
        settings: &Settings,
    ) -> io::Result<Monitor> {
        let watcher = Watcher::new(Arc::clone(shared), settings);
        let over = Arc::new(AtomicBool::new(false));
        let watch = Watch::new();
        let quit = settings.dump_on_quit.then(Quit::take).transpose()?;
        let dumps = quit.is_some();
        let thread = thread::Builder::new().name("sward-monitor".into());
        let ends = Arc::clone(&over);
        thread.spawn_scoped(scope, move || watcher.run(watch, dumps, &ends))?;
        Ok(Monitor { _quit: quit, over })
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        end_watch(&self.over);
    }
}

/// What the thread does.
struct Watcher {
    shared: Arc<Shared>,
    stall: Option<StallWatch>,
    quiescence: Option<QuiescenceWatch>,
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
            quiescence: (settings.deadlocks > DeadlockWatch::Off)
                .then(|| QuiescenceWatch::new(settings.deadlocks)),
            circles: (settings.deadlocks == DeadlockWatch::Partial).then(Instant::now),
        }
    }

    /// `None`: there is nothing to look for.
    fn tick_length(&self) -> Option<Duration> {
        let stall = self.stall.as_ref().map(StallWatch::tick_length);
        let quiescence = self.quiescence.as_ref().map(|_| TICK);
        stall.into_iter().chain(quiescence).min()
    }

    fn run(mut self, mut watch: Watch, dumps: bool, over: &AtomicBool) {
        let next_tick = |watcher: &Watcher| watcher.tick_length().map(|length| Instant::now() + length);
        let mut deadline = next_tick(&self);
        loop {
            match watch.wait(over, deadline) {
                News::Over => return,
                News::Signal if dumps => report::post(dump::describe(&self.shared)),
                News::Signal => {}
                News::Tick => {
                    self.tick();
                    deadline = next_tick(&self);
                }
            }
        }
    }

    fn tick(&mut self) {
        if let Some(stall) = &mut self.stall {
            stall.tick(&self.shared);
        }
        if let Some(quiescence) = &mut self.quiescence {
            quiescence.tick(&self.shared);
        }
        if self.circles.is_some_and(|last| last.elapsed() >= CIRCLE_TICK) {
            for circle in deadlock::confirmed(&self.shared) {
                deadlock::break_up(&self.shared, &circle);
            }
            self.circles = Some(Instant::now());
        }
    }
}
