//! std's count of panics, made to travel with a stack.
//!
//! std counts for each OS thread how many panics are unwinding it: raising one adds one, catching it takes one off, and
//! `std::thread::panicking` says whether the count is above zero. Unwinding itself knows no threads: its state lies in the exception
//! and on the stack. So a coroutine may be suspended in a destructor, in the middle of its unwinding, and others run meanwhile, but
//! its share of the count has to leave the OS thread and come back with it. std has no function for that.
//!
//! What it has is enough: a panic that is raised on one OS thread and caught on another moves the count of both. Such panics
//! are the *weights* here, coroutines that are suspended in the middle of an unwinding of their own:
//!
//! ```text
//!   on an OS thread that ends at once:   raise ─▶ suspend ···· a weight
//!   lift, on the worker:                 resume the weight, which catches its panic          count − 1, until it is zero
//!   lay, on the worker:                  raise ─▶ suspend ···· a weight, kept for the next   count + 1
//! ```
//!
//! So what `lift` takes off is counted exactly, and everything that asks `panicking`, std's poisoning of locks above all, gets the
//! answer for the code that runs, not for what happens to be suspended on the same OS thread. A lift and a lay cost about
//! a microsecond each for each panic, and nothing is paid by threads that do not suspend while they unwind.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use crate::coroutine::{Coroutine, Suspender};
use crate::last_words::fatal;
use crate::pool::StackPool;
use crate::stack::Stack;

/// Address space of a weight's stack, in bytes: the unwinder takes some KiB.
const STACK_BYTES: usize = 64 * 1024;

/// How many weights are made at once when there is none.
const BATCH: usize = 8;

/// Takes all panics off the calling OS thread's count, and returns how many there were. Afterwards `std::thread::panicking` is false.
///
/// If the process can start no OS thread, some may stay.
pub fn lift_panics() -> u32 {
    let mut lifted = 0;
    while thread::panicking() && Weight::take().is_some_and(Weight::lift) {
        lifted += 1;
    }
    lifted
}

/// Adds `count` panics to the calling OS thread's count, which [`lift_panics`] has taken off it or another one.
pub fn lay_panics(count: u32) {
    (0..count).for_each(|_| Weight::lay());
}

/// How many panics are unwinding the calling OS thread.
pub fn panic_count() -> u32 {
    let count = lift_panics();
    lay_panics(count);
    count
}

/// A coroutine in the middle of an unwinding, which counts on the OS thread that raised it.
struct Weight(Coroutine);

// SAFETY: its frames hold nothing that belongs to an OS thread: a suspender, an empty payload, and what std's `catch_unwind` keeps.
// The unwinder keeps its state on this stack and in the exception.
unsafe impl Send for Weight {}

/// Weights that nobody needs now, and the stacks of former ones.
struct Store {
    weights: Vec<Weight>,
    stacks: Option<StackPool>,
}

// SAFETY: stacks are memory, which belongs to no OS thread; the pool is used under the lock alone.
unsafe impl Send for Store {}

static STORE: Mutex<Store> = Mutex::new(Store { weights: Vec::new(), stacks: None });

/// Not held while a panic is raised or caught, which would poison it. (And that is of no importance.)
fn store() -> MutexGuard<'static, Store> {
    STORE.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Store {
    fn take_stack(&mut self) -> Option<Stack> {
        self.stacks.get_or_insert_with(StackPool::new).take(STACK_BYTES).ok()
    }

    fn give_back(&mut self, stack: Stack) {
        self.stacks.as_mut().expect("the stack came from this pool").give_back(stack);
    }
}

impl Weight {
    /// Raises a panic on the calling OS thread, and suspends it. `None`: there is no memory for its stack.
    fn raise() -> Option<Weight> {
        /// Suspends the coroutine in the middle of its unwinding.
        struct Hangs<'a>(&'a Suspender);
        impl Drop for Hangs<'_> {
            fn drop(&mut self) {
                self.0.suspend();
            }
        }
        let stack = store().take_stack()?;
        // SAFETY: it borrows nothing, and what it raises it catches.
        let mut coroutine = unsafe {
            Coroutine::new(stack, |suspender| {
                let raised = catch_unwind(AssertUnwindSafe(|| {
                    let _hangs = Hangs(suspender);
                    resume_unwind(Box::new(()));
                }));
                debug_assert!(raised.is_err(), "it raises");
            })
        };
        let is_finished = coroutine.resume();
        debug_assert!(!is_finished, "it hangs in its destructor");
        Some(Weight(coroutine))
    }

    /// A weight that was raised elsewhere. `None`: there is none, and none can be made.
    fn take() -> Option<Weight> {
        let kept = store().weights.pop();
        kept.or_else(|| {
            let make = || (0..BATCH).map_while(|_| Weight::raise()).collect();
            // Its count ends with it.
            let maker = thread::Builder::new().name("sward-weights".into()).spawn(make).ok()?;
            let mut made: Vec<_> = maker.join().ok()?;
            let taken = made.pop();
            store().weights.append(&mut made);
            taken
        })
    }

    /// Catches its panic on the calling OS thread: takes one off its count. Always true.
    fn lift(mut self) -> bool {
        let is_finished = self.0.resume();
        debug_assert!(is_finished, "it catches its panic and returns");
        let stack = self.0.into_stack();
        store().give_back(stack);
        true
    }

    /// Raises a panic on the calling OS thread and keeps it: adds one to its count.
    fn lay() {
        let Some(weight) = Weight::raise() else {
            // The thread could not finish its unwinding: std would count below zero.
            fatal(format_args!(
                "no memory for a stack of {STACK_BYTES} bytes, without which a thread cannot go on unwinding"
            ));
        };
        store().weights.push(weight);
    }
}
