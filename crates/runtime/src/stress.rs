//! Schedules by seed, for tests: with the cargo feature `stress` and `SWARD_STRESS=SEED` in the environment, a worker gives way, reads
//! its mail, fires its timers and picks its next thread as a random number says, not as it is quickest.
//!
//! Bugs hide between two points that are next to each other in a quiet program. So here
//! - a thread gives way wherever it may: before and after each operation, sleep, park, and each send or receive of a channel;
//! - mail (cancels, wake-ups), timers and completions are looked at between any two turns;
//! - which of the threads that are ready runs next is drawn.
//!
//! Whatever happens then may happen without it. Without the feature nothing is left of this but a number in each worker.

use std::cell::Cell;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// A worker's random numbers; 0: no stress.
pub(crate) struct Stress(Cell<u64>);

impl Stress {
    /// A worker's, from the environment. The number of workers that the process has had is part of the seed, so all differ.
    pub(crate) fn new() -> Stress {
        static SEED: OnceLock<u64> = OnceLock::new();
        static WORKERS: AtomicU64 = AtomicU64::new(1);
        if !cfg!(feature = "stress") {
            return Stress(Cell::new(0));
        }
        let seed = *SEED.get_or_init(|| match std::env::var("SWARD_STRESS") {
            Ok(seed) => seed.parse::<u64>().expect("SWARD_STRESS is a number") + 1,
            Err(_) => 0,
        });
        let worker = WORKERS.fetch_add(1, Ordering::Relaxed);
        Stress(Cell::new(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_mul(worker)))
    }

    /// True once in `rounds` times, under stress.
    #[inline(always)]
    pub(crate) fn strikes(&self, rounds: u64) -> bool {
        cfg!(feature = "stress") && self.0.get() != 0 && self.next().is_multiple_of(rounds)
    }

    /// A number below `count`; 0 without stress.
    #[inline(always)]
    pub(crate) fn pick(&self, count: usize) -> usize {
        if cfg!(feature = "stress") && self.0.get() != 0 && count > 0 {
            (self.next() % count as u64) as usize
        } else {
            0
        }
    }

    /// The next number of a xorshift generator (Marsaglia, 2003), its upper half.
    fn next(&self) -> u64 {
        let mut state = self.0.get();
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        self.0.set(state);
        state >> 32
    }
}
