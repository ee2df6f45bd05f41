//! The lock inside [`Mutex`](super::Mutex) and [`ReentrantMutex`](super::ReentrantMutex): one word, without
//! data and poison.
//!
//! ```text
//!   FREE        nobody holds it; if threads wait, one that is awake will wake them
//!   HELD        held, nobody waits
//!   CONTENDED   held, and somebody may wait: unlocking unparks the first
//!   RESERVED    free, but only for a waiter that was unparked and found that others had been quicker
//!
//!          lock                     somebody waits
//!   FREE ────────▶ HELD ─────────────────────────────▶ CONTENDED ◀──────────────┐
//!     ▲             │ unlock                               │ unlock             │ lock, by one who has waited
//!     ├─────────────┘                                      │                    │
//!     ├──── nobody waits, or the first has not lost yet ───┴─ the first has ─▶ RESERVED
//! ```
//!
//! Barging is allowed, since it keeps the lock busy: a newcomer may take a lock whose next owner has yet
//! to wake up. Alone it would starve others (with cooperative threads even reliably: a thread that holds the
//! lock whenever it suspends would always be quicker), so a waiter that has lost once gets the lock reserved.
//!
//! It is *reserved* and not *handed over*: a lock that is never held across a blocking call is then never found in the hands of a
//! suspended thread.

use std::panic::Location;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use super::parking_lot::{self, ParkResult, QueueEnd};
use crate::diagnosis::holds;
use crate::primitive::{AtomicU32, spin_loop};
use crate::runtime::reason::{What, because};

const FREE: u32 = 0;
const HELD: u32 = 1;
const CONTENDED: u32 = 2;
const RESERVED: u32 = 3;

/// The kinds of waiters: not unparked yet, and unparked but too late.
const PATIENT: u32 = 0;
const OVERDUE: u32 = 1;

/// How often a thread looks again before it waits, when the holder may be running on another core.
const SPINS: u32 = 40;

/// See the head of this file.
pub(super) struct RawMutex {
    state: AtomicU32,
}

impl RawMutex {
    pub(super) const fn new() -> RawMutex {
        RawMutex { state: AtomicU32::new(FREE) }
    }

    #[inline]
    #[track_caller]
    pub(super) fn try_lock(&self) -> bool {
        let taken = self.state.compare_exchange(FREE, HELD, Acquire, Relaxed).is_ok();
        if taken {
            holds::taken(self.address(), Location::caller());
        }
        taken
    }

    /// A cancellation point if it has to wait. `kind` says in reports what the thread waits for.
    #[inline]
    #[track_caller]
    pub(super) fn lock(&self, kind: &'static str) {
        if !self.try_lock() {
            self.lock_contended(kind, Location::caller());
        }
    }

    /// By the holder only.
    #[inline]
    pub(super) fn unlock(&self) {
        holds::released(self.address());
        if self.state.compare_exchange(HELD, FREE, Release, Relaxed).is_err() {
            self.unlock_contended();
        }
    }

    #[cold]
    fn lock_contended(&self, what: &'static str, at: &'static Location<'static>) {
        let mut state = self.spin();
        // What holding it looks like for us: once we have waited, others may wait still.
        let mut held = HELD;
        let mut is_unparked = false;
        let mut kind = PATIENT;
        loop {
            let may_take = match state {
                FREE => true,
                RESERVED => is_unparked && kind == OVERDUE,
                _ => false,
            };
            if may_take {
                let taken = if state == RESERVED { CONTENDED } else { held };
                match self.state.compare_exchange_weak(state, taken, Acquire, Relaxed) {
                    Ok(_) => return holds::taken(self.address(), at),
                    Err(actual) => state = actual,
                }
                continue;
            }
            if state == HELD {
                if let Err(actual) = self.state.compare_exchange_weak(HELD, CONTENDED, Relaxed, Relaxed) {
                    state = actual;
                    continue;
                }
                state = CONTENDED;
            }
            if is_unparked {
                kind = OVERDUE;
            }
            let end = if kind == OVERDUE { QueueEnd::Front } else { QueueEnd::Back };
            let must_wait = || self.state.load(Relaxed) == state;
            let waited = because(What::Held(what, self.address()), at, || {
                parking_lot::park(self.address(), kind, end, None, must_wait, || ())
            });
            if waited == ParkResult::Unparked {
                is_unparked = true;
                held = CONTENDED;
            }
            state = self.state.load(Relaxed);
        }
    }

    /// Spins a moment for a holder that runs on another core, then returns the state.
    fn spin(&self) -> u32 {
        let mut state = self.state.load(Relaxed);
        if crate::worker_count() == Some(1) {
            return state;
        }
        for _ in 0..SPINS {
            if state != HELD {
                break;
            }
            spin_loop();
            state = self.state.load(Relaxed);
        }
        state
    }

    #[cold]
    fn unlock_contended(&self) {
        parking_lot::with_waiters(self.address(), |waiters| {
            let next = if waiters.first() == Some(OVERDUE) { RESERVED } else { FREE };
            self.state.store(next, Release);
            waiters.unpark_one();
        });
    }

    fn address(&self) -> usize {
        (&raw const self.state).addr()
    }
}
