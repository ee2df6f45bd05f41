//! What a channel's lock protects: the buffer, the waiting receivers, the waiting senders.
//!
//! Protocol:
//! - Messages are handed over directly. While a receiver waits, the buffer is empty and no sender waits; while a sender
//!   waits, there is no room. So newcomers cannot overtake waiting threads.
//! - A thread that waits in several channels at once (`select.rs`) has a ticket. Its partner [claims](Claim) the ticket
//!   first. If the claim fails, another channel has served the thread, and its entry leaves the list.
//! - A select that is claimed to *send* brings its message only afterwards. Until then it has either a reserved slot in the
//!   buffer or, if there is no buffer, a receiver that was promised the message.
//! - An entry wakes only a thread that sleeps for it. The entry of a claimed select stays for ever, and may outlive the thread,
//!   if its [`SelectedOperation`](super::SelectedOperation) is forgotten.
//!
//! ```text
//!   what a receiver gets:   Nothing ──▶ Message                what a sender leaves:   Message ──▶ Taken
//!                              │  └───▶ Disconnected                                      └─ selected, still there: disconnected
//!                              └──▶ Promised ──▶ Message                               OnSelection ──▶ Reserved | Partner
//!                                   (Awaited) ─▶ Broken (tries again)                      └──▶ Disconnected
//!                                      └──▶ Unwanted
//! ```

use std::sync::Arc;

use super::buffer::Buffer;
use super::message_slot::{MessageSlot, move_message};
use super::select::{Claim, Ticket};
use crate::sync::wait_list::{Key, WaitList, WakeList};

pub(super) struct ChannelState<T> {
    pub(super) buffer: Buffer<T>,
    /// How many messages the buffer holds at most; `usize::MAX` for no limit.
    pub(super) capacity: usize,
    /// Slots in the buffer that are kept for selects that have been selected to send.
    pub(super) reserved: usize,
    /// All senders, or all receivers, are gone.
    pub(super) disconnected: bool,
    pub(super) receiving: WaitList<Receiving<T>>,
    pub(super) sending: WaitList<Sending<T>>,
    /// Threads that wait for any change, and claim nothing.
    pub(super) watching: WaitList<()>,
    /// Empty; what one select has used, for the next one.
    pub(super) spare: Option<Box<Option<T>>>,
}

pub(super) struct Receiving<T> {
    pub(super) claim: Option<Claim>,
    pub(super) incoming: Incoming,
    /// Where the message goes.
    pub(super) slot: MessageSlot<T>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Incoming {
    Nothing,
    /// To a select that has been selected, and does not sleep for it.
    Promised,
    /// Promised to one that sleeps until it comes.
    Awaited,
    Message,
    Disconnected,
    /// The sender that had promised a message has none.
    Broken,
    /// The receiver that was promised a message does not want it; the sender removes the entry.
    Unwanted,
}

pub(super) struct Sending<T> {
    pub(super) claim: Option<Claim>,
    pub(super) outgoing: Outgoing<T>,
}

pub(super) enum Outgoing<T> {
    Message(MessageSlot<T>),
    Taken,
    OnSelection,
    Reserved,
    Partner(Key),
    Disconnected,
}

/// What [`ChannelState::take`] found.
pub(super) enum Found {
    Message,
    /// A select was selected to bring it: see [`ChannelState::await_promise`].
    Promise(Key),
    Nothing,
}

/// Takes the first waiter that no other channel has served out of the order.
fn claim_first<I>(list: &mut WaitList<I>, claim: impl Fn(&I) -> &Option<Claim>) -> Option<Key> {
    loop {
        let key = list.first()?;
        list.dequeue(key);
        if claim(list.request_ref(key)).as_ref().is_none_or(Claim::succeeds) {
            return Some(key);
        }
    }
}

impl<T> ChannelState<T> {
    pub(super) fn new(capacity: usize) -> ChannelState<T> {
        ChannelState {
            buffer: Buffer::new(),
            capacity,
            reserved: 0,
            disconnected: false,
            receiving: WaitList::new(),
            sending: WaitList::new(),
            watching: WaitList::new(),
            spare: None,
        }
    }

