//! The stack of a task that has not started: its size, and which worker has reserved it.
//!
//! A spawner learns at once whether there is a stack (`Builder::spawn` returns an error, as std's does), but the thread may start
//! much later, and on another worker. A stack for each spawned thread would be more stacks than are in use at once: short threads
//! share a few. So the spawner's worker *reserves* one in its pool ([`StackPool`](sward_coroutine::StackPool)).
//!
//! ```text
//!   spawn, on A: A reserves ──┬── A starts it ───────────────────────────────── A takes the reserved stack
//!                             └── B has stolen it ─┬─ B has a stack, too ────── B tells A, which reserves one less
//!                                                  └─ the kernel refuses one ── the task goes back to A
//! ```
//!
//! A thread that is spawned for a certain other worker, or from outside the runtime, has no reservation: if there is no stack, its
//! `join` says so.

use std::io;
use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use sward_coroutine::Stack;

use super::worker::Worker;

/// How many bits hold the size: more than a processor has addresses. The rest hold the worker, of which there are fewer than 65,535.
const SIZE_BITS: u32 = 48;

/// Size and worker in one word, since there may be millions.
#[derive(Clone, Copy)]
pub struct StackReservation(u64);

impl StackReservation {
    /// Describes a stack of that size that no worker has reserved.
    pub fn unreserved(bytes: usize) -> StackReservation {
        StackReservation((bytes as u64).min((1 << SIZE_BITS) - 1))
    }

    #[inline]
    fn reserved_by(self, worker: usize) -> StackReservation {
        debug_assert!(worker < usize::from(u16::MAX));
        StackReservation(self.0 | (worker as u64 + 1) << SIZE_BITS)
    }

    #[inline]
    fn bytes(self) -> usize {
        (self.0 & ((1 << SIZE_BITS) - 1)) as usize
    }

    #[inline]
    fn reserver(self) -> Option<usize> {
        (self.0 >> SIZE_BITS).checked_sub(1).map(|worker| worker as usize)
    }
}

impl Worker {
    /// Reserves a stack for a thread that starts later.
    ///
    /// # Errors
    /// Fails if the kernel refuses the memory.
    #[inline]
    pub fn reserve_stack(&self, bytes: usize) -> io::Result<StackReservation> {
        let reservation = StackReservation::unreserved(bytes);
        let released = self.shared().released(self.index());
        if released.some.load(Ordering::Relaxed) {
            released.take(|bytes| self.stacks.borrow_mut().unreserve(bytes));
        }
        // (Refuses a size that does not fit into the bits.)
        self.stacks.borrow_mut().reserve(bytes)?;
        Ok(reservation.reserved_by(self.index()))
    }

    /// Checks that this worker could reserve a stack of that size now.
    ///
    /// # Errors
    /// As [`Worker::reserve_stack`].
    pub fn check_stack(&self, bytes: usize) -> io::Result<StackReservation> {
        self.reserve_stack(bytes).inspect(|&reservation| self.release_reservation(reservation))?;
        Ok(StackReservation::unreserved(bytes))
    }

    /// Takes the stack for a thread that starts here.
    ///
    /// # Errors
    /// Fails if the kernel refuses the memory; another worker may have a stack: see [`Worker::other_reserver`].
    #[inline]
    pub(crate) fn take_stack(&self, reservation: StackReservation) -> io::Result<Stack> {
        if reservation.reserver() == Some(self.index()) {
            return self.stacks.borrow_mut().take_reserved(reservation.bytes());
        }
        let stack = self.stacks.borrow_mut().take(reservation.bytes())?;
        self.release_reservation(reservation);
        Ok(stack)
    }

    /// Releases a reservation that is not needed any more.
    pub(crate) fn release_reservation(&self, reservation: StackReservation) {
        match reservation.reserver() {
            Some(worker) if worker == self.index() => {
                self.stacks.borrow_mut().unreserve(reservation.bytes());
            }
            Some(worker) => self.shared().released(worker).add(reservation.bytes()),
            None => {}
        }
    }

    /// Returns the other worker that has reserved the stack, if there is one.
    pub(crate) fn other_reserver(&self, reservation: StackReservation) -> Option<usize> {
        reservation.reserver().filter(|&worker| worker != self.index())
    }
}

/// Reservations of a worker that other workers have released. Any thread adds, the worker takes.
#[derive(Default)]
pub(crate) struct Released {
    /// There are some.
    some: AtomicBool,
    /// How many of which size.
    sizes: Mutex<Vec<(usize, usize)>>,
}

impl Released {
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
