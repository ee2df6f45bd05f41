//! One slot of a slab, as a stack. The owner of the [`Stack`] owns the slot; a [`crate::StackPool`] hands stacks out and takes them back.
//!
//! Dropping a `Stack` instead of giving it back leaks its slot: the slot is never reused and its slab is never unmapped. That is sound.

use std::fmt;
use std::mem;
use std::ptr::{self, NonNull};

use corosensei::stack::StackPointer;

use crate::guard::guard_bytes;
use crate::memory::{page_bytes, prefetch};
use crate::slab::Slab;

/// Tops of neighbouring slots differ by this many bytes (a cache line) ...
const COLOUR_BYTES: usize = 64;

/// ... for this many slots in a row, then from the start. At most 1,984 bytes are lost, so the first page
/// still holds a shallow call.
///
/// Why: with every top at the same offset in its page, the hottest lines of all stacks fall into the same few
/// sets of the cache, and a switch over 100,000 stacks costs 33 ns instead of 15 ns.
const COLOURS: usize = 32;

/// How many bytes of values [`Stack::push`] has room for: with the colour, less than a page.
const PUSHED_BYTES_MAX: usize = 1024;

/// A stack with a guard below it.
///
/// ```text
///  limit    limit + guard             base                              limit + guard + size
///    │ guard  │ <── grows this way ─────┤ pushed values  │ colour, unused     │
/// ```
#[must_use = "dropping a stack leaks it: give it back to its pool"]
pub struct Stack {
    /// Where execution starts, going down. 16-byte aligned.
    base: StackPointer,
    /// Lowest address of the slot, where its guard begins.
    limit: StackPointer,
    /// The slab that it lies in. Mapped as long as the stack is in use.
    slab: &'static Slab,
    /// Bytes above `base` that hold pushed values.
    pushed: usize,
}

impl Stack {
    /// Returns the stack in a slot of a slab.
    ///
    /// # Safety
    /// The slot's guard is installed, and no other `Stack` for the slot exists.
    pub(crate) unsafe fn in_slot(slab: &'static Slab, slot: usize) -> Stack {
        let limit = slab.slot_address(slot);
        let base = limit + slab.slot_bytes - slot % COLOURS * COLOUR_BYTES;
        let address = |address| StackPointer::new(address).expect("no mapping lies at address 0");
        Stack { base: address(base), limit: address(limit), slab, pushed: 0 }
    }

    /// Pushes a value onto the empty stack, above all future frames, and returns its address.
    ///
    /// The value stays there until the stack goes back to its pool, and is never dropped. So what a thread needs while it runs takes no
    /// memory but its stack.
    ///
    /// # Panics
    /// If the values pushed take more than 1,024 bytes. An alignment above 16 does not compile.
    #[inline]
    pub fn push<T>(&mut self, value: T) -> NonNull<T> {
        const { assert!(mem::align_of::<T>() <= 16, "the tops of stacks are aligned to 16 bytes") };
        let bytes = mem::size_of::<T>().next_multiple_of(16);
        assert!(self.pushed + bytes <= PUSHED_BYTES_MAX, "no room for {bytes} bytes at the top of a stack");
        let base = self.base.get() - bytes;
        let address = ptr::with_exposed_provenance_mut::<T>(base);
        // SAFETY: the bytes lie in the top page of the slot, between `base` and what was pushed before; the slot is ours, and
        // nothing runs on it: a coroutine that runs owns its stack.
        unsafe { address.write(value) };
        self.pushed += bytes;
        self.base = StackPointer::new(base).expect("the slot does not lie at address 0");
        NonNull::new(address).expect("the slot does not lie at address 0")
    }

    /// Prefetches the top, where [`Stack::push`] will write.
    #[inline]
    pub(crate) fn prefetch(&self) {
        prefetch(ptr::without_provenance::<u8>(self.base.get() - 1));
    }

    /// Forgets the pushed values.
    #[inline]
    pub(crate) fn clear(&mut self) {
        self.base = self.base.checked_add(self.pushed).expect("the top of the slot has an address");
        self.pushed = 0;
    }

    /// Returns its size in bytes, without the guard: what was asked for, rounded up to pages.
    #[inline]
    pub fn size(&self) -> usize {
        self.slab.stack_bytes
    }

    /// Returns whether an address lies in the slot, guard included.
    pub fn contains(&self, address: usize) -> bool {
        address.wrapping_sub(self.limit.get()) < self.slab.slot_bytes
    }

    /// Returns the lowest usable address, just above the guard.
    fn lowest(&self) -> usize {
        self.limit.get() + guard_bytes()
    }

    /// Returns how many bytes of the slot are resident in memory: the deepest use since the pool last trimmed it, in whole pages.
    ///
    /// Makes a system call for each MiB, so it is for reports only.
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

    /// Returns the slab that it lies in.
    pub(crate) fn slab(&self) -> &'static Slab {
        self.slab
    }

    /// Returns all its memory to the kernel, by a system call. Only a stack on which nothing runs can be borrowed mutably.
    pub fn release(&mut self) {
        // SAFETY: the range lies in the slot, and nothing lives in it: a coroutine that runs owns its stack, so this one is free.
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
// (`stack_bytes` in `pool.rs`), of which the colour takes less than one half of one and `push` 1024 bytes, and `base` is aligned: slots are
// page-aligned, colours are 64 bytes and pushed values take multiples of 16.
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

/// A stack that is borrowed for the length of a call.
pub(crate) struct BorrowedStack<'a>(pub(crate) &'a mut Stack);

// SAFETY: base and limit are those of `Stack`, which upholds the trait's contract; nobody else uses the stack during the borrow.
unsafe impl corosensei::stack::Stack for BorrowedStack<'_> {
    fn base(&self) -> StackPointer {
        self.0.base
    }

    fn limit(&self) -> StackPointer {
        self.0.limit
    }
}
