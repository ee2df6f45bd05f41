//! Formats numbers for people: three digits and a unit.

use std::time::Duration;

/// Formats a number with a letter for thousands or millions: `950`, `12.3k`, `1.2M`.
#[must_use]
pub fn short(value: f64) -> String {
    match value.abs() {
        size if size >= 999_500.0 => format!("{}M", digits(value / 1e6)),
        size if size >= 999.5 => format!("{}k", digits(value / 1e3)),
        _ => digits(value),
    }
}

/// Formats a whole number with commas between thousands: `1,234,567`.
#[must_use]
pub fn count(value: f64) -> String {
    let text = format!("{:.0}", value.max(0.0));
    let mut grouped = String::new();
    for (index, digit) in text.chars().enumerate() {
        if index > 0 && (text.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// Formats microseconds as µs, ms or s.
#[must_use]
pub fn micros(value: f64) -> String {
    match value {
        value if value < 1e3 => format!("{} µs", digits(value)),
        value if value < 1e6 => format!("{} ms", digits(value / 1e3)),
        value => format!("{} s", digits(value / 1e6)),
    }
}

/// Formats nanoseconds as ns, µs, ms or s.
#[must_use]
pub fn nanos(value: f64) -> String {
    if value < 1e3 { format!("{} ns", digits(value)) } else { micros(value / 1e3) }
}

/// Formats a length of time roughly: `50 s` or `6 min`.
#[must_use]
pub fn about(duration: Duration) -> String {
    match duration.as_secs_f64() {
        seconds if seconds < 100.0 => format!("{:.0} s", seconds.ceil()),
        seconds => format!("{:.0} min", seconds / 60.0),
    }
}

/// Formats bytes as B, KiB, MiB or GiB.
#[must_use]
pub fn bytes(value: f64) -> String {
    match value {
        value if value < 1024.0 => format!("{} B", digits(value)),
        value if value < 1024.0 * 1024.0 => format!("{} KiB", digits(value / 1024.0)),
        value if value < 1024.0 * 1024.0 * 1024.0 => format!("{} MiB", digits(value / 1024.0 / 1024.0)),
        value => format!("{} GiB", digits(value / 1024.0 / 1024.0 / 1024.0)),
    }
}

/// Formats a number with three digits, without trailing zeros in its fraction.
#[must_use]
pub fn digits(value: f64) -> String {
    let decimals = match value.abs() {
        size if size < 9.995 => 2,
        size if size < 99.95 => 1,
        _ => 0,
    };
    let text = format!("{value:.decimals$}");
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_digits_and_a_unit() {
        assert_eq!([0.0, 0.034, 1.5, 12.34, 250.0].map(digits), ["0", "0.03", "1.5", "12.3", "250"]);
        assert_eq!([950.0, 1000.0, 10_000.0, 123_456.0, 1e6].map(short), ["950", "1k", "10k", "123k", "1M"]);
        assert_eq!([0.0, 999.0, 1000.0, 1_234_567.0].map(count), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([12.0, 1500.0, 2e6].map(micros), ["12 µs", "1.5 ms", "2 s"]);
        assert_eq!([15.0, 1500.0].map(nanos), ["15 ns", "1.5 µs"]);
        assert_eq!([0.2, 50.0, 390.0].map(Duration::from_secs_f64).map(about), ["1 s", "50 s", "6 min"]);
        assert_eq!([100.0, 4200.0, 3e6, 3e10].map(bytes), ["100 B", "4.1 KiB", "2.86 MiB", "27.9 GiB"]);
    }
}
