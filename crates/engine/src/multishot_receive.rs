//! What has arrived for one reader, in buffers that an engine lends: the other end of a [`Request::ReceiveProvided`](crate::Request).
//!
//! On io_uring, a feed goes on by itself (a "multishot" receive): once it is armed the kernel picks a buffer for whatever arrives,
//! whether or not somebody waits, until it is stopped. So a message costs no request. The other engines receive when they are
//! asked.
//!
//! ```text
//!                       submit                                  stop_multishot, the end, an error, too much in it
//!   unarmed ─────────────────────────────▶ armed ─────────────────────────────────────────────────────▶ unarmed
//!                                          │  ▲
//!                                          └──┘ data: to the operation that waits, or kept for the next one
//! ```
//!
//! An operation that waits at a feed is not known to the kernel. So a cancel of it is over at once, and loses nothing: what
//! arrives later is there for the next one.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::ptr::NonNull;
use std::rc::Rc;

use crate::operation::Operation;
use crate::provided_buffer::ProvidedBuffer;

/// A feed that holds so many buffers of which nobody has asked for one is stopped, until it is empty: then the peer has to wait.
const BUFFERS_MAX: usize = 8;

/// See the head of this file. Of one socket and one engine, and for one reader.
pub struct MultishotReceive(pub(crate) Rc<MultishotState>);

/// The part that the engine keeps as long as the kernel may add to it.
pub(crate) struct MultishotState {
    arrived: RefCell<Arrived>,
    /// Waits for something to arrive.
    pub(crate) waiting: Cell<Option<NonNull<Operation>>>,
    /// While the kernel adds to it: its place among the ring's feeds.
    pub(crate) slot: Cell<Option<u32>>,
    /// The kernel has been asked to add no more.
    pub(crate) is_stopping: Cell<bool>,
}

/// What nobody has taken yet.
struct Arrived {
    /// Mostly there is one at most, which takes no memory of its own here.
    first: Option<ProvidedBuffer>,
    others: VecDeque<ProvidedBuffer>,
    /// After all that: 0, or a negative errno.
    end: Option<i32>,
}

impl MultishotReceive {
    /// One that is empty and not armed.
    pub fn new() -> MultishotReceive {
        let arrived = Arrived { first: None, others: VecDeque::new(), end: None };
        MultishotReceive(Rc::new(MultishotState {
            arrived: RefCell::new(arrived),
            waiting: Cell::new(None),
            slot: Cell::new(None),
            is_stopping: Cell::new(false),
        }))
    }

    /// Takes what has arrived first. After a result above 0 there is something. To be given back to the engine.
    pub fn take(&self) -> Option<ProvidedBuffer> {
        let mut arrived = self.0.arrived.borrow_mut();
        let next = arrived.others.pop_front();
        std::mem::replace(&mut arrived.first, next)
    }

    /// Takes the end, if nothing is before it: 0, or a negative errno.
    pub fn take_end(&self) -> Option<i32> {
        let mut arrived = self.0.arrived.borrow_mut();
        if arrived.first.is_some() { None } else { arrived.end.take() }
    }

    /// Whether nothing is in it, and the kernel adds nothing.
    pub fn is_idle(&self) -> bool {
        let arrived = self.0.arrived.borrow();
        !self.0.is_armed() && arrived.first.is_none() && arrived.end.is_none()
    }
}

impl MultishotState {
    /// Whether the kernel adds to it.
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

    /// Nothing comes after this.
    pub(crate) fn end(&self, result: i32) {
        self.arrived.borrow_mut().end = Some(result);
    }

    /// More has arrived than a reader should be ahead.
    pub(crate) fn is_full(&self) -> bool {
        self.arrived.borrow().others.len() + 1 >= BUFFERS_MAX
    }

    /// The result for an operation that waits, if there is one: the length of what it may take, or the end.
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
