//! The lock inside [`RwLock`](super::RwLock): one word, without data and poison.
//!
//! ```text
//!   bit   31         30       29      28 … 0
//!       RESERVED | QUEUED | WRITER | READERS
//!
//!   READERS    how many readers hold it
//!   WRITER     a writer holds it
//!   QUEUED     threads wait: the unlock that frees the lock wakes the first of them
//!   RESERVED   free, but only for waiters that were unparked and found that others had been quicker
//! ```
//!
//! Waiters stand in order of arrival. A turn is the first writer, or all readers up to the next writer. While
//! one waits, newcomers do not join readers who hold the lock, so neither side starves. For barging and
//! `RESERVED` see `raw_mutex.rs`.

use std::panic::Location;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use super::parking_lot::{self, ParkResult, QueueEnd, Waiters};
use crate::diagnosis::holds;
use crate::primitive::AtomicU32;
use crate::runtime::reason::{What, because};

const READERS: u32 = (1 << 29) - 1;
const WRITER: u32 = 1 << 29;
const QUEUED: u32 = 1 << 30;
const RESERVED: u32 = 1 << 31;

/// The kinds of waiters: bits.
const WRITES: u32 = 1;
const OVERDUE: u32 = 2;

/// See the head of this file.
pub(super) struct RawRwLock {
    state: AtomicU32,
}

fn is_free(state: u32) -> bool {
    state & (READERS | WRITER) == 0
}

/// The state after a thread has taken the lock for reading, if it may.
fn reading(state: u32, privileged: bool) -> Option<u32> {
    let reserved = state & RESERVED != 0;
    let behind_a_writer = state & QUEUED != 0 && state & READERS != 0;
    if state & WRITER != 0 || (!privileged && (reserved || behind_a_writer)) {
        return None;
    }
    assert!(state & READERS < READERS, "too many active read locks on RwLock");
    Some((state & !RESERVED) + 1)
}

/// The state after a thread has taken the lock for writing, if it may.
fn writing(state: u32, privileged: bool) -> Option<u32> {
    let free = is_free(state) && (privileged || state & RESERVED == 0);
    free.then_some((state & !RESERVED) | WRITER)
}

impl RawRwLock {
    pub(super) const fn new() -> RawRwLock {
        RawRwLock { state: AtomicU32::new(0) }
    }

    #[inline]
    #[track_caller]
    pub(super) fn try_read(&self) -> bool {
        let taken = self.try_take(reading);
        if taken {
            holds::taken_shared(self.address(), Location::caller());
        }
        taken
    }

    #[inline]
    #[track_caller]
    pub(super) fn try_write(&self) -> bool {
        let taken = self.try_take(writing);
        if taken {
            holds::taken(self.address(), Location::caller());
        }
        taken
    }

    #[inline]
    fn try_take(&self, taking: impl Fn(u32, bool) -> Option<u32>) -> bool {
        let mut state = self.state.load(Relaxed);
        while let Some(taken) = taking(state, false) {
            match self.state.compare_exchange_weak(state, taken, Acquire, Relaxed) {
                Ok(_) => return true,
                Err(actual) => state = actual,
            }
        }
        false
    }

    /// A cancellation point if it has to wait.
    #[inline]
    #[track_caller]
    pub(super) fn read(&self) {
        if !self.try_read() {
            self.take_contended(0, reading, Location::caller());
            holds::taken_shared(self.address(), Location::caller());
        }
    }

    /// A cancellation point if it has to wait.
    #[inline]
    #[track_caller]
    pub(super) fn write(&self) {
        if self.state.compare_exchange(0, WRITER, Acquire, Relaxed).is_err() {
            self.take_contended(WRITES, writing, Location::caller());
        }
        holds::taken(self.address(), Location::caller());
    }

