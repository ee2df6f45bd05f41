//! Tables, for the page and for the terminal.

use std::fmt::Write;

/// A table. Each row has a name and cells.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    pub(crate) caption: String,
    /// Headings of the cells.
    pub(crate) columns: Vec<String>,
    pub(crate) rows: Vec<(String, Vec<String>)>,
}

impl Table {
    /// Formats it for a terminal, with aligned columns.
    pub(crate) fn to_text(&self) -> String {
        let width = |text: &str| text.chars().count();
        let first = self.rows.iter().map(|(name, _)| width(name)).max().unwrap_or(0);
        let column_width = |index: usize| {
            let cells = self.rows.iter().filter_map(|(_, cells)| cells.get(index));
            cells.chain(self.columns.get(index)).map(|cell| width(cell)).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.columns.len()).map(column_width).collect();
        let mut text = format!("  {}\n", self.caption);
        let mut line = |name: &str, cells: &[String]| {
            let mut line = format!("    {name:first$}");
            for (cell, width) in cells.iter().zip(&widths) {
                write!(line, "  {cell:>width$}").expect("a string takes everything");
            }
            text.push_str(line.trim_end());
            text.push('\n');
        };
        line("", &self.columns);
        for (name, cells) in &self.rows {
            line(name, cells);
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let table = Table {
            caption: "what".into(),
            columns: vec!["1".into(), "1,000".into()],
            rows: vec![
                ("epoll".into(), vec!["20 µs".into(), "–".into()]),
                ("x".into(), vec!["3".into(), "4".into()]),
            ],
        };
        let expected = "  what\n               1  1,000\n    epoll  20 µs      –\n    x          3      4\n";
        assert_eq!(table.to_text(), expected);
    }
}
