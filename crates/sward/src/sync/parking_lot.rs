//! The parking lot of the small locks: one table of queues that all of them share, looked up by the lock's address,
//! so that a lock itself is one word.
//!
//! Protocol:
//! - [`park`] checks the word again under the lock of the address's bucket, and parks only if the thread still has to wait.
//! - An unlock changes the word and unparks waiters inside one call of [`with_waiters`], so under the same lock. A waiter
//!   either sees the change or is seen.
//! - Unparking is only a hint: the unparked thread tries again. If another thread was quicker, it parks again at
//!   [`QueueEnd::Front`]. See `wait_list.rs` for a cancel at that moment.

use std::time::Instant;

use super::spin_lock::{SpinGuard, SpinLock};
use super::wait_list::{Key, WaitList, WakeList, sleep_until_notified};

/// A power of two: enough that the hot locks of a program seldom share one.
const BUCKETS: usize = 256;

#[repr(align(64))]
struct Bucket(SpinLock<WaitList<Parked>>);

/// A parked thread.
struct Parked {
    address: usize,
    /// What the lock wants to know about its waiter.
    kind: u32,
}

static LOT: [Bucket; BUCKETS] = [const { Bucket(SpinLock::new(WaitList::new())) }; BUCKETS];

fn bucket(address: usize) -> &'static SpinLock<WaitList<Parked>> {
    // Fibonacci hashing: the upper bits of the product depend on all bits of the address.
    let hash = (address as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    &LOT[(hash >> (64 - BUCKETS.trailing_zeros())) as usize].0
}

/// Where a waiter enters the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum QueueEnd {
    Front,
    Back,
}

/// How [`park`] ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ParkResult {
    /// `must_wait` returned false.
    Invalid,
    Unparked,
    TimedOut,
}

/// Parks the calling thread until [`Waiters::unpark_one`] unparks it, or until the deadline. A cancellation point.
///
/// Calls `must_wait` under the bucket's lock, and `before_sleep` after it, when the thread may be unparked already.
pub(super) fn park(
    address: usize,
    kind: u32,
    end: QueueEnd,
    deadline: Option<Instant>,
    must_wait: impl FnOnce() -> bool,
    before_sleep: impl FnOnce(),
) -> ParkResult {
    let bucket = bucket(address);
    let mut waiters = bucket.lock();
    if !must_wait() {
        return ParkResult::Invalid;
    }
    let parked = Parked { address, kind };
    let key = match end {
        QueueEnd::Front => waiters.push_front(parked),
        QueueEnd::Back => waiters.push_back(parked),
    };
    drop(waiters);
    before_sleep();
    match sleep_until_notified(bucket, |waiters| waiters, key, deadline, |_| WakeList::new()) {
        true => ParkResult::Unparked,
        false => ParkResult::TimedOut,
    }
}

/// Calls `action` with the waiters of `address`, under the bucket's lock. Those that it unparks run after the lock is released.
pub(super) fn with_waiters<R>(address: usize, action: impl FnOnce(&mut Waiters<'_>) -> R) -> R {
    let mut waiters = Waiters { list: bucket(address).lock(), address, wakes: WakeList::new() };
    let result = action(&mut waiters);
    let Waiters { list, wakes, .. } = waiters;
    drop(list);
    wakes.unpark();
    result
}

/// The threads parked at one address, in order.
pub(super) struct Waiters<'a> {
    list: SpinGuard<'a, WaitList<Parked>>,
    address: usize,
    wakes: WakeList,
}

impl Waiters<'_> {
    fn first_key(&self) -> Option<Key> {
        let address = self.address;
        self.list.find(|parked| parked.address == address)
    }

    /// Returns the kind of the first waiter.
    pub(super) fn first(&self) -> Option<u32> {
        self.first_key().map(|key| self.list.request_ref(key).kind)
    }

    /// Returns the kinds of all waiters, in order.
    pub(super) fn kinds(&self) -> impl Iterator<Item = u32> {
        self.list.requests().filter(|parked| parked.address == self.address).map(|parked| parked.kind)
    }

    /// Unparks the first waiter. Returns false if there is none.
    pub(super) fn unpark_one(&mut self) -> bool {
        let Some(key) = self.first_key() else { return false };
        self.list.wake(key, &mut self.wakes);
        true
    }
}
