//! The sending side.

use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::exchange::{Exchange, Unsent};
use super::select::{Claim, Entered, SelectHandle, Token};
use super::{SendError, SendTimeoutError, TrySendError};
use crate::sync::wait_list::Key;

/// The sending side of a channel. Clones share it; when the last is gone, the receivers are told.
pub struct Sender<T> {
    exchange: Arc<Exchange<T>>,
}

impl<T> UnwindSafe for Sender<T> {}
impl<T> RefUnwindSafe for Sender<T> {}

impl<T> Sender<T> {
    /// The one sender of a new channel.
    pub(super) fn new(exchange: Arc<Exchange<T>>) -> Sender<T> {
        Sender { exchange }
    }

    /// Sends if it need not wait: there is room, or a receiver waits.
    ///
    /// # Errors
    /// The message, if not, or if there is no receiver any more.
    pub fn try_send(&self, message: T) -> Result<(), TrySendError<T>> {
        let mut message = Some(message);
        let sent = self.try_send_from(&mut message);
        let Some(message) = message else { return Ok(()) };
        match sent {
            Err(Unsent::Full) => Err(TrySendError::Full(message)),
            _ => Err(TrySendError::Disconnected(message)),
        }
    }

    /// Waits until there is room, or (capacity 0) until a receiver takes the message, and sends it.
    ///
    /// # Errors
    /// The message, if there is no receiver any more.
    ///
    /// # Cancellation
    /// This is a [cancellation point](crate::thread::JoinHandle::cancel) if it has to wait: then the message is
    /// dropped and not received.
    #[cfg_attr(not(debug_assertions), inline(always))]
    #[track_caller]
    pub fn send(&self, message: T) -> Result<(), SendError<T>> {
        let mut message = Some(message);
        let sent = self.send_from(&mut message, None);
        if sent.is_ok() { Ok(()) } else { give_back(message) }
    }

    /// Sends as [`send`](Sender::send) does, but waits for `timeout` at most.
    ///
    /// # Errors
    /// The message, if the time was over or there is no receiver any more.
    ///
    /// # Cancellation
    /// This is a [cancellation point](crate::thread::JoinHandle::cancel) if it has to wait.
    #[track_caller]
    pub fn send_timeout(&self, message: T, timeout: Duration) -> Result<(), SendTimeoutError<T>> {
        let mut message = Some(message);
        let sent = self.send_from(&mut message, Instant::now().checked_add(timeout));
        let Some(message) = message else { return Ok(()) };
        match sent {
            Err(Unsent::Full) => Err(SendTimeoutError::Timeout(message)),
            _ => Err(SendTimeoutError::Disconnected(message)),
        }
    }

    /// Sends as [`send`](Sender::send) does, but waits until `deadline` at most.
    ///
    /// # Errors
    /// The message, if the time was over or there is no receiver any more.
    ///
    /// # Cancellation
    /// This is a [cancellation point](crate::thread::JoinHandle::cancel) if it has to wait.
    #[track_caller]
    pub fn send_deadline(&self, message: T, deadline: Instant) -> Result<(), SendTimeoutError<T>> {
        let mut message = Some(message);
        let sent = self.send_from(&mut message, Some(deadline));
        let Some(message) = message else { return Ok(()) };
        match sent {
            Err(Unsent::Full) => Err(SendTimeoutError::Timeout(message)),
            _ => Err(SendTimeoutError::Disconnected(message)),
        }
    }

    /// Sends what is in `message`, if that needs no waiting. Then it is empty.
    pub(crate) fn try_send_from(&self, message: &mut Option<T>) -> Result<(), Unsent> {
        self.exchange.try_send(message)
    }

    /// Sends what is in `message`. Then it is empty.
    #[cfg_attr(not(debug_assertions), inline(always))]
    #[track_caller]
    pub(crate) fn send_from(&self, message: &mut Option<T>, deadline: Option<Instant>) -> Result<(), Unsent> {
        self.exchange.send(message, deadline)
    }

    /// Whether no message is in the buffer. Always so with capacity 0.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the buffer has no room. Always so with capacity 0.
    pub fn is_full(&self) -> bool {
        self.exchange.is_full()
    }

    /// How many messages are in the buffer.
    pub fn len(&self) -> usize {
        self.exchange.len()
    }

    /// How many messages the buffer holds; `None` if there is no limit.
    pub fn capacity(&self) -> Option<usize> {
        self.exchange.capacity()
    }

    /// Whether both send into the same channel.
    pub fn same_channel(&self, other: &Sender<T>) -> bool {
        Arc::ptr_eq(&self.exchange, &other.exchange)
    }

    /// Sends the message for which a select was selected. Then `message` is empty.
    #[track_caller]
    pub(super) fn finish(&self, token: Token, message: &mut Option<T>) -> Result<(), Unsent> {
        self.exchange.finish_send(token, message)
    }
}

/// The result of a send that did not send. A function of its own, so that there is room for one message less on the stack
/// while a send waits.
#[cold]
pub(super) fn give_back<T>(message: Option<T>) -> Result<(), SendError<T>> {
    match message {
        Some(message) => Err(SendError(message)),
        None => Ok(()),
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Exchange::<T>::add_handle(&self.exchange.senders);
        Sender { exchange: Arc::clone(&self.exchange) }
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        if self.exchange.senders.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.exchange.disconnect_senders();
        }
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad("Sender { .. }")
    }
}

impl<T> SelectHandle for Sender<T> {
    fn address(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    fn try_start(&self) -> Option<Token> {
        self.exchange.select_send()
    }

    fn enter(&self, claim: Claim) -> Entered {
        self.exchange.enter_send(claim).map_or(Entered::NeedNotWait, Entered::Waits)
    }

    fn leave(&self, key: Key, _selected: bool) -> Option<Token> {
        self.exchange.leave_send(key)
    }

    fn abandon(&self, token: Token) {
        self.exchange.abandon_send(token);
    }

    fn is_ready(&self) -> bool {
        self.exchange.can_send()
    }

    fn due(&self) -> Option<Instant> {
        None
    }

    fn watch(&self) -> Option<Key> {
        Some(self.exchange.watch())
    }

    fn unwatch(&self, key: Key) {
        self.exchange.unwatch(key);
    }
}
