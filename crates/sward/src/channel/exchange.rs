//! The channel itself: a buffer, those who wait to receive, those who wait to send, under one lock.
//!
//! Protocol:
//! - Messages are handed over directly. While somebody waits to receive, the buffer is empty and nobody waits to send;
//!   while somebody waits to send, there is no room. So who comes along cannot overtake those who wait.
//! - Who waits in several channels at once (`select.rs`) has a [`Ticket`], and who wants to serve it claims
//!   the ticket first. If that fails it has been served elsewhere, and is no longer in the line.
//! - A select that is chosen to *send* brings its message only afterwards. Until then it has either a
//!   reserved place in the buffer or, if there is no buffer, a receiver who was promised the message and
//!   waits for it.
//!
//! ```text
//!   what a receiver gets:   Nothing ──▶ Message                what a sender leaves:   Message ──▶ Taken
//!                              │  └───▶ Disconnected                                      └─ chosen, still there: disconnected
//!                              └──▶ Promised ──▶ Message                               OnSelection ──▶ Reserved | Partner
//!                                      └──▶ Broken (tries again)                          └──▶ Disconnected
//! ```

use std::collections::VecDeque;
use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use super::select::{Claim, Ticket, Token};
use super::{RecvTimeoutError, SendError, SendTimeoutError, TryRecvError, TrySendError};
use crate::runtime::reason::{Reason, What};
use crate::runtime::wait;
use crate::sync::short_lock::{ShortGuard, ShortLock};
use crate::sync::wait_list::{End, Key, WaitList, Wakes, sleep};

/// A channel as its senders and receivers share it.
pub(super) struct Exchange<T> {
    state: ShortLock<State<T>>,
    /// How many messages the buffer holds at most.
    capacity: Option<usize>,
    /// How many handles there are on either side.
    pub(super) senders: AtomicUsize,
    pub(super) receivers: AtomicUsize,
}

struct State<T> {
    buffer: VecDeque<T>,
    /// How many messages the buffer holds at most; `usize::MAX` for no limit.
    capacity: usize,
    /// Places in the buffer that are kept for selects that have been chosen to send.
    reserved: usize,
    /// All senders, or all receivers, are gone.
    disconnected: bool,
    receiving: WaitList<Receiving<T>>,
    sending: WaitList<Sending<T>>,
    /// Those who want to know when anything has changed, and claim nothing.
    watching: WaitList<()>,
}

struct Receiving<T> {
    claim: Option<Claim>,
    incoming: Incoming<T>,
}

enum Incoming<T> {
    Nothing,
    Promised,
    Message(T),
    Disconnected,
    /// Who had promised a message has none.
    Broken,
    /// Who was promised a message does not want it; the sender removes the entry.
    Unwanted,
}

struct Sending<T> {
    claim: Option<Claim>,
    outgoing: Outgoing<T>,
}

enum Outgoing<T> {
    Message(T),
    Taken,
    OnSelection,
    Reserved,
    Partner(Key),
    Disconnected,
}

/// What [`State::take`] found.
enum Found<T> {
    Message(T),
    /// A select will bring it to this entry.
    Promise(Key),
    Nothing,
}

/// What [`Exchange::begin_send`] or [`Exchange::begin_recv`] came to.
enum Begun<T, E> {
    Done(Result<T, E>),
    Waits(Key),
}

/// Takes the first out of the order who has not been served elsewhere.
fn claim_first<I>(list: &mut WaitList<I>, claim: impl Fn(&I) -> &Option<Claim>) -> Option<Key> {
    loop {
        let key = list.first()?;
        list.promise(key);
        if claim(list.wish_ref(key)).as_ref().is_none_or(Claim::succeeds) {
            return Some(key);
        }
    }
}

impl<T> State<T> {
    fn has_room(&self) -> bool {
        self.buffer.len() + self.reserved < self.capacity
    }

    fn claim_receiver(&mut self) -> Option<Key> {
        claim_first(&mut self.receiving, |receiving| &receiving.claim)
    }

    fn claim_sender(&mut self) -> Option<Key> {
        claim_first(&mut self.sending, |sending| &sending.claim)
    }

    /// Ends the wait of a claimed receiver.
    #[inline(always)]
    fn give(&mut self, receiver: Key, incoming: Incoming<T>, wakes: &mut Wakes) {
        self.receiving.wish(receiver).incoming = incoming;
        self.receiving.wake(receiver, wakes);
    }

