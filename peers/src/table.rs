//! Results, and their tables.

use std::fmt::Write;

/// Measured values by row and column. Rows are in the order in which they were added first.
pub(crate) struct Results(Vec<(String, String, Vec<f64>)>);

impl Results {
    pub(crate) fn new() -> Results {
        Results(Vec::new())
    }

    pub(crate) fn add(&mut self, row: &str, column: &str, value: f64) {
        match self.0.iter_mut().find(|cell| cell.0 == row && cell.1 == column) {
            Some(cell) => cell.2.push(value),
            None => self.0.push((row.into(), column.into(), vec![value])),
        }
    }

    fn rows(&self) -> Vec<&str> {
        let mut rows: Vec<&str> = Vec::new();
        for (row, ..) in &self.0 {
            if !rows.contains(&row.as_str()) {
                rows.push(row);
            }
        }
        rows
    }

    /// Returns the median and the lowest value.
    fn summary(&self, row: &str, column: &str) -> Option<(f64, f64)> {
        let cell = self.0.iter().find(|cell| cell.0 == row && cell.1 == column)?;
        Some((median(cell.2.clone()), cell.2.iter().copied().fold(f64::INFINITY, f64::min)))
    }
}

/// Returns the median; of an even number of values, the upper one.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Formats a table of medians and lowest values with `digits` decimals, and in brackets the ratio of the lowest value to the first row's.
/// A shared machine has fast and slow minutes; the lowest values are those of the fast ones, for every row.
pub(crate) fn markdown(results: &Results, corner: &str, columns: &[String], digits: usize) -> String {
    let rows = results.rows();
    let mut text = format!("| {corner} | {} |\n|---|{}\n", columns.join(" | "), "--:|".repeat(columns.len()));
    for row in &rows {
        let _ = write!(text, "| {row} |");
        for column in columns {
            let first = results.summary(rows[0], column).map_or(f64::NAN, |(_, lowest)| lowest);
            let _ = match results.summary(row, column) {
                Some((median, lowest)) => {
                    write!(text, " {median:.digits$} / {lowest:.digits$} ({:.2}) |", lowest / first)
                }
                None => write!(text, " – |"),
            };
        }
        text.push('\n');
    }
    text
}
