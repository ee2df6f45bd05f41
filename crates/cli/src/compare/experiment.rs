//! The experiments. Each is a file that says how it is measured, how it is drawn, and what it says about the claims that people make.

mod active;
mod counter;
mod idle;
mod rest;
mod tasks;
mod wakeup;

use sward::time::Duration;

use super::bench::Bench;
use super::machine::Machine;
use super::plan::{Experiment, Plan};
use super::plot::{Chart, Kind, Line, Lines, Mark, Point};
use super::quantity::{count, digits, micros, short};
use super::study::{Metric, Statistic, Study};
use super::table::Table;
use super::verdict::Verdict;

/// A finished run.
pub(crate) struct Outcome {
    pub(super) plan: Plan,
    pub(super) machine: Machine,
    pub(super) study: Study,
    /// How long it took.
    pub(super) took: Duration,
    /// What a reader has to know about the run as a whole.
    pub(super) notes: Vec<String>,
}

/// What there is to say of one experiment.
pub(super) struct Chapter {
    pub(super) experiment: Experiment,
    pub(super) title: &'static str,
    /// How it was measured, for people who have not read anything else.
    pub(super) about: String,
    pub(super) figures: Vec<Figure>,
    pub(super) verdicts: Vec<Verdict>,
    pub(super) tables: Vec<Table>,
}

/// A picture.
pub(super) struct Figure {
    /// As an identifier.
    pub(super) name: &'static str,
    pub(super) title: &'static str,
    pub(super) chart: Chart,
    /// What was measured.
    pub(super) about: String,
    /// With which command.
    pub(super) command: String,
}

/// Makes one round of an experiment.
///
/// # Errors
/// Ctrl-C.
pub(super) fn measure(experiment: Experiment, bench: &mut Bench, round: u32) -> anyhow::Result<()> {
    match experiment {
        Experiment::Active => active::measure(bench, round),
        Experiment::Idle => idle::measure(bench, round),
        Experiment::Rest => rest::measure(bench, round),
        Experiment::Wakeup => wakeup::measure(bench, round),
        Experiment::Counter => counter::measure(bench, round),
        Experiment::Tasks => tasks::measure(bench, round),
    }
}

/// The flags of `sward load`: an experiment's own, and those that all of them have.
fn load_flags(plan: &Plan, own: &[(&str, &str)]) -> Vec<String> {
    let millis = |duration: Duration| format!("{}ms", duration.as_millis());
    let (size, window, warmup) = (plan.size.to_string(), millis(plan.window), millis(plan.warmup));
    let common = [("--size", &*size), ("--duration", &window), ("--warmup", &warmup)];
    own.iter().chain(&common).flat_map(|(flag, value)| [(*flag).to_owned(), (*value).to_owned()]).collect()
}

/// What there is to say, experiment by experiment.
pub(super) fn chapters(outcome: &Outcome) -> Vec<Chapter> {
    let chapter = |experiment: &Experiment| match experiment {
        Experiment::Active => active::chapter(outcome),
        Experiment::Idle => idle::chapter(outcome),
        Experiment::Rest => rest::chapter(outcome),
        Experiment::Wakeup => wakeup::chapter(outcome),
        Experiment::Counter => counter::chapter(outcome),
        Experiment::Tasks => tasks::chapter(outcome),
    };
    let mut chapters: Vec<_> = outcome.plan.experiments.iter().map(chapter).collect();
    for chapter in &mut chapters {
        chapter.figures.retain(|figure| !figure.chart.is_empty());
        let (noisy, all) = outcome.study.noisy(chapter.experiment);
        chapter.verdicts.iter_mut().for_each(|verdict| verdict.temper(noisy, all));
    }
    chapters
}

impl Outcome {
    fn statistic(&self, experiment: Experiment, subject: &str, x: u64, metric: Metric) -> Option<Statistic> {
        self.study.statistic(experiment, subject, x, metric)
    }

    fn median(&self, experiment: Experiment, subject: &str, x: u64, metric: Metric) -> Option<f64> {
        self.study.median(experiment, subject, x, metric)
    }

