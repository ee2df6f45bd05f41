//! `std::time` as it is; also deadlines for whole closures, ticks, and closures that are called later.

mod delayed_call;
mod interval;

pub use crate::runtime::deadline::{Elapsed, remaining, timeout};
pub use delayed_call::{DelayedCall, call_later};
pub use interval::{Interval, interval};
#[doc(no_inline)]
pub use std::time::{Duration, Instant, SystemTime, SystemTimeError, TryFromFloatSecsError, UNIX_EPOCH};
