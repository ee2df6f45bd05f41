//! The channel itself: what its senders, receivers and selects do to its [`ChannelState`], under one lock.
//!
//! No user code runs under that lock: messages are dropped, and memory is allocated and freed, before locking or after unlocking.
//! A message lies in the frame of a waiting thread. Nothing unwinds from entering the list to the end of [`sleep`], so the
//! thread removes its entry before it leaves the frame.

use std::panic::Location;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use super::buffer::Buffer;
use super::message_slot::{MessageSlot, empty_box, move_message};
use super::select::{Claim, Token};
use super::state::{ChannelState, Found, Incoming, Outgoing, Receiving};
use super::{RecvError, RecvTimeoutError, TryRecvError};
use crate::runtime::reason::{Reason, What};
use crate::runtime::wait;
use crate::sync::spin_lock::{SpinGuard, SpinLock};
use crate::sync::wait_list::{End, Key, WakeList, sleep};

/// A channel as its senders and receivers share it.
pub(super) struct Exchange<T> {
    state: SpinLock<ChannelState<T>>,
    /// How many messages the buffer holds at most.
    capacity: Option<usize>,
    /// How many handles there are on either side.
    pub(super) senders: AtomicUsize,
    pub(super) receivers: AtomicUsize,
}

/// Why a message was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unsent {
    /// There was no room, or not in time.
    Full,
    Disconnected,
}

/// What [`Exchange::begin_send`] or [`Exchange::begin_recv`] came to.
enum Begun<E> {
    Done(Result<(), E>),
    Waits(Key),
}

/// What became of a receiver's entry.
enum Ended {
    Received,
    Disconnected,
    /// No message after all.
    Nothing,
    /// A cancel is due, and the sender that promised the message has not brought it.
    Cancelled,
}

impl<T> Exchange<T> {
    /// A channel with one sender and one receiver.
    pub(super) fn new(capacity: Option<usize>) -> Exchange<T> {
        let state = ChannelState::new(capacity.unwrap_or(usize::MAX));
        let (senders, receivers) = (AtomicUsize::new(1), AtomicUsize::new(1));
        Exchange { state: SpinLock::new(state), capacity, senders, receivers }
    }

    pub(super) fn capacity(&self) -> Option<usize> {
        self.capacity
    }

    pub(super) fn len(&self) -> usize {
        self.state.lock().buffer.len()
    }

    pub(super) fn is_full(&self) -> bool {
        !self.state.lock().has_room()
    }

