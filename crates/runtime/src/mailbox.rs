//! What other threads have to say to a worker, and the protocol that never lets it sleep through a message.
//!
//! ```text
//!   sender                                worker
//!   push the message                      say "I sleep"
//!   ── sequentially consistent ──         ── sequentially consistent ──
//!   does it sleep? then wake it           is there mail? then do not sleep
//! ```
//!
//! Each side writes its own flag and then reads the other's, so at least one of them sees the other. A worker that ends closes its
//! mailbox, under the lock and only if it is empty: so each message is either read, or comes back to its sender. Under a model
//! checker: `models/tests/loom.rs`.

use std::sync::{Arc, PoisonError};

use super::task::Task;
use super::worker::Worker;
use crate::primitive::{AtomicBool, AtomicU8, Mutex, Ordering, fence};

/// Something for a worker to do that is not a green thread: a short piece at a time, between turns, so that everything else goes on.
pub type Errand = Box<dyn FnMut(&Worker) -> Progress + Send>;

/// What an [`Errand`] says after each piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    Again,
    Done,
}

/// A message to a worker.
pub enum Message {
    /// This parked task has been notified: run it. The runtime's own reference keeps it alive until it has run.
    Ready(*const Task),
    /// This task has been notified in a list of waiters: run it, if it has not left the list before.
    Notified(Arc<Task>),
    /// Start this task here.
    Start(Arc<Task>),
    /// The task has its cancel bit set: interrupt what it waits for. Two first cancels at the same time may both say so.
    Cancel { task: Arc<Task>, is_first: bool },
    /// Do this between turns.
    Errand(Errand),
    /// Cancel all, then end.
    Stop,
    /// End, and leave the threads that are left where they are: nothing can end them.
    Abandon,
}

// SAFETY: all parts but one are Send. The pointer in `Ready` is to a `Task`, which is Sync, and it lives until the receiver has run it: it is
// parked, only a resume can end it, and the one notification that this message carries is what resumes it.
unsafe impl Send for Message {}

/// The worker reads its mail soon.
const AWAKE: u8 = 0;
/// It sleeps in its engine, or is about to.
const ASLEEP: u8 = 1;
/// As before, but somebody has undertaken to wake it.
const WAKING: u8 = 2;

/// Any thread pushes, the owning worker takes.
pub struct Mailbox {
    /// `None`: the worker has ended.
    messages: Mutex<Option<Vec<Message>>>,
    /// There are some. Written under their lock.
    pending: AtomicBool,
    /// [`AWAKE`], [`ASLEEP`] or [`WAKING`].
    sleep: AtomicU8,
}

impl Mailbox {
    pub fn new() -> Mailbox {
        Mailbox {
            messages: Mutex::new(Some(Vec::new())),
            pending: AtomicBool::new(false),
            sleep: AtomicU8::new(AWAKE),
        }
    }

    /// Leaves a message. True: the worker sleeps, and the caller has to wake its engine.
    ///
    /// # Errors
    /// The message, if the worker has ended.
    pub fn push(&self, message: Message) -> Result<bool, Message> {
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

    /// True if the worker sleeps and nobody else has undertaken to wake it.
    #[must_use]
    #[inline]
    pub fn claim_wake(&self) -> bool {
        self.sleep.load(Ordering::Relaxed) == ASLEEP
            && self.sleep.compare_exchange(ASLEEP, WAKING, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// Whether there is mail. Costs a load.
    #[inline]
    pub fn has_mail(&self) -> bool {
        self.pending.load(Ordering::Acquire)
    }

    /// Swaps all messages into `empty`, which is empty.
    pub fn take(&self, empty: &mut Vec<Message>) {
        if let Some(messages) = &mut *self.messages.lock().unwrap_or_else(PoisonError::into_inner) {
            std::mem::swap(messages, empty);
            self.pending.store(false, Ordering::Relaxed);
        }
    }

    /// The worker ends: takes no more messages. False: there are some, which it has to read before.
    #[must_use]
    pub fn close(&self) -> bool {
        let mut messages = self.messages.lock().unwrap_or_else(PoisonError::into_inner);
        messages.take_if(|messages| messages.is_empty()).is_some()
    }

    /// The worker ends and leaves its threads where they are: takes no more messages, and returns those that are there.
    pub fn close_at_once(&self) -> Vec<Message> {
        let messages = self.messages.lock().unwrap_or_else(PoisonError::into_inner).take();
        messages.unwrap_or_default()
    }

    /// Whether the worker has ended.
    pub fn is_closed(&self) -> bool {
        self.messages.lock().unwrap_or_else(PoisonError::into_inner).is_none()
    }

    /// Announces sleep. False: there is mail, do not sleep.
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

    /// Sleep is over.
    pub fn awake(&self) {
        self.sleep.store(AWAKE, Ordering::Relaxed);
    }
}
