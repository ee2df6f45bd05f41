//! Durations as people write them on a command line: `500ms`, `60s`, `2m`, `1h`; a bare number is seconds.

use sward::time::Duration;

/// The longest duration, in hours: about a century. Sums of a few such times still fit a `Duration`, an `Instant` and, in
/// nanoseconds, 64 bits.
const HOURS_MAX: u64 = 876_000;

/// Parses a duration.
///
/// # Errors
/// The text is no number with a unit, or the duration is longer than a century. The error is a phrase for clap to print.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let digits = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let malformed = || "expected a number and a unit, as in 500ms, 60s, 2m or 1h".to_owned();
    let number: u64 = number.parse().map_err(|_| malformed())?;
    let seconds = |each: u64| number.checked_mul(each).map(Duration::from_secs);
    match unit {
        "ms" => Some(Duration::from_millis(number)),
        "" | "s" => seconds(1),
        "m" => seconds(60),
        "h" => seconds(60 * 60),
        _ => return Err(malformed()),
    }
    .filter(|&duration| duration <= Duration::from_secs(HOURS_MAX * 60 * 60))
    .ok_or_else(|| format!("must be at most {HOURS_MAX}h"))
}

/// Parses a duration that is not zero.
///
/// # Errors
/// As [`parse`]; or the duration is zero.
pub(crate) fn parse_positive(text: &str) -> Result<Duration, String> {
    parse(text).and_then(
        |duration| if duration.is_zero() { Err("must be more than 0".into()) } else { Ok(duration) },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units() {
        assert_eq!(parse("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse("60s"), Ok(Duration::from_secs(60)));
        assert_eq!(parse("60"), Ok(Duration::from_secs(60)));
        assert_eq!(parse("2m"), Ok(Duration::from_secs(120)));
        assert_eq!(parse("1h"), Ok(Duration::from_secs(3600)));
        assert_eq!(parse("0"), Ok(Duration::ZERO));
        assert_eq!(parse("876000h"), Ok(Duration::from_secs(876_000 * 3600)));
    }

    #[test]
    fn what_is_no_duration() {
        for text in ["", "s", "-1s", "1.5s", "1d", "99999999999999999999s", "9999999999999999h", "876001h"] {
            assert!(parse(text).is_err(), "{text:?}");
        }
        assert!(parse_positive("0s").is_err());
    }
}
