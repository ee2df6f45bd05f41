//! A worker's mailbox, and the protocol that never lets the worker sleep through a message.
//!
//! ```text
//!   sender                                worker
//!   push the message                      say "I sleep"
//!   ── sequentially consistent ──         ── sequentially consistent ──
//!   does it sleep? then wake it           is there mail? then do not sleep
//! ```
//!
//! Each side writes its own flag and then reads the other's, so at least one of them sees the other. A worker that ends closes its
//! mailbox, under the lock and only if it is empty: each message is either read or returned to its sender. Model-checked in
//! `models/tests/loom.rs`.

use std::sync::PoisonError;

use crate::primitive::{AtomicBool, AtomicU8, Mutex, Ordering, fence};

/// The worker reads its mail soon.
const AWAKE: u8 = 0;
/// It sleeps in its engine, or is about to.
const ASLEEP: u8 = 1;
/// As before, but somebody has undertaken to wake it.
const WAKING: u8 = 2;

/// Any thread pushes, the owning worker takes.
pub struct Mailbox<M> {
    /// `None`: the worker has ended.
    messages: Mutex<Option<Vec<M>>>,
    /// There are some. Written under their lock.
    pending: AtomicBool,
    /// [`AWAKE`], [`ASLEEP`] or [`WAKING`].
    sleep: AtomicU8,
}

impl<M> Mailbox<M> {
    pub fn new() -> Mailbox<M> {
        Mailbox {
            messages: Mutex::new(Some(Vec::new())),
            pending: AtomicBool::new(false),
            sleep: AtomicU8::new(AWAKE),
        }
    }

    /// Leaves a message, and returns whether the worker sleeps, so that the caller has to wake its engine.
    ///
    /// # Errors
    /// Returns the message if the worker has ended.
    pub fn push(&self, message: M) -> Result<bool, M> {
        {
            let mut messages = self.messages.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(messages) = &mut *messages else { return Err(message) };
            messages.push(message);
            self.pending.store(true, Ordering::Relaxed);
        }
        fence(Ordering::SeqCst);
        Ok(self.claim_wake())
    }

    /// Whether the worker sleeps, or is just being woken: not held up by what it runs. It may be otherwise a moment later.
    #[inline]
    pub fn is_asleep(&self) -> bool {
        self.sleep.load(Ordering::Relaxed) != AWAKE
    }

    /// Undertakes to wake the worker. Returns false if it does not sleep, or another thread wakes it already.
    #[must_use]
    #[inline]
    pub fn claim_wake(&self) -> bool {
        self.sleep.load(Ordering::Relaxed) == ASLEEP
            && self.sleep.compare_exchange(ASLEEP, WAKING, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// Returns whether there is mail, at the cost of one load.
    #[inline]
    pub fn has_mail(&self) -> bool {
        self.pending.load(Ordering::Acquire)
    }

    /// Swaps all messages into `empty`, which is empty.
    pub fn take(&self, empty: &mut Vec<M>) {
        if let Some(messages) = &mut *self.messages.lock().unwrap_or_else(PoisonError::into_inner) {
            std::mem::swap(messages, empty);
            self.pending.store(false, Ordering::Relaxed);
        }
    }

    /// Closes the mailbox, because the worker ends. Returns false if there is mail, which the worker reads first.
    #[must_use]
    pub fn close(&self) -> bool {
        let mut messages = self.messages.lock().unwrap_or_else(PoisonError::into_inner);
        messages.take_if(|messages| messages.is_empty()).is_some()
    }

    /// Closes the mailbox, because the worker ends without its threads, and returns the messages in it.
    pub fn close_at_once(&self) -> Vec<M> {
        let messages = self.messages.lock().unwrap_or_else(PoisonError::into_inner).take();
        messages.unwrap_or_default()
    }

    /// Returns whether the worker has ended.
    pub fn is_closed(&self) -> bool {
        self.messages.lock().unwrap_or_else(PoisonError::into_inner).is_none()
    }

    /// Announces sleep. Returns false if there is mail, and the worker must not sleep.
    #[must_use]
    pub fn prepare_sleep(&self) -> bool {
        self.sleep.store(ASLEEP, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        if self.has_mail() {
            self.awake();
            return false;
        }
        true
    }

    /// Announces that sleep is over.
    pub fn awake(&self) {
        self.sleep.store(AWAKE, Ordering::Relaxed);
    }
}
