//! The word on which a thread waits for *another thread*: join, `park`, and everything that holds up an OS thread.
//!
//! ```text
//!  bit PARKED     suspended; whoever clears the bit schedules the thread           (green threads)
//!  bit BLOCKED    its OS thread sleeps; whoever clears the bit wakes the futex     (OS threads, and while unwinding)
//!  bit USER       beside one of these two: it waits in `thread::park`, so a token ends the wait, too
//!  bit NOTIFIED   somebody has called `unpark` while the thread did not wait: its next park returns at once
//!  bit TOKEN      the token of `thread::park` and `Thread::unpark`, which is the user's, not ours
//!  bit CANCEL     sticky: the next blocking call unwinds
//!
//!             park: NOTIFIED is clear                   unpark: clears PARKED, schedules
//!   running ─────────────────────────▶ PARKED ───────────────────────────────────────────▶ running
//!      └── unpark: sets NOTIFIED
//! ```
//!
//! A hand-over costs two locked instructions: one to park, one to unpark. Under a model checker: `models/tests/loom.rs`.

use crate::primitive::{AtomicU32, Ordering};

const NOTIFIED: u32 = 1;
const PARKED: u32 = 2;
const BLOCKED: u32 = 4;
const TOKEN: u32 = 8;
const CANCEL: u32 = 16;
const USER: u32 = 32;

/// The word; the module documentation lists its bits.
pub struct WakeWord {
    state: AtomicU32,
}

/// What somebody has to tell the thread.
#[derive(Clone, Copy)]
#[repr(u32)]
pub enum Notice {
    Unpark = NOTIFIED,
    Token = TOKEN,
    Cancel = NOTIFIED | CANCEL,
}

/// What the notifying thread has to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Duty {
    Nothing,
    /// It was suspended: put it into the run queue of its worker.
    Schedule,
    /// Its OS thread sleeps on the word.
    WakeFutex,
}

/// How the thread is about to wait.
#[derive(Clone, Copy)]
#[repr(u32)]
pub enum WaitMode {
    Park = PARKED,
    UserPark = PARKED | USER,
    Block = BLOCKED,
    UserBlock = BLOCKED | USER,
}

/// Whether a parked thread is so by its own will, in `thread::park`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UserPark(pub bool);

impl WakeWord {
    #[inline]
    pub fn new() -> WakeWord {
        WakeWord { state: AtomicU32::new(0) }
    }

    /// From any thread.
    #[inline]
    pub fn notify(&self, notice: Notice) -> Duty {
        let bits = notice as u32;
        let mut state = self.state.load(Ordering::Relaxed);
        loop {
            let waits = state & (PARKED | BLOCKED) != 0 && (bits & NOTIFIED != 0 || state & USER != 0);
            let next =
                if waits { state & !(PARKED | BLOCKED | USER) | (bits & CANCEL) } else { state | bits };
            match self.state.compare_exchange_weak(state, next, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) if !waits => return Duty::Nothing,
                Ok(_) if state & PARKED != 0 => return Duty::Schedule,
                Ok(_) => return Duty::WakeFutex,
                Err(actual) => state = actual,
            }
        }
    }

    /// Announces that the calling thread is about to wait. Returns false if it has been notified and must not wait.
    #[inline]
    pub fn begin(&self, wait: WaitMode) -> bool {
        let how = wait as u32;
        let obstacle = if how & USER != 0 { NOTIFIED | TOKEN } else { NOTIFIED };
        let mut state = self.state.load(Ordering::Relaxed);
        loop {
            let (go, next) =
                if state & obstacle == 0 { (true, state | how) } else { (false, state & !obstacle) };
            match self.state.compare_exchange_weak(state, next, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return go,
                Err(actual) => state = actual,
            }
        }
    }

    /// What the futex has to hold for the thread, once it has begun to block, to sleep on. `None`: it has been notified, or does not block.
    #[inline]
    pub fn blocked(&self) -> Option<u32> {
        Some(self.state.load(Ordering::Acquire)).filter(|state| state & BLOCKED != 0)
    }

    /// By the thread itself: it blocks no longer, although nobody has notified it.
    pub fn stop_blocking(&self) {
        self.state.fetch_and(!(BLOCKED | USER), Ordering::Acquire);
    }

    /// For the futex.
    #[inline]
    pub fn as_atomic(&self) -> &AtomicU32 {
        &self.state
    }

    /// Whether it is suspended until it is notified, and if so, whether in `thread::park`.
    #[inline]
    pub fn is_parked(&self) -> Option<UserPark> {
        let state = self.state.load(Ordering::Relaxed);
        (state & PARKED != 0).then_some(UserPark(state & USER != 0))
    }

    /// Whether a cancel has been asked for.
    #[inline]
    pub fn is_cancelled(&self) -> bool {
        self.state.load(Ordering::Relaxed) & CANCEL != 0
    }
}
