//! One worker's stacks. A stack that comes back is the next to go out (its top page is resident, and likely
//! in the cache); a new slot is cut only when none is free; a new slab is mapped only when the last one is
//! cut up.
//!
//! Memory goes back to the kernel in [`StackPool::trim`], which a worker calls when it is about to sleep: that of stacks
//! which nobody has needed for a whole period. Time is cut into periods by the worker, too. So a stack that is used
//! again and again costs no system call, however many threads come and go; and after a burst of a million threads all comes back.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::guard::Guards;
use crate::page::page_bytes;
use crate::slab::Slab;
use crate::stack::Stack;

/// Pages of the smallest slot: two usable and the guard.
const SLOT_PAGES_MIN: usize = 3;

/// How many stacks of each size, those that go out next, are not trimmed.
const HOT_STACKS: usize = 16;

/// The top of a stack is fetched into the cache this many stacks before it goes out.
const AHEAD: usize = 4;

/// A store of stacks, by size. Owned by one worker.
#[derive(Debug)]
pub struct StackPool {
    /// Tells its slabs from those of other pools.
    id: u64,
    guards: Guards,
    /// One for each size ever asked for, in that order: the runtime's default size is found first.
    classes: Vec<Class>,
}

/// What a [`StackPool`] holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StackStatistics {
    /// How many slabs are mapped.
    pub slabs: usize,
    /// How much address space they take, in bytes. Most of it has no memory behind it.
    pub mapped_bytes: usize,
    /// How many stacks are taken and not given back.
    pub in_use: usize,
    /// How many stacks have been given back and wait for reuse.
    pub free: usize,
}

impl StackPool {
    /// An empty pool. Maps nothing until the first [`StackPool::take`].
    pub fn new() -> StackPool {
        StackPool::with_guards(Guards::Automatic)
    }

    /// A pool whose guard pages are made in a given way: for tests of what old kernels do.
    #[doc(hidden)]
    pub fn with_guards(guards: Guards) -> StackPool {
        static POOLS: AtomicU64 = AtomicU64::new(0);
        StackPool { id: POOLS.fetch_add(1, Ordering::Relaxed), guards, classes: Vec::new() }
    }

    /// Takes a stack of `size` bytes of address space. That includes the guard page; it is rounded up to
    /// whole pages, and to three pages at least.
    ///
    /// # Errors
    /// The kernel refuses more address space or, before Linux 6.13, more guard pages. The text says what to
    /// do.
    #[inline]
    pub fn take(&mut self, size: usize) -> io::Result<Stack> {
        let slot_bytes = slot_bytes(size)?;
        match self.classes.iter_mut().find(|class| class.slot_bytes == slot_bytes) {
            Some(class) => class.take(self.id, self.guards),
            None => self.take_first(slot_bytes),
        }
    }

    /// Gives a stack back for reuse.
    ///
    /// # Panics
    /// The stack is of another pool.
    #[inline]
    pub fn give_back(&mut self, mut stack: Stack) {
        stack.clear();
        assert!(stack.slab().pool == self.id, "a stack goes back to the pool that it was taken from");
        let class = self.classes.iter_mut().find(|class| class.slot_bytes == stack.size());
        class.expect("a pool keeps a class for each size that it has handed out").free.push(stack);
    }

    /// A period is over, and the next begins: see [`StackPool::trim`].
    pub fn begin_period(&mut self) {
        for class in &mut self.classes {
            class.settled = class.low;
            class.low = class.free.len();
        }
    }

    /// Gives the memory of free stacks back to the kernel, if they have been free for all of the last period; of at most
    /// `limit` stacks, a system call for each. The 16 stacks of each size that go out next are left as they are.
    ///
    /// Gives the number of stacks trimmed: below `limit`, nothing is left to do. A stack is looked at once
    /// for each time that it was given back, so that calling this with nothing to do costs a comparison for
    /// each size.
    pub fn trim(&mut self, limit: usize) -> usize {
        let mut trimmed = 0;
        for class in &mut self.classes {
            trimmed += class.trim(limit - trimmed);
        }
        trimmed
    }

    /// Whether there are stacks that [`StackPool::trim`] will give back when they have been free for long enough.
    pub fn is_cooling(&self) -> bool {
        self.classes.iter().any(|class| class.trimmed < class.cold())
    }

