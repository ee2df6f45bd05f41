//! Moves std's panic count along with a suspended stack.
//!
//! std counts, for each OS thread, the panics that are unwinding it. Raising a panic adds one, catching it subtracts one, and
//! [`std::thread::panicking`] tells whether the count is above zero; std's locks are poisoned by that answer.
//!
//! A coroutine may suspend in a destructor, in the middle of its unwinding, and other code then runs on the same OS thread. The
//! unwinding does not mind: its state lies on the coroutine's stack and in the exception. But the count stays behind, and the other code
//! seems to panic. So a coroutine that suspends must take its panics off the count, and put them back when it resumes. std has no
//! function for either.
//!
//! What std does have: a panic that is raised on one OS thread and caught on another adds to the count of the first and subtracts from
//! that of the second. This file keeps a stock of *balancing panics*, each a coroutine that is suspended in the middle of unwinding:
//!
//! | to | do | effect on the OS thread's count |
//! |---|---|---|
//! | detach a panic | resume a balancing panic from the stock: it catches itself here, and ends | − 1 |
//! | attach a panic | raise a balancing panic, suspend it, and put it into the stock | + 1 |
//! | fill the stock | raise balancing panics on an OS thread that ends at once | none: the count ends with its thread |
//!
//! So `panicking` is right for the code that runs, whatever is suspended on the same OS thread. To detach a panic costs a catch and two
//! switches, to attach it a raise and two switches. Coroutines that do not suspend while they unwind pay nothing.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use crate::coroutine::{Coroutine, Suspender};
use crate::fatal::fatal;
use crate::pool::StackPool;
use crate::stack::Stack;

/// Address space of a balancing panic's stack, in bytes. The unwinder takes some KiB of it.
const STACK_BYTES: usize = 64 * 1024;

/// How many balancing panics are raised at once when the stock is empty.
const BATCH: usize = 8;

/// Takes all panics off the calling OS thread's count and returns how many there were. Afterwards [`std::thread::panicking`] is false.
///
/// Some panics stay on the count if the process can start no OS thread.
pub fn detach_panics() -> u32 {
    let mut detached = 0;
    while thread::panicking()
        && let Some(balancing) = BalancingPanic::from_stock()
    {
        balancing.catch();
        detached += 1;
    }
    detached
}

/// Adds to the calling OS thread's count the `count` panics that [`detach_panics`] took off it, or off another one.
///
/// Aborts the process if there is no memory: std would count below zero when the caller's panics are caught.
pub fn attach_panics(count: u32) {
    for _ in 0..count {
        let Some(balancing) = BalancingPanic::raise() else {
            fatal(format_args!(
                "no memory for a stack of {STACK_BYTES} bytes, without which a thread cannot go on unwinding"
            ));
        };
        stock().panics.push(balancing);
    }
}

/// Returns how many panics are unwinding the calling OS thread.
pub fn panic_count() -> u32 {
    let count = detach_panics();
    attach_panics(count);
    count
}

/// A coroutine that is suspended while it unwinds. Its panic is on the count of the OS thread that raised it.
struct BalancingPanic(Coroutine);

// SAFETY: its frames hold nothing that belongs to an OS thread: a suspender, an empty payload, and what std's `catch_unwind` keeps.
// The unwinder keeps its state on this stack and in the exception.
unsafe impl Send for BalancingPanic {}

/// Balancing panics ready for use, and the stacks of used ones.
struct Stock {
    panics: Vec<BalancingPanic>,
    stacks: Option<StackPool>,
}

// SAFETY: stacks are memory, which belongs to no OS thread; the pool is used under the lock alone.
unsafe impl Send for Stock {}

static STOCK: Mutex<Stock> = Mutex::new(Stock { panics: Vec::new(), stacks: None });

/// Locks the stock. A poisoned lock means nothing here: the calling thread may be unwinding anyway.
fn stock() -> MutexGuard<'static, Stock> {
    STOCK.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Stock {
    fn take_stack(&mut self) -> Option<Stack> {
        self.stacks.get_or_insert_with(StackPool::new).take(STACK_BYTES).ok()
    }

    fn give_back(&mut self, stack: Stack) {
        self.stacks.as_mut().expect("the stack came from this pool").give_back(stack);
    }
}

impl BalancingPanic {
    /// Raises a panic on the calling OS thread and suspends it. Returns `None` if there is no memory for its stack.
    fn raise() -> Option<BalancingPanic> {
        /// Suspends the coroutine in the middle of its unwinding.
        struct SuspendOnDrop<'a>(&'a Suspender);
        impl Drop for SuspendOnDrop<'_> {
            fn drop(&mut self) {
                self.0.suspend();
            }
        }
        let stack = stock().take_stack()?;
        // SAFETY: it borrows nothing, and catches what it raises.
        let mut coroutine = unsafe {
            Coroutine::new(stack, |suspender| {
                let caught = catch_unwind(AssertUnwindSafe(|| {
                    let _suspend = SuspendOnDrop(suspender);
                    resume_unwind(Box::new(()));
                }));
                debug_assert!(caught.is_err(), "it raises a panic");
            })
        };
        let is_finished = coroutine.resume();
        debug_assert!(!is_finished, "it suspends in its destructor");
        Some(BalancingPanic(coroutine))
    }

    /// Takes one that was raised elsewhere. Returns `None` if the stock is empty and cannot be filled.
    fn from_stock() -> Option<BalancingPanic> {
        let kept = stock().panics.pop();
        kept.or_else(|| {
            let raise = || (0..BATCH).map_while(|_| BalancingPanic::raise()).collect();
            let raiser = thread::Builder::new().name("sward-panics".into()).spawn(raise).ok()?;
            let mut raised: Vec<_> = raiser.join().ok()?;
            let taken = raised.pop();
            stock().panics.append(&mut raised);
            taken
        })
    }

    /// Catches the panic on the calling OS thread, which takes one off its count.
    fn catch(mut self) {
        let is_finished = self.0.resume();
        debug_assert!(is_finished, "it catches its panic and returns");
        let stack = self.0.into_stack();
        stock().give_back(stack);
    }
}
