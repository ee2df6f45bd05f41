//! The receiving side, and its iterators.

use std::fmt;
use std::iter::FusedIterator;
use std::panic::{Location, RefUnwindSafe, UnwindSafe};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::clock::Clock;
use super::exchange::Exchange;
use super::select::{Claim, Entered, SelectHandle, Token};
use super::{RecvError, RecvTimeoutError, TryRecvError};
use crate::runtime::reason::{What, because};
use crate::runtime::wait;
use crate::sync::wait_list::Key;

/// The receiving side of a channel. Clones share it, and each message goes to one of them; when the last is
/// gone, the messages that wait are dropped and the senders are told.
pub struct Receiver<T> {
    source: Source<T>,
}

enum Source<T> {
    Exchange(Arc<Exchange<T>>),
    Clock(Arc<dyn Clock<T>>),
    Never,
}

impl<T> UnwindSafe for Receiver<T> {}
impl<T> RefUnwindSafe for Receiver<T> {}

impl<T> Receiver<T> {
    /// The one receiver of a new channel.
    pub(super) fn new(exchange: Arc<Exchange<T>>) -> Receiver<T> {
        Receiver { source: Source::Exchange(exchange) }
    }

    pub(super) fn of_clock(clock: Arc<dyn Clock<T>>) -> Receiver<T> {
        Receiver { source: Source::Clock(clock) }
    }

    pub(super) fn never() -> Receiver<T> {
        Receiver { source: Source::Never }
    }

    /// Receives if it need not wait: a message is there, or a sender waits.
    ///
    /// # Errors
    /// If not, or if there is neither a message nor a sender any more.
    pub fn try_recv(&self) -> Result<T, TryRecvError> {
        let mut message = None;
        let received = self.try_recv_into(&mut message);
        match message {
            Some(message) => Ok(message),
            None => Err(received.err().unwrap_or(TryRecvError::Empty)),
        }
    }

    /// Waits for a message, and returns it.
    ///
    /// # Errors
    /// If there is neither a message nor a sender any more.
    ///
    /// # Cancellation
    /// This is a [cancellation point](crate::thread::JoinHandle::cancel) if it has to wait.
    #[cfg_attr(not(debug_assertions), inline(always))]
    #[track_caller]
    pub fn recv(&self) -> Result<T, RecvError> {
        let mut message = None;
        let _disconnected = self.recv_into(&mut message, None);
        match message {
            Some(message) => Ok(message),
            None => Err(RecvError),
        }
    }

    /// Receives as [`recv`](Receiver::recv) does, but waits for `timeout` at most.
    ///
    /// # Errors
    /// If the time was over, or there is neither a message nor a sender any more.
    ///
    /// # Cancellation
    /// This is a [cancellation point](crate::thread::JoinHandle::cancel) if it has to wait.
    #[track_caller]
    pub fn recv_timeout(&self, timeout: Duration) -> Result<T, RecvTimeoutError> {
        let mut message = None;
        let received = self.recv_into(&mut message, Instant::now().checked_add(timeout));
        match message {
            Some(message) => Ok(message),
            None => Err(received.err().unwrap_or(RecvTimeoutError::Timeout)),
        }
    }

    /// Receives as [`recv`](Receiver::recv) does, but waits until `deadline` at most.
    ///
    /// # Errors
    /// If the time was over, or there is neither a message nor a sender any more.
    ///
    /// # Cancellation
    /// This is a [cancellation point](crate::thread::JoinHandle::cancel) if it has to wait.
    #[track_caller]
    pub fn recv_deadline(&self, deadline: Instant) -> Result<T, RecvTimeoutError> {
        let mut message = None;
        let received = self.recv_into(&mut message, Some(deadline));
        match message {
            Some(message) => Ok(message),
            None => Err(received.err().unwrap_or(RecvTimeoutError::Timeout)),
        }
    }