    /// What the pool holds now.
    pub fn statistics(&self) -> StackStatistics {
        let mut statistics = StackStatistics::default();
        for class in &self.classes {
            statistics.slabs += class.slabs.len();
            statistics.mapped_bytes += class.slabs.iter().map(|slab| slab.bytes()).sum::<usize>();
            statistics.in_use += class.cut_slots() - class.free.len();
            statistics.free += class.free.len();
        }
        statistics
    }

    /// Takes the first stack of its size.
    #[cold]
    fn take_first(&mut self, slot_bytes: usize) -> io::Result<Stack> {
        let mut class = Class {
            slot_bytes,
            free: Vec::new(),
            low: 0,
            settled: 0,
            trimmed: 0,
            slabs: Vec::new(),
            last_slab_cut: 0,
        };
        let stack = class.take(self.id, self.guards);
        // Kept even when the guard failed: the class may own a slab by now.
        self.classes.push(class);
        stack
    }
}

impl Default for StackPool {
    fn default() -> StackPool {
        StackPool::new()
    }
}

/// Unmaps every slab whose stacks are all back. A slab with a stack still out stays mapped for the life of
/// the process.
impl Drop for StackPool {
    fn drop(&mut self) {
        for class in &mut self.classes {
            class.unmap_slabs();
        }
    }
}

/// The stacks of one size.
///
/// ```text
///   slabs:  [ all cut into slots ] [ all cut ] [ cut up to last_slab_cut │ not yet ]
///   free:   [ 0 .. trimmed: no memory │ .. settled │ .. low │ .. used in this period, 16 hot ]  <── give_back, take ──>
/// ```
#[derive(Debug)]
struct Class {
    /// Size of a slot in bytes, guard page included.
    slot_bytes: usize,
    /// Stacks that came back, last in, first out.
    free: Vec<Stack>,
    /// How few there were in `free` at some moment of this period. As only the end of `free` moves, the first so many
    /// have been there all the time: one number says it all.
    low: usize,
    /// The first so many of `free` have been there since the last period began.
    settled: usize,
    /// The first so many of `free` have been trimmed.
    trimmed: usize,
    /// Oldest first; all but the last are cut up.
    slabs: Vec<&'static Slab>,
    /// How many slots of the last slab have been handed out ever.
    last_slab_cut: usize,
}

impl Class {
    #[inline]
    fn take(&mut self, pool: u64, guards: Guards) -> io::Result<Stack> {
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
            None => self.cut(pool, guards),
        }
    }

    /// Cuts a new slot off the last slab, or off a new slab.
    #[cold]
    fn cut(&mut self, pool: u64, guards: Guards) -> io::Result<Stack> {
        let last = self.slabs.last().copied();
        let slab = match last {
            Some(slab) if self.last_slab_cut < slab.slots() => slab,
            _ => {
                let slab = Slab::map(self.slot_bytes, last, pool, self.slabs.len())?;
                self.slabs.push(slab);
                self.last_slab_cut = 0;
                slab
            }
        };
        slab.guard_slot(self.last_slab_cut, guards)?;
        // SAFETY: guarded just now; the count goes up with each, so that a slot is cut once.
        let stack = unsafe { Stack::in_slot(slab, self.last_slab_cut) };
        self.last_slab_cut += 1;
        Ok(stack)
    }

    /// The first so many of `free` are not hot.
    fn cold(&self) -> usize {
        self.free.len().saturating_sub(HOT_STACKS)
    }

    fn trim(&mut self, limit: usize) -> usize {
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

    /// How many slots have been handed out ever.
    fn cut_slots(&self) -> usize {
        let slots: usize = self.slabs.iter().map(|slab| slab.slots()).sum();
        slots - self.slabs.last().map_or(0, |last| last.slots() - self.last_slab_cut)
    }

    /// Unmaps the slabs of which no stack is out, and forgets all.
    fn unmap_slabs(&mut self) {
        let mut stacks_out: Vec<usize> = self.slabs.iter().map(|slab| slab.slots()).collect();
        if let Some(last) = stacks_out.last_mut() {
            *last = self.last_slab_cut;
        }
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

/// The size of the slot for a stack of `size` bytes.
#[inline]
fn slot_bytes(size: usize) -> io::Result<usize> {
    let page = page_bytes();
    size.max(SLOT_PAGES_MIN * page)
        .checked_next_multiple_of(page)
        .filter(|&bytes| bytes <= isize::MAX as usize)
        .ok_or_else(|| {
            let text =
                format!("cannot map a stack of {size} bytes: larger than the address space; ask for less");
            io::Error::new(io::ErrorKind::InvalidInput, text)
        })
}
