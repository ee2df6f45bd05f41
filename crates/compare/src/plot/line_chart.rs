//! A chart with a line for each subject, over numbers of connections. Each line has its name at its end.

use sward_measure::quantity::short;

use super::axis::{Axis, Scale};
use super::canvas::{Anchor, Canvas, Mark, class, width_of};

/// Above the plot, for the unit of the vertical axis.
const TOP: f64 = 30.0;
/// Below the plot, for ticks and the axis's name.
const BOTTOM: f64 = 46.0;
/// Left of the plot, for ticks.
const LEFT: f64 = 54.0;
/// The least distance between two names.
const NAME_HEIGHT: f64 = 15.0;
/// Between the plot and the names, for leaders and samples of the lines.
const NAME_OFFSET: f64 = 48.0;

/// A chart with lines.
#[derive(Clone, Debug)]
pub(crate) struct LineChart {
    pub(crate) x_name: String,
    /// Includes the unit.
    pub(crate) y_name: String,
    pub(crate) y_scale: Scale,
    /// Formats a value for the vertical axis.
    pub(crate) y_label: fn(f64) -> String,
    pub(crate) lines: Vec<Line>,
}

/// One of its lines.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) name: String,
    /// Decides colour, dash and marker.
    pub(crate) look: usize,
    pub(crate) points: Vec<Point>,
}

/// One of its points.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Point {
    pub(crate) x: f64,
    pub(crate) y: Mark,
}

/// The plot's rectangle on the canvas, and its axes.
struct Field {
    left: f64,
    right: f64,
    top: f64,
    bottom: f64,
    x: Axis,
    y: Axis,
}

impl Field {
    fn at(&self, x: f64, y: f64) -> (f64, f64) {
        (
            self.left + self.x.position(x) * (self.right - self.left),
            self.bottom - self.y.position(y) * (self.bottom - self.top),
        )
    }
}

impl LineChart {
    pub(crate) fn draw(&self, width: f64, title: &str) -> String {
        let height =
            (width * 0.5).clamp(300.0, 380.0).max(TOP + BOTTOM + NAME_HEIGHT * self.lines.len() as f64);
        let names = self.lines.iter().map(|line| width_of(&line.name)).fold(0.0, f64::max);
        let points = || self.lines.iter().flat_map(|line| &line.points);
        let field = Field {
            left: LEFT,
            right: width - NAME_OFFSET - names - 4.0,
            top: TOP,
            bottom: height - BOTTOM,
            x: Axis::new(Scale::Log, points().map(|point| point.x)),
            y: Axis::with_margin(
                self.y_scale,
                points().flat_map(|point| [point.y.low, point.y.value, point.y.high]),
            ),
        };
        let mut canvas = Canvas::new(width, height, title);
        self.draw_axes(&mut canvas, &field);
        for line in &self.lines {
            draw_line(&mut canvas, &field, line);
        }
        self.draw_names(&mut canvas, &field);
        canvas.finish()
    }

    fn draw_axes(&self, canvas: &mut Canvas, field: &Field) {
        let Field { left, right, top, bottom, .. } = *field;
        for tick in field.y.ticks() {
            let y = bottom - field.y.position(tick) * (bottom - top);
            canvas.line("grid", (left, y), (right, y));
            canvas.text("faint", (left - 6.0, y + 4.0), Anchor::End, &(self.y_label)(tick));
        }
        // The measured points are the ticks, as far as there is room.
        let mut measured: Vec<f64> =
            self.lines.iter().flat_map(|line| &line.points).map(|point| point.x).collect();
        measured.sort_by(f64::total_cmp);
        measured.dedup();
        let mut free_from = f64::NEG_INFINITY;
        for value in measured {
            let x = left + field.x.position(value) * (right - left);
            canvas.line("tick", (x, bottom), (x, bottom + 4.0));
            let label = short(value);
            let half = width_of(&label) / 2.0;
            if x - half > free_from {
                canvas.text("faint", (x, bottom + 17.0), Anchor::Middle, &label);
                free_from = x + half + 4.0;
            }
        }
        canvas.line("axis", (left, bottom), (right, bottom));
        canvas.text("unit", (4.0, 16.0), Anchor::Start, &self.y_name);
        let middle = f64::midpoint(left, right);
        canvas.text("unit", (middle, canvas.height - 8.0), Anchor::Middle, &self.x_name);
    }

    /// Draws the names, each as near to the end of its line as the others allow, with a sample of the line.
    fn draw_names(&self, canvas: &mut Canvas, field: &Field) {
        let ends: Vec<f64> = self
            .lines
            .iter()
            .map(|line| line.points.last().map_or(0.0, |point| field.at(point.x, point.y.value).1))
            .collect();
        let places = spread(&ends, field.top, field.bottom);
        let last = self.lines.iter().flat_map(|line| &line.points).map(|point| point.x).fold(0.0, f64::max);
        for ((line, end), y) in self.lines.iter().zip(ends).zip(places) {
            let sample = field.right + 16.0;
            if line.points.last().is_some_and(|point| point.x == last) {
                let from = (field.right + 5.0, end);
                canvas.line(&format!("leader {}", class(line.look)), from, (sample, y));
            }
            canvas.polyline(line.look, &[(sample, y), (sample + 26.0, y)]);
            canvas.marker(line.look, line.look, (sample + 13.0, y), false);
            canvas.text("name", (field.right + NAME_OFFSET, y + 4.0), Anchor::Start, &line.name);
        }
    }
}

fn draw_line(canvas: &mut Canvas, field: &Field, line: &Line) {
    let places: Vec<_> = line.points.iter().map(|point| field.at(point.x, point.y.value)).collect();
    if places.len() > 1 {
        canvas.polyline(line.look, &places);
    }
    for (point, &place) in line.points.iter().zip(&places) {
        let (x, low) = field.at(point.x, point.y.low);
        let (_, high) = field.at(point.x, point.y.high);
        if low - high > 2.0 {
            canvas.line(&format!("spread {}", class(line.look)), (x, low), (x, high));
        }
        canvas.marker(line.look, line.look, place, point.y.noisy);
    }
}

/// Returns positions as near to `wanted` as possible, at least the height of a name apart.
fn spread(wanted: &[f64], top: f64, bottom: f64) -> Vec<f64> {
    let mut order: Vec<usize> = (0..wanted.len()).collect();
    order.sort_by(|&one, &other| wanted[one].total_cmp(&wanted[other]));
    let mut places = vec![0.0; wanted.len()];
    let mut lowest = f64::NEG_INFINITY;
    for &index in &order {
        places[index] = wanted[index].max(lowest + NAME_HEIGHT).max(top);
        lowest = places[index];
    }
    let mut limit = bottom + NAME_HEIGHT;
    for &index in order.iter().rev() {
        places[index] = places[index].min(limit - NAME_HEIGHT);
        limit = places[index];
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_apart_and_inside() {
        for wanted in [vec![100.0; 9], vec![300.0, 299.0, 298.0, 10.0], vec![-5.0, 500.0]] {
            let mut places = spread(&wanted, 30.0, 300.0);
            places.sort_by(f64::total_cmp);
            assert!(places.windows(2).all(|pair| pair[1] - pair[0] >= NAME_HEIGHT - 1e-9), "{places:?}");
            assert!(places[0] >= 30.0 - 1e-9 && places[places.len() - 1] <= 300.0 + 1e-9, "{places:?}");
        }
    }

    #[test]
    fn names_far_from_each_other_stay_where_their_lines_end() {
        assert_eq!(spread(&[200.0, 50.0, 120.0], 30.0, 300.0), [200.0, 50.0, 120.0]);
    }
}
