//! `std::sync::OnceLock`, green: a [`Once`] and the value.
//!
//! It has no `Drop` of its own. A type that has one may not hold borrows of what is dropped before it, since its `Drop`
//! might look at them; std's promises not to (`may_dangle`, which is not stable), and a program may rely on that: `let
//! cell = OnceLock::new(); let text = String::new(); cell.set(&text)`. So the value lies in an `Option`, whose own drop
//! the compiler knows.

use std::cell::UnsafeCell;
use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};

use super::Once;

/// A value that is written once: [`std::sync::OnceLock`].
pub struct OnceLock<T> {
    /// Complete: `value` is there, and stays so until `&mut self`.
    once: Once,
    /// Until `once` is complete, only the closure that it runs touches this.
    value: UnsafeCell<Option<T>>,
}

// SAFETY: one thread writes, by `Once`, and others read `&T` afterwards (`T: Sync`); the value may have been
// made on another thread than that which takes or drops it (`T: Send`).
unsafe impl<T: Sync + Send> Sync for OnceLock<T> {}
impl<T: UnwindSafe> UnwindSafe for OnceLock<T> {}
impl<T: RefUnwindSafe + UnwindSafe> RefUnwindSafe for OnceLock<T> {}

impl<T> OnceLock<T> {
    /// An empty cell.
    pub const fn new() -> OnceLock<T> {
        OnceLock { once: Once::new(), value: UnsafeCell::new(None) }
    }

    /// The value, if it has been written. Never waits.
    #[inline]
    pub fn get(&self) -> Option<&T> {
        if self.once.is_completed() {
            // SAFETY: complete means that nobody writes any more, and nobody has `&mut` while we have `&self`.
            let value = unsafe { &*self.value.get() };
            debug_assert!(value.is_some(), "complete means that the value is there");
            // SAFETY: complete means that the value is there.
            Some(unsafe { value.as_ref().unwrap_unchecked() })
        } else {
            None
        }
    }

    /// The value, if it has been written.
    pub fn get_mut(&mut self) -> Option<&mut T> {
        self.value.get_mut().as_mut()
    }

    /// Waits until the value has been written, and returns it.
    ///
    /// # Cancellation
    /// This is a [cancellation point](crate::thread::JoinHandle::cancel) if it has to wait.
    pub fn wait(&self) -> &T {
        self.once.wait_force();
        self.get().expect("the initialization is complete")
    }

    /// Writes the value.
    ///
    /// # Errors
    /// `value`, if there is one already.
    ///
    /// # Cancellation
    /// This is a [cancellation point](crate::thread::JoinHandle::cancel) if another thread is writing.
    pub fn set(&self, value: T) -> Result<(), T> {
        let mut value = Some(value);
        self.get_or_init(|| value.take().expect("an initialization runs once"));
        value.map_or(Ok(()), Err)
    }

    /// The value; `f` makes it if there is none. Waits if another thread is making it, and is a cancellation
    /// point then.
    ///
    /// If `f` panics or is [cancelled](crate::thread::JoinHandle::cancel), there is no value yet, and the next caller's `f` runs. What `f`
    /// has changed elsewhere before it blocked stays changed, unless a destructor undoes it; or `f` [shields](crate::thread::shield)
    /// itself.
    #[inline]
    pub fn get_or_init<F>(&self, f: F) -> &T
    where
        F: FnOnce() -> T,
    {
        if let Some(value) = self.get() {
            return value;
        }
        self.once.call_once_force(|_| {
            let value = f();
            // SAFETY: `Once` lets one closure run at a time, and nobody reads before it is complete.
            unsafe { *self.value.get() = Some(value) };
        });
        self.get().expect("the initialization is complete")
    }

    /// Takes the value out; the cell is empty again.
    pub fn take(&mut self) -> Option<T> {
        self.once = Once::new();
        self.value.get_mut().take()
    }

    /// The value, if it has been written.
    pub fn into_inner(self) -> Option<T> {
        self.value.into_inner()
    }
}

impl<T> Default for OnceLock<T> {
    fn default() -> Self {
        OnceLock::new()
    }
}

impl<T: Clone> Clone for OnceLock<T> {
    fn clone(&self) -> Self {
        self.get().cloned().map_or_else(OnceLock::new, OnceLock::from)
    }
}

impl<T> From<T> for OnceLock<T> {
    fn from(value: T) -> Self {
        OnceLock { once: Once::completed(), value: UnsafeCell::new(Some(value)) }
    }
}

impl<T: PartialEq> PartialEq for OnceLock<T> {
    fn eq(&self, other: &Self) -> bool {
        self.get() == other.get()
    }
}

impl<T: Eq> Eq for OnceLock<T> {}

impl<T: fmt::Debug> fmt::Debug for OnceLock<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = formatter.debug_tuple("OnceLock");
        match self.get() {
            Some(value) => debug.field(value),
            None => debug.field(&format_args!("<uninit>")),
        };
        debug.finish()
    }
}
