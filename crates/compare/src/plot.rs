//! Charts, as SVG elements of a given width. Colours and fonts come from a style sheet ([`STYLE`]), which follows the reader's light or
//! dark setting. Text is never scaled: a narrow screen gets a chart drawn for it.
//!
//! A subject looks the same in all charts: it has a colour of Okabe and Ito's palette, a marker and a dash, each of which is enough to
//! recognize it. A hollow marker means that rounds were disturbed.

mod axis;
mod canvas;
mod line_chart;
mod row_chart;

use sward_measure::quantity::short;

pub(crate) use axis::Scale;
pub(crate) use canvas::{Mark, escape};
pub(crate) use line_chart::{Line, LineChart, Point};
pub(crate) use row_chart::{Row, RowChart};

/// The style sheet that charts need.
pub(crate) const STYLE: &str = include_str!("plot/plot.css");

/// A chart.
#[derive(Clone, Debug)]
pub(crate) enum Chart {
    Lines(LineChart),
    Rows(RowChart),
}

impl Chart {
    /// Returns a chart with a bar for each row, starting at 0.
    pub(crate) fn bars(x_name: &str, rows: Vec<Row>) -> Chart {
        let (x_name, marks) = (x_name.to_owned(), vec!["median"]);
        Chart::Rows(RowChart { x_name, scale: Scale::Linear, label: short, marks, rows })
    }

    /// Draws an SVG element of this width. `title` is for readers who cannot see it.
    pub(crate) fn draw(&self, width: f64, title: &str) -> String {
        match self {
            Chart::Lines(lines) => lines.draw(width, title),
            Chart::Rows(rows) => rows.draw(width, title),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        match self {
            Chart::Lines(lines) => lines.lines.is_empty(),
            Chart::Rows(rows) => rows.rows.is_empty(),
        }
    }
}
