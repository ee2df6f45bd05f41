//! Guards: the lowest 64 KiB of every slot fault when touched, so that a stack that overflows cannot write into its neighbour.
//! One page would do for Rust code, which probes every page of a large frame in turn. C code compiled without stack probes does
//! not: a function with a large buffer steps over a single page, into the top of the neighbouring stack.
//!
//! `MADV_GUARD_INSTALL` (Linux 6.13) marks the pages in the page table and costs nothing else. Older kernels need `mprotect`, which
//! splits the slab's mapping: each guard costs two of the process's mappings (`vm.max_map_count`). If they ran out, every `mmap` in the
//! process would fail, including the allocator's. So guards have a budget, which leaves a few thousand mappings to the rest of the process.
//!
//! An emulator may accept any advice and ignore it (qemu's user mode does). An overflow would then silently write into the next
//! stack. So the first guard that `madvise` makes in a process is tested.

use std::fs;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::memory::page_bytes;

/// `MADV_GUARD_INSTALL` of the kernel's `mman-common.h`; the libc crate does not have it everywhere.
const MADV_GUARD_INSTALL: libc::c_int = 102;

/// The file with the limit of mappings per process.
const MAX_MAP_COUNT_PATH: &str = "/proc/sys/vm/max_map_count";

/// The kernel's default for that limit, if the file cannot be read.
const MAX_MAP_COUNT_DEFAULT: usize = 65_530;

/// Mappings left to the rest of the process: its libraries, heaps, OS threads and files.
const MAPS_RESERVED: usize = 4_096;

/// The size of a guard in bytes, unless a page is larger. Frames of C functions are nearly always smaller.
const GUARD_BYTES: usize = 64 * 1024;

/// Returns the size of a guard in bytes. Async-signal-safe.
pub(crate) fn guard_bytes() -> usize {
    GUARD_BYTES.max(page_bytes())
}

/// How guards are made.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guards {
    /// `MADV_GUARD_INSTALL` where the kernel has it, else `mprotect`.
    Automatic,
    /// Always `mprotect`, as on kernels before 6.13.
    Mprotect,
}

/// Set once the kernel has rejected `MADV_GUARD_INSTALL`, or ignored it. (Up to Linux 6.14 it also rejects it for memory locked by
/// `mlockall`; `mprotect` is right there as well.)
static MADVISE_REFUSED: AtomicBool = AtomicBool::new(false);

/// Set once a guard made by `madvise` has passed the test.
static MADVISE_PROVEN: AtomicBool = AtomicBool::new(false);

/// How many `mprotect` guards this process has, and how many are claimed.
static MPROTECT_GUARDS: AtomicUsize = AtomicUsize::new(0);

/// The budget of `mprotect` guards, as computed when it was last used up.
static MPROTECT_GUARDS_MAX: AtomicUsize = AtomicUsize::new(0);

/// Returns whether guards count against the budget of `mprotect` guards, so that each must be [claimed](claim).
pub(crate) fn are_limited(guards: Guards) -> bool {
    guards == Guards::Mprotect || MADVISE_REFUSED.load(Ordering::Relaxed)
}

/// Makes the lowest pages of the slot at `address` a guard, and returns how. `stack_bytes` is for error texts only. `is_claimed` says that
/// the caller has [claimed](claim) an `mprotect` guard, which is then used if one is needed.
///
/// # Errors
/// The kernel refuses, or the budget of `mprotect` guards is used up.
///
/// # Safety
/// The guard must lie in a slab, and nothing may use its contents.
pub(crate) unsafe fn install(
    address: usize,
    stack_bytes: usize,
    guards: Guards,
    is_claimed: bool,
) -> io::Result<Guards> {
    if !are_limited(guards) {
        // SAFETY: nothing uses what the range holds, by the contract of this function.
        if unsafe { libc::madvise(address as *mut libc::c_void, guard_bytes(), MADV_GUARD_INSTALL) } == 0 {
            if MADVISE_PROVEN.load(Ordering::Relaxed) || is_inaccessible(address) {
                MADVISE_PROVEN.store(true, Ordering::Relaxed);
                return Ok(Guards::Automatic);
            }
        } else {
            let error = io::Error::last_os_error();
            if error.raw_os_error() != Some(libc::EINVAL) {
                let text = format!(
                    "cannot guard a stack of {stack_bytes} bytes (MADV_GUARD_INSTALL): {error}; use fewer green threads"
                );
                return Err(io::Error::new(error.kind(), text));
            }
        }
        MADVISE_REFUSED.store(true, Ordering::Relaxed);
    }
    if !is_claimed {
        claim(stack_bytes)?;
    }
    // SAFETY: nothing uses what the range holds, by the contract of this function.
    if unsafe { libc::mprotect(address as *mut libc::c_void, guard_bytes(), libc::PROT_NONE) } != 0 {
        let error = io::Error::last_os_error();
        if !is_claimed {
            return_claims(1);
        }
        return Err(no_more_guards(stack_bytes, &error.to_string()));
    }
    Ok(Guards::Mprotect)
}