    /// Locks, with room in the buffer's memory for one more message.
    #[inline]
    fn lock_to_push(&self) -> SpinGuard<'_, ChannelState<T>> {
        let state = self.state.lock();
        if state.lacks_slot() { self.grow(state, ChannelState::lacks_slot) } else { state }
    }

    #[cold]
    fn grow<'a>(
        &'a self,
        mut state: SpinGuard<'a, ChannelState<T>>,
        is_needed: fn(&ChannelState<T>) -> bool,
    ) -> SpinGuard<'a, ChannelState<T>> {
        while is_needed(&state) {
            let limit = state.capacity.max(state.buffer.len() + 1);
            let count = state.buffer.slots_after_growth().min(limit);
            drop(state);
            let mut slots = Buffer::with_slots(count);
            self.state.lock().buffer.move_to(&mut slots);
            drop(slots);
            state = self.state.lock();
        }
        state
    }

    /// Sends if that needs no waiting. Then `message` is empty.
    pub(super) fn try_send(&self, message: &mut Option<T>) -> Result<(), Unsent> {
        wait::count_operation();
        let mut wakes = WakeList::new();
        let mut state = self.lock_to_push();
        if state.disconnected {
            return Err(Unsent::Disconnected);
        }
        let is_sent = state.offer(message, &mut wakes);
        drop(state);
        wakes.unpark();
        if is_sent { Ok(()) } else { Err(Unsent::Full) }
    }

    /// Sends, or enters the list of waiting senders.
    ///
    /// # Safety
    /// If it waits, `message` stays where it is and is not used before [`Exchange::end_send`].
    unsafe fn begin_send(&self, message: &mut Option<T>) -> Begun<Unsent> {
        let mut wakes = WakeList::new();
        let mut state = self.lock_to_push();
        if state.disconnected {
            return Begun::Done(Err(Unsent::Disconnected));
        }
        let begun = if state.offer(message, &mut wakes) {
            Begun::Done(Ok(()))
        } else {
            // SAFETY: the caller's promise; and `end_send` removes the entry, and the slot with it.
            let outgoing = Outgoing::Message(unsafe { MessageSlot::in_frame(message) });
            Begun::Waits(state.start_sending(None, outgoing, &mut wakes))
        };
        drop(state);
        wakes.unpark();
        begun
    }

    /// Sends; then `message` is empty. Always inlined, for the sake of the switch in it: see `Worker::suspend`.
    #[inline(always)]
    #[track_caller]
    pub(super) fn send(&self, message: &mut Option<T>, deadline: Option<Instant>) -> Result<(), Unsent> {
        wait::count_operation();
        loop {
            // SAFETY: the message stays in the caller's frame, and nothing here touches it before `end_send`, nor unwinds.
            let key = match unsafe { self.begin_send(message) } {
                Begun::Done(sent) => return sent,
                Begun::Waits(key) => key,
            };
            let (state, end) = self.sleep_sending(key, deadline);
            Self::end_send(state, key);
            if message.is_none() {
                return Ok(());
            }
            match end {
                End::Notified => return Err(Unsent::Disconnected),
                End::TimedOut => return Err(Unsent::Full),
                End::Cancelled => wait::cancel_again(),
            }
        }
    }

    #[inline(always)]
    #[track_caller]
    fn sleep_sending(&self, key: Key, deadline: Option<Instant>) -> (SpinGuard<'_, ChannelState<T>>, End) {
        let what = What::Object("room in the channel", (&raw const *self).addr());
        let reason = Reason { what, at: Location::caller() };
        let _told = reason.tell();
        sleep(&self.state, |state| &mut state.sending, key, deadline, |_| true)
    }

    /// Ends a sender's entry.
    #[inline]
    fn end_send(mut state: SpinGuard<'_, ChannelState<T>>, key: Key) {
        state.sending.discard(key);
    }

    /// Receives into `into`, which is empty, if that needs no waiting.
    pub(super) fn try_recv(&self, into: &mut Option<T>) -> Result<(), TryRecvError> {
        wait::count_operation();
        let mut wakes = WakeList::new();
        let mut state = self.state.lock();
        let found = state.take(into, &mut wakes);
        let promised = match found {
            Found::Promise(sender) => {
                // SAFETY: the slot stays in the caller's frame; `await_promised` removes the entry before it is used again.
                let slot = unsafe { MessageSlot::in_frame(into) };
                Some(state.await_promise(sender, Incoming::Awaited, slot))
            }
            _ => None,
        };
        let disconnected = state.disconnected;
        let surplus = state.buffer.take_surplus();
        drop(state);
        drop(surplus);
        wakes.unpark();
        match (found, promised) {
            (Found::Message, _) => Ok(()),
            (_, Some(key)) => match self.await_promised(key) {
                Ended::Received => Ok(()),
                Ended::Disconnected => Err(TryRecvError::Disconnected),
                Ended::Nothing | Ended::Cancelled => Err(TryRecvError::Empty),
            },
            _ if disconnected => Err(TryRecvError::Disconnected),
            _ => Err(TryRecvError::Empty),
        }
    }

    /// Receives, or enters the list of waiting receivers.
    ///
    /// # Safety
    /// If it waits, `into` stays where it is and is not used before [`Exchange::end_recv`].
    unsafe fn begin_recv(&self, into: &mut Option<T>) -> Begun<RecvTimeoutError> {
        let mut wakes = WakeList::new();
        let mut state = self.state.lock();
        let found = state.take(into, &mut wakes);
        // SAFETY: the caller's promise; and `end_recv` removes the entry or the slot in it.
        let mut slot = || unsafe { MessageSlot::in_frame(into) };
        let begun = match found {
            Found::Message => Begun::Done(Ok(())),
            Found::Promise(sender) => Begun::Waits(state.await_promise(sender, Incoming::Awaited, slot())),
            Found::Nothing if state.disconnected => Begun::Done(Err(RecvTimeoutError::Disconnected)),
            Found::Nothing => Begun::Waits(state.start_receiving(None, slot(), &mut wakes)),
        };
        let surplus = state.buffer.take_surplus();
        drop(state);
        drop(surplus);
        wakes.unpark();
        begun
    }

    /// Receives into `into`, which is empty. Always inlined, for the sake of the switch in it: see `Worker::suspend`.
    #[inline(always)]
    #[track_caller]
    pub(super) fn recv(
        &self,
        into: &mut Option<T>,
        deadline: Option<Instant>,
    ) -> Result<(), RecvTimeoutError> {
        wait::count_operation();
        loop {
            // SAFETY: the slot stays in the caller's frame, and nothing here touches it before `end_recv`, nor unwinds.
            let key = match unsafe { self.begin_recv(into) } {
                Begun::Done(received) => return received,
                Begun::Waits(key) => key,
            };
            let (state, end) = self.sleep_receiving(key, deadline);
            match (Self::end_recv(state, key), end) {
                (Ended::Received, _) => return Ok(()),
                (Ended::Disconnected, _) => return Err(RecvTimeoutError::Disconnected),
                (Ended::Nothing, End::TimedOut) => return Err(RecvTimeoutError::Timeout),
                (Ended::Cancelled, _) | (Ended::Nothing, End::Cancelled) => wait::cancel_again(),
                (Ended::Nothing, End::Notified) => {}
            }
        }
    }

    /// A receiver that was promised a message waits for it, except if a cancel is due: the select that promised it may be forgotten.
    #[inline(always)]
    #[track_caller]
    fn sleep_receiving(&self, key: Key, deadline: Option<Instant>) -> (SpinGuard<'_, ChannelState<T>>, End) {
        let is_over = |receiving: &Receiving<T>| {
            !matches!(receiving.incoming, Incoming::Nothing | Incoming::Awaited) || wait::is_cancel_due()
        };
        let what = What::Object("a message from the channel", (&raw const *self).addr());
        let reason = Reason { what, at: Location::caller() };
        let _told = reason.tell();
        sleep(&self.state, |state| &mut state.receiving, key, deadline, is_over)
    }

    /// Ends the entry of a receiver that is no select.
    #[inline]
    fn end_recv(mut state: SpinGuard<'_, ChannelState<T>>, key: Key) -> Ended {
        let receiving = state.receiving.request(key);
        let ended = match receiving.incoming {
            Incoming::Message => Ended::Received,
            Incoming::Disconnected => Ended::Disconnected,
            Incoming::Awaited => {
                (receiving.incoming, receiving.slot) = (Incoming::Unwanted, MessageSlot::Abandoned);
                return Ended::Cancelled;
            }
            _ => Ended::Nothing,
        };
        state.receiving.discard(key);
        ended
    }

    /// Waits for what was promised to the entry of a receiver that is no select, and ends the entry.
    #[track_caller]
    fn await_promised(&self, key: Key) -> Ended {
        let (state, _) = self.sleep_receiving(key, None);
        Self::end_recv(state, key)
    }

    /// The last receiver is gone.
    pub(super) fn disconnect_receivers(&self) {
        let mut wakes = WakeList::new();
        let mut state = self.state.lock();
        state.disconnected = true;
        while let Some(sender) = state.claim_sender() {
            // A message stays where it is, with its sender.
            let outgoing = &mut state.sending.request(sender).outgoing;
            if let Outgoing::OnSelection = outgoing {
                *outgoing = Outgoing::Disconnected;
            }
            state.sending.wake_dequeued(sender, &mut wakes);
        }
        state.tell_watchers(&mut wakes);
        let discarded = std::mem::replace(&mut state.buffer, Buffer::new());
        drop(state);
        wakes.unpark();
        discarded.discard();
    }

    /// The last sender is gone.
    pub(super) fn disconnect_senders(&self) {
        let mut wakes = WakeList::new();
        let mut state = self.state.lock();
        state.disconnected = true;
        while let Some(receiver) = state.claim_receiver() {
            state.tell_disconnected(receiver, &mut wakes);
        }
        state.tell_watchers(&mut wakes);
        drop(state);
        wakes.unpark();
    }

    /// A sender or receiver handle more on one side.
    pub(super) fn add_handle(count: &AtomicUsize) {
        // Far below an overflow, and far above what memory holds if they are not leaked.
        assert!(count.fetch_add(1, Ordering::Relaxed) < usize::MAX / 2, "too many handles to one channel");
    }

    // ---- for select
    // ---------------------------------------------------------------------------------------------

    /// Locks for a select that may receive, with a box for the message.
    #[inline]
    fn lock_with_box(&self) -> (SpinGuard<'_, ChannelState<T>>, Box<Option<T>>) {
        let mut state = self.state.lock();
        if let Some(spare) = state.spare.take() {
            return (state, spare);
        }
        drop(state);
        let slot = empty_box();
        state = self.state.lock();
        (state, slot)
    }

    /// Unlocks, and keeps the box of an entry that has been removed, or drops it.
    #[inline]
    fn unlock_and_recycle(mut state: SpinGuard<'_, ChannelState<T>>, removed: Receiving<T>) {
        let rest = state.recycle(removed);
        drop(state);
        drop(rest);
    }

    /// Receives into an entry, if that needs no waiting.
    pub(super) fn select_recv(&self) -> Option<Token> {
        let mut wakes = WakeList::new();
        let (mut state, mut slot) = self.lock_with_box();
        let mut unused = None;
        let token = match state.take(&mut slot, &mut wakes) {
            Found::Message => {
                let (incoming, slot) = (Incoming::Message, MessageSlot::Boxed(slot));
                let fetched = Receiving { claim: None, incoming, slot };
                Some(Token::Entry(state.receiving.insert_notified(fetched)))
            }
            Found::Promise(sender) => {
                Some(Token::Entry(state.await_promise(sender, Incoming::Promised, MessageSlot::Boxed(slot))))
            }
            Found::Nothing => {
                unused = state.spare.replace(slot);
                state.disconnected.then_some(Token::Disconnected)
            }
        };
        let surplus = state.buffer.take_surplus();
        drop(state);
        drop((unused, surplus));
        wakes.unpark();
        token
    }

    /// Enters a select in the list of waiting receivers. Returns `None` if it need not wait.
    pub(super) fn enter_recv(&self, claim: Claim) -> Option<Key> {
        let mut wakes = WakeList::new();
        let (mut state, slot) = self.lock_with_box();
        if state.can_receive(Some(claim.ticket())) {
            let unused = state.spare.replace(slot);
            drop(state);
            drop(unused);
            return None;
        }
        let key = state.start_receiving(Some(claim), MessageSlot::Boxed(slot), &mut wakes);
        drop(state);
        wakes.unpark();
        Some(key)
    }

    /// Ends the entry of a select that was not selected here.
    pub(super) fn leave_recv(&self, key: Key) {
        let mut state = self.state.lock();
        let left = state.receiving.remove(key);
        Self::unlock_and_recycle(state, left);
    }

    /// The message that a select was selected for.
    #[track_caller]
    pub(super) fn finish_recv(&self, key: Key, into: &mut Option<T>) -> Result<(), RecvError> {
        let mut state = self.state.lock();
        let receiving = state.receiving.request(key);
        if receiving.incoming != Incoming::Message {
            return self.finish_recv_later(state, key, into);
        }
        move_message(receiving.slot.message(), into);
        let ended = state.receiving.remove(key);
        Self::unlock_and_recycle(state, ended);
        Ok(())
    }

    /// There is no message, or not yet.
    #[cold]
    #[track_caller]
    fn finish_recv_later<'a>(
        &'a self,
        mut state: SpinGuard<'a, ChannelState<T>>,
        key: Key,
        into: &mut Option<T>,
    ) -> Result<(), RecvError> {
        let receiving = state.receiving.request(key);
        if receiving.incoming == Incoming::Promised {
            receiving.incoming = Incoming::Awaited;
            drop(state);
            (state, _) = self.sleep_receiving(key, None);
        }
        let receiving = state.receiving.request(key);
        let incoming = receiving.incoming;
        if incoming == Incoming::Awaited {
            receiving.incoming = Incoming::Unwanted;
            drop(state);
            wait::cancel_again();
        } else {
            if incoming == Incoming::Message {
                move_message(receiving.slot.message(), into);
            }
            let ended = state.receiving.remove(key);
            Self::unlock_and_recycle(state, ended);
        }
        match incoming {
            Incoming::Message => Ok(()),
            Incoming::Disconnected => Err(RecvError),
            _ => self.recv(into, None).map_err(|_| RecvError),
        }
    }

    /// A select that was selected does not fetch its message.
    pub(super) fn abandon_recv(&self, key: Key) {
        let mut wakes = WakeList::new();
        // A message that did not come out of the buffer may need a slot there, even one beyond its capacity.
        let mut state = self.grow(self.state.lock(), |state| !state.buffer.has_slot());
        let receiving = state.receiving.request(key);
        if receiving.incoming == Incoming::Promised {
            receiving.incoming = Incoming::Unwanted;
            return;
        }
        let mut abandoned = state.receiving.remove(key);
        if abandoned.incoming == Incoming::Message {
            state.put_back(abandoned.slot.message(), &mut wakes);
        }
        Self::unlock_and_recycle(state, abandoned);
        wakes.unpark();
    }

    /// Makes sure that a message can be sent, if that needs no waiting.
    pub(super) fn select_send(&self) -> Option<Token> {
        let mut wakes = WakeList::new();
        let mut state = self.state.lock();
        let token = if state.disconnected {
            Some(Token::Disconnected)
        } else if let Some(receiver) = state.claim_receiver() {
            state.promise(receiver, &mut wakes);
            Some(Token::Partner(receiver))
        } else if state.has_room() {
            state.reserved += 1;
            Some(Token::Reserved)
        } else {
            None
        };
        drop(state);
        wakes.unpark();
        token
    }

    /// Enters a select in the list of waiting senders. Returns `None` if it need not wait.
    pub(super) fn enter_send(&self, claim: Claim) -> Option<Key> {
        let mut wakes = WakeList::new();
        let mut state = self.state.lock();
        if state.can_send(Some(claim.ticket())) {
            drop(state);
            return None;
        }
        let key = state.start_sending(Some(claim), Outgoing::OnSelection, &mut wakes);
        drop(state);
        wakes.unpark();
        Some(key)
    }

    /// Ends the entry of a select; says what it was selected for, if it was.
    pub(super) fn leave_send(&self, key: Key) -> Option<Token> {
        let mut state = self.state.lock();
        let left = state.sending.remove(key);
        drop(state);
        match left.outgoing {
            Outgoing::Reserved => Some(Token::Reserved),
            Outgoing::Partner(receiver) => Some(Token::Partner(receiver)),
            Outgoing::Disconnected => Some(Token::Disconnected),
            Outgoing::OnSelection | Outgoing::Message(_) | Outgoing::Taken => None,
        }
    }

    /// Sends the message for which a select was selected; then `message` is empty.
    #[track_caller]
    pub(super) fn finish_send(&self, token: Token, message: &mut Option<T>) -> Result<(), Unsent> {
        let mut wakes = WakeList::new();
        let mut state = self.lock_to_push();
        match token {
            Token::Reserved => {
                state.reserved -= 1;
                if !state.disconnected && !state.offer(message, &mut wakes) {
                    // A message that was put back has taken the room.
                    drop(state);
                    return self.send_anew(message);
                }
            }
            Token::Partner(receiver) if state.keep_promise(receiver, message, &mut wakes) => {}
            Token::Partner(receiver) => {
                let unwanted = state.receiving.remove(receiver);
                Self::unlock_and_recycle(state, unwanted);
                return self.send_anew(message);
            }
            _ => {}
        }
        drop(state);
        wakes.unpark();
        if message.is_none() { Ok(()) } else { Err(Unsent::Disconnected) }
    }

    /// For a select whose partner or room is gone.
    #[cold]
    #[track_caller]
    fn send_anew(&self, message: &mut Option<T>) -> Result<(), Unsent> {
        self.send(message, None)
    }

    /// A select that was selected does not send.
    pub(super) fn abandon_send(&self, token: Token) {
        let mut wakes = WakeList::new();
        let mut state = self.lock_to_push();
        match token {
            Token::Reserved => {
                state.reserved -= 1;
                state.refill(&mut wakes);
                state.tell_watchers(&mut wakes);
            }
            Token::Partner(receiver) if !state.break_promise(receiver, &mut wakes) => {
                let unwanted = state.receiving.remove(receiver);
                Self::unlock_and_recycle(state, unwanted);
                return;
            }
            _ => {}
        }
        drop(state);
        wakes.unpark();
    }

    pub(super) fn can_receive(&self) -> bool {
        self.state.lock().can_receive(None)
    }

    pub(super) fn can_send(&self) -> bool {
        self.state.lock().can_send(None)
    }

    pub(super) fn watch(&self) -> Key {
        self.state.lock().watching.push_back(())
    }

    pub(super) fn unwatch(&self, key: Key) {
        self.state.lock().watching.remove(key);
    }
}