    pub(super) fn has_room(&self) -> bool {
        self.buffer.len() + self.reserved < self.capacity
    }

    /// Whether the buffer has to grow before another message may be put into it.
    #[inline]
    pub(super) fn lacks_slot(&self) -> bool {
        !self.buffer.has_slot() && self.buffer.len() < self.capacity
    }

    pub(super) fn claim_receiver(&mut self) -> Option<Key> {
        claim_first(&mut self.receiving, |receiving| &receiving.claim)
    }

    pub(super) fn claim_sender(&mut self) -> Option<Key> {
        claim_first(&mut self.sending, |sending| &sending.claim)
    }

    /// Ends the wait of a claimed receiver with a message.
    #[inline(always)]
    fn give(&mut self, receiver: Key, message: &mut Option<T>, wakes: &mut WakeList) {
        let receiving = self.receiving.request(receiver);
        receiving.incoming = Incoming::Message;
        move_message(message, receiving.slot.message());
        self.receiving.wake_dequeued(receiver, wakes);
    }

    /// Ends the wait of a claimed receiver without a message.
    pub(super) fn tell_disconnected(&mut self, receiver: Key, wakes: &mut WakeList) {
        self.receiving.request(receiver).incoming = Incoming::Disconnected;
        self.receiving.wake_dequeued(receiver, wakes);
    }

    /// Promises a message to a claimed receiver.
    pub(super) fn promise(&mut self, receiver: Key, wakes: &mut WakeList) {
        let receiving = self.receiving.request(receiver);
        if receiving.claim.is_none() {
            receiving.incoming = Incoming::Awaited;
        } else {
            receiving.incoming = Incoming::Promised;
            self.receiving.wake_dequeued(receiver, wakes);
        }
    }

    /// Brings what a receiver was promised; false if it does not want that any more.
    pub(super) fn keep_promise(
        &mut self,
        receiver: Key,
        message: &mut Option<T>,
        wakes: &mut WakeList,
    ) -> bool {
        let is_wanted = self.settle(receiver, Incoming::Message, wakes);
        if is_wanted {
            move_message(message, self.receiving.request(receiver).slot.message());
        }
        is_wanted
    }

    /// Lets a receiver know that there is no message; false if it does not want one any more.
    pub(super) fn break_promise(&mut self, receiver: Key, wakes: &mut WakeList) -> bool {
        self.settle(receiver, Incoming::Broken, wakes)
    }

    fn settle(&mut self, receiver: Key, outcome: Incoming, wakes: &mut WakeList) -> bool {
        let incoming = &mut self.receiving.request(receiver).incoming;
        match std::mem::replace(incoming, outcome) {
            Incoming::Awaited => self.receiving.wake_dequeued(receiver, wakes),
            Incoming::Promised => {}
            unwanted => {
                *incoming = unwanted;
                return false;
            }
        }
        true
    }

    /// Ends the wait of a claimed sender, and moves its message into `into`; false if it is a select, which has none yet.
    #[inline(always)]
    fn fetch(&mut self, sender: Key, into: &mut Option<T>, wakes: &mut WakeList) -> bool {
        self.sending.wake_dequeued(sender, wakes);
        let outgoing = &mut self.sending.request(sender).outgoing;
        let Outgoing::Message(slot) = outgoing else { return false };
        move_message(slot.message(), into);
        *outgoing = Outgoing::Taken;
        true
    }

    /// Sends, if that needs no waiting: then `message` is empty. The buffer must not lack a slot.
    #[inline]
    pub(super) fn offer(&mut self, message: &mut Option<T>, wakes: &mut WakeList) -> bool {
        if let Some(receiver) = self.claim_receiver() {
            self.give(receiver, message, wakes);
        } else if self.has_room() {
            self.buffer.push_back(message);
            self.tell_watchers(wakes);
        } else {
            return false;
        }
        true
    }