    /// Ends the wait of a claimed sender; gives what it had left.
    fn answer(&mut self, sender: Key, outgoing: Outgoing<T>, wakes: &mut Wakes) -> Outgoing<T> {
        self.sending.wake(sender, wakes);
        std::mem::replace(&mut self.sending.wish(sender).outgoing, outgoing)
    }

    /// Sends, if that needs no waiting.
    fn offer(&mut self, message: T, wakes: &mut Wakes) -> Result<(), T> {
        if let Some(receiver) = self.claim_receiver() {
            self.give(receiver, Incoming::Message(message), wakes);
        } else if self.has_room() {
            self.buffer.push_back(message);
            self.tell_watchers(wakes);
        } else {
            return Err(message);
        }
        Ok(())
    }

    /// Receives, if that needs no waiting.
    fn take(&mut self, wakes: &mut Wakes) -> Found<T> {
        if let Some(message) = self.buffer.pop_front() {
            self.refill(wakes);
            self.tell_watchers(wakes);
            return Found::Message(message);
        }
        // With a buffer, senders wait beside an empty one if all of it is reserved.
        let Some(sender) = self.claim_sender() else { return Found::Nothing };
        if let Outgoing::Message(message) = self.answer(sender, Outgoing::Taken, wakes) {
            return Found::Message(message);
        }
        let promised = Receiving { claim: Some(Claim::settled()), incoming: Incoming::Promised };
        let entry = self.receiving.insert_chosen(promised);
        self.sending.wish(sender).outgoing = Outgoing::Partner(entry);
        Found::Promise(entry)
    }

    /// Lets those who wait to send fill the room that there is.
    fn refill(&mut self, wakes: &mut Wakes) {
        while self.has_room()
            && let Some(sender) = self.claim_sender()
        {
            if let Outgoing::Message(message) = self.answer(sender, Outgoing::Taken, wakes) {
                self.buffer.push_back(message);
            } else {
                self.reserved += 1;
                self.sending.wish(sender).outgoing = Outgoing::Reserved;
            }
        }
    }

    fn tell_watchers(&mut self, wakes: &mut Wakes) {
        if !self.watching.is_empty() {
            self.watching.choose_all(wakes);
        }
    }

    #[inline(always)]
    fn start_receiving(&mut self, claim: Option<Claim>, wakes: &mut Wakes) -> Key {
        self.tell_watchers(wakes);
        self.receiving.push_back(Receiving { claim, incoming: Incoming::Nothing })
    }

    fn start_sending(&mut self, claim: Option<Claim>, outgoing: Outgoing<T>, wakes: &mut Wakes) -> Key {
        self.tell_watchers(wakes);
        self.sending.push_back(Sending { claim, outgoing })
    }

    /// Whether a receiver would not wait, unless for a sender with the same ticket.
    fn can_receive(&self, own: Option<&Arc<Ticket>>) -> bool {
        let has_sender = self.sending.wishes().any(|sending| !Claim::is_of(&sending.claim, own));
        !self.buffer.is_empty() || self.disconnected || has_sender
    }

    /// Whether a sender would not wait, unless for a receiver with the same ticket.
    fn can_send(&self, own: Option<&Arc<Ticket>>) -> bool {
        let has_receiver = self.receiving.wishes().any(|receiving| !Claim::is_of(&receiving.claim, own));
        self.has_room() || self.disconnected || has_receiver
    }
}

