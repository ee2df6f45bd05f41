//! Slabs: large pieces of address space, each cut into slots of one size. A slot holds one stack.
//!
//! One mapping per stack would not do for a million stacks: the kernel allows a process 65,530 (`vm.max_map_count`). A slab is one mapping
//! for thousands of stacks. It reserves no memory (`MAP_NORESERVE`): a page becomes resident when a stack first touches it.
//!
//! Protocol: a [`Slab`] describes each slab. Descriptions form one process-wide list and are never unlinked nor freed, so a signal handler
//! may walk the list at any moment, without a lock. A slab that has been unmapped stays in the list, marked dead. A description
//! takes some 70 bytes, and there are tens of them.

use std::io;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};

use crate::guard::{self, Guards, guard_bytes};
use crate::memory::page_bytes;

/// The largest slab, in bytes of address space, unless a single slot is larger.
const SLAB_BYTES_MAX: usize = 2 << 30;

/// How many slots the first slab of a size has.
const FIRST_SLAB_SLOTS: usize = 64;

/// The newest slab; the others follow by [`Slab::next`].
static NEWEST: AtomicPtr<Slab> = AtomicPtr::new(ptr::null_mut());

/// The description of one slab.
///
/// ```text
///  start                                                                          start + slots * slot_bytes
///    │  slot 0                        slot 1                        slot 2               │
///    ▼                                                                                   ▼
///    ┌───────┬──────────────────────┬───────┬─────────────────────┬───────┬── ... ───────┐
///    │ guard │        <── stack ─┤··│ guard │      <── stack ─┤···│ guard │              │
///    └───────┴──────────────────────┴───────┴─────────────────────┴───────┴── ... ───────┘
///    ├64 KiB─┼──── stack_bytes ─────┤
///    │                           ├──┤ colour: (slot % 32) * 64 bytes
///    ├───────── slot_bytes ─────────┤
/// ```
///
/// A million stacks of 64 KiB on 4 KiB pages, each suspended in a shallow call:
///
/// ```text
///  address space   1,000,000 × 128 KiB = 122 GiB  69 slabs: 64, 128, ... 16,384 slots (2 GiB), 16,384, ...
///  mappings        69, or fewer                   the kernel merges neighbouring slabs
///  resident        1,000,000 × 4 KiB = 3.8 GiB    the top page of each slot
///  page tables     1,000,000 × 256 bytes          one 4 KiB table maps 2 MiB: 16 slots
///  guards          no memory of their own         marks in that page table
/// ```
#[derive(Debug)]
pub(crate) struct Slab {
    /// Address of the lowest slot.
    start: usize,
    /// How many slots there are.
    slots: usize,
    /// Bytes from one slot to the next, guard included.
    pub(crate) slot_bytes: usize,
    /// Usable bytes of each stack: the slot without its guard.
    pub(crate) stack_bytes: usize,
    /// The number of the [pool](crate::StackPool) that owns it.
    pub(crate) pool: u64,
    /// Its position among that pool's slabs of the same size.
    pub(crate) index: usize,
    /// False from just before the memory is unmapped.
    live: AtomicBool,
    /// Guards made by `mprotect`, which count against the process's budget until the slab is unmapped.
    mprotect_guards: AtomicUsize,
    /// The next older slab. Written before this one is published, never after.
    next: *const Slab,
}

// SAFETY: all fields are atomic or never change after publication; `next` leads to another slab, which is
// never freed.
unsafe impl Send for Slab {}
// SAFETY: shared fields are atomic or never change after publication, so threads may use them at once.
unsafe impl Sync for Slab {}

impl Slab {
    /// Maps a slab for stacks of `stack_bytes` bytes (a multiple of the page size), and publishes it. It has
    /// twice the slots of `previous`, or fewer if the kernel refuses so much address space.
    ///
    /// # Errors
    /// The kernel refuses even one slot.
    pub(crate) fn map(
        stack_bytes: usize,
        previous: Option<&Slab>,
        pool: u64,
        index: usize,
    ) -> io::Result<&'static Slab> {
        let slot_bytes = stack_bytes + guard_bytes();
        let slots_max = (SLAB_BYTES_MAX / slot_bytes).max(1);
        let mut slots = previous.map_or(FIRST_SLAB_SLOTS, |slab| slab.slots * 2).min(slots_max);
        let start = loop {
            match reserve(slots * slot_bytes) {
                Ok(start) => break start,
                Err(error) if slots == 1 => return Err(refused(stack_bytes, &error)),
                Err(_) => slots /= 2,
            }
        };
        Ok(publish(Slab {
            start,
            slots,
            slot_bytes,
            stack_bytes,
            pool,
            index,
            live: AtomicBool::new(true),
            mprotect_guards: AtomicUsize::new(0),
            next: ptr::null(),
        }))
    }

    /// Returns how many slots there are.
    pub(crate) fn slots(&self) -> usize {
        self.slots
    }

    /// Returns the size of the whole slab in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.slots * self.slot_bytes
    }

    /// Returns the lowest address of a slot, where its guard begins.
    pub(crate) fn slot_address(&self, slot: usize) -> usize {
        debug_assert!(slot < self.slots);
        self.start + slot * self.slot_bytes
    }

    /// Makes the lowest pages of a slot a guard, and returns how. See [`guard::install`] for `is_claimed`.
    ///
    /// # Errors
    /// Those of [`guard::install`].
    pub(crate) fn guard_slot(&self, slot: usize, guards: Guards, is_claimed: bool) -> io::Result<Guards> {
        let address = self.slot_address(slot);
        // SAFETY: the slot lies in this live slab, was not handed out yet, and so nothing uses its lowest
        // pages.
        let kind = unsafe { guard::install(address, self.stack_bytes, guards, is_claimed)? };
        if kind == Guards::Mprotect {
            self.mprotect_guards.fetch_add(1, Ordering::Relaxed);
        }
        Ok(kind)
    }

    /// Unmaps the slab.
    ///
    /// # Safety
    /// No stack of this slab may be in use or be used again, and this must be called only once.
    pub(crate) unsafe fn unmap(&self) {
        // First, since the kernel may reuse the addresses once they are unmapped.
        self.live.store(false, Ordering::Release);
        // SAFETY: start and length are those of our own mapping, which nobody uses, by the contract of this function.
        let outcome = unsafe { libc::munmap(self.start as *mut libc::c_void, self.bytes()) };
        // Fails only if the process has no mapping left to split a merged one; the address space is then leaked.
        if outcome == 0 {
            guard::return_claims(self.mprotect_guards.load(Ordering::Relaxed));
        }
    }
}

