//! The messages that wait in a channel: a ring of slots that the first push makes, and that doubles when it is full.
//!
//! The thread that is about to push grows it, since nothing is allocated under the channel's lock: make a larger one with
//! [`Buffer::with_slots`], take the lock again, and let this one [move](Buffer::move_to) there. Dropping the old one, too,
//! is done after unlocking.

use std::mem::{ManuallyDrop, swap};

use super::message_slot::move_message;

/// How many slots the first growth makes.
const SLOTS_MIN: usize = 4;

/// A ring with more slots than this, and more bytes, is given back when it has become empty.
const SLOTS_KEPT: usize = 64;
const BYTES_KEPT: usize = 32 * 1024;

pub(super) struct Buffer<T> {
    /// Those that hold no message are `None`.
    slots: Box<[Option<T>]>,
    /// Where the oldest message lies.
    first: usize,
    len: usize,
}

impl<T> Buffer<T> {
    pub(super) fn new() -> Buffer<T> {
        Buffer { slots: Box::default(), first: 0, len: 0 }
    }

    /// With room for `count` messages.
    pub(super) fn with_slots(count: usize) -> Buffer<T> {
        let mut slots = Box::<[Option<T>]>::new_uninit_slice(count);
        for slot in &mut slots {
            // SAFETY: it may be written. (Passing it by value would copy a large message's room.)
            unsafe { slot.as_mut_ptr().write(None) };
        }
        // SAFETY: all of them have just been written.
        Buffer { slots: unsafe { slots.assume_init() }, first: 0, len: 0 }
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        self.len
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether a push needs no growth.
    #[inline]
    pub(super) fn has_slot(&self) -> bool {
        self.len < self.slots.len()
    }

    /// Whether it is empty and holds more memory than the next messages are likely to need.
    #[inline]
    fn is_surplus(&self) -> bool {
        self.len == 0 && self.slots.len() > SLOTS_KEPT && size_of_val(&*self.slots) > BYTES_KEPT
    }

    /// What a burst of messages has left, to be dropped after unlocking.
    #[inline]
    pub(super) fn take_surplus(&mut self) -> Option<Buffer<T>> {
        self.is_surplus().then(|| std::mem::replace(self, Buffer::new()))
    }

    /// How many slots it should have after the next growth.
    pub(super) fn slots_after_growth(&self) -> usize {
        (self.slots.len() * 2).max(SLOTS_MIN)
    }

    /// The slot that is `offset` behind the oldest message's.
    #[inline]
    fn slot(&mut self, offset: usize) -> &mut Option<T> {
        let index = self.first + offset;
        let count = self.slots.len();
        &mut self.slots[if index < count { index } else { index - count }]
    }

    /// Moves `message` behind all others. There must be a slot.
    #[inline]
    pub(super) fn push_back(&mut self, message: &mut Option<T>) {
        debug_assert!(self.has_slot(), "the buffer has grown before a push");
        move_message(message, self.slot(self.len));
        self.len += 1;
    }

    /// Moves `message` before all others. There must be a slot.
    pub(super) fn push_front(&mut self, message: &mut Option<T>) {
        debug_assert!(self.has_slot(), "the buffer has grown before a push");
        self.first = self.first.checked_sub(1).unwrap_or(self.slots.len() - 1);
        move_message(message, self.slot(0));
        self.len += 1;
    }

    /// Moves the oldest message into `into`, which is empty; false if there is none.
    #[inline]
    pub(super) fn pop_front(&mut self, into: &mut Option<T>) -> bool {
        if self.len == 0 {
            return false;
        }
        move_message(self.slot(0), into);
        self.first = if self.first + 1 < self.slots.len() { self.first + 1 } else { 0 };
        self.len -= 1;
        true
    }

    /// Goes on in `larger`, which is empty, and leaves its old slots there; nothing if `larger` is not large enough.
    pub(super) fn move_to(&mut self, larger: &mut Buffer<T>) {
        if larger.slots.len() <= self.slots.len() {
            return;
        }
        let (wrapped, oldest) = self.slots.split_at_mut(self.first);
        let (start, rest) = larger.slots.split_at_mut(oldest.len());
        start.swap_with_slice(oldest);
        rest[..wrapped.len()].swap_with_slice(wrapped);
        larger.len = std::mem::take(&mut self.len);
        self.first = 0;
        swap(self, larger);
    }

    /// Drops the messages in order. If a destructor panics, the rest of them leaks, as in crossbeam: a second panic while the first one
    /// unwinds would abort the process.
    pub(super) fn discard(self) {
        let mut rest = ManuallyDrop::new(self);
        for offset in 0..rest.len {
            *rest.slot(offset) = None;
        }
        drop(ManuallyDrop::into_inner(rest));
    }
}
