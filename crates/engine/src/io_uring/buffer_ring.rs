//! The ring of buffers from which the kernel picks one when there is something to receive.
//!
//! ```text
//!   entries:  [address, length, id] × 4096, one page-aligned block that the kernel reads
//!   tail:     ours, in the first entry's spare field; what lies before it belongs to the kernel
//! ```
//!
//! The first receive into a provided buffer registers it, so a program without such receives pays nothing. It starts with one
//! chunk of buffers and gets another each time the kernel finds it empty.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::io;
use std::sync::atomic::{AtomicU16, Ordering};

use ::io_uring::cqueue;
use ::io_uring::types::BufRingEntry;

use super::ring::Ring;
use crate::provided_buffer::{BUFFER_BYTES, BufferPool, ProvidedBuffer};

/// The group under which the ring is registered: the only one.
pub(super) const GROUP: u16 = 0;

/// The size of the ring: as many entries as the pool can make buffers.
const ENTRIES: u16 = 4096;

/// The largest page of a kernel for our processors: 64 KiB on aarch64. It is also the length of the ring.
const PAGE_BYTES_MAX: usize = 64 * 1024;

/// The buffers that the kernel may pick from, and the pool behind them.
pub(super) struct BufferRing {
    entries: *mut BufRingEntry,
    tail: u16,
    /// Buffers that the kernel has.
    provided: usize,
    /// How many of them are for receives that found none and are about to be repeated.
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
    /// The kernel is older than 5.19, or does not let us pin memory.
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

    /// Sees to it that a receive that found no buffer finds one when it is repeated, with another chunk if need be. Returns false
    /// if there are as many buffers as there may be.
    pub(super) fn promise(&mut self) -> bool {
        if self.promised >= self.provided {
            self.grow();
        }
        self.promised += 1;
        self.promised <= self.provided
    }

    /// Forgets what was promised. All such receives have been repeated.
    pub(super) fn forget_promises(&mut self) {
        self.promised = 0;
    }

    fn grow(&mut self) {
        for id in self.pool.grow() {
            // SAFETY: it was made just now, so nobody has it.
            unsafe { self.provide(id) };
        }
    }

    /// Hands buffer `id` to the kernel.
    ///
    /// # Safety
    /// Neither a reader nor the kernel has it.
    unsafe fn provide(&mut self, id: u16) {
        let index = usize::from(self.tail % ENTRIES);
        // SAFETY: there are no more buffers than entries, so the kernel does not have this entry now.
        let entry = unsafe { &mut *self.entries.add(index) };
        entry.set_addr(self.pool.pointer(id) as u64);
        entry.set_len(BUFFER_BYTES as u32);
        entry.set_bid(id);
        self.tail = self.tail.wrapping_add(1);
        self.provided += 1;
        // SAFETY: the tail lies within the first entry, and both sides access it atomically.
        let tail = unsafe { &*BufRingEntry::tail(self.entries).cast::<AtomicU16>() };
        tail.store(self.tail, Ordering::Release);
    }

    /// Takes the buffer that the kernel picked for a completion, if there is data in it.
    ///
    /// # Safety
    /// The completion comes from the ring, and this is the first time that it is looked at.
    pub(super) unsafe fn take(&mut self, entry: &cqueue::Entry) -> Option<ProvidedBuffer> {
        let id = cqueue::buffer_select(entry.flags())?;
        self.provided -= 1;
        if entry.result() > 0 {
            // SAFETY: the kernel had the buffer, and has given it up with the completion that names it.
            return Some(unsafe { self.pool.filled(id, entry.result() as usize) });
        }
        // SAFETY: the kernel had the buffer, and has given it up with the completion that names it.
        unsafe { self.provide(id) };
        None
    }

    /// Takes a buffer back from a reader.
    pub(super) fn reclaim(&mut self, buffer: ProvidedBuffer) {
        if let Some(id) = self.pool.reclaim(buffer) {
            // SAFETY: the reader has just given it up.
            unsafe { self.provide(id) };
        }
    }
}

impl Drop for BufferRing {
    /// The engine unregisters the ring first, so the kernel does not know the block any more.
    fn drop(&mut self) {
        // SAFETY: allocated in `register` with this layout.
        unsafe { dealloc(self.entries.cast(), layout()) };
    }
}
