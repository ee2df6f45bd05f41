//! `std::sync`, green: the same names and meanings, and a thread that waits lets its worker run other green
//! threads. Outside [`run`](crate::run) it blocks its OS thread. Everything here works between green threads
//! of any worker and OS threads.
//!
//! Beyond std there are [`Semaphore`], [`Event`], [`ReentrantMutex`], [`WaitGroup`] and [`Pool`].
//!
//! ```text
//!   Mutex  ReentrantMutex  RwLock  Condvar  Once         one word each; their waiters stand in
//!   raw_mutex.rs       raw_rwlock.rs                        └─▶ parking_lot.rs  a table for all of them
//!   Barrier  Event  Semaphore  channel  queue            have waiters of their own in
//!                                                           └─▶ wait_list.rs    under a spin_lock.rs
//! ```
//!
//! Everything that waits is a cancellation point: see
//! [`JoinHandle::cancel`](crate::thread::JoinHandle::cancel). A cancel takes a thread out of the line in an
//! orderly manner, loses no wake-up, and poisons nothing.
//!
//! # Cancel, and what a lock protects
//!
//! A thread that is cancelled, or whose [time is over](crate::time::timeout), while it holds a guard unwinds, and the guard unlocks. As it does
//! so at blocking calls only, and as most code does not leave data half changed across one, this does not poison the lock: the next
//! thread finds the data as they were at that call. **Code that breaks an invariant and blocks before it mends it** (moves money out of one
//! account, writes a log line to a socket, moves it into the other) has three ways to be safe:
//!
//! - to do what blocks before or after the change, not in between;
//! - to [`shield`](crate::thread::shield) the change: the cancel is delivered at the first blocking call after it;
//! - to mend the data in a destructor, or to do there what std's poison would do: mark them as broken.
//!
//! ```
//! use sward::{sync::Mutex, thread};
//!
//! fn transfer(accounts: &Mutex<[i64; 2]>, amount: i64) {
//!     let mut accounts = accounts.lock().unwrap();
//!     thread::shield(|| {
//!         accounts[0] -= amount;
//!         thread::yield_now(); // whatever blocks: without the shield, a cancel could end the thread here
//!         accounts[1] += amount;
//!     });
//! }
//! let accounts = Mutex::new([5, 0]);
//! transfer(&accounts, 3);
//! assert_eq!(*accounts.lock().unwrap(), [2, 3]);
//! ```
//!
//! # Loops that try
//!
//! Green threads are not preempted. So that two of one worker that spin until the other one moves come to an end, a call that never
//! waits (`try_lock`, `try_acquire`, `try_get`, …) and has failed some tens of times in a row without a suspension of its thread lets the
//! others run once. It is not a cancellation point. On success it costs nothing and lets nobody run. A loop over something else
//! (an atomic) has to [yield](crate::thread::yield_now) by itself.

mod barrier;
mod condvar;
mod event;
mod lazy_lock;
pub mod mpsc;
mod mutex;
mod once;
mod once_lock;
mod parking_lot;
mod poison;
mod pool;
mod raw_mutex;
mod raw_rwlock;
mod reentrant_mutex;
mod rwlock;
mod semaphore;
pub(crate) mod spin_lock;
mod wait_group;
pub(crate) mod wait_list;

pub use barrier::{Barrier, BarrierWaitResult};
pub use condvar::{Condvar, WaitTimeoutResult};
pub use event::Event;
pub use lazy_lock::LazyLock;
pub use mutex::{Mutex, MutexGuard};
#[allow(deprecated)]
pub use once::ONCE_INIT;
pub use once::{Once, OnceState};
pub use once_lock::OnceLock;
pub use pool::{Pool, PoolError, Pooled};
pub use reentrant_mutex::{ReentrantMutex, ReentrantMutexGuard};
pub use rwlock::{RwLock, RwLockReadGuard, RwLockWriteGuard};
pub use semaphore::{OverRelease, Permit, Semaphore};
#[doc(no_inline)]
pub use std::sync::{Arc, LockResult, PoisonError, TryLockError, TryLockResult, Weak, atomic};
pub use wait_group::WaitGroup;
