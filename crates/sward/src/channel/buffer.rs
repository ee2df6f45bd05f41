//! The messages that wait in a channel: a ring of places that the first push makes, and that doubles when it is full.
//!
//! It is grown by who is about to push, since nothing is allocated under the channel's lock: make a larger one with
//! [`Buffer::with_places`], take the lock again, and let this one [move](Buffer::move_to) there. Dropping the old one, too,
//! is done after unlocking.

use std::mem::{ManuallyDrop, swap};

use super::place::move_message;

/// How many places the first growth makes.
const PLACES_MIN: usize = 4;

/// A ring with more places than this, and more bytes, is given back when it has become empty.
const PLACES_KEPT: usize = 64;
const BYTES_KEPT: usize = 32 * 1024;

pub(super) struct Buffer<T> {
    /// Those that hold no message are `None`.
    places: Box<[Option<T>]>,
    /// Where the oldest message lies.
    first: usize,
    len: usize,
}

impl<T> Buffer<T> {
    pub(super) fn new() -> Buffer<T> {
        Buffer { places: Box::default(), first: 0, len: 0 }
    }

    /// With room for `count` messages.
    pub(super) fn with_places(count: usize) -> Buffer<T> {
        let mut places = Box::<[Option<T>]>::new_uninit_slice(count);
        for place in &mut places {
            // SAFETY: it may be written. (Passing it by value would copy a large message's room.)
            unsafe { place.as_mut_ptr().write(None) };
        }
        // SAFETY: all of them have just been written.
        Buffer { places: unsafe { places.assume_init() }, first: 0, len: 0 }
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
    pub(super) fn has_place(&self) -> bool {
        self.len < self.places.len()
    }

    /// Whether it is empty and holds more memory than the next messages are likely to need.
    #[inline]
    fn is_surplus(&self) -> bool {
        self.len == 0 && self.places.len() > PLACES_KEPT && size_of_val(&*self.places) > BYTES_KEPT
    }

    /// What a burst of messages has left, to be dropped after unlocking.
    #[inline]
    pub(super) fn take_surplus(&mut self) -> Option<Buffer<T>> {
        self.is_surplus().then(|| std::mem::replace(self, Buffer::new()))
    }

    /// How many places it should have after the next growth.
    pub(super) fn places_after_growth(&self) -> usize {
        (self.places.len() * 2).max(PLACES_MIN)
    }

    /// The place that is `offset` behind the oldest message's.
    #[inline]
    fn place(&mut self, offset: usize) -> &mut Option<T> {
        let index = self.first + offset;
        let count = self.places.len();
        &mut self.places[if index < count { index } else { index - count }]
    }

    /// Moves `message` behind all others. There must be a place.
    #[inline]
    pub(super) fn push_back(&mut self, message: &mut Option<T>) {
        debug_assert!(self.has_place(), "who pushes has grown it");
        move_message(message, self.place(self.len));
        self.len += 1;
    }

    /// Moves `message` before all others. There must be a place.
    pub(super) fn push_front(&mut self, message: &mut Option<T>) {
        debug_assert!(self.has_place(), "who pushes has grown it");
        self.first = self.first.checked_sub(1).unwrap_or(self.places.len() - 1);
        move_message(message, self.place(0));
        self.len += 1;
    }

    /// Moves the oldest message into `into`, which is empty; false if there is none.
    #[inline]
    pub(super) fn pop_front(&mut self, into: &mut Option<T>) -> bool {
        if self.len == 0 {
            return false;
        }
        move_message(self.place(0), into);
        self.first = if self.first + 1 < self.places.len() { self.first + 1 } else { 0 };
        self.len -= 1;
        true
    }

    /// Goes on in `larger`, which is empty, and leaves its old places there; nothing if `larger` is not large enough.
    pub(super) fn move_to(&mut self, larger: &mut Buffer<T>) {
        if larger.places.len() <= self.places.len() {
            return;
        }
        let (wrapped, oldest) = self.places.split_at_mut(self.first);
        let (start, rest) = larger.places.split_at_mut(oldest.len());
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
            *rest.place(offset) = None;
        }
        drop(ManuallyDrop::into_inner(rest));
    }
}
