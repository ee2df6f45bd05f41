//! Fetching from memory before it is needed. What a thread needs that has not run for long (its task, its stack, the entry of that
//! stack in the table of pages) is in no cache; to wait for one after the other costs more than all else that a switch does.

/// Has the processor fetch the cache line at an address, which may be any. Gives nothing, waits for nothing, does not fault.
#[inline(always)]
pub fn prefetch<T>(place: *const T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a hint, which does not fault.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(place.cast());
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: a hint, which does not fault.
    unsafe {
        std::arch::asm!("prfm pldl1keep, [{}]", in(reg) place, options(nostack, preserves_flags, readonly));
    }
}