    /// Receives into `message`, which is empty, if that needs no waiting.
    pub(crate) fn try_recv_into(&self, message: &mut Option<T>) -> Result<(), TryRecvError> {
        match &self.source {
            Source::Exchange(exchange) => exchange.try_recv(message),
            Source::Clock(clock) => {
                wait::count_operation();
                let instant = clock.take(Instant::now()).ok_or(TryRecvError::Empty)?;
                clock.tell(instant, message);
                Ok(())
            }
            Source::Never => {
                wait::count_operation();
                Err(TryRecvError::Empty)
            }
        }
    }

    /// Receives into `message`, which is empty.
    #[cfg_attr(not(debug_assertions), inline(always))]
    #[track_caller]
    pub(crate) fn recv_into(
        &self,
        message: &mut Option<T>,
        deadline: Option<Instant>,
    ) -> Result<(), RecvTimeoutError> {
        match &self.source {
            Source::Exchange(exchange) => exchange.recv(message, deadline),
            Source::Clock(clock) => recv_from_clock(&**clock, message, deadline),
            Source::Never => {
                sleep_until(deadline);
                Err(RecvTimeoutError::Timeout)
            }
        }
    }

    /// Whether no message is there. Always so with capacity 0.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the buffer has no room. Always so with capacity 0.
    pub fn is_full(&self) -> bool {
        match &self.source {
            Source::Exchange(exchange) => exchange.is_full(),
            Source::Clock(_) => !self.is_empty(),
            Source::Never => true,
        }
    }

    /// How many messages are in the buffer.
    pub fn len(&self) -> usize {
        match &self.source {
            Source::Exchange(exchange) => exchange.len(),
            Source::Clock(clock) => usize::from(clock.due().is_some_and(|due| due <= Instant::now())),
            Source::Never => 0,
        }
    }

    /// How many messages the buffer holds; `None` if there is no limit.
    pub fn capacity(&self) -> Option<usize> {
        match &self.source {
            Source::Exchange(exchange) => exchange.capacity(),
            Source::Clock(_) => Some(1),
            Source::Never => Some(0),
        }
    }

    /// Whether both receive from the same channel.
    pub fn same_channel(&self, other: &Receiver<T>) -> bool {
        match (&self.source, &other.source) {
            (Source::Exchange(one), Source::Exchange(other)) => Arc::ptr_eq(one, other),
            (Source::Clock(one), Source::Clock(other)) => Arc::ptr_eq(one, other),
            (Source::Never, Source::Never) => true,
            _ => false,
        }
    }

    /// Receives until there is neither a message nor a sender any more. Each step is a cancellation point if
    /// it has to wait.
    pub fn iter(&self) -> Iter<'_, T> {
        Iter { receiver: self }
    }

    /// Receives what is there, and never waits.
    pub fn try_iter(&self) -> TryIter<'_, T> {
        TryIter { receiver: self }
    }

    /// Receives the message that a select was selected for into `message`, which is empty.
    #[track_caller]
    pub(super) fn finish(&self, token: Token, message: &mut Option<T>) -> Result<(), RecvError> {
        match (&self.source, token) {
            (Source::Exchange(exchange), Token::Entry(key)) => exchange.finish_recv(key, message),
            (Source::Clock(clock), Token::Time(instant)) => {
                clock.tell(instant, message);
                Ok(())
            }
            _ => Err(RecvError),
        }
    }
}

/// Blocks until the deadline; for ever, if there is none.
#[track_caller]
fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => wait::sleep(deadline.saturating_duration_since(Instant::now())),
        None => because(What::Object("a message that never comes", 0), Location::caller(), || {
            loop {
                wait::park(None);
            }
        }),
    }
}

