//! How many workers sleep that would take an unstarted task, and the protocol that leaves no task lying while a worker sleeps
//! through it.
//!
//! ```text
//!   thread with a task                    worker
//!   put it into a queue                   say in the mailbox "I sleep" (`Mailbox::prepare_sleep`)
//!                                         count itself                       (enter)
//!   ── sequentially consistent ──         ── sequentially consistent ──
//!   does any sleep? then wake one         is there a task in any queue? then do not sleep
//!   that nobody else wakes    (claim)     …
//!                                         count itself out                   (leave)
//!                                         say "I am awake", and look into the queues before the next sleep
//! ```
//!
//! Each side writes its own and then reads the other's, so at least one of them sees the other. A worker that is found asleep may be on its way
//! out of its sleep already: it looks into the queues once more, so it will do. Under a model checker: `models/tests/loom.rs`.

use super::mailbox::Mailbox;
use crate::primitive::{AtomicUsize, Ordering, fence};

/// The number of workers that sleep; the module documentation has the protocol.
pub(crate) struct Sleepers(AtomicUsize);

impl Sleepers {
    pub(crate) fn new() -> Sleepers {
        Sleepers(AtomicUsize::new(0))
    }

    /// The calling worker, whose mailbox says that it sleeps, will do so unless it sees a task afterwards.
    pub(crate) fn enter(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// The calling worker does not sleep any more.
    pub(crate) fn leave(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }

    /// Whether any sleep. It may be otherwise a moment later.
    pub(crate) fn are_there(&self) -> bool {
        self.0.load(Ordering::Relaxed) != 0
    }

    /// Returns the number of the worker, by its mailbox, that the caller has to wake after it put a task into a queue, if any.
    #[must_use]
    pub(crate) fn claim<'a, M: 'a>(
        &self,
        mut mailboxes: impl Iterator<Item = &'a Mailbox<M>>,
    ) -> Option<usize> {
        fence(Ordering::SeqCst);
        if self.are_there() { mailboxes.position(Mailbox::claim_wake) } else { None }
    }
}
