//! `std::time`, as it is: to measure time blocks nobody. What waits for it is in [`thread`](crate::thread): `sleep`, `park_timeout`.

pub use std::time::{Duration, Instant, SystemTime, SystemTimeError, TryFromFloatSecsError, UNIX_EPOCH};