fn recv_from_clock<T>(
    clock: &dyn Clock<T>,
    message: &mut Option<T>,
    deadline: Option<Instant>,
) -> Result<(), RecvTimeoutError> {
    loop {
        let now = Instant::now();
        if let Some(instant) = clock.take(now) {
            clock.tell(instant, message);
            return Ok(());
        }
        if deadline.is_some_and(|deadline| deadline <= now) {
            return Err(RecvTimeoutError::Timeout);
        }
        sleep_until(clock.due().into_iter().chain(deadline).min());
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Self {
        let source = match &self.source {
            Source::Exchange(exchange) => {
                Exchange::<T>::add_handle(&exchange.receivers);
                Source::Exchange(Arc::clone(exchange))
            }
            Source::Clock(clock) => Source::Clock(Arc::clone(clock)),
            Source::Never => Source::Never,
        };
        Receiver { source }
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        if let Source::Exchange(exchange) = &self.source
            && exchange.receivers.fetch_sub(1, Ordering::AcqRel) == 1
        {
            exchange.disconnect_receivers();
        }
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad("Receiver { .. }")
    }
}

impl<T> SelectHandle for Receiver<T> {
    fn address(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    fn try_start(&self) -> Option<Token> {
        match &self.source {
            Source::Exchange(exchange) => exchange.select_recv(),
            Source::Clock(clock) => clock.take(Instant::now()).map(Token::Time),
            Source::Never => None,
        }
    }

    fn enter(&self, claim: Claim) -> Entered {
        match &self.source {
            Source::Exchange(exchange) => {
                exchange.enter_recv(claim).map_or(Entered::NeedNotWait, Entered::Waits)
            }
            Source::Clock(_) | Source::Never => Entered::WaitsForTime,
        }
    }

    fn leave(&self, key: Key, selected: bool) -> Option<Token> {
        if selected {
            return Some(Token::Entry(key));
        }
        if let Source::Exchange(exchange) = &self.source {
            exchange.leave_recv(key);
        }
        None
    }

    fn abandon(&self, token: Token) {
        if let (Source::Exchange(exchange), Token::Entry(key)) = (&self.source, token) {
            exchange.abandon_recv(key);
        }
    }

    fn is_ready(&self) -> bool {
        match &self.source {
            Source::Exchange(exchange) => exchange.can_receive(),
            Source::Clock(_) => !self.is_empty(),
            Source::Never => false,
        }
    }

    fn due(&self) -> Option<Instant> {
        match &self.source {
            Source::Clock(clock) => clock.due(),
            _ => None,
        }
    }

    fn watch(&self) -> Option<Key> {
        match &self.source {
            Source::Exchange(exchange) => Some(exchange.watch()),
            _ => None,
        }
    }

    fn unwatch(&self, key: Key) {
        if let Source::Exchange(exchange) = &self.source {
            exchange.unwatch(key);
        }
    }
}

/// See [`Receiver::iter`].
pub struct Iter<'a, T> {
    receiver: &'a Receiver<T>,
}

impl<T> Iterator for Iter<'_, T> {
    type Item = T;

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn next(&mut self) -> Option<T> {
        let mut message = None;
        let _disconnected = self.receiver.recv_into(&mut message, None);
        message
    }
}

impl<T> FusedIterator for Iter<'_, T> {}

impl<T> fmt::Debug for Iter<'_, T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad("Iter { .. }")
    }
}

/// See [`Receiver::try_iter`].
pub struct TryIter<'a, T> {
    receiver: &'a Receiver<T>,
}

impl<T> Iterator for TryIter<'_, T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        let mut message = None;
        let _none = self.receiver.try_recv_into(&mut message);
        message
    }
}

impl<T> fmt::Debug for TryIter<'_, T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad("TryIter { .. }")
    }
}

/// As [`Iter`], and owns its receiver.
pub struct IntoIter<T> {
    receiver: Receiver<T>,
}

impl<T> Iterator for IntoIter<T> {
    type Item = T;

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn next(&mut self) -> Option<T> {
        let mut message = None;
        let _disconnected = self.receiver.recv_into(&mut message, None);
        message
    }
}

impl<T> FusedIterator for IntoIter<T> {}

impl<T> fmt::Debug for IntoIter<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad("IntoIter { .. }")
    }
}

impl<'a, T> IntoIterator for &'a Receiver<T> {
    type Item = T;
    type IntoIter = Iter<'a, T>;

    fn into_iter(self) -> Iter<'a, T> {
        self.iter()
    }
}

impl<T> IntoIterator for Receiver<T> {
    type Item = T;
    type IntoIter = IntoIter<T>;

    fn into_iter(self) -> IntoIter<T> {
        IntoIter { receiver: self }
    }
}
