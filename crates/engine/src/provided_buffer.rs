//! Provided buffers: the engine brings a buffer when there is data, so that a reader needs none while it waits.
//!
//! A [`Request::ReceiveProvided`](crate::Request) comes back with a [`ProvidedBuffer`] that holds what has arrived. On io_uring
//! the kernel picks the buffer from a ring (`IORING_REGISTER_PBUF_RING`) at the moment when there is data. Other engines
//! take one when the descriptor is ready.
//!
//! ```text
//!   chunk:   64 buffers of 16 KiB each, mapped when they are first written to
//!   id:      chunk · 64 + index in the chunk; the kernel's buffer id
//!
//!   Memory ◀── Rc ── BufferPool (the engine's)          reuses buffers LIFO
//!      ▲
//!      └────── Rc ── ProvidedBuffer (the reader's)      stays valid when the engine is gone
//! ```
//!
//! Invariant: a buffer is in one place only: in the pool's list of free buffers, with the kernel, or in one `ProvidedBuffer`.

use std::cell::UnsafeCell;
use std::fmt;
use std::ops::Deref;
use std::rc::Rc;

/// The size of a buffer. Only pages that were written to take memory.
pub(crate) const BUFFER_BYTES: usize = 16 * 1024;

/// The number of buffers that are made at a time.
const CHUNK: usize = 64;

/// The most chunks of one engine: 4096 buffers, 64 MiB of address space.
const CHUNKS_MAX: usize = 64;

/// The buffers themselves. Their bytes are reached through the raw pointers of [`BufferPool::pointer`].
struct Memory {
    chunks: UnsafeCell<Vec<*mut u8>>,
}

fn chunk_layout() -> std::alloc::Layout {
    std::alloc::Layout::from_size_align(CHUNK * BUFFER_BYTES, 4096).expect("a constant that is in range")
}

impl Drop for Memory {
    fn drop(&mut self) {
        for chunk in self.chunks.get_mut().drain(..) {
            // SAFETY: `BufferPool::grow` allocated it with this layout.
            unsafe { std::alloc::dealloc(chunk, chunk_layout()) };
        }
    }
}

/// The buffers of one engine.
pub(crate) struct BufferPool {
    memory: Rc<Memory>,
    /// The ids of free buffers. Empty on io_uring, where the kernel has them.
    free: Vec<u16>,
}

impl BufferPool {
    pub(crate) fn new() -> BufferPool {
        BufferPool { memory: Rc::new(Memory { chunks: UnsafeCell::default() }), free: Vec::new() }
    }

    /// Makes another chunk. Returns the ids of its buffers, which are none if there are as many chunks as there may be.
    pub(crate) fn grow(&mut self) -> std::ops::Range<u16> {
        // SAFETY: the list is only touched here and in `pointer`, neither of which calls the other.
        let chunks = unsafe { &mut *self.memory.chunks.get() };
        if chunks.len() == CHUNKS_MAX {
            return 0..0;
        }
        // SAFETY: the layout has a size. Zeroed memory is initialized, and costs nothing in allocations of this size.
        let chunk = unsafe { std::alloc::alloc_zeroed(chunk_layout()) };
        if chunk.is_null() {
            std::alloc::handle_alloc_error(chunk_layout());
        }
        let first = chunks.len() * CHUNK;
        chunks.push(chunk);
        first as u16..(first + CHUNK) as u16
    }

    /// Returns the address of buffer `id`.
    pub(crate) fn pointer(&self, id: u16) -> *mut u8 {
        // SAFETY: the list is only touched here and in `grow`, neither of which calls the other.
        let chunks = unsafe { &*self.memory.chunks.get() };
        let (chunk, index) = (usize::from(id) / CHUNK, usize::from(id) % CHUNK);
        // SAFETY: the offset is within the chunk.
        unsafe { chunks[chunk].add(index * BUFFER_BYTES) }
    }

    /// Takes a free buffer. `None` if there is none and no more can be made.
    pub(crate) fn take(&mut self) -> Option<u16> {
        if self.free.is_empty() {
            let made = self.grow();
            self.free.extend(made.rev());
        }
        self.free.pop()
    }

    /// Puts back a buffer that [`BufferPool::take`] has returned.
    pub(crate) fn put(&mut self, id: u16) {
        self.free.push(id);
    }

    /// Returns buffer `id`, into whose first `length` bytes data was received, for a reader.
    ///
    /// # Safety
    /// The buffer is neither free nor with the kernel nor with another reader, and stays so until it comes back.
    pub(crate) unsafe fn filled(&self, id: u16, length: usize) -> ProvidedBuffer {
        ProvidedBuffer { memory: Rc::clone(&self.memory), start: self.pointer(id), length, id }
    }

    /// Takes a buffer back from a reader and returns its id. `None` if it belongs to another engine's pool; then it is dropped.
    pub(crate) fn reclaim(&self, buffer: ProvidedBuffer) -> Option<u16> {
        Rc::ptr_eq(&buffer.memory, &self.memory).then_some(buffer.id)
    }
}

/// Received bytes, in a buffer of the engine's.
///
/// [`Engine::return_buffer`](crate::Engine::return_buffer) takes it back. If it is dropped instead, the engine has one buffer less.
pub struct ProvidedBuffer {
    memory: Rc<Memory>,
    start: *mut u8,
    length: usize,
    id: u16,
}

impl Deref for ProvidedBuffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: all bytes are initialized, the memory is kept by `self.memory`, and nobody else has the buffer (`BufferPool::filled`).
        unsafe { std::slice::from_raw_parts(self.start, self.length) }
    }
}

impl fmt::Debug for ProvidedBuffer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("ProvidedBuffer").field("length", &self.length).finish_non_exhaustive()
    }
}
