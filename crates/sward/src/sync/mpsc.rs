//! `std::sync::mpsc`, green: [`channel`](crate::channel)'s channels with std's names and errors, and one
//! receiver.

use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;
use std::panic::RefUnwindSafe;
use std::time::{Duration, Instant};

use crate::channel::{self as mpmc, RecvTimeoutError as MpmcTimeout, TryRecvError as MpmcTry, Unsent};

#[doc(no_inline)]
pub use std::sync::mpsc::{RecvError, RecvTimeoutError, SendError, TryRecvError, TrySendError};

/// A channel whose sender never waits.
pub fn channel<T>() -> (Sender<T>, Receiver<T>) {
    let (sender, receiver) = mpmc::unbounded();
    (Sender(sender), Receiver::new(receiver))
}

/// A channel that holds up to `bound` messages, and whose sender waits if there are so many. With 0, it waits
/// until the receiver takes the message.
pub fn sync_channel<T>(bound: usize) -> (SyncSender<T>, Receiver<T>) {
    let (sender, receiver) = mpmc::bounded(bound);
    (SyncSender(sender), Receiver::new(receiver))
}

/// The sending side of [`channel`]: [`std::sync::mpsc::Sender`].
pub struct Sender<T>(mpmc::Sender<T>);

impl<T> Sender<T> {
    /// Sends. Never waits.
    ///
    /// # Errors
    /// The message, if the receiver is gone.
    #[track_caller]
    pub fn send(&self, message: T) -> Result<(), SendError<T>> {
        let mut message = Some(message);
        let _unsent = self.0.send_from(&mut message, None);
        match message {
            Some(message) => Err(SendError(message)),
            None => Ok(()),
        }
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Sender(self.0.clone())
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Sender").finish_non_exhaustive()
    }
}

/// The sending side of [`sync_channel`]: [`std::sync::mpsc::SyncSender`].
pub struct SyncSender<T>(mpmc::Sender<T>);

impl<T> SyncSender<T> {
    /// Waits until there is room, and sends a message.
    ///
    /// # Errors
    /// The message, if the receiver is gone, or goes while the sender waits.
    ///
    /// # Cancellation
    /// This is a [cancellation point](crate::thread::JoinHandle::cancel) if it has to wait: then the message is
    /// dropped and not received.
    #[track_caller]
    pub fn send(&self, message: T) -> Result<(), SendError<T>> {
        let mut message = Some(message);
        let _unsent = self.0.send_from(&mut message, None);
        match message {
            Some(message) => Err(SendError(message)),
            None => Ok(()),
        }
    }

    /// Sends if there is room (with bound 0: if the receiver waits). Never waits.
    ///
    /// # Errors
    /// The message, if there is no room or the receiver is gone.
    pub fn try_send(&self, message: T) -> Result<(), TrySendError<T>> {
        let mut message = Some(message);
        let sent = self.0.try_send_from(&mut message);
        let Some(message) = message else { return Ok(()) };
        match sent {
            Err(Unsent::Full) => Err(TrySendError::Full(message)),
            _ => Err(TrySendError::Disconnected(message)),
        }
    }
}

impl<T> Clone for SyncSender<T> {
    fn clone(&self) -> Self {
        SyncSender(self.0.clone())
    }
}

impl<T> fmt::Debug for SyncSender<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("SyncSender").finish_non_exhaustive()
    }
}

/// The receiving side: [`std::sync::mpsc::Receiver`].
pub struct Receiver<T> {
    receiver: mpmc::Receiver<T>,
    /// As in std.
    not_sync: PhantomData<Cell<()>>,
}

impl<T> RefUnwindSafe for Receiver<T> {}

impl<T> Receiver<T> {
    fn new(receiver: mpmc::Receiver<T>) -> Receiver<T> {
        Receiver { receiver, not_sync: PhantomData }
    }

    /// Receives if a message is there. Never waits.
    ///
    /// # Errors
    /// If there is none; and whether there is no sender any more either.
    pub fn try_recv(&self) -> Result<T, TryRecvError> {
        let mut message = None;
        let received = self.receiver.try_recv_into(&mut message);
        match message {
            Some(message) => Ok(message),
            None if received == Err(MpmcTry::Disconnected) => Err(TryRecvError::Disconnected),
            None => Err(TryRecvError::Empty),
        }
    }

    /// Waits for a message, and returns it.
    ///
    /// # Errors
    /// If there is neither a message nor a sender any more.
    ///
    /// # Cancellation
    /// This is a [cancellation point](crate::thread::JoinHandle::cancel) if it has to wait.
    #[track_caller]
    pub fn recv(&self) -> Result<T, RecvError> {
        let mut message = None;
        let _disconnected = self.receiver.recv_into(&mut message, None);
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
        self.recv_until(Instant::now().checked_add(timeout))
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
        self.recv_until(Some(deadline))
    }

    #[track_caller]
    fn recv_until(&self, deadline: Option<Instant>) -> Result<T, RecvTimeoutError> {
        let mut message = None;
        let received = self.receiver.recv_into(&mut message, deadline);
        match message {
            Some(message) => Ok(message),
            None if received == Err(MpmcTimeout::Disconnected) => Err(RecvTimeoutError::Disconnected),
            None => Err(RecvTimeoutError::Timeout),
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
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Receiver").finish_non_exhaustive()
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

/// Receives messages until there is no sender any more: [`std::sync::mpsc::Iter`].
#[derive(Debug)]
pub struct Iter<'a, T> {
    receiver: &'a Receiver<T>,
}

impl<T> Iterator for Iter<'_, T> {
    type Item = T;

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn next(&mut self) -> Option<T> {
        let mut message = None;
        let _disconnected = self.receiver.receiver.recv_into(&mut message, None);
        message
    }
}

/// Receives the messages that are there: [`std::sync::mpsc::TryIter`].
#[derive(Debug)]
pub struct TryIter<'a, T> {
    receiver: &'a Receiver<T>,
}

impl<T> Iterator for TryIter<'_, T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        let mut message = None;
        let _none = self.receiver.receiver.try_recv_into(&mut message);
        message
    }
}

/// As [`Iter`], and owns its receiver: [`std::sync::mpsc::IntoIter`].
#[derive(Debug)]
pub struct IntoIter<T> {
    receiver: Receiver<T>,
}

impl<T> Iterator for IntoIter<T> {
    type Item = T;

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn next(&mut self) -> Option<T> {
        let mut message = None;
        let _disconnected = self.receiver.receiver.recv_into(&mut message, None);
        message
    }
}
