//! Receives that stay armed (`IORING_RECV_MULTISHOT`, Linux 6.0): the kernel picks a provided buffer for whatever arrives.
//! `multishot_receive.rs` describes what they are to the reader.
//!
//! An armed receive has a slot, whose number is in the `user_data` of its request, until the request's last completion. An
//! operation waits only at a receive that is armed: when the kernel stops by itself, the receive is armed again at once.
//!
//! Slots are reused, so a request to stop a receive may name a slot that has another one by now. The kernel takes requests in
//! order, so it has dealt with that request before it arms the new receive.
//!
//! To stop a receive is to cancel its request. The kernel does not find a request that it is just trying again, or has not armed
//! yet. Then the request to stop is repeated while the receive is armed.

use std::mem;
use std::ptr::NonNull;
use std::rc::Rc;

use ::io_uring::squeue::Entry;
use ::io_uring::{cqueue, opcode, types};

use super::buffer_ring::{BufferRing, GROUP};
use super::user_data;
use crate::multishot_receive::Received;
use crate::operation::{Operation, Source};

/// The multishot receives of one ring.
pub(super) struct MultishotReceives {
    slots: Vec<Option<Armed>>,
    /// Slots that are `None`.
    free: Vec<u32>,
    /// Slots that were full when something arrived. They are stopped if nobody waits there at the next wait.
    full: Vec<u32>,
}

/// A receive to which the kernel may add.
struct Armed {
    received: Rc<Received>,
    socket: Source,
    /// Waits for something to arrive.
    waiting: Option<NonNull<Operation>>,
    /// The kernel was asked to stop.
    is_stopping: bool,
}

/// What follows from a completion.
pub(super) enum Delivered {
    Nothing,
    /// A request has to be pushed.
    Request(Entry),
    /// The operation that waited is over, with this result.
    Answered(NonNull<Operation>, i32),
    /// The socket is `O_NONBLOCK`, where the kernel does not stay armed. The operation has to wait like any other.
    SingleShot(NonNull<Operation>),
}

impl MultishotReceives {
    pub(super) const fn new() -> MultishotReceives {
        MultishotReceives { slots: Vec::new(), free: Vec::new(), full: Vec::new() }
    }

