//! The kernel's coarse monotonic clock: some milliseconds of precision for a few nanoseconds.

/// Milliseconds since some moment in the past. Wraps after 49 days.
pub(crate) fn milliseconds() -> u32 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a timespec of this frame. The clock exists since Linux 2.6.32, and a failure would leave zeros.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC_COARSE, &raw mut time) };
    // Differences alone count, so the upper bits may go.
    (time.tv_sec as u32).wrapping_mul(1000).wrapping_add(time.tv_nsec as u32 / 1_000_000)
}
