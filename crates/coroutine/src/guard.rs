//! Guards: the lowest 64 KiB of every slot fault when touched, so that a stack which overflows cannot write into its
//! neighbour. Rust code touches every page of a large frame in turn, and one page would do for it. C code that is compiled
//! without stack probes does not: a function with a large buffer steps over a page, onto the neighbour's hottest one.
//!
//! `MADV_GUARD_INSTALL` (Linux 6.13) marks the pages in the page table and costs nothing else. Before that,
//! `mprotect` must do: it splits the slab's map, which costs two maps a guard out of `vm.max_map_count`. When
//! those ran out, every `mmap` in the process would fail, the allocator's too; so the guards stop at a budget
//! and leave the rest a few thousand.
//!
//! Emulators may take any advice and do nothing (qemu's user mode does), and an overflow would then write into the
//! next stack without a word. So the first guard that `madvise` makes in a process is put to the test.

use std::fs;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::page::page_bytes;

/// `MADV_GUARD_INSTALL` of the kernel's `mman-common.h`; the libc crate does not have it everywhere.
const MADV_GUARD_INSTALL: libc::c_int = 102;

/// Where the kernel says how many maps a process may have.
const MAX_MAP_COUNT_PATH: &str = "/proc/sys/vm/max_map_count";

/// The kernel's default for that number, when it cannot be read.
const MAX_MAP_COUNT_DEFAULT: usize = 65_530;

/// Maps left to the rest of the process: its libraries, heaps, OS threads and files.
const MAPS_RESERVED: usize = 4_096;

/// Size of a guard in bytes, unless a page is larger. As the guards of Windows and of musl's threads: what a C function takes at
/// once is nearly always less.
const GUARD_BYTES: usize = 64 * 1024;

/// Size of a guard in bytes. Safe to call in a signal handler.
pub(crate) fn guard_bytes() -> usize {
    GUARD_BYTES.max(page_bytes())
}

/// How guards are made.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guards {
    /// `MADV_GUARD_INSTALL` where the kernel has it, else `mprotect`.
    Automatic,
    /// `mprotect`, always: what kernels before 6.13 get.
    Mprotect,
}

/// Set once the kernel has said that it does not know `MADV_GUARD_INSTALL`, or has been found to make no guards by it.
/// (It also says that it does not, up to Linux 6.14, of memory locked by `mlockall`; `mprotect` is right for that as well.)
static MADVISE_REFUSED: AtomicBool = AtomicBool::new(false);

/// Set once a guard made by `madvise` has been seen to guard.
static MADVISE_PROVEN: AtomicBool = AtomicBool::new(false);

/// How many guards of this process are made by `mprotect` now.
static MPROTECT_GUARDS: AtomicUsize = AtomicUsize::new(0);

/// How many there may be, as last read from the kernel.
static MPROTECT_GUARDS_MAX: AtomicUsize = AtomicUsize::new(0);

/// Whether guards take maps, of which a process has few: then a place in the budget is [claimed](claim) for each.
pub(crate) fn are_scarce(guards: Guards) -> bool {
    guards == Guards::Mprotect || MADVISE_REFUSED.load(Ordering::Relaxed)
}

/// Makes the lowest pages of the slot at `address` a guard; says which way it was done. `stack_bytes` is for error texts only.
/// With `is_claimed` its place in the budget of `mprotect` guards has been claimed, and is used up if it is needed.
///
/// # Errors
/// The kernel refuses, or the budget of `mprotect` guards is used up.
///
/// # Safety
/// The guard lies in a slab, and nothing uses its contents.
pub(crate) unsafe fn install(
    address: usize,
    stack_bytes: usize,
    guards: Guards,
    is_claimed: bool,
) -> io::Result<Guards> {
    if !are_scarce(guards) {
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

/// Whether the kernel says that the page at `address` must not be touched. It is asked to make the page present, which it refuses
/// with `EFAULT` for a guard page. All else counts as a no; so does what one says who takes any advice.
fn is_inaccessible(address: usize) -> bool {
    // SAFETY: `MADV_POPULATE_READ` changes no contents; if the page is mapped, it is only made present.
    let outcome =
        unsafe { libc::madvise(address as *mut libc::c_void, page_bytes(), libc::MADV_POPULATE_READ) };
    outcome != 0 && io::Error::last_os_error().raw_os_error() == Some(libc::EFAULT)
}

/// Gives the places of `guards` guards back to the budget: they are unmapped, or have not been made.
pub(crate) fn return_claims(guards: usize) {
    MPROTECT_GUARDS.fetch_sub(guards, Ordering::Relaxed);
}

/// Takes one guard out of the budget of `mprotect` guards. `stack_bytes` is for error texts only.
///
/// # Errors
/// It is used up.
pub(crate) fn claim(stack_bytes: usize) -> io::Result<()> {
    let guards = MPROTECT_GUARDS.fetch_add(1, Ordering::Relaxed);
    if guards < MPROTECT_GUARDS_MAX.load(Ordering::Relaxed) {
        return Ok(());
    }
    // Read (again): somebody may have followed the error's advice while the program ran.
    let guards_max = mprotect_guards_max(max_map_count());
    MPROTECT_GUARDS_MAX.store(guards_max, Ordering::Relaxed);
    if guards < guards_max {
        return Ok(());
    }
    return_claims(1);
    Err(no_more_guards(stack_bytes, &format!("the budget of {guards_max} guards is used up")))
}

/// How many guards a process with that many maps may have: two maps each, and some left for the rest.
fn mprotect_guards_max(max_map_count: usize) -> usize {
    max_map_count.saturating_sub(MAPS_RESERVED).max(max_map_count / 2) / 2
}

/// `vm.max_map_count`.
fn max_map_count() -> usize {
    let text = fs::read_to_string(MAX_MAP_COUNT_PATH).unwrap_or_default();
    text.trim().parse().unwrap_or(MAX_MAP_COUNT_DEFAULT)
}

/// The error for a guard that cannot be had.
fn no_more_guards(stack_bytes: usize, reason: &str) -> io::Error {
    let text = format!(
        "cannot guard one more stack of {stack_bytes} bytes: {reason}; a guard costs two maps here, \
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
