//! A chapter of the page: one experiment's figures, verdicts and tables, made from a finished [`Comparison`]; and the functions that
//! all experiments make them with.

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
    /// Remarks about the run as a whole.
    pub(crate) notes: Vec<String>,
}

/// One experiment, as the page shows it.
pub(crate) struct Chapter {
    pub(crate) experiment: Experiment,
    pub(crate) title: &'static str,
    /// How it was measured, for a reader who starts here.
    pub(crate) about: String,
    pub(crate) figures: Vec<Figure>,
    pub(crate) verdicts: Vec<Verdict>,
    pub(crate) tables: Vec<Table>,
}

/// A chart with its caption.
pub(crate) struct Figure {
    /// Its identifier in the page, and the name of its SVG file.
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    pub(crate) chart: Chart,
    /// What was measured.
    pub(crate) about: String,
    /// The command that measures it.
    pub(crate) command: String,
}

/// A metric over numbers of connections: a line chart, and a table of the same figures.
pub(crate) struct Curve {
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    pub(crate) metric: Metric,
    pub(crate) unit: &'static str,
    pub(crate) about: &'static str,
}

impl Comparison {
    /// Returns a figure for each curve. `x_name` says which connections are counted.
    pub(crate) fn curve_figures(
        &self,
        experiment: Experiment,
        curves: &[Curve],
        x_name: &str,
        command: &str,
    ) -> Vec<Figure> {
        let figure = |&Curve { name, title, metric, unit, about }: &Curve| {
            let chart = self.lines(experiment, metric, x_name, unit);
            Figure { name, title, chart, about: about.to_owned(), command: command.to_owned() }
        };
        curves.iter().map(figure).collect()
    }

    /// Returns a table for each curve.
    pub(crate) fn curve_tables(&self, experiment: Experiment, curves: &[Curve], x_name: &str) -> Vec<Table> {
        let table = |&Curve { metric, unit, .. }: &Curve| {
            self.table(experiment, metric, format!("{unit}, by {x_name}"), format_of(metric))
        };
        curves.iter().map(table).collect()
    }

    /// Returns a chart with a line for each server, over numbers of connections.
    fn lines(&self, experiment: Experiment, metric: Metric, x_name: &str, y_name: &str) -> Chart {
        let lines: Vec<Line> = self
            .plan
            .subjects
            .iter()
            .filter_map(|subject| {
                let points = self.study.points(experiment, &subject.name, metric);
                let points: Vec<_> = points
                    .into_iter()
                    .map(|(x, statistic)| Point { x: x as f64, y: mark(statistic) })
                    .collect();
                (!points.is_empty()).then(|| Line { name: subject.name.clone(), look: subject.look, points })
            })
            .collect();
        let values =
            || lines.iter().flat_map(|line| &line.points).map(|point| point.y.value).filter(|&y| y > 0.0);
        let (low, high) = (values().fold(f64::INFINITY, f64::min), values().fold(0.0, f64::max));
        // An axis that starts at zero is honest, but flattens small values when others are far larger.
        let y_scale = if high > 12.0 * low { Scale::Log } else { Scale::Linear };
        let y_label = format_of(metric);
        Chart::Lines(LineChart { x_name: x_name.into(), y_name: y_name.into(), y_scale, y_label, lines })
    }

    /// Returns a table with a row for each server and a column for each number of connections.
    pub(crate) fn table(
        &self,
        experiment: Experiment,
        metric: Metric,
        caption: String,
        show: fn(f64) -> String,
    ) -> Table {
        let xs = self.study.xs(experiment);
        let columns = xs.iter().map(|&x| count(x as f64)).collect();
        let rows = self.study.subjects(experiment).into_iter().filter_map(|subject| {
            let cells: Vec<_> =
                xs.iter().map(|&x| self.study.statistic(experiment, subject, x, metric)).collect();
            cells
                .iter()
                .any(Option::is_some)
                .then(|| (subject.to_owned(), cells.into_iter().map(|cell| cell_text(cell, show)).collect()))
        });
        Table { caption, columns, rows: rows.collect() }
    }
}

/// Returns how the values of a curve are written.
fn format_of(metric: Metric) -> fn(f64) -> String {
    match metric {
        Metric::LatencyP50Us | Metric::LatencyP99Us | Metric::LatencyP999Us => micros,
        _ => short,
    }
}

/// Returns a subject's row of a chart, with a mark for each statistic.
pub(crate) fn row(subject: &Subject, statistics: &[Statistic], text: String) -> Row {
    let marks = statistics.iter().copied().map(mark).collect();
    Row { name: subject.name.clone(), look: subject.look, marks, text }
}

pub(crate) fn mark(statistic: Statistic) -> Mark {
    let Statistic { median, low, high, .. } = statistic;
    Mark { value: median, low, high, noisy: statistic.is_noisy() }
}

/// Converts a mark from bytes to KiB.
pub(crate) fn kibibytes(bytes: Mark) -> Mark {
    let Mark { value, low, high, noisy } = bytes;
    Mark { value: value / 1024.0, low: low / 1024.0, high: high / 1024.0, noisy }
}

/// Formats a cell: the median, its spread if it is worth a word, and `~` if rounds were disturbed.
pub(crate) fn cell_text(cell: Option<Statistic>, show: fn(f64) -> String) -> String {
    let Some(statistic) = cell else { return "–".to_owned() };
    let Statistic { median, low, high, .. } = statistic;
    let mark = if statistic.is_noisy() { "~" } else { "" };
    let spread = (high - low) / 2.0 / median * 100.0;
    let spread = match show(median) {
        // A share of next to nothing means nothing.
        shown if shown == show(0.0) => String::new(),
        _ if spread >= 1000.0 => " ±>999%".to_owned(),
        _ if spread >= 0.5 => format!(" ±{spread:.0}%"),
        _ => String::new(),
    };
    format!("{mark}{}{spread}", show(median))
}

/// Formats a ratio: `3.1 times` or `0.87 times`.
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
