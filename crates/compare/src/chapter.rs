//! A chapter of the page: what an experiment has to say, made of a finished [`Comparison`]. And the pieces that experiments make
//! theirs of: charts, tables, cells.

use sward::time::Duration;
use sward_measure::quantity::{count, digits, micros, short};

use crate::machine::Machine;
use crate::plan::{Experiment, Plan};
use crate::plot::{Chart, Line, LineChart, Mark, Point, Row, Scale};
use crate::study::{Metric, Statistic, Study};
use crate::subject::Subject;
use crate::table::Table;
use crate::verdict::Verdict;

/// A finished run.
pub(crate) struct Comparison {
    pub(crate) plan: Plan,
    pub(crate) machine: Machine,
    pub(crate) study: Study,
    /// How long it took.
    pub(crate) took: Duration,
    /// What a reader has to know about the run as a whole.
    pub(crate) notes: Vec<String>,
}

/// What there is to say of one experiment.
pub(crate) struct Chapter {
    pub(crate) experiment: Experiment,
    pub(crate) title: &'static str,
    /// How it was measured, for people who have not read anything else.
    pub(crate) about: String,
    pub(crate) figures: Vec<Figure>,
    pub(crate) verdicts: Vec<Verdict>,
    pub(crate) tables: Vec<Table>,
}

/// A picture.
pub(crate) struct Figure {
    /// As an identifier.
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    pub(crate) chart: Chart,
    /// What was measured.
    pub(crate) about: String,
    /// With which command.
    pub(crate) command: String,
}

/// What the line charts of an experiment have in common.
pub(crate) struct LineFigures<'a> {
    pub(crate) comparison: &'a Comparison,
    pub(crate) experiment: Experiment,
    pub(crate) x_name: &'static str,
    pub(crate) command: String,
}

impl LineFigures<'_> {
    pub(crate) fn figure(
        &self,
        name: &'static str,
        title: &'static str,
        metric: Metric,
        unit: &str,
        about: &str,
    ) -> Figure {
        let chart = self.comparison.lines(self.experiment, metric, self.x_name, unit);
        Figure { name, title, chart, about: about.to_owned(), command: self.command.clone() }
    }
}

impl Comparison {
    pub(crate) fn statistic(
        &self,
        experiment: Experiment,
        subject: &str,
        x: u64,
        metric: Metric,
    ) -> Option<Statistic> {
        self.study.statistic(experiment, subject, x, metric)
    }

    pub(crate) fn median(
        &self,
        experiment: Experiment,
        subject: &str,
        x: u64,
        metric: Metric,
    ) -> Option<f64> {
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
        let y_scale = if high > 12.0 * low { Scale::Log } else { Scale::Linear };
        let latencies = [Metric::LatencyP50Us, Metric::LatencyP99Us, Metric::LatencyP999Us];
        let y_label = if latencies.contains(&metric) { micros } else { short };
        Chart::Lines(LineChart { x_name: x_name.into(), y_name: y_name.into(), y_scale, y_label, lines })
    }

    /// RowChart for servers, columns for numbers of connections.
    pub(crate) fn table(
        &self,
        experiment: Experiment,
        metric: Metric,
        caption: &str,
        show: fn(f64) -> String,
    ) -> Table {
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

/// A subject's row in a chart: a mark for each statistic.
pub(crate) fn row(subject: &Subject, statistics: &[Statistic], text: String) -> Row {
    let marks = statistics.iter().copied().map(mark).collect();
    Row { name: subject.name.clone(), look: subject.look, marks, text }
}

fn point(x: u64, statistic: Statistic) -> Point {
    let Statistic { median, low, high, .. } = statistic;
    Point { x: x as f64, y: median, low, high, noisy: statistic.is_noisy() }
}

pub(crate) fn mark(statistic: Statistic) -> Mark {
    let Statistic { median, low, high, .. } = statistic;
    Mark { value: median, low, high, noisy: statistic.is_noisy() }
}

/// A mark of bytes as one of KiB.
pub(crate) fn kibibytes(bytes: Mark) -> Mark {
    let Mark { value, low, high, noisy } = bytes;
    Mark { value: value / 1024.0, low: low / 1024.0, high: high / 1024.0, noisy }
}

/// The median, its spread where there is one, and `~` where rounds were disturbed.
pub(crate) fn cell_text(cell: Option<Statistic>, show: fn(f64) -> String) -> String {
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
pub(crate) fn times(ratio: f64) -> String {
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
