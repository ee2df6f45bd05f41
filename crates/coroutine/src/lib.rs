//! Stacks and switching for green threads. No I/O, no scheduler: this room knows how a function runs on a
//! stack of its own and how it is left and entered again, and nothing else.
//!
//! ```text
//!   StackPool ── take ──> Stack ── Coroutine::new ──> Coroutine ── resume ⇄ suspend ──> finished
//!       ^                                                                                 │
//!       └───────────────────────────── give_back ───────────── into_stack ────────────────┘
//! ```
//!
//! | file | holds |
//! |---|---|
//! | `slab.rs` | address space, cut into slots; the process-wide list of all slabs |
//! | `page.rs` | the size of a page |
//! | `guard.rs` | guards of 64 KiB: `MADV_GUARD_INSTALL`, or `mprotect` before Linux 6.13 |
//! | `stack.rs` | one slot, as a stack |
//! | `pool.rs` | one worker's stacks: promises, reuse, trimming |
//! | `class.rs` | its stacks of one size |
//! | `coroutine.rs` | a function on a stack; the one place where execution switches |
//! | `overflow.rs` | the report of a stack overflow |
//! | `last_words.rs` | what a process says before it aborts |
//! | `panic_count.rs` | std's count of panics, made to travel with a stack |
//! | `prefetch.rs` | fetching from memory before it is needed |
//!
//! A round trip, on one thread:
//! ```
//! use sward_coroutine::{Coroutine, StackPool};
//!
//! let mut pool = StackPool::new();
//! let stack = pool.take(64 * 1024)?;
//! // SAFETY: `main` borrows nothing and does not unwind.
//! let mut coroutine = unsafe {
//!     Coroutine::new(stack, |suspender| {
//!         println!("before");
//!         suspender.suspend();
//!         println!("after");
//!     })
//! };
//! assert!(!coroutine.resume()); // prints "before"
//! assert!(coroutine.resume()); // prints "after"
//! pool.give_back(coroutine.into_stack());
//! # std::io::Result::Ok(())
//! ```

mod class;
mod coroutine;
mod guard;
mod last_words;
mod overflow;
mod page;
mod panic_count;
mod pool;
mod prefetch;
mod slab;
mod stack;

pub use coroutine::{Coroutine, Suspender, on_stack};
#[doc(hidden)]
pub use guard::Guards;
pub use last_words::{fatal, say_last};
pub use overflow::{OverflowReport, OverflowWatch, watch_overflow};
pub use panic_count::{lay_panics, lift_panics, panic_count};
pub use pool::{StackPool, StackStatistics};
pub use prefetch::prefetch;
pub use slab::StackMemory;
pub use stack::Stack;
