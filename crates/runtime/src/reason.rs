//! What a parked thread waits for, so that dumps and deadlock reports can say it.
//!
//! A wait is wrapped in [`because`]. The reason lies in the frame of the waiting thread, and only its worker reads it, while the thread
//! is suspended. It costs nothing except at the moment of parking. OS threads report theirs through [`hooks`](super::hooks).

use std::cell::Cell;
use std::panic::Location;
use std::ptr;
use std::sync::Arc;

use super::hooks::hooks;
use super::scope_data::ScopeData;
use super::task::Task;
use super::worker::Worker;

/// What a thread waits for, and where in the user's code.
pub struct Reason<'a> {
    pub what: What<'a>,
    pub at: &'static Location<'static>,
}

/// What can be waited for, with the address that tells one from another.
#[derive(Clone, Copy)]
pub enum What<'a> {
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
pub fn because<T>(what: What<'_>, at: &'static Location<'static>, wait: impl FnOnce() -> T) -> T {
    let reason = Reason { what, at };
    let told = reason.tell();
    let _entered = if told.is_none() { OsWait::begin(&reason) } else { None };
    wait()
}

impl<'a> Reason<'a> {
    /// As [`because`], until the guard is dropped: for where each call between the waiting function and the switch counts.
    #[inline(always)]
    pub fn tell(&'a self) -> Option<Told<'a>> {
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
pub struct Told<'a>(&'a Cell<*const Reason<'static>>);

impl Drop for Told<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        self.0.set(ptr::null());
    }
}

/// As long as it lives, the wait of an OS thread is known to the diagnosis.
struct OsWait(u64);

impl OsWait {
    fn begin(reason: &Reason<'_>) -> Option<OsWait> {
        if Worker::is_here() {
            return None;
        }
        (hooks()?.os_thread_waits)(reason).map(OsWait)
    }
}

impl Drop for OsWait {
    fn drop(&mut self) {
        if let Some(hooks) = hooks() {
            (hooks.os_thread_has_waited)(self.0);
        }
    }
}
