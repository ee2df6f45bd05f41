//! `futex(2)`: how an OS thread sleeps on its wake-up word, or on news for all who watch. Green threads never come here.

use std::ptr;
use std::sync::atomic::AtomicU32;
use std::time::{Duration, Instant};

/// Sleeps while `word` is `expected`. False once the deadline has passed. May return early.
pub fn wait(word: &AtomicU32, expected: u32, deadline: Option<Instant>) -> bool {
    let remaining = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
    if remaining == Some(Duration::ZERO) {
        return false;
    }
    let timeout = remaining.map(|remaining| libc::timespec {
        tv_sec: remaining.as_secs().try_into().unwrap_or(libc::time_t::MAX),
        tv_nsec: remaining.subsec_nanos().into(),
    });
    let timeout = timeout.as_ref().map_or(ptr::null(), ptr::from_ref);
    // SAFETY: `word` is a live, aligned 32-bit word, and `timeout` is null or points to a timespec of this frame.
    unsafe {
        libc::syscall(
            libc::SYS_futex,
            word.as_ptr(),
            libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG,
            expected,
            timeout,
        )
    };
    true
}

/// Wakes all threads that sleep on `word`. Async-signal-safe, but for errno.
pub fn wake_all(word: &AtomicU32) {
    // SAFETY: the call only uses the address as a key.
    unsafe {
        libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG, i32::MAX)
    };
}

/// Wakes the thread that sleeps on `word`.
pub(crate) fn wake(word: &AtomicU32) {
    // SAFETY: the call only uses the address as a key.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG, 1) };
}
