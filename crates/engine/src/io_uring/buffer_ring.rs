//! The ring of buffers from which the kernel picks one when there is something to receive.
//!
//! ```text
//!   entries:  [address, length, id] × 4096, one page-aligned block that the kernel reads
//!   tail:     ours, in the first entry's spare field; what lies before it belongs to the kernel
//! ```
//!
//! It is registered when the first lent receive is submitted, so who does not use it pays nothing. It starts with one chunk of
//! buffers and gets another each time the kernel finds it empty.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::io;
use std::sync::atomic::{AtomicU16, Ordering};

use ::io_uring::types::BufRingEntry;

use super::ring::Ring;
use crate::provided_buffer::{BUFFER_BYTES, BufferPool, ProvidedBuffer};

/// The group under which the ring is registered: the only one.
pub(super) const GROUP: u16 = 0;

/// Places in the ring; as many as the lender makes buffers.
const ENTRIES: u16 = 4096;

/// The largest page that a kernel for our processors can have, in bytes: 64 KiB on aarch64. It is also the length of the ring.
const PAGE_BYTES_MAX: usize = 64 * 1024;

/// What the kernel may pick from, and the stock behind it.
pub(super) struct BufferRing {
    entries: *mut BufRingEntry,
    tail: u16,
    /// Buffers that the kernel has.
    provided: usize,
    /// How many of them are for receives that found none and are about to be asked for once more.
    promised: usize,
    pool: BufferPool,
}

fn layout() -> Layout {
    Layout::array::<BufRingEntry>(ENTRIES.into())
        .and_then(|layout| layout.align_to(PAGE_BYTES_MAX))
        .expect("a constant that is in range")
}

impl BufferRing {
    /// Registers a ring with its first chunk of buffers.
    ///
    /// # Errors
    /// The kernel is older than 5.19, or memory may not be pinned.
    pub(super) fn register(ring: &Ring) -> io::Result<BufferRing> {
        // SAFETY: the layout has a size.
        let entries = unsafe { alloc_zeroed(layout()) }.cast::<BufRingEntry>();
        if entries.is_null() {
            handle_alloc_error(layout());
        }
        let mut buffers = BufferRing { entries, tail: 0, provided: 0, promised: 0, pool: BufferPool::new() };
        // SAFETY: the block has as many entries, aligned to a page, and lives until `unregister` or the ring's end.
        unsafe { ring.register_buffers(entries as u64, ENTRIES, GROUP) }?;
        buffers.grow();
        Ok(buffers)
    }

    /// A receive has found no buffer. Sees to it that there is one when it is asked for again, with another chunk if need
    /// be. False: there are as many as there may be.
    pub(super) fn promise(&mut self) -> bool {
        if self.promised >= self.provided {
            self.grow();
        }
        self.promised += 1;
        self.promised <= self.provided
    }

    /// Whatever was promised has been asked for again.
    pub(super) fn forget_promises(&mut self) {
        self.promised = 0;
    }

    fn grow(&mut self) {
        for id in self.pool.grow() {
            // SAFETY: it has been made just now, so it is nobody's.
            unsafe { self.provide(id) };
        }
    }

    /// Gives buffer `id` to the kernel.
    ///
    /// # Safety
    /// It is nobody's: not lent, and not with the kernel.
    unsafe fn provide(&mut self, id: u16) {
        let place = usize::from(self.tail % ENTRIES);
        // SAFETY: there are no more buffers than places, so this place is not the kernel's now.
        let entry = unsafe { &mut *self.entries.add(place) };
        entry.set_addr(self.pool.pointer(id) as u64);
        entry.set_len(BUFFER_BYTES as u32);
        entry.set_bid(id);
        self.tail = self.tail.wrapping_add(1);
        self.provided += 1;
        // SAFETY: the tail lies within the first entry, and both sides reach it atomically.
        let tail = unsafe { &*BufRingEntry::tail(self.entries).cast::<AtomicU16>() };
        tail.store(self.tail, Ordering::Release);
    }

    /// The kernel has picked buffer `id` and received `length` bytes: hands it to the reader.
    ///
    /// # Safety
    /// A completion of this ring says so, and is taken in for the first time.
    pub(super) unsafe fn filled(&mut self, id: u16, length: usize) -> ProvidedBuffer {
        self.provided -= 1;
        // SAFETY: the kernel had it, and has given it up with the completion that names it.
        unsafe { self.pool.filled(id, length) }
    }

    /// The kernel has picked buffer `id` and put nothing into it.
    ///
    /// # Safety
    /// As for [`BufferRing::lend`].
    pub(super) unsafe fn put_back(&mut self, id: u16) {
        self.provided -= 1;
        // SAFETY: the kernel had it, and has given it up with the completion that names it.
        unsafe { self.provide(id) };
    }

    /// A reader is done with it.
    pub(super) fn reclaim(&mut self, buffer: ProvidedBuffer) {
        if let Some(id) = self.pool.reclaim(buffer) {
            // SAFETY: the reader's hold on it has just ended.
            unsafe { self.provide(id) };
        }
    }
}

impl Drop for BufferRing {
    /// The engine unregisters first, so the kernel does not know the block any more.
    fn drop(&mut self) {
        // SAFETY: allocated in `register` with this layout.
        unsafe { dealloc(self.entries.cast(), layout()) };
    }
}
