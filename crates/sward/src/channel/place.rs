//! Where a message lies while one thread hands it to another: an `Option` in the frame of a thread that waits, or in a box
//! of its own if the one who waits is a select, which does not know the message's type.
//!
//! Below [`Sender`](super::Sender) and [`Receiver`](super::Receiver) no function takes or returns a message:
//! [`move_message`] brings it from one place to the next. Passed by value, a large message would be copied in every frame on its way,
//! and an unoptimized build needs the stack for all those copies at once.

use std::ptr::{self, NonNull};

/// A place that an entry in a line of waiters leads to. It is looked at under the channel's lock only.
pub(super) enum Place<T> {
    /// In the frame of the entry's owner.
    Frame(NonNull<Option<T>>),
    Own(Box<Option<T>>),
    /// The owner has left, and its entry stays for who made it a promise.
    Left,
}

// SAFETY: it leads to a message and to nothing else, and who has it may do with that what the message's owner may.
unsafe impl<T: Send> Send for Place<T> {}

impl<T> Place<T> {
    /// A place in the caller's frame.
    ///
    /// # Safety
    /// Until the place is dropped or replaced, `message` stays where it is and is used in no other way.
    pub(super) unsafe fn in_frame(message: &mut Option<T>) -> Place<T> {
        Place::Frame(NonNull::from(message))
    }

    /// What lies there.
    ///
    /// # Panics
    /// If the owner has left.
    #[inline(always)]
    pub(super) fn message(&mut self) -> &mut Option<T> {
        match self {
            // SAFETY: it stays there and nobody else uses it: the word of who called `in_frame`.
            Place::Frame(message) => unsafe { message.as_mut() },
            Place::Own(message) => message,
            Place::Left => unreachable!("who has left is given nothing"),
        }
    }
}

/// Moves what is in `from` into `to`, which is empty.
#[inline]
pub(super) fn move_message<T>(from: &mut Option<T>, to: &mut Option<T>) {
    debug_assert!(to.is_none(), "a place holds one message");
    // SAFETY: they are two places, and both may be written. What was in `from` is in `to` only when this is over. (`mem::swap`
    // would write a large message twice, `Option::take` needs room for several in an unoptimized build.)
    unsafe {
        ptr::copy_nonoverlapping(from, to, 1);
        ptr::write(from, None);
    }
}

/// An empty place on the heap. Not under a lock: it allocates.
pub(super) fn empty_box<T>() -> Box<Option<T>> {
    let mut place = Box::<Option<T>>::new_uninit();
    // SAFETY: it is written before it counts as initialized. (`Box::new` would copy a large message's room.)
    unsafe {
        place.as_mut_ptr().write(None);
        place.assume_init()
    }
}
