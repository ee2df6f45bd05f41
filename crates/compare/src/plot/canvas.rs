//! An SVG element under construction. Each subject has its colour and dash.

use std::fmt::{Display, Write};

use sward_measure::terminal::printable;

/// A median and its spread.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark {
    pub(crate) value: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
    pub(crate) noisy: bool,
}

/// The number of colours in the style sheet.
const COLOURS: usize = 7;

/// The estimated width of a letter of the charts' font, in pixels.
const LETTER: f64 = 7.2;

/// An SVG element under construction.
pub(crate) struct Canvas {
    text: String,
    pub(crate) width: f64,
    pub(crate) height: f64,
}

/// Where a text is anchored.
#[derive(Clone, Copy)]
pub(crate) enum Anchor {
    Start,
    Middle,
    End,
}

impl Canvas {
    pub(crate) fn new(width: f64, height: f64, title: &str) -> Canvas {
        let title = escape(title);
        let text = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"chart\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} \
             {height}\" role=\"img\" aria-label=\"{title}\">\n<rect class=\"paper\" width=\"{width}\" height=\"{height}\"/>\n"
        );
        Canvas { text, width, height }
    }

    pub(crate) fn line(&mut self, class: &str, from: (f64, f64), to: (f64, f64)) {
        let ((x1, y1), (x2, y2)) = (from, to);
        self.put(format_args!(
            "<line class=\"{class}\" x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\"/>"
        ));
    }

    pub(crate) fn polyline(&mut self, look: usize, points: &[(f64, f64)]) {
        let points: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        self.put(format_args!("<polyline class=\"{}\" points=\"{}\"/>", class(look), points.join(" ")));
    }

    pub(crate) fn bar(&mut self, look: usize, from: (f64, f64), size: (f64, f64)) {
        self.put(format_args!(
            "<rect class=\"{}\" x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\"/>",
            class(look),
            from.0,
            from.1,
            size.0.max(0.0),
            size.1
        ));
    }

    pub(crate) fn marker(&mut self, look: usize, shape: usize, (x, y): (f64, f64), hollow: bool) {
        const SHAPES: [&str; 8] = [
            "M-4 0a4 4 0 1 0 8 0a4 4 0 1 0-8 0z",
            "M-3.6-3.6h7.2v7.2h-7.2z",
            "M0-4.8L4.6 3.4H-4.6z",
            "M0-5L5 0L0 5L-5 0z",
            "M0 4.8L4.6-3.4H-4.6z",
            "M-1.5-4.5h3v3h3v3h-3v3h-3v-3h-3v-3h3z",
            "M-5-2h10v4h-10z",
            "M0-5L4.8-1.5L3 4.2H-3L-4.8-1.5z",
        ];
        let hollow = if hollow { " hollow" } else { "" };
        let shape = SHAPES[shape % SHAPES.len()];
        self.put(format_args!(
            "<path class=\"marker {}{hollow}\" transform=\"translate({x:.1} {y:.1})\" d=\"{shape}\"/>",
            class(look)
        ));
    }

    pub(crate) fn text(&mut self, class: &str, (x, y): (f64, f64), anchor: Anchor, text: &str) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        self.put(format_args!(
            "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{}</text>",
            escape(text)
        ));
    }

    pub(crate) fn finish(mut self) -> String {
        self.text.push_str("</svg>\n");
        self.text
    }

    fn put(&mut self, element: impl Display) {
        writeln!(self.text, "{element}").expect("a string takes everything");
    }
}

/// Returns the classes of a subject's colour and dash.
pub(crate) fn class(look: usize) -> String {
    format!("c{} d{}", look % COLOURS, look % 5)
}

pub(crate) fn width_of(text: &str) -> f64 {
    text.chars().count() as f64 * LETTER
}

/// Escapes text for XML elements and attributes. XML cannot represent control characters, so these become visible escapes.
pub(crate) fn escape(text: &str) -> String {
    printable(text).replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_break_out() {
        assert_eq!(escape("<a b=\"&\">"), "&lt;a b=&quot;&amp;&quot;&gt;");
    }

    #[test]
    fn no_two_subjects_look_the_same() {
        let looks: std::collections::BTreeSet<_> = (0..35).map(|look| (class(look), look % 8)).collect();
        assert_eq!(looks.len(), 35);
    }
}
