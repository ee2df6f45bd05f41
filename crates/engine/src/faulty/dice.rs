//! A generator of random numbers, by a seed.

/// The generator (xorshift64*).
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Dice {
        // Neighbouring seeds must have nothing in common, and 0 is the one state that never changes.
        Dice(seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(super) fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % limit
    }

    /// Returns true once in `chances` times.
    pub(super) fn one_in(&mut self, chances: u64) -> bool {
        self.below(chances) == 0
    }

    /// Returns a part of `length`: at least 1, unless it is 0.
    pub(super) fn part_of(&mut self, length: usize) -> usize {
        match length {
            0 => 0,
            length if self.one_in(4) => length.min(1 + self.below(8) as usize),
            length => 1 + self.below(length as u64) as usize,
        }
    }
}
