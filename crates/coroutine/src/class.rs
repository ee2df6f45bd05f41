//! The stacks of one size in a pool: those that are free, and slots that nobody has had yet.
//!
//! ```text
//!   slabs:  [ all cut into slots ] [ cut up to cut │ not yet ] [ not yet ]
//!                                  ^ cutting
//!   free:   [ 0 .. trimmed: no memory │ .. settled │ .. low │ .. used in this period, 16 hot ]  <── give_back, take ──>
//! ```
//!
//! Protocol of promises: `promised <= free.len() + ready`. Whoever promises sees to it, and whoever takes lowers both sides.

use std::io;

use crate::guard::{self, Guards};
use crate::pool::StackStatistics;
use crate::slab::Slab;
use crate::stack::Stack;

/// How many stacks of each size, those that go out next, are not trimmed.
const HOT_STACKS: usize = 16;

/// The top of a stack is fetched into the cache this many stacks before it goes out.
const AHEAD: usize = 4;

/// See the head of the file.
#[derive(Debug)]
pub(crate) struct Class {
    /// Size of a stack in bytes, without its guard.
    pub(crate) stack_bytes: usize,
    /// Stacks that came back, last in, first out.
    free: Vec<Stack>,
    /// How few there were in `free` at some moment of this period. As only the end of `free` moves, the first so many
    /// have been there all the time: one number says it all.
    low: usize,
    /// The first so many of `free` have been there since the last period began.
    settled: usize,
    /// The first so many of `free` have been trimmed.
    trimmed: usize,
    /// Oldest first.
    slabs: Vec<&'static Slab>,
    /// Which slab is being cut; those before it are cut up.
    cutting: usize,
    /// How many slots of that slab have been handed out ever.
    cut: usize,
    /// How many slots of all slabs have never been handed out.
    uncut: usize,
    /// How many of these can be handed out without another look at the kernel's limits. While guards are not scarce, all.
    ready: usize,
    /// How many of these have a place in the budget of guards.
    claimed: usize,
    /// How many stacks have been promised and not taken.
    promised: usize,
}

impl Class {
    pub(crate) fn new(stack_bytes: usize) -> Class {
        Class {
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
            promised: 0,
        }
    }

    /// Promises one more stack.
    ///
    /// # Errors
    /// There is none, and the kernel refuses more.
    #[inline]
    pub(crate) fn promise(&mut self, pool: u64, guards: Guards) -> io::Result<()> {
        if self.promised >= self.free.len() + self.ready {
            self.provide(pool, guards)?;
        }
        self.promised += 1;
        Ok(())
    }

    pub(crate) fn withdraw(&mut self) {
        debug_assert!(self.promised > 0, "a promise is withdrawn that was not given");
        self.promised = self.promised.saturating_sub(1);
    }

    /// Takes a stack that has been promised.
    ///
    /// # Errors
    /// The kernel refuses to guard it.
    #[inline]
    pub(crate) fn take(&mut self, guards: Guards) -> io::Result<Stack> {
        self.withdraw();
        match self.free.pop() {
            Some(stack) => {
                let left = self.free.len();
                self.low = self.low.min(left);
                self.settled = self.settled.min(left);
                self.trimmed = self.trimmed.min(left);
                if let Some(soon) = left.checked_sub(AHEAD).map(|place| &self.free[place]) {
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
    fn provide(&mut self, pool: u64, guards: Guards) -> io::Result<()> {
        let are_scarce = guard::are_scarce(guards);
        if self.ready == self.uncut {
            let slab = Slab::map(self.stack_bytes, self.slabs.last().copied(), pool, self.slabs.len())?;
            self.slabs.push(slab);
            self.uncut += slab.slots();
            self.ready += if are_scarce { 0 } else { slab.slots() };
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
        debug_assert!(self.uncut > 0, "what was promised is there");
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

    /// The first so many of `free` are not hot.
    fn cold(&self) -> usize {
        self.free.len().saturating_sub(HOT_STACKS)
    }

    /// See [`StackPool::trim`](crate::StackPool::trim).
    pub(crate) fn trim(&mut self, limit: usize) -> usize {
        let end = self.settled.min(self.cold()).min(self.trimmed.saturating_add(limit));
        let Some(stacks) = self.free.get_mut(self.trimmed..end) else {
            return 0;
        };
        // No mincore first: it costs a call as well, and misses pages that are swapped out.
        stacks.iter_mut().for_each(Stack::release);
        let count = stacks.len();
        self.trimmed = end;
        count
    }

    /// Adds what there is to `statistics`.
    pub(crate) fn count(&self, statistics: &mut StackStatistics) {
        let slots: usize = self.slabs.iter().map(|slab| slab.slots()).sum();
        statistics.slabs += self.slabs.len();
        statistics.mapped_bytes += self.slabs.iter().map(|slab| slab.bytes()).sum::<usize>();
        statistics.in_use += slots - self.uncut - self.free.len();
        statistics.free += self.free.len();
    }

    /// Unmaps the slabs of which no stack is out, and forgets all.
    pub(crate) fn unmap_slabs(&mut self) {
        guard::return_claims(self.claimed);
        let slots_cut = |index: usize, slab: &Slab| match index.cmp(&self.cutting) {
            std::cmp::Ordering::Less => slab.slots(),
            std::cmp::Ordering::Equal => self.cut,
            std::cmp::Ordering::Greater => 0,
        };
        let mut stacks_out: Vec<usize> =
            self.slabs.iter().enumerate().map(|(index, slab)| slots_cut(index, slab)).collect();
        for stack in self.free.drain(..) {
            stacks_out[stack.slab().index] -= 1;
        }
        for (slab, stacks_out) in self.slabs.drain(..).zip(stacks_out) {
            if stacks_out == 0 {
                // SAFETY: every stack that was cut from it was in `free`, and is gone; the class hands out no
                // more.
                unsafe { slab.unmap() };
            }
        }
    }
}
