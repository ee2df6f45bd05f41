//! Results, and how they are printed.

use std::fmt::Write;

/// Measured values by row and column, rows in the order in which they first came.
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

    fn median(&self, row: &str, column: &str) -> Option<f64> {
        let cell = self.0.iter().find(|cell| cell.0 == row && cell.1 == column)?;
        Some(median(cell.2.clone()))
    }
}

/// The middle one; of two in the middle, the greater.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// A table of medians with `digits` decimals, and in brackets their ratios to the first row.
pub(crate) fn markdown(results: &Results, corner: &str, columns: &[String], digits: usize) -> String {
    let rows = results.rows();
    let mut text = format!("| {corner} | {} |\n|---|{}\n", columns.join(" | "), "--:|".repeat(columns.len()));
    for row in &rows {
        let _ = write!(text, "| {row} |");
        for column in columns {
            let _ = match (results.median(row, column), results.median(rows[0], column)) {
                (Some(value), Some(first)) => write!(text, " {value:.digits$} ({:.2}) |", value / first),
                (Some(value), None) => write!(text, " {value:.digits$} |"),
                _ => write!(text, " – |"),
            };
        }
        text.push('\n');
    }
    text
}