    #[cold]
    fn take_contended(
        &self,
        mut kind: u32,
        taking: fn(u32, bool) -> Option<u32>,
        at: &'static Location<'static>,
    ) {
        /// The wait unwinds: waiters behind us may have waited because of us.
        struct Leaves<'a>(&'a RawRwLock);
        impl Drop for Leaves<'_> {
            fn drop(&mut self) {
                self.0.give_turns();
            }
        }
        let mut is_unparked = false;
        let mut state = self.state.load(Relaxed);
        loop {
            let privileged = is_unparked;
            if let Some(taken) = taking(state, privileged) {
                match self.state.compare_exchange_weak(state, taken, Acquire, Relaxed) {
                    Ok(_) => return,
                    Err(actual) => state = actual,
                }
                continue;
            }
            let end = if is_unparked { QueueEnd::Front } else { QueueEnd::Back };
            if is_unparked {
                kind |= OVERDUE;
            }
            let must_wait = || self.announce(|state| taking(state, privileged).is_none());
            let leaves = Leaves(self);
            let what = if kind & WRITES != 0 { "the RwLock (to write)" } else { "the RwLock (to read)" };
            let waited = because(What::Held(what, self.address()), at, || {
                parking_lot::park(self.address(), kind, end, None, must_wait, || ())
            });
            std::mem::forget(leaves);
            is_unparked |= waited == ParkResult::Unparked;
            state = self.state.load(Relaxed);
        }
    }

    /// Sets `QUEUED`, unless the lock can be taken after all.
    fn announce(&self, must_wait: impl Fn(u32) -> bool) -> bool {
        let mut state = self.state.load(Relaxed);
        while must_wait(state) {
            match self.state.compare_exchange_weak(state, state | QUEUED, Relaxed, Relaxed) {
                Ok(_) => return true,
                Err(actual) => state = actual,
            }
        }
        false
    }

    /// For a thread that holds it for reading.
    #[inline]
    pub(super) fn unlock_read(&self) {
        holds::released(self.address());
        let state = self.state.fetch_sub(1, Release) - 1;
        if is_free(state) && state & QUEUED != 0 {
            self.give_turns();
        }
    }

    /// For the thread that holds it for writing.
    #[inline]
    pub(super) fn unlock_write(&self) {
        holds::released(self.address());
        if self.state.compare_exchange(WRITER, 0, Release, Relaxed).is_err() {
            self.state.fetch_and(!WRITER, Release);
            self.give_turns();
        }
    }

    /// The writer becomes a reader.
    pub(super) fn downgrade(&self) {
        let state = self.state.fetch_sub(WRITER - 1, Release);
        if state & QUEUED != 0 {
            self.give_turns();
        }
    }

    /// Unparks the waiters that can go on now.
    #[cold]
    fn give_turns(&self) {
        parking_lot::with_waiters(self.address(), |waiters| {
            let mut state = self.state.load(Relaxed);
            // Somebody who waits has `QUEUED` set; it is not set anew while we look, but barging
            // threads change the rest.
            loop {
                let turn = Turn::of(waiters, state);
                let given = turn.state(state);
                match self.state.compare_exchange_weak(state, given, Relaxed, Relaxed) {
                    Ok(_) => return turn.unpark(waiters),
                    Err(actual) => state = actual,
                }
            }
        });
    }

    fn address(&self) -> usize {
        (&raw const self.state).addr()
    }
}

/// The waiters that go on next.
struct Turn {
    /// How many of the first waiters.
    count: usize,
    /// Whether one of them has lost once, and nobody holds the lock.
    reserve: bool,
    /// Whether others wait behind them.
    others: bool,
}

impl Turn {
    fn of(waiters: &Waiters<'_>, state: u32) -> Turn {
        let (mut count, mut overdue, mut others, mut writes) = (0, false, false, false);
        for kind in waiters.kinds() {
            let goes = match kind & WRITES {
                0 => state & WRITER == 0 && !writes,
                _ => count == 0 && is_free(state),
            };
            if !goes {
                others = true;
                break;
            }
            count += 1;
            overdue |= kind & OVERDUE != 0;
            writes = kind & WRITES != 0;
        }
        Turn { count, reserve: overdue && is_free(state), others }
    }

    fn state(&self, state: u32) -> u32 {
        let queued = if self.others { QUEUED } else { 0 };
        let reserved = if self.reserve { RESERVED } else { state & RESERVED };
        (state & (READERS | WRITER)) | queued | reserved
    }

    fn unpark(&self, waiters: &mut Waiters<'_>) {
        for _ in 0..self.count {
            waiters.unpark_one();
        }
    }
}
