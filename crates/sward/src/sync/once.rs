//! `std::sync::Once`, green.
//!
//! ```text
//!                call               returns
//!   INCOMPLETE ────────▶ RUNNING ───────────────▶ COMPLETE
//!        ▲                │   │
//!        └─ is cancelled ─┘   └─ panics ─▶ POISONED ── call_once_force ─▶ RUNNING
//! ```
//!
//! The end of each run, which happens once or twice in the life of a program, looks for waiters in the parking lot.
//! So no bit says that there are any.

use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;
use std::panic::{Location, RefUnwindSafe, UnwindSafe};
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use super::parking_lot::{self, QueueEnd};
use crate::primitive::AtomicU32;
use crate::runtime::reason::{What, because};
use crate::runtime::unwinding::is_interrupted;

const INCOMPLETE: u32 = 0;
const POISONED: u32 = 1;
const RUNNING: u32 = 2;
const COMPLETE: u32 = 3;

/// Runs something once: [`std::sync::Once`].
///
/// An initialization that is [cancelled](crate::thread::JoinHandle::cancel) has not happened, and does not poison: the next caller
/// runs its own, from the beginning. One that blocks after it has begun to change something [shields](crate::thread::shield) that, or
/// undoes it in a destructor. See [what a lock protects](super#cancel-and-what-a-lock-protects).
pub struct Once {
    state: AtomicU32,
}

impl UnwindSafe for Once {}
impl RefUnwindSafe for Once {}

/// A [`Once`] that has not run.
#[allow(clippy::declare_interior_mutable_const, reason = "std's is one, too: it is there to make statics of")]
#[deprecated(note = "replaced by `Once::new`, as in std")]
pub const ONCE_INIT: Once = Once::new();

/// What [`Once::call_once_force`] tells its closure: [`std::sync::OnceState`].
pub struct OnceState {
    poisoned: bool,
    /// As in std: it stays with the thread that runs the closure.
    not_sync: PhantomData<Cell<()>>,
}

impl OnceState {
    /// Returns whether an earlier initialization has panicked.
    pub fn is_poisoned(&self) -> bool {
        self.poisoned
    }
}

impl fmt::Debug for OnceState {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("OnceState").field("poisoned", &self.poisoned).finish()
    }
}

impl Once {
    /// Creates a `Once` that has not run.
    pub const fn new() -> Once {
        Once { state: AtomicU32::new(INCOMPLETE) }
    }

    /// Creates a `Once` that has run.
    pub(super) fn completed() -> Once {
        Once { state: AtomicU32::new(COMPLETE) }
    }

    /// Runs `f` if nothing has run yet. Returns when an initialization is complete, in whichever thread it ran.
    ///
    /// # Panics
    /// If an earlier initialization has panicked.
    ///
    /// # Cancellation
    /// This is a [cancellation point](crate::thread::JoinHandle::cancel) if it waits for another's.
    #[inline]
    #[track_caller]
    pub fn call_once<F>(&self, f: F)
    where
        F: FnOnce(),
    {
        if !self.is_completed() {
            self.call(false, |_| f());
        }
    }

    /// Runs `f` as [`call_once`](Once::call_once) does, but also if an earlier initialization has panicked.
    ///
    /// # Cancellation
    /// This is a [cancellation point](crate::thread::JoinHandle::cancel) if it waits for another's.
    #[inline]
    #[track_caller]
    pub fn call_once_force<F>(&self, f: F)
    where
        F: FnOnce(&OnceState),
    {
        if !self.is_completed() {
            self.call(true, f);
        }
    }

    /// Returns whether an initialization is complete.
    #[inline]
    pub fn is_completed(&self) -> bool {
        self.state.load(Acquire) == COMPLETE
    }

    /// Waits until an initialization is complete.
    ///
    /// # Panics
    /// If an initialization has panicked.
    ///
    /// # Cancellation
    /// This is a [cancellation point](crate::thread::JoinHandle::cancel) if it has to wait.
    #[track_caller]
    pub fn wait(&self) {
        self.wait_for(|state| {
            assert!(state != POISONED, "Once instance has previously been poisoned");
        });
    }

    /// Waits until an initialization is complete, ignoring those that panicked.
    ///
    /// # Cancellation
    /// This is a [cancellation point](crate::thread::JoinHandle::cancel) if it has to wait.
    #[track_caller]
    pub fn wait_force(&self) {
        self.wait_for(|_| ());
    }

    fn wait_for(&self, look: impl Fn(u32)) {
        loop {
            let state = self.state.load(Acquire);
            look(state);
            if state == COMPLETE {
                return;
            }
            // Woken by the end of whatever runs, now or later.
            self.wait_while(|now| now == state);
        }
    }

    #[cold]
    #[track_caller]
    fn call(&self, force: bool, f: impl FnOnce(&OnceState)) {
        let mut state = self.state.load(Acquire);
        loop {
            match state {
                COMPLETE => return,
                POISONED if !force => panic!("Once instance has previously been poisoned"),
                INCOMPLETE | POISONED => {
                    if let Err(actual) = self.state.compare_exchange_weak(state, RUNNING, Acquire, Acquire) {
                        state = actual;
                        continue;
                    }
                    let mut running = Running { once: self, next: None };
                    f(&OnceState { poisoned: state == POISONED, not_sync: PhantomData });
                    running.next = Some(COMPLETE);
                    return;
                }
                _ => {
                    self.wait_while(|state| state == RUNNING);
                    state = self.state.load(Acquire);
                }
            }
        }
    }

    /// Blocks until the state has changed, if it is such as `same` says.
    #[track_caller]
    fn wait_while(&self, same: impl Fn(u32) -> bool) {
        let must_wait = || same(self.state.load(Relaxed));
        because(What::Object("the Once", self.address()), Location::caller(), || {
            parking_lot::park(self.address(), 0, QueueEnd::Back, None, must_wait, || ());
        });
    }

    fn address(&self) -> usize {
        (&raw const self.state).addr()
    }
}

/// The initialization runs. Dropping it, on any way out, lets the others go on.
struct Running<'a> {
    once: &'a Once,
    /// Known once the closure has returned.
    next: Option<u32>,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let next = self.next.unwrap_or_else(|| if is_interrupted() { INCOMPLETE } else { POISONED });
        parking_lot::with_waiters(self.once.address(), |waiters| {
            self.once.state.store(next, Release);
            while waiters.unpark_one() {}
        });
    }
}

impl Default for Once {
    fn default() -> Self {
        Once::new()
    }
}

impl fmt::Debug for Once {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Once").finish_non_exhaustive()
    }
}
