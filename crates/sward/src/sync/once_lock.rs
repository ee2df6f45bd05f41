//! `std::sync::OnceLock`, green: a [`Once`] and the value.

use std::cell::UnsafeCell;
use std::fmt;
use std::mem::MaybeUninit;
use std::panic::{RefUnwindSafe, UnwindSafe};

use super::Once;

/// A value that is written once: [`std::sync::OnceLock`].
pub struct OnceLock<T> {
    /// Complete: `value` is initialized, and stays so until `&mut self`.
    once: Once,
    value: UnsafeCell<MaybeUninit<T>>,
}

// SAFETY: one thread writes, by `Once`, and others read `&T` afterwards (`T: Sync`); the value may have been
// made on another thread than that which takes or drops it (`T: Send`).
unsafe impl<T: Sync + Send> Sync for OnceLock<T> {}
impl<T: UnwindSafe> UnwindSafe for OnceLock<T> {}
impl<T: RefUnwindSafe + UnwindSafe> RefUnwindSafe for OnceLock<T> {}

impl<T> OnceLock<T> {
    /// An empty cell.
    pub const fn new() -> OnceLock<T> {
        OnceLock { once: Once::new(), value: UnsafeCell::new(MaybeUninit::uninit()) }
    }

    /// The value, if it has been written. Never waits.
    #[inline]
    pub fn get(&self) -> Option<&T> {
        if self.once.is_completed() {
            // SAFETY: complete means initialized, and nobody has `&mut` while we have `&self`.
            Some(unsafe { (*self.value.get()).assume_init_ref() })
        } else {
            None
        }
    }

    /// The value, if it has been written.
    pub fn get_mut(&mut self) -> Option<&mut T> {
        if self.once.is_completed() {
            // SAFETY: complete means initialized.
            Some(unsafe { self.value.get_mut().assume_init_mut() })
        } else {
            None
        }
    }

    /// The value, as soon as it has been written. A cancellation point if it has to wait.
    pub fn wait(&self) -> &T {
        self.once.wait_force();
        self.get().expect("the initialization is complete")
    }

    /// Writes the value. A cancellation point if another thread is writing.
    ///
    /// # Errors
    /// `value`, if there is one already.
    pub fn set(&self, value: T) -> Result<(), T> {
        let mut value = Some(value);
        self.get_or_init(|| value.take().expect("an initialization runs once"));
        value.map_or(Ok(()), Err)
    }

    /// The value; `f` makes it if there is none. Waits if another thread is making it, and is a cancellation
    /// point then.
    ///
    /// If `f` panics or is cancelled, there is no value yet, and the next caller's `f` runs.
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
            unsafe { (*self.value.get()).write(value) };
        });
        self.get().expect("the initialization is complete")
    }

    /// Takes the value out; the cell is empty again.
    pub fn take(&mut self) -> Option<T> {
        if !self.once.is_completed() {
            return None;
        }
        self.once = Once::new();
        // SAFETY: it was complete, so the value is initialized; it is not any more, so this is its only
        // reader.
        Some(unsafe { self.value.get_mut().assume_init_read() })
    }

    /// The value, if it has been written.
    pub fn into_inner(mut self) -> Option<T> {
        self.take()
    }
}

impl<T> Drop for OnceLock<T> {
    fn drop(&mut self) {
        drop(self.take());
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
        OnceLock { once: Once::completed(), value: UnsafeCell::new(MaybeUninit::new(value)) }
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
