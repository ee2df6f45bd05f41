//! io_uring for the raw server and the generator: multishot accept, multishot receive into provided buffers, one system
//! call per turn. Runtimes are measured against this, so it checks only what it must.
//!
//! `user_data` is the kind of the request above the descriptor.

use std::io;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::squeue::{Entry, Flags};
use io_uring::types::{BufRingEntry, Fd};
use io_uring::{IoUring, cqueue, opcode};

const ACCEPT: u64 = 0;
const RECEIVE: u64 = 1;
const SEND: u64 = 2;

/// The number of the one group of provided buffers.
const GROUP: u16 = 0;

/// A completion.
pub(crate) enum Event {
    /// A connection. The caller owns the descriptor.
    Accepted(RawFd),
    /// Bytes, in a buffer that the caller gives back.
    Received { socket: RawFd, buffer: u16, length: usize },
    /// The last one of a receive, with an errno, or 0 at the end of the stream.
    Ended { socket: RawFd, error: i32 },
    /// A send has completed: all was sent, or `result` is a negative errno. Quiet sends report errors only.
    Sent { socket: RawFd, result: i32 },
}

/// A ring and its buffers.
pub(crate) struct Ring {
    uring: IoUring,
    entries: *mut BufRingEntry,
    buffers: *mut u8,
    /// A power of two.
    count: u16,
    buffer_bytes: usize,
    tail: u16,
}

impl Ring {
    /// Opens a ring with `count` buffers, a power of two. It is never closed: the process ends first.
    pub(crate) fn open(count: u16, buffer_bytes: usize) -> io::Result<Ring> {
        let uring: IoUring =
            IoUring::builder().setup_single_issuer().setup_defer_taskrun().setup_cqsize(16384).build(4096)?;
        let entries = map(usize::from(count) * size_of::<BufRingEntry>())?.cast::<BufRingEntry>();
        let buffers = map(usize::from(count) * buffer_bytes)?;
        // SAFETY: the memory is a page-aligned map of this size that stays for the life of the process.
        unsafe { uring.submitter().register_buf_ring_with_flags(entries as u64, count, GROUP, 0)? };
        let mut ring = Ring { uring, entries, buffers, count, buffer_bytes, tail: 0 };
        for buffer in 0..count {
            ring.give_back(buffer);
        }
        Ok(ring)
    }

    /// Returns the bytes of a buffer that an event has named.
    pub(crate) fn bytes(&mut self, buffer: u16, length: usize) -> &mut [u8] {
        assert!(buffer < self.count && length <= self.buffer_bytes);
        // SAFETY: within the map; the kernel does not write to a buffer between the event and `give_back`.
        unsafe {
            std::slice::from_raw_parts_mut(self.buffers.add(usize::from(buffer) * self.buffer_bytes), length)
        }
    }

    /// Gives a buffer back to the kernel.
    pub(crate) fn give_back(&mut self, buffer: u16) {
        // SAFETY: the index is masked, so it is within the map; only this thread writes entries and the tail.
        unsafe {
            let entry = &mut *self.entries.add(usize::from(self.tail & (self.count - 1)));
            entry.set_addr(self.buffers.add(usize::from(buffer) * self.buffer_bytes) as u64);
            entry.set_len(self.buffer_bytes as u32);
            entry.set_bid(buffer);
            self.tail = self.tail.wrapping_add(1);
            (*BufRingEntry::tail(self.entries).cast::<AtomicU16>()).store(self.tail, Ordering::Release);
        }
    }

    /// Accepts until the process ends.
    pub(crate) fn accept(&mut self, listener: RawFd) {
        // SAFETY: no pointers.
        unsafe { self.push(opcode::AcceptMulti::new(Fd(listener)).build(), ACCEPT, listener) };
    }

    /// Receives until the stream ends.
    pub(crate) fn receive(&mut self, socket: RawFd) {
        // SAFETY: the group's buffers stay for the life of the process.
        unsafe { self.push(opcode::RecvMulti::new(Fd(socket), GROUP).build(), RECEIVE, socket) };
    }

    /// Sends all bytes. A socket has one send at a time.
    ///
    /// # Safety
    /// The bytes must stay valid until the event reports the end of the send, or, if it is `quiet`, until the reply arrives.
    pub(crate) unsafe fn send(&mut self, socket: RawFd, bytes: *const u8, length: usize, quiet: bool) {
        let flags = libc::MSG_NOSIGNAL | libc::MSG_WAITALL;
        let send = opcode::Send::new(Fd(socket), bytes, length as u32).flags(flags).build();
        // SAFETY: the bytes stay valid long enough, by the contract of this function.
        unsafe { self.push(if quiet { send.flags(Flags::SKIP_SUCCESS) } else { send }, SEND, socket) };
    }

    /// Sends all parts of `message`.
    ///
    /// # Safety
    /// That of [`Ring::send`], for the message and all that it points to.
    pub(crate) unsafe fn send_message(&mut self, socket: RawFd, message: *const libc::msghdr) {
        let flags = (libc::MSG_NOSIGNAL | libc::MSG_WAITALL) as u32;
        // SAFETY: the message and its parts stay valid long enough, by the contract of this function.
        unsafe { self.push(opcode::SendMsg::new(Fd(socket), message).flags(flags).build(), SEND, socket) };
    }

    /// Submits, waits for completions, and appends them to `events`.
    pub(crate) fn turn(&mut self, events: &mut Vec<Event>) -> io::Result<()> {
        match self.uring.submit_and_wait(1) {
            Err(error) if !matches!(error.raw_os_error(), Some(libc::EINTR | libc::EBUSY)) => {
                return Err(error);
            }
            _ => {}
        }
        let mut again = Vec::new();
        for entry in self.uring.completion() {
            let (kind, socket) = (entry.user_data() >> 32, entry.user_data() as u32 as RawFd);
            let (result, flags) = (entry.result(), entry.flags());
            if kind != SEND && !cqueue::more(flags) && (result > 0 || result == -libc::ENOBUFS) {
                again.push((kind, socket));
            }
            match (kind, result) {
                (ACCEPT, 0..) => events.push(Event::Accepted(result)),
                (RECEIVE, 1..) => {
                    let buffer = cqueue::buffer_select(flags).expect("bytes are in a provided buffer");
                    events.push(Event::Received { socket, buffer, length: result as usize });
                }
                (SEND, _) => events.push(Event::Sent { socket, result }),
                (_, error) if error == -libc::ENOBUFS => {}
                (_, error) => events.push(Event::Ended { socket, error: -error }),
            }
        }
        for (kind, socket) in again {
            if kind == ACCEPT { self.accept(socket) } else { self.receive(socket) }
        }
        Ok(())
    }

    /// # Safety
    /// What `entry` points to must stay valid until its last completion.
    unsafe fn push(&mut self, entry: Entry, kind: u64, socket: RawFd) {
        let entry = entry.user_data(kind << 32 | u64::from(socket as u32));
        // SAFETY: what the entry points to stays valid, by the contract of this function.
        while unsafe { self.uring.submission().push(&entry) }.is_err() {
            self.uring.submit().expect("the kernel takes requests");
        }
    }
}

fn map(bytes: usize) -> io::Result<*mut u8> {
    let (protection, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: a new anonymous mapping touches nothing that exists.
    let address = unsafe { libc::mmap(std::ptr::null_mut(), bytes, protection, flags, -1, 0) };
    if address == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(address.cast()) }
}
