//! The reader's end of a [`Request::ReceiveProvided`](crate::Request): what has arrived for it, in provided buffers.
//!
//! On io_uring such a receive is multishot. Once it is armed, the kernel picks a buffer for whatever arrives, whether or not
//! somebody waits, until the receive is stopped. So a message costs no request. Other engines receive when they are asked.
//!
//! ```text
//!                       submit                        stop_multishot, the end, an error, too much in it
//!   unarmed ─────────────────────────────▶ armed ─────────────────────────────────────────────────────▶ unarmed
//!                                          │  ▲
//!                                          └──┘ data: to the operation that waits, or kept for the next one
//! ```
//!
//! The kernel does not know the operation that waits. So a cancel of it is over at once and loses nothing: what arrives later is
//! there for the next operation.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::rc::Rc;

use crate::provided_buffer::ProvidedBuffer;

/// A receive that holds this many buffers while nobody waits is stopped until it is empty, so that the peer has to wait.
const BUFFERS_MAX: usize = 8;

/// A receive into provided buffers, for one reader of one socket on one engine. The file's head describes it.
pub struct MultishotReceive(pub(crate) Rc<Received>);

/// The part that the engine shares while the kernel may add to it.
pub(crate) struct Received {
    arrived: RefCell<Arrived>,
    /// While the receive is armed: its slot in the ring's table.
    pub(crate) slot: Cell<Option<u32>>,
}

/// What nobody has taken yet.
struct Arrived {
    /// Mostly there is one buffer at most, which needs no memory here.
    first: Option<ProvidedBuffer>,
    others: VecDeque<ProvidedBuffer>,
    /// What follows the buffers: 0 for the end, or a negative errno.
    end: Option<i32>,
}

impl MultishotReceive {
    /// Creates a receive that is empty and not armed.
    pub fn new() -> MultishotReceive {
        let arrived = Arrived { first: None, others: VecDeque::new(), end: None };
        MultishotReceive(Rc::new(Received { arrived: RefCell::new(arrived), slot: Cell::new(None) }))
    }

    /// Takes the oldest buffer. After a result above 0 there is one. It goes back by
    /// [`Engine::return_buffer`](crate::Engine::return_buffer).
    pub fn take(&self) -> Option<ProvidedBuffer> {
        let mut arrived = self.0.arrived.borrow_mut();
        let next = arrived.others.pop_front();
        std::mem::replace(&mut arrived.first, next)
    }

    /// Takes the end, if no buffer comes before it: 0, or a negative errno.
    pub fn take_end(&self) -> Option<i32> {
        let mut arrived = self.0.arrived.borrow_mut();
        if arrived.first.is_some() { None } else { arrived.end.take() }
    }

    /// Returns whether nothing has arrived, and the kernel adds nothing by itself.
    pub fn is_idle(&self) -> bool {
        let arrived = self.0.arrived.borrow();
        !self.0.is_armed() && arrived.first.is_none() && arrived.end.is_none()
    }
}

impl Received {
    /// Returns whether the kernel may add to it.
    pub(crate) fn is_armed(&self) -> bool {
        self.slot.get().is_some()
    }

    /// Adds data.
    pub(crate) fn push(&self, buffer: ProvidedBuffer) {
        let mut arrived = self.arrived.borrow_mut();
        if arrived.first.is_none() {
            arrived.first = Some(buffer);
        } else {
            arrived.others.push_back(buffer);
        }
    }

    /// Adds the end, after which nothing comes.
    pub(crate) fn end(&self, result: i32) {
        self.arrived.borrow_mut().end = Some(result);
    }

    /// Returns whether more has arrived than the engine may receive ahead of a reader.
    pub(crate) fn is_full(&self) -> bool {
        self.arrived.borrow().others.len() + 1 >= BUFFERS_MAX
    }

    /// Returns the result for an operation that waits, if there is one: the length of the oldest buffer, or the end.
    pub(crate) fn answer(&self) -> Option<i32> {
        let mut arrived = self.arrived.borrow_mut();
        match &arrived.first {
            Some(buffer) => Some(buffer.len() as i32),
            None => arrived.end.take(),
        }
    }
}

impl Default for MultishotReceive {
    fn default() -> MultishotReceive {
        MultishotReceive::new()
    }
}

impl fmt::Debug for MultishotReceive {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("MultishotReceive").field("armed", &self.0.is_armed()).finish_non_exhaustive()
    }
}