    /// Returns how many receives are armed.
    pub(super) fn armed(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Lets `operation` wait. Returns the request that arms the receive, if it is not armed.
    pub(super) fn wait(
        &mut self,
        received: &Rc<Received>,
        socket: Source,
        operation: NonNull<Operation>,
    ) -> Option<Entry> {
        if let Some(slot) = received.slot.get() {
            let armed = self.slots[slot as usize].as_mut().expect("an armed receive has a slot");
            debug_assert!(armed.waiting.is_none(), "a multishot receive is for one reader");
            armed.waiting = Some(operation);
            return None;
        }
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() as u32 - 1
        });
        received.slot.set(Some(slot));
        let received = Rc::clone(received);
        self.slots[slot as usize] =
            Some(Armed { received, socket, waiting: Some(operation), is_stopping: false });
        Some(receive(slot, socket))
    }

    /// Ends the wait of `operation`. Returns false if it does not wait here. The kernel does not know of it, and goes on.
    pub(super) fn stop_waiting(&mut self, received: &Received, operation: NonNull<Operation>) -> bool {
        let armed = received.slot.get().and_then(|slot| self.slots[slot as usize].as_mut());
        armed.is_some_and(|armed| armed.waiting.take_if(|waiting| *waiting == operation).is_some())
    }

    /// Ends the wait of all operations, and returns their number.
    pub(super) fn stop_all_waiting(&mut self) -> usize {
        self.slots.iter_mut().flatten().filter_map(|armed| armed.waiting.take()).count()
    }

    /// Returns the request that stops the receive in `slot`, if it is armed. Its last completion comes soon.
    pub(super) fn stop(&mut self, slot: u32) -> Option<Entry> {
        self.slots[slot as usize].as_mut()?.is_stopping = true;
        let receive = user_data::of_multishot(slot);
        Some(opcode::AsyncCancel::new(receive).build().user_data(user_data::of_cancel(receive)))
    }

    /// Returns the slots of the socket with this identity.
    pub(super) fn slots_of(&self, socket: u64) -> Vec<u32> {
        let of_socket = |armed: &Armed| armed.socket.id == socket;
        (0..)
            .zip(&self.slots)
            .filter(|(_, armed)| armed.as_ref().is_some_and(of_socket))
            .map(|(slot, _)| slot)
            .collect()
    }

    /// Takes the slots that are full and at which nobody waits.
    pub(super) fn take_full(&mut self) -> Vec<u32> {
        let mut full = mem::take(&mut self.full);
        full.retain(|&slot| {
            let armed = self.slots[slot as usize].as_ref();
            armed.is_some_and(|armed| armed.waiting.is_none() && armed.received.is_full())
        });
        full
    }

    /// Acts on a completion of the receive in `slot`.
    ///
    /// # Safety
    /// The completion comes from the ring, and this is the first time that it is looked at.
    pub(super) unsafe fn deliver(
        &mut self,
        slot: u32,
        entry: &cqueue::Entry,
        buffers: &mut BufferRing,
    ) -> Delivered {
        let place = &mut self.slots[slot as usize];
        let armed = place.as_mut().expect("a receive keeps its slot until its last completion");
        // SAFETY: a completion of the ring, looked at for the first time.
        unsafe { take_in(entry, &armed.received, buffers) };
        let is_last = !cqueue::more(entry.flags());
        let answer = armed.waiting.and_then(|operation| Some((operation, armed.received.answer()?)));
        let delivered = match (armed.waiting, answer) {
            (_, Some((operation, result))) => Delivered::Answered(operation, result),
            (Some(operation), None) if entry.result() == -libc::EAGAIN => Delivered::SingleShot(operation),
            (Some(_), None) if is_last => {
                armed.is_stopping = false;
                return Delivered::Request(receive(slot, armed.socket));
            }
            (Some(_), None) => return Delivered::Nothing,
            (None, None) => Delivered::Nothing,
        };
        armed.waiting = None;
        if is_last {
            armed.received.slot.set(None);
            *place = None;
            self.free.push(slot);
        } else if matches!(delivered, Delivered::Nothing) && armed.received.is_full() {
            self.full.push(slot);
        }
        delivered
    }

    /// Acts on the completion of a request to stop the receive that is, or was, in `slot`. Returns the request once more if it has
    /// missed.
    pub(super) fn stopped(&mut self, slot: u32, result: i32) -> Option<Entry> {
        let is_stopping = self.slots[slot as usize].as_ref().is_some_and(|armed| armed.is_stopping);
        let has_missed = matches!(-result, libc::ENOENT | libc::EALREADY);
        if has_missed && is_stopping { self.stop(slot) } else { None }
    }
}

/// Returns the request of a receive that stays armed.
fn receive(slot: u32, socket: Source) -> Entry {
    opcode::RecvMulti::new(types::Fd(socket.fd), GROUP).build().user_data(user_data::of_multishot(slot))
}

/// Adds what has arrived to `received`.
///
/// # Safety
/// As for [`MultishotReceives::deliver`].
unsafe fn take_in(entry: &cqueue::Entry, received: &Received, buffers: &mut BufferRing) {
    // SAFETY: a completion of the ring, looked at for the first time.
    if let Some(buffer) = unsafe { buffers.take(entry) } {
        return received.push(buffer);
    }
    match -entry.result() {
        // It is armed again if somebody waits.
        libc::ECANCELED | libc::EINTR | libc::EAGAIN => {}
        libc::ENOBUFS if buffers.promise() => {}
        _ => received.end(entry.result()),
    }
}
