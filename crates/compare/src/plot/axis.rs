//! An axis, which maps values to positions and chooses ticks.

/// How values are spread over an axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scale {
    /// In proportion, from 0.
    Linear,
    /// Powers of ten at equal distances. A value of 0 has a position of its own before the smallest.
    Log,
}

/// The share of a logarithmic axis that lies between 0 and the smallest value above it.
const ZERO_SHARE: f64 = 0.12;

/// An axis over some values. Positions are shares of its length.
pub(crate) struct Axis {
    scale: Scale,
    /// The lowest value; on a logarithmic axis, its decimal logarithm. `high` likewise.
    low: f64,
    high: f64,
    has_zero: bool,
}

impl Axis {
    /// Creates an axis with room for all of `values`, none of which is negative.
    pub(crate) fn new(scale: Scale, values: impl Iterator<Item = f64> + Clone) -> Axis {
        let high = values.clone().fold(0.0, f64::max);
        let smallest = values.clone().filter(|&value| value > 0.0).fold(f64::INFINITY, f64::min);
        match scale {
            Scale::Linear => {
                let step = step(high);
                Axis { scale, low: 0.0, high: (high / step).ceil().max(1.0) * step, has_zero: false }
            }
            Scale::Log => {
                let smallest = if smallest.is_finite() { smallest } else { 1.0 };
                let (low, high) = (smallest.log10(), high.max(smallest).log10());
                let has_zero = values.into_iter().any(|value| value == 0.0);
                if high - low < 0.3 {
                    return Axis { scale, low: low - 0.3, high: high + 0.3, has_zero };
                }
                Axis { scale, low, high, has_zero }
            }
        }
    }

    /// Creates an axis whose ends are a margin away from all values.
    pub(crate) fn with_margin(scale: Scale, values: impl Iterator<Item = f64> + Clone) -> Axis {
        let mut axis = Axis::new(scale, values);
        if scale == Scale::Log {
            let margin = (axis.high - axis.low) * 0.06;
            axis.low -= margin;
            axis.high += margin;
        }
        axis
    }

    /// Returns the position of a value: 0 is the start of the axis, 1 its end.
    pub(crate) fn position(&self, value: f64) -> f64 {
        match self.scale {
            Scale::Linear => value / self.high,
            Scale::Log if value <= 0.0 => 0.0,
            Scale::Log => {
                let share = (value.log10() - self.low) / (self.high - self.low);
                if self.has_zero { ZERO_SHARE + share * (1.0 - ZERO_SHARE) } else { share }
            }
        }
    }

    /// Returns round values on the axis, ascending.
    pub(crate) fn ticks(&self) -> Vec<f64> {
        match self.scale {
            Scale::Linear => {
                let step = step(self.high);
                (0..=(self.high / step).round() as u32).map(|index| f64::from(index) * step).collect()
            }
            Scale::Log => {
                let decades = self.high - self.low;
                let digits: &[f64] = if decades < 1.2 {
                    &[1.0, 2.0, 5.0]
                } else if decades < 2.2 {
                    &[1.0, 3.0]
                } else {
                    &[1.0]
                };
                let exponents = self.low.floor() as i32..=self.high.ceil() as i32;
                let values = exponents
                    .flat_map(|exponent| digits.iter().map(move |digit| digit * 10_f64.powi(exponent)));
                let inside = |value: &f64| (self.low - 1e-9..=self.high + 1e-9).contains(&value.log10());
                self.has_zero.then_some(0.0).into_iter().chain(values.filter(inside)).collect()
            }
        }
    }
}

/// Returns a round distance between ticks, for about five ticks.
fn step(high: f64) -> f64 {
    if high <= 0.0 {
        return 0.25;
    }
    let rough = high / 5.0;
    let magnitude = 10_f64.powf(rough.log10().floor());
    let digit = [1.0, 2.0, 2.5, 5.0, 10.0].into_iter().find(|digit| digit * magnitude >= rough * 0.999);
    digit.unwrap_or(10.0) * magnitude
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(axis: &Axis) -> Vec<String> {
        axis.ticks().into_iter().map(sward_measure::quantity::short).collect()
    }

    #[test]
    fn a_linear_axis_begins_at_zero_and_ends_round() {
        let axis = Axis::new(Scale::Linear, [3.0, 93_000.0].into_iter());
        assert_eq!(labels(&axis), ["0", "20k", "40k", "60k", "80k", "100k"]);
        assert!((axis.position(50_000.0) - 0.5).abs() < 1e-9);
    }

    #[test]
    fn a_logarithmic_axis_has_a_position_for_zero() {
        let axis = Axis::new(Scale::Log, [0.0, 10.0, 10_000.0].into_iter());
        assert_eq!(labels(&axis), ["0", "10", "100", "1k", "10k"]);
        assert_eq!(axis.position(0.0), 0.0);
        assert!(axis.position(10.0) > 0.1 && (axis.position(10_000.0) - 1.0).abs() < 1e-9);
    }

    #[test]
    fn one_value_or_none_is_no_trouble() {
        for scale in [Scale::Linear, Scale::Log] {
            for values in [&[][..], &[0.0], &[7.0]] {
                let axis = Axis::new(scale, values.iter().copied());
                assert!(values.iter().all(|&value| (0.0..=1.0).contains(&axis.position(value))));
            }
        }
    }

    #[test]
    fn every_tick_is_on_the_axis() {
        for values in [[1.0, 3.0], [0.5, 70.0], [3.0, 1e6]] {
            let axis = Axis::with_margin(Scale::Log, values.into_iter());
            let ticks = axis.ticks();
            assert!((1..8).contains(&ticks.len()), "{values:?}: {ticks:?}");
            assert!(ticks.iter().all(|&tick| (-1e-6..=1.0 + 1e-6).contains(&axis.position(tick))));
        }
    }
}
