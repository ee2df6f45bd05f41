//! What the machine decides about memory: the size of a page, and how a cache line is fetched ahead of its use.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Returns the size of a page in bytes, which the kernel chooses: 4 KiB, or up to 64 KiB on aarch64. Async-signal-safe.
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

/// Asks the processor to fetch the cache line at an address, which need not be valid. Does not wait and never faults.
///
/// A thread that has not run for long finds nothing of its own in the cache: not its task, its stack, nor the stack's entry in the page
/// table. To miss them one after the other costs more than the rest of a switch.
#[inline(always)]
pub fn prefetch<T>(address: *const T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a hint, which does not fault.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(address.cast());
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: a hint, which does not fault.
    unsafe {
        std::arch::asm!("prfm pldl1keep, [{}]", in(reg) address, options(nostack, preserves_flags, readonly));
    }
}
