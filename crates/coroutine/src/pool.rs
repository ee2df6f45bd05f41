//! One worker's stacks. A stack that comes back is the next to go out (its top page is resident, and likely
//! in the cache); a new slot is cut only when none is free; a new slab is mapped only when all slots have been promised.
//!
//! A stack can be *promised* before it is taken: for a thread that starts later, whose spawner wants to know now whether there
//! is a stack for it. A promise is a count, and costs a comparison while there are more stacks than promises; then it maps a slab,
//! or fails. So what is promised can be taken later, whatever happens to the address space of the process meanwhile.
//!
//! Memory goes back to the kernel in [`StackPool::trim`], which a worker calls when it is about to sleep: that of stacks
//! which nobody has needed for a whole period. Time is cut into periods by the worker, too. So a stack that is used
//! again and again costs no system call, however many threads come and go; and after a burst of a million threads all comes back.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::class::Class;
use crate::guard::{Guards, guard_bytes};
use crate::page::page_bytes;
use crate::stack::Stack;

/// Pages of the smallest stack.
const STACK_PAGES_MIN: usize = 2;

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
    /// How much address space they take, in bytes, guards included. Most of it has no memory behind it.
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

    /// Promises a stack of `size` bytes, to be [taken](StackPool::take_promised) or [withdrawn](StackPool::withdraw) later.
    ///
    /// # Errors
    /// As [`StackPool::take`].
    #[inline]
    pub fn promise(&mut self, size: usize) -> io::Result<()> {
        let stack_bytes = stack_bytes(size)?;
        match self.classes.iter_mut().find(|class| class.stack_bytes == stack_bytes) {
            Some(class) => class.promise(self.id, self.guards),
            None => self.promise_first(stack_bytes),
        }
    }

    /// Takes back the promise of a stack of `size` bytes.
    pub fn withdraw(&mut self, size: usize) {
        if let Ok(stack_bytes) = stack_bytes(size)
            && let Some(class) = self.classes.iter_mut().find(|class| class.stack_bytes == stack_bytes)
        {
            class.withdraw();
        }
    }

    /// Takes a stack of `size` bytes that has been promised.
    ///
    /// # Errors
    /// The kernel has no memory for its entries in the page table. (And if guards by `MADV_GUARD_INSTALL` have been refused since it was
    /// promised, as they are once memory is locked: as [`StackPool::take`].)
    #[inline]
    pub fn take_promised(&mut self, size: usize) -> io::Result<Stack> {
        let stack_bytes = stack_bytes(size)?;
        let class = self.classes.iter_mut().find(|class| class.stack_bytes == stack_bytes);
        class.expect("a pool keeps a class for each size that it has promised").take(self.guards)
    }

    /// Takes a stack of `size` bytes of address space, rounded up to whole pages, and to two at least. Its guard comes
    /// beside them.
    ///
    /// # Errors
    /// The kernel refuses more address space or, before Linux 6.13, more guards. The text says what to
    /// do.
    pub fn take(&mut self, size: usize) -> io::Result<Stack> {
        self.promise(size)?;
        self.take_promised(size)
    }

    /// Gives a stack back for reuse.
    ///
    /// # Panics
    /// The stack is of another pool.
    #[inline]
    pub fn give_back(&mut self, mut stack: Stack) {
        stack.clear();
        assert!(stack.slab().pool == self.id, "a stack goes back to the pool that it was taken from");
        let class = self.classes.iter_mut().find(|class| class.stack_bytes == stack.size());
        class.expect("a pool keeps a class for each size that it has handed out").give_back(stack);
    }

    /// A period is over, and the next begins: see [`StackPool::trim`].
    pub fn begin_period(&mut self) {
        self.classes.iter_mut().for_each(Class::begin_period);
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
        self.classes.iter().any(Class::is_cooling)
    }

    /// What the pool holds now.
    pub fn statistics(&self) -> StackStatistics {
        let mut statistics = StackStatistics::default();
        self.classes.iter().for_each(|class| class.count(&mut statistics));
        statistics
    }

    /// Promises the first stack of its size.
    #[cold]
    fn promise_first(&mut self, stack_bytes: usize) -> io::Result<()> {
        let mut class = Class::new(stack_bytes);
        class.promise(self.id, self.guards)?;
        self.classes.push(class);
        Ok(())
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
        self.classes.iter_mut().for_each(Class::unmap_slabs);
    }
}

/// The size of a stack that is asked for with `size` bytes.
#[inline]
fn stack_bytes(size: usize) -> io::Result<usize> {
    let page = page_bytes();
    size.max(STACK_PAGES_MIN * page)
        .checked_next_multiple_of(page)
        .filter(|&bytes| bytes <= isize::MAX as usize - guard_bytes())
        .ok_or_else(|| {
            let text =
                format!("cannot map a stack of {size} bytes: larger than the address space; ask for less");
            io::Error::new(io::ErrorKind::InvalidInput, text)
        })
}
