//! What is shown during a run, on standard error: a bar on a terminal, a line per second elsewhere, or nothing.

use hdrhistogram::Histogram;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use sward::time::Duration;
use sward_measure::quantity::{count, micros};

/// The resolution of the bar.
const BAR_STEPS: u64 = 1000;

/// How a run is shown.
pub(crate) enum Progress {
    /// Not at all.
    Silent,
    /// A line for each second.
    Lines,
    /// One line that changes.
    Bar(ProgressBar),
}

/// The parts of a run that take time.
#[derive(Clone, Copy)]
pub(super) enum Phase {
    Open,
    WarmUp,
    Measure,
}

impl Phase {
    fn name(self) -> &'static str {
        match self {
            Phase::Open => "opening",
            Phase::WarmUp => "warm-up",
            Phase::Measure => "measure",
        }
    }
}

/// The state of a run at a moment.
pub(super) struct Moment<'a> {
    pub(super) phase: Phase,
    /// Since the phase began.
    pub(super) elapsed: Duration,
    /// How much of the phase is over, from 0 to 1.
    pub(super) share: f64,
    /// Since the last moment that was shown: what `latency` covers.
    pub(super) since: Duration,
    /// In nanoseconds.
    pub(super) latency: &'a Histogram<u64>,
    pub(super) errors: u64,
    pub(super) connections: usize,
}

impl Progress {
    pub(crate) fn silent() -> Progress {
        Progress::Silent
    }

    pub(crate) fn lines() -> Progress {
        Progress::Lines
    }

    pub(crate) fn bar() -> Progress {
        let bar = ProgressBar::with_draw_target(Some(BAR_STEPS), ProgressDrawTarget::stderr());
        let style = ProgressStyle::with_template("{prefix} {bar:12.green/dim} {wide_msg}")
            .expect("the template is right");
        bar.set_style(style.progress_chars("━━─"));
        Progress::Bar(bar)
    }

    /// Returns how often something is shown.
    pub(super) fn period(&self) -> Option<Duration> {
        match self {
            Progress::Silent => None,
            Progress::Lines => Some(Duration::from_secs(1)),
            Progress::Bar(_) => Some(Duration::from_millis(200)),
        }
    }

    pub(super) fn show(&self, moment: &Moment<'_>) {
        match self {
            Progress::Silent => {}
            Progress::Lines => {
                let (phase, seconds) = (moment.phase.name(), moment.elapsed.as_secs_f64());
                sward::report(format_args!("{phase} {seconds:>5.1} s  {}", numbers(moment)));
            }
            Progress::Bar(bar) => {
                bar.set_prefix(format!("{} {:>5.1} s", moment.phase.name(), moment.elapsed.as_secs_f64()));
                bar.set_position((moment.share * BAR_STEPS as f64) as u64);
                bar.set_message(numbers(moment));
            }
        }
    }

    /// Ends the display.
    pub(super) fn finish(&self) {
        if let Progress::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}

fn numbers(moment: &Moment<'_>) -> String {
    let rate = count(moment.latency.len() as f64 / moment.since.as_secs_f64());
    let quantile = |quantile| micros(moment.latency.value_at_quantile(quantile) as f64 / 1e3);
    format!(
        "{rate:>9}/s  p50 {:<7}  p99 {:<7}  {} errors  {} connections",
        quantile(0.5),
        quantile(0.99),
        moment.errors,
        moment.connections
    )
}
