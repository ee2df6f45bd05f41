//! `std::sync`, green: the same names and meanings, and a thread that waits lets its worker run other green
//! threads. Outside [`run`](crate::run) it blocks its OS thread. Everything here works between green threads
//! of any worker and OS threads.
//!
//! Beyond std there are [`Semaphore`], [`Event`], [`ReentrantMutex`], [`WaitGroup`] and [`Pool`].
//!
//! ```text
//!   Mutex  ReentrantMutex  RwLock  Condvar  Once         one word each; their waiters stand in
//!   raw_mutex.rs       raw_rwlock.rs                        └─▶ lot.rs          a table for all of them
//!   Barrier  Event  Semaphore  channel  queue            have waiters of their own in
//!                                                           └─▶ wait_list.rs    under a short_lock.rs
//! ```
//!
//! Everything that waits is a cancellation point: see
//! [`JoinHandle::cancel`](crate::thread::JoinHandle::cancel). A cancel takes a thread out of the line in an
//! orderly manner, loses no wake-up, and poisons nothing.

mod barrier;
mod condvar;
mod event;
mod lazy_lock;
mod lot;
pub mod mpsc;
mod mutex;
mod once;
mod once_lock;
mod poison;
mod pool;
mod raw_mutex;
mod raw_rwlock;
mod reentrant_mutex;
mod rwlock;
mod semaphore;
pub(crate) mod short_lock;
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
