//! What a parked thread waits for, so that dumps and deadlock reports can say it.
//!
//! Whoever parks wraps its wait in [`because`]. The reason lies in the frame of the waiting thread; its worker, and nobody else,
//! looks at it while the thread is suspended. It costs nothing but at the moment of parking. OS threads say it in `diagnosis/outside.rs`.

use std::cell::Cell;
use std::panic::Location;
use std::ptr;
use std::sync::Arc;

use super::scope_data::ScopeData;
use super::task::Task;
use super::worker::Worker;
use crate::diagnosis::outside;

/// What a thread waits for, and where in the user's code.
pub(crate) struct Reason<'a> {
    pub(crate) what: What<'a>,
    pub(crate) at: &'static Location<'static>,
}

/// What can be waited for, with the address that tells one from another.
#[derive(Clone, Copy)]
pub(crate) enum What<'a> {
    /// The end of a thread.
    End(&'a Arc<Task>),
    /// The same, for a time only.
    EndOrTime(&'a Arc<Task>),
    /// The end of all threads of a scope.
    Scope(&'a ScopeData),
    /// Something that threads hold and only its holders can let go, such as `"the Mutex"`: see `diagnosis/holds.rs`.
    Held(&'static str, usize),
    /// Anything that anybody can make happen, such as `"the Condvar"`.
    Object(&'static str, usize),
}

/// Runs `wait`, which parks the calling thread for this reason. Inside another `because`, the outer one is what the user called, and
/// stays.
#[inline]
pub(crate) fn because<T>(what: What<'_>, at: &'static Location<'static>, wait: impl FnOnce() -> T) -> T {
    let reason = Reason { what, at };
    let told = reason.tell();
    let _entered = if told.is_none() { outside::enter(&reason) } else { None };
    wait()
}

impl<'a> Reason<'a> {
    /// As [`because`], until the guard is dropped: for where each call between the waiting function and the switch counts.
    #[inline(always)]
    pub(crate) fn tell(&'a self) -> Option<Told<'a>> {
        // SAFETY: used in this frame and in its guard's, which are the calling green thread's.
        let (_, task) = unsafe { Worker::current() }?;
        // SAFETY: it is the calling thread's own task.
        let place = &unsafe { task.local() }.reason;
        place.get().is_null().then(|| {
            place.set(ptr::from_ref(self).cast());
            Told(place)
        })
    }
}

/// As long as it lives, the thread's reason is told. It borrows the reason, and is not leaked.
pub(crate) struct Told<'a>(&'a Cell<*const Reason<'static>>);

impl Drop for Told<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        self.0.set(ptr::null());
    }
}
