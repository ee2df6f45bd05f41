//! The slot that a message lies in while one thread hands it to another: an `Option` in the frame of a waiting thread, or in
//! a box if a select waits, which does not know the message's type.
//!
//! Below [`Sender`](super::Sender) and [`Receiver`](super::Receiver) no function takes or returns a message: [`move_message`]
//! moves it from one slot to the next. Passed by value, a large message would be copied in every frame on its way, and an
//! unoptimized build needs the stack for all those copies at once.

use std::ptr::{self, NonNull};

/// The slot of an entry in a list of waiters. It is read and written under the channel's lock only.
pub(super) enum MessageSlot<T> {
    /// In the frame of the entry's owner.
    Frame(NonNull<Option<T>>),
    Boxed(Box<Option<T>>),
    /// The owner has left; its entry stays for the sender that promised it a message.
    Abandoned,
}

// SAFETY: it leads to a message and to nothing else; to send the slot is to send the message (`T: Send`).
unsafe impl<T: Send> Send for MessageSlot<T> {}

impl<T> MessageSlot<T> {
    /// Returns a slot in the caller's frame.
    ///
    /// # Safety
    /// Until the slot is dropped or replaced, `message` stays where it is and is used in no other way.
    pub(super) unsafe fn in_frame(message: &mut Option<T>) -> MessageSlot<T> {
        MessageSlot::Frame(NonNull::from(message))
    }

    /// Returns what lies in the slot.
    ///
    /// # Panics
    /// If the owner has left.
    #[inline(always)]
    pub(super) fn message(&mut self) -> &mut Option<T> {
        match self {
            // SAFETY: the contract of `in_frame`: the message stays there, and nothing else uses it.
            MessageSlot::Frame(message) => unsafe { message.as_mut() },
            MessageSlot::Boxed(message) => message,
            MessageSlot::Abandoned => unreachable!("an abandoned entry receives no message"),
        }
    }
}

/// Moves what is in `from` into `to`, which is empty.
#[inline]
pub(super) fn move_message<T>(from: &mut Option<T>, to: &mut Option<T>) {
    debug_assert!(to.is_none(), "a slot holds one message");
    // SAFETY: they are two slots, and both may be written. What was in `from` is in `to` only when this is over. (`mem::swap`
    // would write a large message twice, `Option::take` needs room for several in an unoptimized build.)
    unsafe {
        ptr::copy_nonoverlapping(from, to, 1);
        ptr::write(from, None);
    }
}

/// Returns an empty slot on the heap. It allocates, so not under a lock.
pub(super) fn empty_box<T>() -> Box<Option<T>> {
    let mut slot = Box::<Option<T>>::new_uninit();
    // SAFETY: it is written before it counts as initialized. (`Box::new` would copy a large message's room.)
    unsafe {
        slot.as_mut_ptr().write(None);
        slot.assume_init()
    }
}