/// Returns whether the page at `address` faults when touched. The kernel is asked to make the page present, which fails with `EFAULT` for
/// a guard page. Any other answer means accessible, including success from an emulator that ignores the advice.
fn is_inaccessible(address: usize) -> bool {
    // SAFETY: `MADV_POPULATE_READ` changes no contents; if the page is mapped, it is only made present.
    let outcome =
        unsafe { libc::madvise(address as *mut libc::c_void, page_bytes(), libc::MADV_POPULATE_READ) };
    outcome != 0 && io::Error::last_os_error().raw_os_error() == Some(libc::EFAULT)
}

/// Returns `guards` guards to the budget: they were unmapped, or never made.
pub(crate) fn return_claims(guards: usize) {
    MPROTECT_GUARDS.fetch_sub(guards, Ordering::Relaxed);
}

/// Claims one guard of the budget of `mprotect` guards. `stack_bytes` is for error texts only.
///
/// # Errors
/// [`OutOfMemory`](io::ErrorKind::OutOfMemory): the budget is used up.
pub(crate) fn claim(stack_bytes: usize) -> io::Result<()> {
    let guards = MPROTECT_GUARDS.fetch_add(1, Ordering::Relaxed);
    if guards < MPROTECT_GUARDS_MAX.load(Ordering::Relaxed) {
        return Ok(());
    }
    // Read the limit again: somebody may have raised it since, as the error advises.
    let guards_max = mprotect_guards_max(max_map_count());
    MPROTECT_GUARDS_MAX.store(guards_max, Ordering::Relaxed);
    if guards < guards_max {
        return Ok(());
    }
    return_claims(1);
    Err(no_more_guards(stack_bytes, &format!("the budget of {guards_max} guards is used up")))
}

/// Returns the budget of a process that may have that many mappings: two for each guard, and some for the rest of the process.
fn mprotect_guards_max(max_map_count: usize) -> usize {
    max_map_count.saturating_sub(MAPS_RESERVED).max(max_map_count / 2) / 2
}

/// Reads `vm.max_map_count`.
fn max_map_count() -> usize {
    let text = fs::read_to_string(MAX_MAP_COUNT_PATH).unwrap_or_default();
    text.trim().parse().unwrap_or(MAX_MAP_COUNT_DEFAULT)
}

/// Returns the error for a guard beyond the budget.
fn no_more_guards(stack_bytes: usize, reason: &str) -> io::Error {
    let text = format!(
        "cannot guard one more stack of {stack_bytes} bytes: {reason}; a guard costs two mappings here, \
         and vm.max_map_count is {}: raise it (sysctl -w vm.max_map_count=1000000), use fewer green threads, \
         or Linux 6.13 or later, where guards cost none",
        max_map_count()
    );
    io::Error::new(io::ErrorKind::OutOfMemory, text)
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::os::fd::AsRawFd;
    use std::ptr;

    use super::{MADV_GUARD_INSTALL, is_inaccessible, mprotect_guards_max, page_bytes};

    /// What touching the page would do is told by a system call that reads it.
    #[test]
    fn a_guard_is_told_from_a_page_that_only_was_to_be_one() {
        let (_reader, writer) = io::pipe().unwrap();
        let (protection, flags) =
            (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: a new anonymous mapping touches nothing that exists, and the rest uses that mapping.
        unsafe {
            let page = libc::mmap(ptr::null_mut(), page_bytes(), protection, flags, -1, 0);
            assert_ne!(page, libc::MAP_FAILED);
            assert!(!is_inaccessible(page.addr()));
            libc::madvise(page, page_bytes(), MADV_GUARD_INSTALL);
            let is_readable = libc::write(writer.as_raw_fd(), page, 1) == 1;
            assert_eq!(is_inaccessible(page.addr()), !is_readable);
            libc::munmap(page, page_bytes());
        }
    }

    #[test]
    fn budget_leaves_maps_for_the_rest_of_the_process() {
        assert_eq!(mprotect_guards_max(65_530), (65_530 - 4_096) / 2);
        // A tiny limit: half of it, not nothing.
        assert_eq!(mprotect_guards_max(1_000), 250);
        assert_eq!(mprotect_guards_max(0), 0);
    }
}