impl<T> Exchange<T> {
    /// A channel with one sender and one receiver.
    pub(super) fn new(capacity: Option<usize>) -> Exchange<T> {
        let state = State {
            buffer: VecDeque::new(),
            capacity: capacity.unwrap_or(usize::MAX),
            reserved: 0,
            disconnected: false,
            receiving: WaitList::new(),
            sending: WaitList::new(),
            watching: WaitList::new(),
        };
        let (senders, receivers) = (AtomicUsize::new(1), AtomicUsize::new(1));
        Exchange { state: ShortLock::new(state), capacity, senders, receivers }
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

    pub(super) fn try_send(&self, message: T) -> Result<(), TrySendError<T>> {
        wait::count_operation();
        let mut wakes = Wakes::none();
        let mut state = self.state.lock();
        if state.disconnected {
            drop(state);
            return Err(TrySendError::Disconnected(message));
        }
        let sent = state.offer(message, &mut wakes);
        drop(state);
        wakes.unpark();
        sent.map_err(TrySendError::Full)
    }

    /// Sends, or enters the line of those who wait to.
    fn begin_send(&self, message: T) -> Begun<(), SendTimeoutError<T>> {
        let mut wakes = Wakes::none();
        let mut state = self.state.lock();
        if state.disconnected {
            drop(state);
            return Begun::Done(Err(SendTimeoutError::Disconnected(message)));
        }
        let begun = match state.offer(message, &mut wakes) {
            Ok(()) => Begun::Done(Ok(())),
            Err(message) => Begun::Waits(state.start_sending(None, Outgoing::Message(message), &mut wakes)),
        };
        drop(state);
        wakes.unpark();
        begun
    }

    /// Always inlined, for the sake of the switch in it: see `Worker::suspend`.
    #[inline(always)]
    #[track_caller]
    pub(super) fn send(&self, mut message: T, deadline: Option<Instant>) -> Result<(), SendTimeoutError<T>> {
        wait::count_operation();
        loop {
            let key = match self.begin_send(message) {
                Begun::Done(sent) => return sent,
                Begun::Waits(key) => key,
            };
            let (state, end) = self.sleep_sending(key, deadline);
            let Some(unsent) = self.unsent(state, key) else { return Ok(()) };
            match end {
                End::Chosen => return Err(SendTimeoutError::Disconnected(unsent)),
                End::TimedOut => return Err(SendTimeoutError::Timeout(unsent)),
                End::Cancelled => wait::cancel_again(),
            }
            message = unsent;
        }
    }

    #[inline(always)]
    #[track_caller]
    fn sleep_sending(&self, key: Key, deadline: Option<Instant>) -> (ShortGuard<'_, State<T>>, End) {
        let what = What::Object("room in the channel", (&raw const *self).addr());
        let reason = Reason { what, at: Location::caller() };
        let _told = reason.tell();
        sleep(&self.state, |state| &mut state.sending, key, deadline, |_| true)
    }

    /// Ends a sender's entry. `None`: its message was taken.
    #[inline]
    fn unsent(&self, mut state: ShortGuard<'_, State<T>>, key: Key) -> Option<T> {
        let outgoing = std::mem::replace(&mut state.sending.wish(key).outgoing, Outgoing::Taken);
        state.sending.discard(key);
        match outgoing {
            Outgoing::Message(message) => Some(message),
            _ => None,
        }
    }

    pub(super) fn try_recv(&self) -> Result<T, TryRecvError> {
        wait::count_operation();
        let mut wakes = Wakes::none();
        let mut state = self.state.lock();
        let found = state.take(&mut wakes);
        let disconnected = state.disconnected;
        drop(state);
        wakes.unpark();
        match found {
            Found::Message(message) => Ok(message),
            Found::Promise(key) => {
                self.promised(key).map_err(|Gone| TryRecvError::Disconnected)?.ok_or(TryRecvError::Empty)
            }
            Found::Nothing if disconnected => Err(TryRecvError::Disconnected),
            Found::Nothing => Err(TryRecvError::Empty),
        }
    }

    /// Receives, or enters the line of those who wait to.
    fn begin_recv(&self) -> Begun<T, RecvTimeoutError> {
        let mut wakes = Wakes::none();
        let mut state = self.state.lock();
        let begun = match state.take(&mut wakes) {
            Found::Message(message) => Begun::Done(Ok(message)),
            Found::Promise(key) => Begun::Waits(key),
            Found::Nothing if state.disconnected => Begun::Done(Err(RecvTimeoutError::Disconnected)),
            Found::Nothing => Begun::Waits(state.start_receiving(None, &mut wakes)),
        };
        drop(state);
        wakes.unpark();
        begun
    }

    /// Always inlined, for the sake of the switch in it: see `Worker::suspend`.
    #[inline(always)]
    #[track_caller]
    pub(super) fn recv(&self, deadline: Option<Instant>) -> Result<T, RecvTimeoutError> {
        wait::count_operation();
        loop {
            let key = match self.begin_recv() {
                Begun::Done(message) => return message,
                Begun::Waits(key) => key,
            };
            let (state, end) = self.sleep_receiving(key, deadline);
            match self.incoming(state, key) {
                Ok(Some(message)) => return Ok(message),
                Ok(None) => {}
                Err(Gone) => return Err(RecvTimeoutError::Disconnected),
            }
            match end {
                End::Chosen => {}
                End::TimedOut => return Err(RecvTimeoutError::Timeout),
                End::Cancelled => wait::cancel_again(),
            }
        }
    }

    #[inline(always)]
    #[track_caller]
    fn sleep_receiving(&self, key: Key, deadline: Option<Instant>) -> (ShortGuard<'_, State<T>>, End) {
        let has_come =
            |receiving: &Receiving<T>| !matches!(receiving.incoming, Incoming::Nothing | Incoming::Promised);
        let what = What::Object("a message from the channel", (&raw const *self).addr());
        let reason = Reason { what, at: Location::caller() };
        let _told = reason.tell();
        sleep(&self.state, |state| &mut state.receiving, key, deadline, has_come)
    }

    /// Ends a receiver's entry. `None`: no message after all.
    #[inline]
    fn incoming(&self, mut state: ShortGuard<'_, State<T>>, key: Key) -> Result<Option<T>, Gone> {
        let incoming = std::mem::replace(&mut state.receiving.wish(key).incoming, Incoming::Nothing);
        state.receiving.discard(key);
        match incoming {
            Incoming::Message(message) => Ok(Some(message)),
            Incoming::Disconnected => Err(Gone),
            _ => Ok(None),
        }
    }

    /// What a receiver's entry was promised; waits for it if it has not come.
    #[track_caller]
    fn promised(&self, key: Key) -> Result<Option<T>, Gone> {
        let state = self.state.lock();
        if !matches!(state.receiving.wish_ref(key).incoming, Incoming::Promised) {
            return self.incoming(state, key);
        }
        drop(state);
        let (state, _) = self.sleep_receiving(key, None);
        self.incoming(state, key)
    }

    /// The last receiver is gone.
    pub(super) fn disconnect_receivers(&self) {
        let mut wakes = Wakes::none();
        let mut state = self.state.lock();
        state.disconnected = true;
        while let Some(sender) = state.claim_sender() {
            // A message stays where it is and goes back to its sender.
            if let Outgoing::OnSelection = state.sending.wish_ref(sender).outgoing {
                state.sending.wish(sender).outgoing = Outgoing::Disconnected;
            }
            state.sending.wake(sender, &mut wakes);
        }
        state.tell_watchers(&mut wakes);
        let discarded = std::mem::take(&mut state.buffer);
        drop(state);
        wakes.unpark();
        drop(discarded);
    }

    /// The last sender is gone.
    pub(super) fn disconnect_senders(&self) {
        let mut wakes = Wakes::none();
        let mut state = self.state.lock();
        state.disconnected = true;
        while let Some(receiver) = state.claim_receiver() {
            state.give(receiver, Incoming::Disconnected, &mut wakes);
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

    /// Receives into an entry, if that needs no waiting.
    pub(super) fn select_recv(&self) -> Option<Token> {
        let mut wakes = Wakes::none();
        let mut state = self.state.lock();
        let token = match state.take(&mut wakes) {
            Found::Message(message) => {
                let incoming = Incoming::Message(message);
                let fetched = Receiving { claim: None, incoming };
                Some(Token::Entry(state.receiving.insert_chosen(fetched)))
            }
            Found::Promise(key) => Some(Token::Entry(key)),
            Found::Nothing if state.disconnected => Some(Token::Disconnected),
            Found::Nothing => None,
        };
        drop(state);
        wakes.unpark();
        token
    }

    /// Enters a select among those who wait to receive. `None`: it need not wait.
    pub(super) fn enter_recv(&self, claim: Claim) -> Option<Key> {
        let mut wakes = Wakes::none();
        let mut state = self.state.lock();
        if state.can_receive(Some(claim.ticket())) {
            return None;
        }
        let key = state.start_receiving(Some(claim), &mut wakes);
        drop(state);
        wakes.unpark();
        Some(key)
    }

    /// Ends the entry of a select that was not chosen here.
    pub(super) fn leave_recv(&self, key: Key) {
        self.state.lock().receiving.remove(key);
    }

    /// The message that a select was chosen for.
    pub(super) fn finish_recv(&self, key: Key) -> Result<T, super::RecvError> {
        match self.promised(key) {
            Ok(Some(message)) => Ok(message),
            Ok(None) => self.recv(None).map_err(|_| super::RecvError),
            Err(Gone) => Err(super::RecvError),
        }
    }

    /// A select that was chosen does not fetch its message.
    pub(super) fn abandon_recv(&self, key: Key) {
        let mut wakes = Wakes::none();
        let mut state = self.state.lock();
        if let Incoming::Promised = state.receiving.wish_ref(key).incoming {
            state.receiving.wish(key).incoming = Incoming::Unwanted;
            return;
        }
        if let Incoming::Message(message) = state.receiving.remove(key).incoming {
            match state.claim_receiver() {
                Some(receiver) => state.give(receiver, Incoming::Message(message), &mut wakes),
                None => state.buffer.push_front(message),
            }
            state.tell_watchers(&mut wakes);
        }
        drop(state);
        wakes.unpark();
    }

    /// Makes sure that a message can be sent, if that needs no waiting.
    pub(super) fn select_send(&self) -> Option<Token> {
        let mut wakes = Wakes::none();
        let mut state = self.state.lock();
        let token = if state.disconnected {
            Some(Token::Disconnected)
        } else if let Some(receiver) = state.claim_receiver() {
            state.receiving.wish(receiver).incoming = Incoming::Promised;
            if state.receiving.wish_ref(receiver).claim.is_some() {
                state.receiving.wake(receiver, &mut wakes);
            }
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

    /// Enters a select among those who wait to send. `None`: it need not wait.
    pub(super) fn enter_send(&self, claim: Claim) -> Option<Key> {
        let mut wakes = Wakes::none();
        let mut state = self.state.lock();
        if state.can_send(Some(claim.ticket())) {
            return None;
        }
        let key = state.start_sending(Some(claim), Outgoing::OnSelection, &mut wakes);
        drop(state);
        wakes.unpark();
        Some(key)
    }

    /// Ends the entry of a select; says what it was chosen for, if it was.
    pub(super) fn leave_send(&self, key: Key) -> Option<Token> {
        match self.state.lock().sending.remove(key).outgoing {
            Outgoing::Reserved => Some(Token::Reserved),
            Outgoing::Partner(receiver) => Some(Token::Partner(receiver)),
            Outgoing::Disconnected => Some(Token::Disconnected),
            Outgoing::OnSelection | Outgoing::Message(_) | Outgoing::Taken => None,
        }
    }

    /// Sends the message for which a select was chosen.
    pub(super) fn finish_send(&self, token: Token, message: T) -> Result<(), SendError<T>> {
        let mut wakes = Wakes::none();
        let mut state = self.state.lock();
        let unsent = match token {
            Token::Reserved => {
                state.reserved -= 1;
                if state.disconnected { Some(message) } else { state.offer(message, &mut wakes).err() }
            }
            Token::Partner(receiver)
                if matches!(state.receiving.wish_ref(receiver).incoming, Incoming::Promised) =>
            {
                state.give(receiver, Incoming::Message(message), &mut wakes);
                None
            }
            Token::Partner(receiver) => {
                let unwanted = state.receiving.remove(receiver);
                drop(state);
                drop(unwanted);
                return self.send(message, None).map_err(|error| SendError(error.into_inner()));
            }
            _ => Some(message),
        };
        drop(state);
        wakes.unpark();
        unsent.map_or(Ok(()), |message| Err(SendError(message)))
    }

    /// A select that was chosen does not send.
    pub(super) fn abandon_send(&self, token: Token) {
        let mut unwanted = None;
        let mut wakes = Wakes::none();
        let mut state = self.state.lock();
        match token {
            Token::Reserved => {
                state.reserved -= 1;
                state.refill(&mut wakes);
                state.tell_watchers(&mut wakes);
            }
            Token::Partner(receiver) => match state.receiving.wish_ref(receiver).incoming {
                Incoming::Promised => state.give(receiver, Incoming::Broken, &mut wakes),
                _ => unwanted = Some(state.receiving.remove(receiver)),
            },
            _ => {}
        }
        drop(state);
        drop(unwanted);
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

/// The other side has disconnected.
struct Gone;
