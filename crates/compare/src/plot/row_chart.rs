//! A chart with a row for each subject: a bar, or several marks on one line, and the figures in words.

use super::axis::{Axis, Scale};
use super::canvas::{Anchor, Canvas, Mark, class, width_of};

const ROW_HEIGHT: f64 = 25.0;
const BAR_HEIGHT: f64 = 13.0;
/// Above the rows, for the legend of the marks.
const TOP: f64 = 30.0;
/// Below the rows, for ticks and the axis's name.
const BOTTOM: f64 = 44.0;

/// A chart with rows.
#[derive(Clone, Debug)]
pub(crate) struct RowChart {
    /// Includes the unit.
    pub(crate) x_name: String,
    pub(crate) scale: Scale,
    /// Formats a value for the axis.
    pub(crate) label: fn(f64) -> String,
    /// What the marks of each row mean, in order. A single mark is drawn as a bar.
    pub(crate) marks: Vec<&'static str>,
    pub(crate) rows: Vec<Row>,
}

/// One of its rows.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) name: String,
    /// Decides the colour.
    pub(crate) look: usize,
    pub(crate) marks: Vec<Mark>,
    /// The figures in words.
    pub(crate) text: String,
}

impl RowChart {
    pub(crate) fn draw(&self, width: f64, title: &str) -> String {
        let top = if self.marks.len() > 1 { TOP } else { 8.0 };
        let height = top + ROW_HEIGHT * self.rows.len() as f64 + BOTTOM;
        let widest = |texts: &mut dyn Iterator<Item = &str>| texts.map(width_of).fold(0.0, f64::max);
        let left = widest(&mut self.rows.iter().map(|row| row.name.as_str())) + 12.0;
        let right = width - widest(&mut self.rows.iter().map(|row| row.text.as_str())) - 14.0;
        let values =
            self.rows.iter().flat_map(|row| &row.marks).flat_map(|mark| [mark.low, mark.value, mark.high]);
        let axis = Axis::with_margin(self.scale, values);
        let place = |value: f64| left + axis.position(value) * (right - left);
        let mut canvas = Canvas::new(width, height, title);
        let bottom = height - BOTTOM + 4.0;
        self.draw_axis(&mut canvas, &axis, (left, right), (top, bottom));
        for (index, row) in self.rows.iter().enumerate() {
            let y = top + ROW_HEIGHT * (index as f64 + 0.5);
            canvas.text("name", (left - 8.0, y + 4.0), Anchor::End, &row.name);
            canvas.text("name", (right + 10.0, y + 4.0), Anchor::Start, &row.text);
            if let ([mark], Scale::Linear) = (row.marks.as_slice(), self.scale) {
                canvas.bar(row.look, (left, y - BAR_HEIGHT / 2.0), (place(mark.value) - left, BAR_HEIGHT));
            }
            for (shape, mark) in row.marks.iter().enumerate() {
                if place(mark.high) - place(mark.low) > 2.0 {
                    let class = if self.marks.len() > 1 {
                        format!("spread {}", class(row.look))
                    } else {
                        "spread".into()
                    };
                    canvas.line(&class, (place(mark.low), y), (place(mark.high), y));
                }
                if self.marks.len() > 1 || self.scale == Scale::Log || mark.noisy {
                    canvas.marker(row.look, shape, (place(mark.value), y), mark.noisy);
                }
            }
        }
        canvas.finish()
    }

    fn draw_axis(
        &self,
        canvas: &mut Canvas,
        axis: &Axis,
        (left, right): (f64, f64),
        (top, bottom): (f64, f64),
    ) {
        let mut free_from = f64::NEG_INFINITY;
        for tick in axis.ticks() {
            let x = left + axis.position(tick) * (right - left);
            let label = (self.label)(tick);
            canvas.line("grid", (x, top), (x, bottom));
            let half = width_of(&label) / 2.0;
            if x - half > free_from {
                canvas.text("faint", (x, bottom + 15.0), Anchor::Middle, &label);
                free_from = x + half + 6.0;
            }
        }
        let room = width_of(&self.x_name) / 2.0 + 4.0;
        let most = (canvas.width - room).max(room);
        let middle = f64::midpoint(left, right).clamp(room, most);
        canvas.text("unit", (middle, canvas.height - 6.0), Anchor::Middle, &self.x_name);
        if self.marks.len() > 1 {
            let mut x = 10.0;
            for (shape, mark) in self.marks.iter().enumerate() {
                canvas.marker(6, shape, (x, 14.0), false);
                canvas.text("name", (x + 9.0, 18.0), Anchor::Start, mark);
                x += width_of(mark) + 34.0;
            }
        }
    }
}
