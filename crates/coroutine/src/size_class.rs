//! The stacks of one size in a pool: free ones, and slots that have never been used.
//!
//! ```text
//!   slabs:  [ all cut into slots ] [ cut up to cut │ uncut ] [ uncut ]
//!                                  ^ cutting
//!   free:   [ 0 .. trimmed: no memory │ .. settled │ .. low │ .. used in this period, 16 hot ]  <── give_back, take ──>
//! ```
//!
//! Invariant: `reserved <= free.len() + ready`. `reserve` establishes it; `take` lowers both sides by one.

use std::io;

use crate::guard::{self, Guards};
use crate::pool::StackStatistics;
use crate::slab::Slab;
use crate::stack::Stack;

/// The last so many free stacks, which are reused next, are not trimmed.
const HOT_STACKS: usize = 16;

/// The top of a stack is prefetched this many stacks before the stack is taken.
const AHEAD: usize = 4;

/// See the head of the file.
#[derive(Debug)]
pub(crate) struct SizeClass {
    /// The size of a stack in bytes, without its guard.
    pub(crate) stack_bytes: usize,
    /// Free stacks, reused LIFO.
    free: Vec<Stack>,
    /// The shortest that `free` has been in this period. Only its end changes, so the first so many stacks were free all the time.
    low: usize,
    /// The first so many of `free` have been free since the last period began.
    settled: usize,
    /// The first so many of `free` have been trimmed.
    trimmed: usize,
    /// Oldest first.
    slabs: Vec<&'static Slab>,
    /// The slab that is being cut into slots; those before it are cut up.
    cutting: usize,
    /// How many slots of that slab have been cut.
    cut: usize,
    /// How many slots of all slabs have not been cut.
    uncut: usize,
    /// How many of these can be cut without exceeding the budget of guards: all, unless guards are limited.
    ready: usize,
    /// How many of these have a claimed guard.
    claimed: usize,
    /// How many stacks are reserved and not yet taken.
    reserved: usize,
}

impl SizeClass {
    pub(crate) fn new(stack_bytes: usize) -> SizeClass {
        SizeClass {
            stack_bytes,
            free: Vec::new(),
            low: 0,
            settled: 0,
            trimmed: 0,
            slabs: Vec::new(),
            cutting: 0,
            cut: 0,
            uncut: 0,
            ready: 0,
            claimed: 0,
            reserved: 0,
        }
    }

    /// Reserves one more stack.
    ///
    /// # Errors
    /// All are reserved, and the kernel refuses more.
    #[inline]
    pub(crate) fn reserve(&mut self, pool: u64, guards: Guards) -> io::Result<()> {
        if self.reserved >= self.free.len() + self.ready {
            self.add_slot(pool, guards)?;
        }
        self.reserved += 1;
        Ok(())
    }

    pub(crate) fn unreserve(&mut self) {
        debug_assert!(self.reserved > 0, "only a reserved stack can be unreserved");
        self.reserved = self.reserved.saturating_sub(1);
    }

    /// Takes a stack that was reserved.
    ///
    /// # Errors
    /// The kernel refuses to guard it.
    #[inline]
    pub(crate) fn take(&mut self, guards: Guards) -> io::Result<Stack> {
        self.unreserve();
        match self.free.pop() {
            Some(stack) => {
                let left = self.free.len();
                self.low = self.low.min(left);
                self.settled = self.settled.min(left);
                self.trimmed = self.trimmed.min(left);
                if let Some(soon) = left.checked_sub(AHEAD).map(|index| &self.free[index]) {
                    soon.prefetch();
                }
                Ok(stack)
            }
            None => self.cut_slot(guards),
        }
    }

    #[inline]
    pub(crate) fn give_back(&mut self, stack: Stack) {
        self.free.push(stack);
    }

