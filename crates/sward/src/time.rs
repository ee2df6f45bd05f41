//! `std::time`, as it is, and what std has not: deadlines for whole closures, ticks, and calls at a later time.

mod interval;
mod timer;

pub use crate::runtime::deadline::{Elapsed, remaining, timeout};
pub use interval::{Interval, interval};
#[doc(no_inline)]
pub use std::time::{Duration, Instant, SystemTime, SystemTimeError, TryFromFloatSecsError, UNIX_EPOCH};
pub use timer::Timer;
