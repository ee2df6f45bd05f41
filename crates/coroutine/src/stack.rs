//! One slot of a slab, as a stack. It belongs to whoever holds the [`Stack`]; [`crate::StackPool`] makes them
//! and takes them back.
//!
//! A `Stack` that is dropped instead of given back is lost for the life of the process: its slot is not
//! reused and its slab is not unmapped. That is a leak, and sound.

use std::fmt;
use std::mem;
use std::ptr::{self, NonNull};

use corosensei::stack::StackPointer;

use crate::guard::guard_bytes;
use crate::page::page_bytes;
use crate::prefetch::prefetch;
use crate::slab::Slab;

/// Tops of neighbouring slots differ by this many bytes (a cache line) ...
const COLOUR_BYTES: usize = 64;

/// ... for this many slots in a row, then from the start. At most 1,984 bytes are lost, so the first page
/// still holds a shallow call.
///
/// Why: with every top at the same offset in its page, the hottest lines of all stacks fall into the same few
/// sets of the cache, and a switch over 100,000 stacks costs 33 ns instead of 15 ns.
const COLOURS: usize = 32;

/// How many bytes [`Stack::place`] gives away at most: with the colour, less than a page.
const PLACED_BYTES_MAX: usize = 1024;

/// A stack with a guard below it.
///
/// ```text
///  limit    limit + guard             base                              limit + guard + size
///    │ guard  │ <── grows this way ─────┤ what is placed │ colour, unused     │
/// ```
#[must_use = "a stack that is dropped, not given back to its pool, is lost"]
pub struct Stack {
    /// Where execution starts, going down. 16-byte aligned.
    base: StackPointer,
    /// Lowest address of the slot, where its guard begins.
    limit: StackPointer,
    /// The slab that it lies in. Live as long as the stack is out.
    slab: &'static Slab,
    /// Bytes above `base` that [`Stack::place`] has taken.
    placed: usize,
}

impl Stack {
    /// The stack in a slot of a slab.
    ///
    /// # Safety
    /// The slot's guard is installed, and no other `Stack` for the slot exists.
    pub(crate) unsafe fn in_slot(slab: &'static Slab, slot: usize) -> Stack {
        let limit = slab.slot_address(slot);
        let base = limit + slab.slot_bytes - slot % COLOURS * COLOUR_BYTES;
        let address = |address| StackPointer::new(address).expect("no mapping lies at address 0");
        Stack { base: address(base), limit: address(limit), slab, placed: 0 }
    }

    /// Moves a value to the top of the stack, above all frames that will be there, and gives its address. It stays there
    /// until the stack goes back to its pool, and is not dropped. So what belongs to a running function takes no
    /// memory beside its stack.
    ///
    /// # Panics
    /// There is no room: it is 1,024 bytes, or the value wants an alignment above 16.
    #[inline]
    pub fn place<T>(&mut self, value: T) -> NonNull<T> {
        const { assert!(mem::align_of::<T>() <= 16, "the tops of stacks are aligned to 16 bytes") };
        let bytes = mem::size_of::<T>().next_multiple_of(16);
        assert!(self.placed + bytes <= PLACED_BYTES_MAX, "no room for {bytes} bytes at the top of a stack");
        let base = self.base.get() - bytes;
        let place = ptr::with_exposed_provenance_mut::<T>(base);
        // SAFETY: the bytes lie in the top page of the slot, between `base` and what was placed before; the slot is ours, and
        // nothing runs on it: a coroutine that runs owns its stack.
        unsafe { place.write(value) };
        self.placed += bytes;
        self.base = StackPointer::new(base).expect("the slot does not lie at address 0");
        NonNull::new(place).expect("the slot does not lie at address 0")
    }

    /// Has the processor fetch the top, where [`Stack::place`] will write.
    #[inline]
    pub(crate) fn prefetch(&self) {
        prefetch(ptr::without_provenance::<u8>(self.base.get() - 1));
    }

    /// What has been placed is not needed any more.
    #[inline]
    pub(crate) fn clear(&mut self) {
        self.base = self.base.checked_add(self.placed).expect("the top of the slot has an address");
        self.placed = 0;
    }

    /// Size in bytes, without the guard: what was asked for, rounded up to pages.
    #[inline]
    pub fn size(&self) -> usize {
        self.slab.stack_bytes
    }

    /// Whether an address lies in the slot, guard included.
    pub fn contains(&self, address: usize) -> bool {
        address.wrapping_sub(self.limit.get()) < self.slab.slot_bytes
    }

    /// Lowest address of what may be used, just above the guard.
    fn lowest(&self) -> usize {
        self.limit.get() + guard_bytes()
    }

    /// How many bytes of the slot are resident in memory. Until the pool trims it, that is the deepest use so
    /// far, in whole pages. A system call for each MiB: for reports only.
    pub fn resident_bytes(&self) -> usize {
        const CHUNK_PAGES: usize = 256;
        let page = page_bytes();
        let top = self.lowest() + self.size();
        let mut resident_pages = 0;
        for start in (self.lowest()..top).step_by(CHUNK_PAGES * page) {
            let bytes = (top - start).min(CHUNK_PAGES * page);
            let mut pages = [0u8; CHUNK_PAGES];
            // SAFETY: the range lies in the slot, which is mapped; `pages` has a byte for each of its pages.
            unsafe { libc::mincore(start as *mut libc::c_void, bytes, pages.as_mut_ptr()) };
            resident_pages += pages.iter().filter(|&&page| page & 1 != 0).count();
        }
        resident_pages * page
    }

    /// The slab that it lies in.
    pub(crate) fn slab(&self) -> &'static Slab {
        self.slab
    }

    /// Gives all its memory back to the kernel. `&mut`, as a free stack only may lose its contents. A system call.
    pub fn release(&mut self) {
        // SAFETY: the range lies in the slot, and whoever can have a `&mut Stack` has it free: nothing lives in it.
        unsafe { libc::madvise(self.lowest() as *mut libc::c_void, self.size(), libc::MADV_DONTNEED) };
    }
}

impl fmt::Debug for Stack {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Stack")
            .field("limit", &format_args!("{:#x}", self.limit))
            .field("size", &self.size())
            .finish()
    }
}

// SAFETY: the lowest pages of the slot are a guard (`in_slot`), at least two usable pages lie above it
// (`stack_bytes` in `pool.rs`), of which the colour takes less than one half of one and `place` 1024 bytes, and `base` is aligned: slots are
// page-aligned, colours are 64 bytes and what is placed takes multiples of 16.
unsafe impl corosensei::stack::Stack for Stack {
    #[inline]
    fn base(&self) -> StackPointer {
        self.base
    }

    #[inline]
    fn limit(&self) -> StackPointer {
        self.limit
    }
}

/// A stack for the length of a call.
pub(crate) struct Lent<'a>(pub(crate) &'a mut Stack);

// SAFETY: as for `Stack`, whose answers these are; the loan keeps everybody else off it.
unsafe impl corosensei::stack::Stack for Lent<'_> {
    fn base(&self) -> StackPointer {
        self.0.base
    }

    fn limit(&self) -> StackPointer {
        self.0.limit
    }
}
