//! A function on a stack of its own, over corosensei, which holds the assembly.
//!
//! Protocol: the owner resumes, `main` suspends, in turns, on one OS thread, until `main` returns. Two
//! invariants of the runtime are kept here:
//! - **A suspended coroutine is never dropped.** Its frames may own memory that the kernel is writing into.
//!   So a drop aborts the process; corosensei's own drop, which unwinds the frames by force, is never
//!   reached.
//! - **Nothing unwinds out of `main`.** A panic belongs to whoever joins, on another stack, so it has to be
//!   caught inside and carried there. One that escapes aborts the process.

use std::fmt;
use std::mem::{self, ManuallyDrop};

use corosensei::Yielder;

use crate::last_words::fatal;
use crate::stack::{Lent, Stack};

/// A `main` larger than this, in bytes, or aligned to more, goes to the heap: on the stack it would take the
/// first page, or all.
const MAIN_BYTES_MAX: usize = 512;

/// A function that runs on its own stack, and can be left and entered again.
///
/// ```text
///            resume              suspend
///  created ─────────> running ────────────> suspended
///     │                 │  ^                   │   │
///     │ drop            │  └───── resume ──────┘   │ drop: aborts the process
///     │                 │ main returns
///     v                 v
///   gone             finished ── into_stack ──> gone
/// ```
///
/// It stays on the OS thread that made it:
/// ```compile_fail,E0277
/// fn send<T: Send>() {}
/// send::<sward_coroutine::Coroutine>();
/// ```
pub struct Coroutine {
    inner: ManuallyDrop<corosensei::Coroutine<(), (), (), Stack>>,
}

impl Coroutine {
    /// A coroutine that will run `main` on `stack`, from the first [`Coroutine::resume`] on.
    ///
    /// # Safety
    /// - What `main` borrows lives until `main` has returned, or the coroutine is dropped before its first
    ///   resume.
    /// - `main` does not unwind: it catches panics inside. (One that escapes aborts the process.)
    pub unsafe fn new<F: FnOnce(&Suspender)>(stack: Stack, main: F) -> Coroutine {
        if mem::size_of::<F>() > MAIN_BYTES_MAX || mem::align_of::<F>() > MAIN_BYTES_MAX {
            let main = Box::new(main);
            // SAFETY: the same promise by our caller.
            unsafe { Coroutine::with_small_main(stack, move |suspender: &Suspender| main(suspender)) }
        } else {
            // SAFETY: the same promise by our caller.
            unsafe { Coroutine::with_small_main(stack, main) }
        }
    }

    /// # Safety
    /// As for [`Coroutine::new`].
    unsafe fn with_small_main<F: FnOnce(&Suspender)>(stack: Stack, main: F) -> Coroutine {
        let guarded_main = move |yielder: &Yielder<(), ()>, ()| {
            let abort_on_unwind = AbortOnUnwind;
            main(Suspender::from_yielder(yielder));
            mem::forget(abort_on_unwind);
        };
        // SAFETY: the caller vouches for what `main` borrows.
        let inner = unsafe { corosensei::Coroutine::with_stack_unchecked(stack, guarded_main) };
        Coroutine { inner: ManuallyDrop::new(inner) }
    }

    /// Runs `main` until it suspends (gives `false`) or returns (gives `true`). The one place where execution
    /// switches to another stack.
    ///
    /// # Panics
    /// It is finished already.
    #[inline]
    pub fn resume(&mut self) -> bool {
        self.inner.resume(()).as_return().is_some()
    }

    /// Whether `main` has returned.
    #[inline]
    pub fn is_finished(&self) -> bool {
        self.inner.done()
    }

    /// Gives back the stack of a finished coroutine.
    ///
    /// # Panics
    /// It is not finished. (When it is suspended, that panic finds it dropped, which aborts.)
    #[inline]
    pub fn into_stack(self) -> Stack {
        assert!(self.is_finished(), "a coroutine gives its stack back only after its end");
        self.into_inner().into_stack()
    }

    fn into_inner(self) -> corosensei::Coroutine<(), (), (), Stack> {
        let mut this = ManuallyDrop::new(self);
        // SAFETY: taken once: `this` is neither used nor dropped after this.
        unsafe { ManuallyDrop::take(&mut this.inner) }
    }
}

impl Drop for Coroutine {
    fn drop(&mut self) {
        if self.inner.started() && !self.inner.done() {
            fatal(format_args!("a suspended green thread was dropped"));
        }
        // SAFETY: dropped once, here. It never started, or is finished: no frame is on the stack.
        unsafe { ManuallyDrop::drop(&mut self.inner) }
    }
}

impl fmt::Debug for Coroutine {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match (self.inner.started(), self.inner.done()) {
            (false, _) => "created",
            (true, false) => "suspended",
            (true, true) => "finished",
        };
        formatter.debug_tuple("Coroutine").field(&state).finish()
    }
}

/// The way back: what `main` leaves its stack by. It lies at the base of the stack, so its address does not
/// change as long as `main` runs.
#[repr(transparent)]
pub struct Suspender {
    yielder: Yielder<(), ()>,
}

impl Suspender {
    /// Switches back to whoever resumed the coroutine. Returns when it is resumed again.
    #[inline]
    pub fn suspend(&self) {
        self.yielder.suspend(());
    }

    fn from_yielder(yielder: &Yielder<(), ()>) -> &Suspender {
        // SAFETY: `Suspender` is a transparent wrapper of it, and the lifetime is kept.
        unsafe { &*std::ptr::from_ref(yielder).cast::<Suspender>() }
    }
}

impl fmt::Debug for Suspender {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Suspender")
    }
}

/// Runs `f` on `stack` instead of the caller's, and returns what it returns. A panic goes through. For what needs more stack than
/// the caller can be expected to have.
pub fn on_stack<R>(stack: &mut Stack, f: impl FnOnce() -> R) -> R {
    corosensei::on_stack(Lent(stack), f)
}

/// Lies in the lowest frame of a coroutine while `main` runs.
struct AbortOnUnwind;

impl Drop for AbortOnUnwind {
    fn drop(&mut self) {
        fatal(format_args!("a panic escaped from a green thread"));
    }
}