    /// Makes one more slot ready.
    #[cold]
    fn add_slot(&mut self, pool: u64, guards: Guards) -> io::Result<()> {
        let are_limited = guard::are_limited(guards);
        if self.ready == self.uncut {
            let slab = Slab::map(self.stack_bytes, self.slabs.last().copied(), pool, self.slabs.len())?;
            self.slabs.push(slab);
            self.uncut += slab.slots();
            self.ready += if are_limited { 0 } else { slab.slots() };
        }
        if self.ready < self.uncut {
            guard::claim(self.stack_bytes)?;
            self.claimed += 1;
            self.ready += 1;
        }
        Ok(())
    }

    /// Cuts a new slot off the first slab that has one.
    #[cold]
    fn cut_slot(&mut self, guards: Guards) -> io::Result<Stack> {
        debug_assert!(self.uncut > 0, "a reserved stack is free or uncut");
        if self.cut == self.slabs[self.cutting].slots() {
            self.cutting += 1;
            self.cut = 0;
        }
        let slab = self.slabs[self.cutting];
        let is_claimed = self.claimed > 0;
        let kind = slab.guard_slot(self.cut, guards, is_claimed)?;
        if is_claimed && kind == Guards::Mprotect {
            self.claimed -= 1;
        }
        // SAFETY: guarded just now; `cut` goes up with each slot, and `cutting` with each slab, so a slot is cut once.
        let stack = unsafe { Stack::in_slot(slab, self.cut) };
        self.cut += 1;
        self.uncut -= 1;
        self.ready -= 1;
        Ok(stack)
    }

    /// See [`StackPool::begin_period`](crate::StackPool::begin_period).
    pub(crate) fn begin_period(&mut self) {
        self.settled = self.low;
        self.low = self.free.len();
    }

    pub(crate) fn is_cooling(&self) -> bool {
        self.trimmed < self.cold()
    }

    /// Returns how many of `free`, from the first, may be trimmed.
    fn cold(&self) -> usize {
        self.free.len().saturating_sub(HOT_STACKS)
    }

    /// See [`StackPool::trim`](crate::StackPool::trim).
    pub(crate) fn trim(&mut self, limit: usize) -> usize {
        let end = self.settled.min(self.cold()).min(self.trimmed.saturating_add(limit));
        let Some(stacks) = self.free.get_mut(self.trimmed..end) else {
            return 0;
        };
        // Asking `mincore` first would cost a system call as well, and miss pages that are swapped out.
        stacks.iter_mut().for_each(Stack::release);
        let count = stacks.len();
        self.trimmed = end;
        count
    }

    /// Adds its stacks to `statistics`.
    pub(crate) fn count(&self, statistics: &mut StackStatistics) {
        let slots: usize = self.slabs.iter().map(|slab| slab.slots()).sum();
        statistics.slabs += self.slabs.len();
        statistics.mapped_bytes += self.slabs.iter().map(|slab| slab.bytes()).sum::<usize>();
        statistics.in_use += slots - self.uncut - self.free.len();
        statistics.free += self.free.len();
    }

    /// Unmaps the slabs without stacks in use, and forgets all slabs.
    pub(crate) fn unmap_slabs(&mut self) {
        guard::return_claims(self.claimed);
        let slots_cut = |index: usize, slab: &Slab| match index.cmp(&self.cutting) {
            std::cmp::Ordering::Less => slab.slots(),
            std::cmp::Ordering::Equal => self.cut,
            std::cmp::Ordering::Greater => 0,
        };
        let mut in_use: Vec<usize> =
            self.slabs.iter().enumerate().map(|(index, slab)| slots_cut(index, slab)).collect();
        for stack in self.free.drain(..) {
            in_use[stack.slab().index] -= 1;
        }
        for (slab, in_use) in self.slabs.drain(..).zip(in_use) {
            if in_use == 0 {
                // SAFETY: every stack cut from it was in `free`, which is now empty, and nothing is cut from it any more.
                unsafe { slab.unmap() };
            }
        }
    }
}