/// Returns the live slab that has `address` in one of its guards. Async-signal-safe.
pub(crate) fn guarded_by(address: usize) -> Option<&'static Slab> {
    slabs().find(|slab| {
        let offset = address.wrapping_sub(slab.start);
        let inside = offset < slab.bytes() && slab.live.load(Ordering::Acquire);
        inside && offset % slab.slot_bytes < guard_bytes()
    })
}

/// Iterates over all slabs, live and dead, newest first. Async-signal-safe.
fn slabs() -> impl Iterator<Item = &'static Slab> {
    // SAFETY: published slabs are complete (Release in `publish`) and are never freed; null ends the list.
    let next = |slab: *const Slab| unsafe { slab.as_ref() };
    std::iter::successors(next(NEWEST.load(Ordering::Acquire)), move |slab| next(slab.next))
}

/// How much the stacks of the whole process take, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StackMemory {
    /// Address space.
    pub mapped_bytes: usize,
    /// Physical memory.
    pub resident_bytes: usize,
}

impl StackMemory {
    /// Asks the kernel how much the stacks of this process take now.
    ///
    /// Makes a system call for each 16 MiB of address space, which takes milliseconds for 100,000 stacks: for reports only. From any thread.
    pub fn of_process() -> StackMemory {
        const CHUNK_PAGES: usize = 4096;
        let page = page_bytes();
        let mut pages = [0u8; CHUNK_PAGES];
        let mut memory = StackMemory::default();
        for slab in slabs().filter(|slab| slab.live.load(Ordering::Acquire)) {
            memory.mapped_bytes += slab.bytes();
            let end = slab.start + slab.bytes();
            for start in (slab.start..end).step_by(CHUNK_PAGES * page) {
                let bytes = (end - start).min(CHUNK_PAGES * page);
                // SAFETY: `pages` has a byte for each page of the range. If the slab is unmapped meanwhile, the call fails or reports
                // on other memory; it touches neither.
                let outcome = unsafe { libc::mincore(start as *mut libc::c_void, bytes, pages.as_mut_ptr()) };
                let resident = pages[..bytes / page].iter().filter(|&&page| page & 1 != 0).count();
                memory.resident_bytes += if outcome == 0 { resident * page } else { 0 };
            }
        }
        memory
    }
}

/// Reserves address space that is readable and writable but has no memory yet. Returns its address.
fn reserve(bytes: usize) -> io::Result<usize> {
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    // SAFETY: a new anonymous mapping at an address of the kernel's choice touches nothing that exists.
    let address = unsafe { libc::mmap(ptr::null_mut(), bytes, protection, flags, -1, 0) };
    if address == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    // With huge pages, the first touch of a stack would cost 2 MiB. Kernels without huge pages answer EINVAL, which does no harm.
    // SAFETY: the range is the mapping just made.
    unsafe { libc::madvise(address, bytes, libc::MADV_NOHUGEPAGE) };
    Ok(address as usize)
}

/// Links a slab into the process-wide list, where it stays.
fn publish(slab: Slab) -> &'static Slab {
    let slab = Box::into_raw(Box::new(slab));
    let mut newest = NEWEST.load(Ordering::Relaxed);
    loop {
        // SAFETY: `slab` is ours alone until the exchange below succeeds.
        unsafe { (*slab).next = newest };
        match NEWEST.compare_exchange_weak(newest, slab, Ordering::AcqRel, Ordering::Relaxed) {
            // SAFETY: it came from a Box and is never freed.
            Ok(_) => return unsafe { &*slab },
            Err(other) => newest = other,
        }
    }
}

/// Returns the error for an `mmap` that the kernel refused.
fn refused(stack_bytes: usize, error: &io::Error) -> io::Error {
    let text = format!(
        "cannot map a stack of {stack_bytes} bytes: {error}; use fewer or smaller stacks, or raise \
         a limit of address space: `ulimit -v`, vm.max_map_count, vm.overcommit_memory (2 is strict)"
    );
    io::Error::new(error.kind(), text)
}
