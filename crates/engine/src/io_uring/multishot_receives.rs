//! MultishotReceives that the kernel adds to by itself: a receive that stays armed (`IORING_RECV_MULTISHOT`, Linux 6.0), and picks one of
//! the provided buffers for whatever arrives. See `multishot_receive.rs` for what they are to the reader.
//!
//! An armed feed has a place here, whose number is in the `user_data` of its request, and keeps it until the last completion
//! of the request. A place is used again, and a request to stop may name one that has been: the kernel takes requests in order,
//! so it is over before the new feed is armed.
//!
//! To stop a feed is to cancel its request. The kernel does not find a request that it is just trying again, or has not armed
//! yet, so what was not found is asked for once more, as long as the feed is armed.

use std::mem;
use std::os::fd::RawFd;
use std::ptr::NonNull;
use std::rc::Rc;

use ::io_uring::squeue::Entry;
use ::io_uring::{cqueue, opcode, types};

use super::buffer_ring::{BufferRing, GROUP};
use super::{CANCEL, MULTISHOT};
use crate::multishot_receive::MultishotState;
use crate::operation::{Operation, Source};

/// The feeds of one ring.
pub(super) struct MultishotReceives {
    slots: Vec<Option<Armed>>,
    /// Places that are `None`.
    free: Vec<u32>,
    /// Somebody waits at them, and the kernel has stopped.
    stopped: Vec<Rc<MultishotState>>,
    /// To be stopped: nobody takes what is in them, or a request to stop has missed them.
    excess: Vec<Rc<MultishotState>>,
}

/// A feed that the kernel may add to.
struct Armed {
    multishot: Rc<MultishotState>,
    /// The identity of its socket.
    socket: u64,
}

/// What a completion means for the operation that waits at the feed.
pub(super) enum Delivered {
    Nothing,
    /// It is over, with this result.
    Answered(NonNull<Operation>, i32),
    /// The socket is `O_NONBLOCK`, where the kernel does not stay armed: it is to be waited for like any other.
    Alone(NonNull<Operation>),
}

impl MultishotReceives {
    pub(super) const fn new() -> MultishotReceives {
        MultishotReceives { slots: Vec::new(), free: Vec::new(), stopped: Vec::new(), excess: Vec::new() }
    }

