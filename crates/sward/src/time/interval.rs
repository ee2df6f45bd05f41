//! Ticks at equal distances.

use std::time::{Duration, Instant};

use crate::thread;

/// Ticks at equal distances. [`interval`] makes it.
#[derive(Clone, Debug)]
pub struct Interval {
    next: Instant,
    period: Duration,
}

/// Returns an [`Interval`] that ticks at once, and then every `period`.
///
/// # Panics
/// If `period` is zero.
///
/// # Examples
/// ```
/// use sward::time::{Duration, interval};
/// let mut ticks = interval(Duration::from_millis(1));
/// let first = ticks.tick();
/// assert_eq!(ticks.tick() - first, Duration::from_millis(1));
/// ```
pub fn interval(period: Duration) -> Interval {
    assert!(!period.is_zero(), "an interval needs a period");
    Interval { next: Instant::now(), period }
}

impl Interval {
    /// Waits for the next tick, and returns when it was due.
    ///
    /// Ticks that were missed come at once, one by one, so their number is right over time; [`Interval::skip_missed`] drops them.
    ///
    /// # Cancellation
    /// This is a cancellation point.
    pub fn tick(&mut self) -> Instant {
        let due = self.next;
        thread::sleep_until(due);
        self.next = due + self.period;
        due
    }

    /// Drops the ticks that are overdue, so that the next one is in the future.
    pub fn skip_missed(&mut self) {
        let now = Instant::now();
        while self.next <= now {
            self.next += self.period;
        }
    }

    /// Returns the time between two ticks.
    pub fn period(&self) -> Duration {
        self.period
    }
}
