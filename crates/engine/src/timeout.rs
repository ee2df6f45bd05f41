//! How long a call may sleep, in the kernel's words.

use std::time::Duration;

/// `timeout` as the kernel takes it. Longer than the kernel can count is as long as it can.
pub(crate) fn timespec(timeout: Duration) -> libc::timespec {
    libc::timespec {
        tv_sec: libc::time_t::try_from(timeout.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_nsec: timeout.subsec_nanos().into(),
    }
}

/// The pointer that stands for an optional timespec; null means without limit.
pub(crate) fn pointer(timeout: &Option<libc::timespec>) -> *const libc::timespec {
    timeout.as_ref().map_or(std::ptr::null(), std::ptr::from_ref)
}