    /// A line for each server, over numbers of connections.
    fn lines(&self, experiment: Experiment, metric: Metric, x_name: &str, y_name: &str) -> Chart {
        let lines: Vec<Line> = self
            .plan
            .subjects
            .iter()
            .filter_map(|subject| {
                let points = self.study.points(experiment, &subject.name, metric);
                let points: Vec<_> = points.into_iter().map(|(x, statistic)| point(x, statistic)).collect();
                (!points.is_empty()).then(|| Line { name: subject.name.clone(), look: subject.look, points })
            })
            .collect();
        let values = || lines.iter().flat_map(|line| &line.points).map(|point| point.y).filter(|&y| y > 0.0);
        let (low, high) = (values().fold(f64::INFINITY, f64::min), values().fold(0.0, f64::max));
        // Zero belongs into the picture unless what matters would lie flat on it then.
        let y_kind = if high > 12.0 * low { Kind::Log } else { Kind::Linear };
        let latencies = [Metric::LatencyP50Us, Metric::LatencyP99Us, Metric::LatencyP999Us];
        let y_label = if latencies.contains(&metric) { micros } else { short };
        Chart::Lines(Lines { x_name: x_name.into(), y_name: y_name.into(), y_kind, y_label, lines })
    }

    /// Rows for servers, columns for numbers of connections.
    fn table(&self, experiment: Experiment, metric: Metric, caption: &str, show: fn(f64) -> String) -> Table {
        let places = self.study.places(experiment);
        let columns = places.iter().map(|&x| count(x as f64)).collect();
        let rows = self.study.subjects(experiment).into_iter().filter_map(|subject| {
            let cells: Vec<_> =
                places.iter().map(|&x| self.statistic(experiment, subject, x, metric)).collect();
            cells
                .iter()
                .any(Option::is_some)
                .then(|| (subject.to_owned(), cells.into_iter().map(|cell| cell_text(cell, show)).collect()))
        });
        Table { caption: caption.to_owned(), columns, rows: rows.collect() }
    }
}

fn point(x: u64, statistic: Statistic) -> Point {
    let Statistic { median, low, high, .. } = statistic;
    Point { x: x as f64, y: median, low, high, noisy: statistic.is_noisy() }
}

fn mark(statistic: Statistic) -> Mark {
    let Statistic { median, low, high, .. } = statistic;
    Mark { value: median, low, high, noisy: statistic.is_noisy() }
}

/// A mark of bytes as one of KiB.
fn kibibytes(bytes: Mark) -> Mark {
    let Mark { value, low, high, noisy } = bytes;
    Mark { value: value / 1024.0, low: low / 1024.0, high: high / 1024.0, noisy }
}

/// The median, its spread where there is one, and `~` where rounds were disturbed.
fn cell_text(cell: Option<Statistic>, show: fn(f64) -> String) -> String {
    let Some(statistic) = cell else { return "–".to_owned() };
    let Statistic { median, low, high, .. } = statistic;
    let mark = if statistic.is_noisy() { "~" } else { "" };
    let spread = (high - low) / 2.0 / median * 100.0;
    let spread = match show(median) {
        // Shares of next to nothing say nothing.
        shown if shown == show(0.0) => String::new(),
        _ if spread >= 1000.0 => " ±>999%".to_owned(),
        _ if spread >= 0.5 => format!(" ±{spread:.0}%"),
        _ => String::new(),
    };
    format!("{mark}{}{spread}", show(median))
}

/// `3.1 times` or `0.87 times`.
fn times(ratio: f64) -> String {
    match digits(ratio).as_str() {
        "1" => "1.0 times".to_owned(),
        digits => format!("{digits} times"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_spread_is_a_share_where_there_is_something_to_share() {
        let text = |median, low, high, noisy_rounds| {
            cell_text(Some(Statistic { median, low, high, rounds: 3, noisy_rounds }), digits)
        };
        assert_eq!(text(10.0, 9.0, 11.0, 0), "10 ±10%");
        assert_eq!(text(10.0, 9.99, 10.0, 1), "~10");
        assert_eq!(text(0.001, 0.0, 3.0, 0), "0");
        assert_eq!(text(1.0, 1.0, 90.0, 0), "1 ±>999%");
        assert_eq!(cell_text(None, digits), "–");
    }
}
