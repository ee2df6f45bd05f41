//! Stacks and stack switching for green threads: runs a function on a stack of its own, suspends it and resumes it.
//! Knows no I/O and no scheduler.
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
//! | `guard.rs` | guards of 64 KiB: `MADV_GUARD_INSTALL`, or `mprotect` before Linux 6.13 |
//! | `stack.rs` | one slot, as a stack |
//! | `pool.rs` | one worker's stacks: reservation, reuse, trimming |
//! | `size_class.rs` | a pool's stacks of one size |
//! | `coroutine.rs` | a function on a stack; the one place where execution switches |
//! | `panic_count.rs` | moves std's panic count along with a suspended stack |
//! | `overflow.rs` | the report of a stack overflow |
//! | `fatal.rs` | the last message of a process that aborts |
//! | `memory.rs` | the size of a page; prefetching |
//!
//! # Examples
//! Run a function halfway, then to its end:
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

mod coroutine;
mod fatal;
mod guard;
mod memory;
mod overflow;
mod panic_count;
mod pool;
mod size_class;
mod slab;
mod stack;

pub use coroutine::{Coroutine, Suspender, on_stack};
pub use fatal::{fatal, write_stderr};
#[doc(hidden)]
pub use guard::Guards;
pub use memory::prefetch;
pub use overflow::{OverflowReport, OverflowWatch, watch_overflow};
pub use panic_count::{attach_panics, detach_panics, panic_count};
pub use pool::{StackPool, StackStatistics};
pub use slab::StackMemory;
pub use stack::Stack;
