//! The stack of a thread that has not started: how large it is to be, and which worker has promised it.
//!
//! A spawner wants to know at once whether there is a stack (`Builder::spawn` returns an error, as std's does), but the thread
//! may start much later, and on another worker. To give each thread its stack when it is spawned would use as many
//! stacks as have been spawned, where those that end soon could share a few. So the spawner's worker *promises* one:
//! its pool has as many as it has promised ([`StackPool`](sward_coroutine::StackPool)).
//!
//! ```text
//!   spawn, on A: A promises ──┬── A starts it ───────────────────────────────── A takes what it has promised
//!                             └── B has stolen it ─┬─ B has a stack, too ────── A is told, and promises one less
//!                                                  └─ the kernel refuses one ── it goes back to A
//! ```
//!
//! A thread for a certain other worker and one from outside the runtime have no promise: their `join` says that there was no stack.

use std::io;
use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use sward_coroutine::Stack;

use super::worker::Worker;

/// How many of the bits of an order are its size: more than a processor has addresses. The rest is the worker, of which there are
/// fewer than 65,535.
const SIZE_BITS: u32 = 48;

/// Size and promiser in a word, as there may be millions.
#[derive(Clone, Copy)]
pub struct StackOrder(u64);

impl StackOrder {
    /// A stack of that size, which nobody has promised.
    pub fn unpromised(bytes: usize) -> StackOrder {
        StackOrder((bytes as u64).min((1 << SIZE_BITS) - 1))
    }

    #[inline]
    fn promised_by(self, worker: usize) -> StackOrder {
        debug_assert!(worker < usize::from(u16::MAX));
        StackOrder(self.0 | (worker as u64 + 1) << SIZE_BITS)
    }

    #[inline]
    fn bytes(self) -> usize {
        (self.0 & ((1 << SIZE_BITS) - 1)) as usize
    }

    #[inline]
    fn promiser(self) -> Option<usize> {
        (self.0 >> SIZE_BITS).checked_sub(1).map(|worker| worker as usize)
    }
}

impl Worker {
    /// Promises a stack for a thread that starts later.
    ///
    /// # Errors
    /// There is none to be had.
    #[inline]
    pub fn promise_stack(&self, bytes: usize) -> io::Result<StackOrder> {
        let order = StackOrder::unpromised(bytes);
        let redeemed = self.shared().redeemed(self.index());
        if redeemed.some.load(Ordering::Relaxed) {
            redeemed.take(|bytes| self.stacks.borrow_mut().unreserve(bytes));
        }
        // (A size that the order cannot say is refused.)
        self.stacks.borrow_mut().reserve(bytes)?;
        Ok(order.promised_by(self.index()))
    }

    /// Whether a stack of that size could be had here now.
    ///
    /// # Errors
    /// It could not.
    pub fn check_stack(&self, bytes: usize) -> io::Result<StackOrder> {
        self.promise_stack(bytes).inspect(|&order| self.forget_order(order))?;
        Ok(StackOrder::unpromised(bytes))
    }

    /// Gives a thread that starts here its stack.
    ///
    /// # Errors
    /// There is none to be had here: see [`Worker::other_promiser`].
    #[inline]
    pub(crate) fn fill_order(&self, order: StackOrder) -> io::Result<Stack> {
        if order.promiser() == Some(self.index()) {
            return self.stacks.borrow_mut().take_reserved(order.bytes());
        }
        let stack = self.stacks.borrow_mut().take(order.bytes())?;
        self.forget_order(order);
        Ok(stack)
    }

    /// A promise is not needed any more.
    pub(crate) fn forget_order(&self, order: StackOrder) {
        match order.promiser() {
            Some(worker) if worker == self.index() => {
                self.stacks.borrow_mut().unreserve(order.bytes());
            }
            Some(worker) => self.shared().redeemed(worker).add(order.bytes()),
            None => {}
        }
    }

    /// The worker that has a stack for a thread if this one has none.
    pub(crate) fn other_promiser(&self, order: StackOrder) -> Option<usize> {
        order.promiser().filter(|&worker| worker != self.index())
    }
}

/// Which promises of a worker others have kept in its place. Any thread adds, the worker takes.
#[derive(Default)]
pub(crate) struct Redeemed {
    /// There are some.
    some: AtomicBool,
    /// How many of which size.
    sizes: Mutex<Vec<(usize, usize)>>,
}

impl Redeemed {
    #[cold]
    fn add(&self, bytes: usize) {
        let mut sizes = self.sizes.lock().unwrap_or_else(PoisonError::into_inner);
        match sizes.iter_mut().find(|(size, _)| *size == bytes) {
            Some((_, count)) => *count += 1,
            None => sizes.push((bytes, 1)),
        }
        self.some.store(true, Ordering::Relaxed);
    }

    #[cold]
    fn take(&self, mut withdraw: impl FnMut(usize)) {
        let sizes = {
            let mut sizes = self.sizes.lock().unwrap_or_else(PoisonError::into_inner);
            self.some.store(false, Ordering::Relaxed);
            mem::take(&mut *sizes)
        };
        for (bytes, count) in sizes {
            (0..count).for_each(|_| withdraw(bytes));
        }
    }
}
