//! Detects quiescence: nothing in a runtime can run again.
//!
//! A runtime is quiescent if at two ticks in a row the number of switches is the same and each worker sleeps without a timer and without
//! an operation in flight, no mail lies there, and no offloaded call runs. Green threads are left then that only other threads could wake,
//! and of these only OS threads that are none of ours are left. If the process has none, or if threads wait in a circle, it is a
//! deadlock for certain: the main thread panics with the report. Otherwise it is only suspected, and after some
//! seconds said so, once: an OS thread may be about to send something.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use sward_coroutine::write_stderr;

use super::console;
use super::deadlock::{circles, quiescence_report, request_panic};
use super::settings::DeadlockWatch;
use super::snapshot::{self, Depth, State};
use crate::report;
use crate::runtime::counters::phase;
use crate::runtime::offload;
use crate::runtime::shared::Shared;

/// How long an OS thread may take until the suspicion is said.
const SUSPICION: Duration = Duration::from_secs(5);

/// What the monitor knows about the present quiescence.
pub(super) struct QuiescenceWatch {
    watch: DeadlockWatch,
    /// The sum of switches at the last tick, if nothing could run then.
    still_at: Option<u64>,
    /// About the quiescence at that number.
    finding: Finding,
}

enum Finding {
    /// It has not been looked at.
    None,
    /// Only OS threads that are not ours can end it.
    Suspected { since: Instant, is_said: bool },
    /// The main thread has been woken to panic, or the report has been printed.
    Deadlock,
}

impl QuiescenceWatch {
    pub(super) fn new(watch: DeadlockWatch) -> QuiescenceWatch {
        QuiescenceWatch { watch, still_at: None, finding: Finding::None }
    }

    /// Looks at the runtime again.
    pub(super) fn tick(&mut self, shared: &Arc<Shared>) {
        let before = std::mem::replace(&mut self.still_at, stillness(shared));
        let Some(switches) = self.still_at.filter(|_| self.still_at == before) else {
            self.finding = Finding::None;
            return;
        };
        match &mut self.finding {
            Finding::Deadlock => {}
            Finding::Suspected { since, is_said } if foreign_threads(shared) != Some(0) => {
                if !*is_said && since.elapsed() >= SUSPICION {
                    *is_said = true;
                    report::report(suspicion(shared));
                }
            }
            Finding::None | Finding::Suspected { .. } => self.finding = self.examine(shared, switches),
        }
    }

    /// Nothing has moved between two ticks: is it a deadlock?
    fn examine(&self, shared: &Arc<Shared>, switches: u64) -> Finding {
        let mut snapshot = snapshot::take(shared, Depth::States);
        let waits = |state: &State| matches!(state, State::Parked | State::Waiting(_));
        let all_wait = snapshot.silent.is_empty()
            && snapshot.unstarted == 0
            && !snapshot.threads.is_empty()
            && snapshot.threads.iter().all(|seen| waits(seen.snapshot.state()));
        if !all_wait || sum_of_switches(shared) != switches {
            return Finding::None;
        }
        snapshot.threads.sort_by_key(|seen| seen.task().id());
        let found = quiescence_report(&snapshot);
        if foreign_threads(shared) != Some(0) && circles(&snapshot).is_empty() {
            return Finding::Suspected { since: Instant::now(), is_said: false };
        }
        if self.watch == DeadlockWatch::Abort {
            report::flush();
            write_stderr(format!("sward: {found}\n").as_bytes());
            std::process::abort();
        }
        match snapshot.threads.iter().find(|seen| shared.is_main(seen.task())) {
            Some(main) => request_panic(shared, main, &found),
            // The main thread has ended, and others refuse to be cancelled.
            None => report::report(format_args!("sward: {found}")),
        }
        Finding::Deadlock
    }
}

/// The sum of switches, if there are green threads and none can run.
fn stillness(shared: &Shared) -> Option<u64> {
    let switches = sum_of_switches(shared);
    let is_still = |worker| {
        shared.counters(worker).phase.load(Ordering::Relaxed) == phase::HOPELESS
            && !shared.mailbox(worker).has_mail()
    };
    let still = (0..shared.workers()).all(is_still) && shared.live() > 0 && shared.unstarted() == 0;
    (still && offload::running() == 0).then_some(switches)
}

fn sum_of_switches(shared: &Shared) -> u64 {
    (0..shared.workers()).map(|worker| shared.counters(worker).switches.load(Ordering::Relaxed)).sum()
}

/// OS threads of the process that are neither this runtime's nor the kernel's own; `None` if that cannot be known.
fn foreign_threads(shared: &Shared) -> Option<usize> {
    let mut all = 0;
    for thread in fs::read_dir("/proc/self/task").ok()? {
        let name = fs::read_to_string(thread.ok()?.path().join("comm")).unwrap_or_default();
        // io_uring's own threads, the console's and the one that writes reports do what they are asked to and nothing else.
        let serves = ["iou-", console::THREAD, report::THREAD].iter().any(|start| name.starts_with(start));
        all += usize::from(!serves);
    }
    let monitor = 1;
    Some(all.saturating_sub(shared.workers() + monitor + offload::threads()))
}

fn suspicion(shared: &Shared) -> String {
    format!(
        "sward: all {} green threads have waited for others for {} s, and only an OS thread that is none of sward's can wake them. If \
         none will, this is a deadlock; `kill -QUIT {}` shows who waits for what",
        shared.live(),
        SUSPICION.as_secs(),
        std::process::id(),
    )
}
