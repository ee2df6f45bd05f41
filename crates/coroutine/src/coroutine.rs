//! A function on a stack of its own. The assembly is corosensei's.
//!
//! Protocol: the owner resumes, `main` suspends, in turns, on one OS thread, until `main` returns. Two
//! invariants of the runtime are kept here:
//! - **A suspended coroutine is never dropped.** The kernel may be writing into its frames. So dropping one aborts the process;
//!   corosensei's own drop, which unwinds the frames by force, is never reached.
//! - **Nothing unwinds out of `main`.** Its caller is on another stack, so `main` must catch its panics and hand them over as values.
//!   A panic that escapes aborts the process.

use std::fmt;
use std::mem::{self, ManuallyDrop};

use corosensei::Yielder;

use crate::fatal::fatal;
use crate::stack::{BorrowedStack, Stack};

/// A `main` larger than this, in bytes, or aligned to more, goes to the heap: it would take up the stack's first page, or all of it.
const MAIN_BYTES_MAX: usize = 512;

/// A function that runs on its own stack, and can be suspended and resumed.
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
    /// Creates a coroutine that runs `main` on `stack`, from the first [`Coroutine::resume`] on. If `main` unwinds, the process aborts.
    ///
    /// # Safety
    /// What `main` borrows must live until `main` has returned, or until the coroutine is dropped before its first resume.
    pub unsafe fn new<F: FnOnce(&Suspender)>(stack: Stack, main: F) -> Coroutine {
        if mem::size_of::<F>() > MAIN_BYTES_MAX || mem::align_of::<F>() > MAIN_BYTES_MAX {
            let main = Box::new(main);
            // SAFETY: what `main` borrows lives long enough, by the contract of this function; moving it to the heap changes nothing.
            unsafe { Coroutine::with_small_main(stack, move |suspender: &Suspender| main(suspender)) }
        } else {
            // SAFETY: what `main` borrows lives long enough, by the contract of this function.
            unsafe { Coroutine::with_small_main(stack, main) }
        }
    }

    /// # Safety
    /// That of [`Coroutine::new`].
    unsafe fn with_small_main<F: FnOnce(&Suspender)>(stack: Stack, main: F) -> Coroutine {
        let guarded_main = move |yielder: &Yielder<(), ()>, ()| {
            let abort_on_unwind = AbortOnUnwind;
            main(Suspender::from_yielder(yielder));
            mem::forget(abort_on_unwind);
        };
        // SAFETY: what `main` borrows lives long enough, by the contract of this function.
        let inner = unsafe { corosensei::Coroutine::with_stack_unchecked(stack, guarded_main) };
        Coroutine { inner: ManuallyDrop::new(inner) }
    }

    /// Runs `main` until it suspends or returns. Returns whether it returned. This is the one place where execution switches to another
    /// stack.
    ///
    /// # Panics
    /// If `main` has returned before.
    #[inline]
    pub fn resume(&mut self) -> bool {
        self.inner.resume(()).as_return().is_some()
    }

    /// Returns whether `main` has returned.
    #[inline]
    pub fn is_finished(&self) -> bool {
        self.inner.done()
    }

    /// Returns the stack of a finished coroutine.
    ///
    /// # Panics
    /// If `main` has not started. If it is suspended, the panic drops the coroutine, which aborts the process.
    #[inline]
    pub fn into_stack(self) -> Stack {
        assert!(self.is_finished(), "only a finished coroutine gives up its stack");
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

/// Suspends the coroutine that runs. It lies at the base of the coroutine's stack, so its address stays the same as long as `main` runs.
#[repr(transparent)]
pub struct Suspender {
    yielder: Yielder<(), ()>,
}

impl Suspender {
    /// Switches back to the caller of [`Coroutine::resume`]. Returns when the coroutine is resumed again.
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

/// Calls `f` on `stack` instead of the caller's stack and returns its result. For calls that need more stack than the caller may have.
///
/// # Panics
/// If `f` panics.
pub fn on_stack<R>(stack: &mut Stack, f: impl FnOnce() -> R) -> R {
    corosensei::on_stack(BorrowedStack(stack), f)
}

/// Aborts the process when it is dropped. It lies in the first frame of a coroutine while `main` runs.
struct AbortOnUnwind;

impl Drop for AbortOnUnwind {
    fn drop(&mut self) {
        fatal(format_args!("a panic escaped from a green thread"));
    }
}
