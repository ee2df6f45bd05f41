//! One worker's stacks. Free stacks are reused LIFO: the top page of the last one is resident, and likely in the cache. A slot is cut
//! only if no stack is free, and a slab is mapped only if all slots are reserved.
//!
//! A stack can be *reserved* before it is taken, for a thread that starts later: its spawner learns at once whether there is a stack.
//! A reservation is a count. It costs a comparison while there are more stacks than reservations; otherwise it maps a slab, or fails. A
//! reserved stack can be taken later, whatever happens to the address space of the process meanwhile.
//!
//! [`StackPool::trim`] returns the memory of stacks that were free for a whole period to the kernel. The worker calls it before it sleeps,
//! and divides time into periods. So threads that come and go cost no system call, and after a burst of a million threads all memory is
//! returned.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::guard::{Guards, guard_bytes};
use crate::memory::page_bytes;
use crate::size_class::SizeClass;
use crate::stack::Stack;

/// Pages of the smallest stack.
const STACK_PAGES_MIN: usize = 2;

/// Stacks of all sizes, owned by one worker.
#[derive(Debug)]
pub struct StackPool {
    /// Distinguishes its slabs from those of other pools.
    id: u64,
    guards: Guards,
    /// One for each size ever asked for, in order of first use: the runtime's default size comes first.
    classes: Vec<SizeClass>,
}

/// What a [`StackPool`] holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StackStatistics {
    /// How many slabs are mapped.
    pub slabs: usize,
    /// How much address space they take, in bytes, with guards. Most of it has no memory behind it.
    pub mapped_bytes: usize,
    /// How many stacks are in use.
    pub in_use: usize,
    /// How many stacks are free for reuse.
    pub free: usize,
}

impl StackPool {
    /// Creates an empty pool. It maps nothing until the first stack is reserved or taken.
    pub fn new() -> StackPool {
        StackPool::with_guards(Guards::Automatic)
    }

    /// Creates a pool whose guards are made in a given way: for tests of what old kernels do.
    #[doc(hidden)]
    pub fn with_guards(guards: Guards) -> StackPool {
        static POOLS: AtomicU64 = AtomicU64::new(0);
        StackPool { id: POOLS.fetch_add(1, Ordering::Relaxed), guards, classes: Vec::new() }
    }

    /// Reserves a stack of `size` bytes, to be [taken](StackPool::take_reserved) later. [`StackPool::unreserve`] takes that back.
    ///
    /// # Errors
    /// Those of [`StackPool::take`].
    #[inline]
    pub fn reserve(&mut self, size: usize) -> io::Result<()> {
        let stack_bytes = stack_bytes(size)?;
        match self.classes.iter_mut().find(|class| class.stack_bytes == stack_bytes) {
            Some(class) => class.reserve(self.id, self.guards),
            None => self.reserve_first(stack_bytes),
        }
    }

    /// Cancels the reservation of a stack of `size` bytes.
    pub fn unreserve(&mut self, size: usize) {
        if let Ok(stack_bytes) = stack_bytes(size)
            && let Some(class) = self.classes.iter_mut().find(|class| class.stack_bytes == stack_bytes)
        {
            class.unreserve();
        }
    }

    /// Takes a stack of `size` bytes that was reserved.
    ///
    /// # Errors
    /// The kernel has no memory for its entries in the page table. If the process has locked its memory (`mlockall`) since the reservation,
    /// also those of [`StackPool::take`].
    ///
    /// # Panics
    /// If no stack of this size was ever reserved.
    #[inline]
    pub fn take_reserved(&mut self, size: usize) -> io::Result<Stack> {
        let stack_bytes = stack_bytes(size)?;
        let class = self.classes.iter_mut().find(|class| class.stack_bytes == stack_bytes);
        class.expect("a pool keeps a class for each size that was reserved").take(self.guards)
    }

    /// Takes a stack of `size` bytes, rounded up to whole pages and to at least two of them. Its guard is not counted.
    ///
    /// # Errors
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) if the size exceeds the address space. Otherwise the kernel refuses more address space
    /// or, before Linux 6.13, more guards; the message says what to do.
    pub fn take(&mut self, size: usize) -> io::Result<Stack> {
        self.reserve(size)?;
        self.take_reserved(size)
    }

    /// Returns a stack to the pool for reuse.
    ///
    /// # Panics
    /// If the stack was taken from another pool.
    #[inline]
    pub fn give_back(&mut self, mut stack: Stack) {
        stack.clear();
        assert!(stack.slab().pool == self.id, "a stack goes back to the pool that it was taken from");
        let class = self.classes.iter_mut().find(|class| class.stack_bytes == stack.size());
        class.expect("a pool keeps a class for each size that it has handed out").give_back(stack);
    }

    /// Ends the current period and begins the next. See [`StackPool::trim`].
    pub fn begin_period(&mut self) {
        self.classes.iter_mut().for_each(SizeClass::begin_period);
    }

    /// Returns the memory of stacks that were free for all of the last period to the kernel, by a system call each, for at most
    /// `limit` stacks. Leaves alone the 16 stacks of each size that are reused next.
    ///
    /// Returns how many stacks were trimmed; less than `limit` means that nothing is left to do. A stack is looked at once after each
    /// use, so with nothing to do this costs a comparison for each size.
    pub fn trim(&mut self, limit: usize) -> usize {
        let mut trimmed = 0;
        for class in &mut self.classes {
            trimmed += class.trim(limit - trimmed);
        }
        trimmed
    }

    /// Returns whether [`StackPool::trim`] will have something to do once stacks have been free for long enough.
    pub fn is_cooling(&self) -> bool {
        self.classes.iter().any(SizeClass::is_cooling)
    }

    /// Returns what the pool holds now.
    pub fn statistics(&self) -> StackStatistics {
        let mut statistics = StackStatistics::default();
        self.classes.iter().for_each(|class| class.count(&mut statistics));
        statistics
    }

    /// Reserves the first stack of its size.
    #[cold]
    fn reserve_first(&mut self, stack_bytes: usize) -> io::Result<()> {
        let mut class = SizeClass::new(stack_bytes);
        class.reserve(self.id, self.guards)?;
        self.classes.push(class);
        Ok(())
    }
}

impl Default for StackPool {
    fn default() -> StackPool {
        StackPool::new()
    }
}

/// Unmaps every slab without stacks in use. The others stay mapped for the life of the process.
impl Drop for StackPool {
    fn drop(&mut self) {
        self.classes.iter_mut().for_each(SizeClass::unmap_slabs);
    }
}

/// Rounds the size of a stack up to whole pages.
#[inline]
fn stack_bytes(size: usize) -> io::Result<usize> {
    let page = page_bytes();
    size.max(STACK_PAGES_MIN * page)
        .checked_next_multiple_of(page)
        .filter(|&bytes| bytes <= isize::MAX as usize - guard_bytes())
        .ok_or_else(|| {
            let text = format!(
                "cannot map a stack of {size} bytes: larger than the address space; use a smaller size"
            );
            io::Error::new(io::ErrorKind::InvalidInput, text)
        })
}