    /// How many are armed.
    pub(super) fn armed(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Whether there are requests to be made.
    pub(super) fn has_requests(&self) -> bool {
        !self.stopped.is_empty() || !self.excess.is_empty()
    }

    /// The request that arms a feed of `socket`, which is to be pushed.
    pub(super) fn arm(&mut self, multishot: &Rc<MultishotState>, socket: Source) -> Entry {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() as u32 - 1
        });
        self.slots[slot as usize] = Some(Armed { multishot: Rc::clone(multishot), socket: socket.id });
        multishot.slot.set(Some(slot));
        multishot.is_stopping.set(false);
        receive(socket.fd).user_data(number(slot))
    }

    /// The request that stops an armed feed, which is to be pushed: its last completion comes soon. `None`: it is not armed.
    pub(super) fn stop(multishot: &MultishotState) -> Option<Entry> {
        let number = number(multishot.slot.get()?);
        multishot.is_stopping.set(true);
        Some(opcode::AsyncCancel::new(number).build().user_data(number | CANCEL))
    }

    /// Has the feeds of a socket stopped, which is closed and whose readers have been forgotten.
    pub(super) fn abandon(&mut self, socket: u64) {
        let multishots = self.slots.iter().flatten().filter(|armed| armed.socket == socket);
        self.excess.extend(multishots.map(|armed| {
            armed.multishot.is_stopping.set(true);
            Rc::clone(&armed.multishot)
        }));
    }

    /// All requests that have gathered.
    pub(super) fn requests(&mut self) -> Vec<Entry> {
        let mut requests = Vec::new();
        for multishot in mem::take(&mut self.stopped) {
            if let Some(operation) = multishot.waiting.get()
                && !multishot.is_armed()
            {
                // SAFETY: it waits at the feed, so it is in flight, and stays where it is until it has been handed back.
                requests.push(self.arm(&multishot, unsafe { operation.as_ref() }.request.source()));
            }
        }
        for multishot in mem::take(&mut self.excess) {
            // A reader may have come to a full one.
            if multishot.is_stopping.get() || multishot.waiting.get().is_none() {
                requests.extend(MultishotReceives::stop(&multishot));
            }
        }
        requests
    }

    /// Nothing is armed again: gives the number of operations that have waited for that.
    pub(super) fn give_up(&mut self) -> usize {
        self.excess.clear();
        self.stopped.drain(..).filter(|multishot| multishot.waiting.take().is_some()).count()
    }

    /// Takes in a completion that has a feed's number.
    ///
    /// # Safety
    /// It comes from the ring, and is taken in for the first time.
    pub(super) unsafe fn deliver(&mut self, entry: &cqueue::Entry, buffers: &mut BufferRing) -> Delivered {
        let slot = (entry.user_data() >> SLOT_SHIFT) as usize - 1;
        if entry.user_data() & CANCEL != 0 {
            self.look_after_stop(slot, entry.result());
            return Delivered::Nothing;
        }
        let is_last = !cqueue::more(entry.flags());
        let armed = &mut self.slots[slot];
        let multishot = if is_last {
            armed.take().map(|armed| armed.multishot)
        } else {
            armed.as_ref().map(Armed::multishot)
        };
        let multishot = multishot.expect("a multishot keeps its slot until its last completion");
        if is_last {
            multishot.slot.set(None);
            self.free.push(slot as u32);
        }
        // SAFETY: it comes from the ring, and is taken in for the first time.
        unsafe { take_in(entry, &multishot, buffers) };
        let Some(operation) = multishot.waiting.get() else {
            if multishot.is_full() && !is_last {
                self.excess.push(multishot);
            }
            return Delivered::Nothing;
        };
        if let Some(result) = multishot.answer() {
            multishot.waiting.set(None);
            return Delivered::Answered(operation, result);
        }
        if entry.result() == -libc::EAGAIN {
            multishot.waiting.set(None);
            return Delivered::Alone(operation);
        }
        if is_last {
            self.stopped.push(multishot);
        }
        Delivered::Nothing
    }

    /// A request to stop what is, or was, at `place` is over. If it has missed, it is made again.
    fn look_after_stop(&mut self, slot: usize, result: i32) {
        if matches!(-result, libc::ENOENT | libc::EALREADY)
            && let Some(armed) = &self.slots[slot]
            && armed.multishot.is_stopping.get()
        {
            self.excess.push(armed.multishot());
        }
    }
}

impl Armed {
    fn multishot(&self) -> Rc<MultishotState> {
        Rc::clone(&self.multishot)
    }
}

/// A receive that stays armed.
fn receive(fd: RawFd) -> Entry {
    opcode::RecvMulti::new(types::Fd(fd), GROUP).build()
}

/// Puts what has arrived into the feed.
///
/// # Safety
/// As for [`MultishotReceives::deliver`].
unsafe fn take_in(entry: &cqueue::Entry, multishot: &MultishotState, buffers: &mut BufferRing) {
    let result = entry.result();
    let id = cqueue::buffer_select(entry.flags());
    if let (Some(id), 1..) = (id, result) {
        // SAFETY: a completion of the ring, taken in for the first time, says so.
        return multishot.push(unsafe { buffers.filled(id, result as usize) });
    }
    if let Some(id) = id {
        // SAFETY: a completion of the ring, taken in for the first time, says so.
        unsafe { buffers.put_back(id) };
    }
    match -result {
        // It will be armed again, if somebody waits.
        libc::ECANCELED | libc::EINTR | libc::EAGAIN => {}
        libc::ENOBUFS if buffers.promise() => {}
        _ => multishot.end(result),
    }
}

/// A place's number begins above the bits that tell what the `user_data` is.
const SLOT_SHIFT: u32 = 3;

/// Counted from 1, so that no number is the waker's.
fn number(slot: u32) -> u64 {
    (u64::from(slot) + 1) << SLOT_SHIFT | MULTISHOT
}
