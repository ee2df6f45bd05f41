//! The library's files.

#[path = "../../../crates/sward/src/sync/barrier.rs"]
mod barrier;
#[path = "../../../crates/sward/src/sync/condvar.rs"]
mod condvar;
#[path = "../../../crates/sward/src/sync/event.rs"]
mod event;
#[path = "../../../crates/sward/src/sync/lazy_lock.rs"]
mod lazy_lock;
#[path = "../../../crates/sward/src/sync/parking_lot.rs"]
mod parking_lot;
#[path = "../../../crates/sward/src/sync/mutex.rs"]
mod mutex;
#[path = "../../../crates/sward/src/sync/once.rs"]
mod once;
#[path = "../../../crates/sward/src/sync/once_lock.rs"]
mod once_lock;
#[path = "../../../crates/sward/src/sync/poison.rs"]
mod poison;
#[path = "../../../crates/sward/src/sync/pool.rs"]
mod pool;
#[path = "../../../crates/sward/src/sync/raw_mutex.rs"]
mod raw_mutex;
#[path = "../../../crates/sward/src/sync/raw_rwlock.rs"]
mod raw_rwlock;
#[path = "../../../crates/sward/src/sync/reentrant_mutex.rs"]
mod reentrant_mutex;
#[path = "../../../crates/sward/src/sync/rwlock.rs"]
mod rwlock;
#[path = "../../../crates/sward/src/sync/semaphore.rs"]
pub(crate) mod semaphore;
#[path = "../../../crates/sward/src/sync/spin_lock.rs"]
pub(crate) mod spin_lock;
#[path = "../../../crates/sward/src/sync/wait_group.rs"]
mod wait_group;
#[path = "../../../crates/sward/src/sync/wait_list.rs"]
pub(crate) mod wait_list;

pub(crate) use barrier::Barrier;
pub(crate) use condvar::Condvar;
pub(crate) use event::Event;
pub(crate) use lazy_lock::LazyLock;
pub(crate) use mutex::{Mutex, MutexGuard};
pub(crate) use once::Once;
pub(crate) use once_lock::OnceLock;
pub(crate) use pool::Pool;
pub(crate) use reentrant_mutex::ReentrantMutex;
pub(crate) use rwlock::RwLock;
pub(crate) use std::sync::PoisonError;
pub(crate) use wait_group::WaitGroup;