    /// Puts back what had been received.
    pub(super) fn put_back(&mut self, message: &mut Option<T>, wakes: &mut WakeList) {
        match self.claim_receiver() {
            Some(receiver) => self.give(receiver, message, wakes),
            None => self.buffer.push_front(message),
        }
        self.tell_watchers(wakes);
    }

    /// Receives into `into`, which is empty, if that needs no waiting.
    #[inline]
    pub(super) fn take(&mut self, into: &mut Option<T>, wakes: &mut WakeList) -> Found {
        if self.buffer.pop_front(into) {
            self.refill(wakes);
            self.tell_watchers(wakes);
            return Found::Message;
        }
        // With a buffer, senders wait beside an empty one if all of it is reserved.
        match self.claim_sender() {
            Some(sender) if self.fetch(sender, into, wakes) => Found::Message,
            Some(sender) => Found::Promise(sender),
            None => Found::Nothing,
        }
    }

    /// Enters the calling thread as the one to whom `sender` brings its message.
    pub(super) fn await_promise(&mut self, sender: Key, incoming: Incoming, slot: MessageSlot<T>) -> Key {
        let entry = self.receiving.insert_notified(Receiving { claim: None, incoming, slot });
        self.sending.request(sender).outgoing = Outgoing::Partner(entry);
        entry
    }

    /// Lets waiting senders fill the free room.
    #[inline]
    pub(super) fn refill(&mut self, wakes: &mut WakeList) {
        while self.has_room()
            && let Some(sender) = self.claim_sender()
        {
            self.sending.wake_dequeued(sender, wakes);
            let outgoing = &mut self.sending.request(sender).outgoing;
            if let Outgoing::Message(slot) = outgoing {
                self.buffer.push_back(slot.message());
                *outgoing = Outgoing::Taken;
            } else {
                self.reserved += 1;
                *outgoing = Outgoing::Reserved;
            }
        }
    }

    pub(super) fn tell_watchers(&mut self, wakes: &mut WakeList) {
        if !self.watching.is_empty() {
            self.watching.wake_all(wakes);
        }
    }

    #[inline(always)]
    pub(super) fn start_receiving(
        &mut self,
        claim: Option<Claim>,
        slot: MessageSlot<T>,
        wakes: &mut WakeList,
    ) -> Key {
        self.tell_watchers(wakes);
        self.receiving.push_back(Receiving { claim, incoming: Incoming::Nothing, slot })
    }

    #[inline(always)]
    pub(super) fn start_sending(
        &mut self,
        claim: Option<Claim>,
        outgoing: Outgoing<T>,
        wakes: &mut WakeList,
    ) -> Key {
        self.tell_watchers(wakes);
        self.sending.push_back(Sending { claim, outgoing })
    }

    /// Keeps the box of an entry that has been removed for the next select. Returns what the caller drops after unlocking.
    #[inline]
    pub(super) fn recycle(&mut self, mut removed: Receiving<T>) -> Receiving<T> {
        if self.spare.is_none()
            && let MessageSlot::Boxed(slot) = std::mem::replace(&mut removed.slot, MessageSlot::Abandoned)
        {
            debug_assert!(slot.is_none());
            self.spare = Some(slot);
        }
        removed
    }

    /// Whether a receiver would not wait, unless for a sender with the same ticket.
    pub(super) fn can_receive(&self, own: Option<&Arc<Ticket>>) -> bool {
        let has_sender = self.sending.requests().any(|sending| !Claim::is_of(&sending.claim, own));
        !self.buffer.is_empty() || self.disconnected || has_sender
    }

    /// Whether a sender would not wait, unless for a receiver with the same ticket.
    pub(super) fn can_send(&self, own: Option<&Arc<Ticket>>) -> bool {
        let has_receiver = self.receiving.requests().any(|receiving| !Claim::is_of(&receiving.claim, own));
        self.has_room() || self.disconnected || has_receiver
    }
}
