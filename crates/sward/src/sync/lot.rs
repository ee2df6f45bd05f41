//! Where the waiters of small locks stand: a table that is shared by all of them and looked up by the lock's
//! address, so that a lock itself is one word.
//!
//! Protocol:
//! - [`wait`] looks at the word once more, under the lock of the address's bucket, and enters the thread only
//!   if it still has to wait.
//! - Who lets go changes the word and chooses a waiter inside one [`visit`], so under the same lock. A waiter
//!   either sees the change or is seen.
//! - No more than a hint is given: the chosen one tries again, and comes back with [`Place::First`] if
//!   somebody was quicker. See `wait_list.rs` for what happens when it is cancelled at that moment.

use std::time::Instant;

use super::short_lock::{ShortGuard, ShortLock};
use super::wait_list::{Key, WaitList, Wakes, sleep_until_chosen};

/// A power of two: enough that the hot locks of a program seldom share one.
const BUCKETS: usize = 256;

#[repr(align(64))]
struct Bucket(ShortLock<WaitList<Wish>>);

struct Wish {
    address: usize,
    /// What the lock wants to know about its waiter.
    kind: u32,
}

static LOT: [Bucket; BUCKETS] = [const { Bucket(ShortLock::new(WaitList::new())) }; BUCKETS];

fn bucket(address: usize) -> &'static ShortLock<WaitList<Wish>> {
    // Fibonacci hashing: the upper bits of the product depend on all bits of the address.
    let hash = (address as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    &LOT[(hash >> (64 - BUCKETS.trailing_zeros())) as usize].0
}

/// Where a waiter enters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    First,
    Last,
}

/// How [`wait`] ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waited {
    /// `must_wait` said no.
    NotAtAll,
    Chosen,
    TimedOut,
}

/// Blocks the calling thread until it is chosen in a [`visit`] of the same address, or until the deadline. A
/// cancellation point.
///
/// `must_wait` is asked under the bucket's lock; `before_sleep` runs after it, when the thread can be chosen
/// already.
pub(super) fn wait(
    address: usize,
    kind: u32,
    place: Place,
    deadline: Option<Instant>,
    must_wait: impl FnOnce() -> bool,
    before_sleep: impl FnOnce(),
) -> Waited {
    let bucket = bucket(address);
    let mut waiters = bucket.lock();
    if !must_wait() {
        return Waited::NotAtAll;
    }
    let wish = Wish { address, kind };
    let key = match place {
        Place::First => waiters.push_front(wish),
        Place::Last => waiters.push_back(wish),
    };
    drop(waiters);
    before_sleep();
    match sleep_until_chosen(bucket, |waiters| waiters, key, deadline, |_| Wakes::none()) {
        true => Waited::Chosen,
        false => Waited::TimedOut,
    }
}

/// Lends the waiters of `address`. Those that `action` chooses are unparked afterwards.
pub(super) fn visit<R>(address: usize, action: impl FnOnce(&mut Waiters<'_>) -> R) -> R {
    let mut waiters = Waiters { list: bucket(address).lock(), address, wakes: Wakes::none() };
    let result = action(&mut waiters);
    let Waiters { list, wakes, .. } = waiters;
    drop(list);
    wakes.unpark();
    result
}

/// Those who wait at one address, in order.
pub(super) struct Waiters<'a> {
    list: ShortGuard<'a, WaitList<Wish>>,
    address: usize,
    wakes: Wakes,
}

impl Waiters<'_> {
    fn first_key(&self) -> Option<Key> {
        let address = self.address;
        self.list.find(|wish| wish.address == address)
    }

    /// The kind of the first waiter.
    pub(super) fn first(&self) -> Option<u32> {
        self.first_key().map(|key| self.list.wish_ref(key).kind)
    }

    /// The kinds of all waiters, in order.
    pub(super) fn kinds(&self) -> impl Iterator<Item = u32> {
        self.list.wishes().filter(|wish| wish.address == self.address).map(|wish| wish.kind)
    }

    /// Chooses the first waiter; false if there is none.
    pub(super) fn choose_first(&mut self) -> bool {
        let Some(key) = self.first_key() else { return false };
        self.list.choose(key, &mut self.wakes);
        true
    }
}
