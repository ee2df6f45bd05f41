//! Pictures: a chart is drawn into an SVG element of a given width. Colours and fonts come from a style sheet ([`STYLE`]), which follows
//! the reader's light or dark setting. Text is never scaled: a narrow screen gets a chart drawn for it.
//!
//! A subject has the same look in all charts: a colour of Okabe and Ito's palette, a marker and a dash, any of which is enough
//! to tell it. A hollow marker means that rounds were disturbed.

mod axis;
mod canvas;
mod line_chart;
mod row_chart;

use sward_measure::quantity::short;

pub(crate) use axis::Scale;
pub(crate) use canvas::escape;
pub(crate) use line_chart::{Line, LineChart, Point};
pub(crate) use row_chart::{Mark, Row, RowChart};

/// The style sheet that charts need.
pub(crate) const STYLE: &str = include_str!("plot/plot.css");

/// A chart.
#[derive(Clone, Debug)]
pub(crate) enum Chart {
    Lines(LineChart),
    Rows(RowChart),
}

impl Chart {
    /// A bar for each row, from 0.
    pub(crate) fn bars(x_name: &str, rows: Vec<Row>) -> Chart {
        let (x_name, marks) = (x_name.to_owned(), vec!["median"]);
        Chart::Rows(RowChart { x_name, scale: Scale::Linear, label: short, marks, rows })
    }

    /// The SVG element, so wide. `title` is for those who cannot see it.
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
