//! The size of a page: the grain of guards, of resident memory and of slots. It is the kernel's choice, on aarch64 up to 64 KiB,
//! and is asked for once.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Size of a page in bytes. Safe to call in a signal handler.
pub(crate) fn page_bytes() -> usize {
    static CACHED: AtomicUsize = AtomicUsize::new(0);
    match CACHED.load(Ordering::Relaxed) {
        0 => {
            // SAFETY: sysconf has no preconditions; the page size always exists.
            let bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as usize;
            CACHED.store(bytes, Ordering::Relaxed);
            bytes
        }
        bytes => bytes,
    }
}
