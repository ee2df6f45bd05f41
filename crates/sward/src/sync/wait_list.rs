//! The queue of waiters behind every lock, channel and queue: their order, and what each of them requests.
//!
//! Protocol, all of it under the [`SpinLock`] that guards the list:
//! 1. The waiter enters itself ([`WaitList::push_back`]) and sleeps ([`sleep`]).
//! 2. The thread that grants the request takes the waiter out of the order ([`WaitList::wake`]), and unparks it, after
//!    unlocking if it runs elsewhere ([`WakeList`]). The entry itself stays: it carries the outcome.
//! 3. The waiter, and nobody else, removes the entry ([`WaitList::remove`]). So a key is good until its owner gives it up.
//!
//! An entry names its waiter by address, without owning a reference, since counting costs as much as locking does. **A thread
//! with an entry is alive, since it removes the entry before it ends.** Hence the address is good under the lock and no longer.
//!
//! A wake-up cannot be lost: a waiter that is cancelled or whose time is over checks, under the same lock, whether it has been
//! notified meanwhile. If so, that counts, and the cancel is delivered at its next blocking call.
//!
//! ```text
//!            push_back            wake                  remove
//!   absent ───────────▶ waiting ──────────▶ notified ───────────▶ absent
//!                          └──────────── remove (time over, cancelled) ──▲
//! ```

use std::ptr;
use std::sync::Arc;
use std::time::Instant;

use super::spin_lock::{SpinGuard, SpinLock};
use crate::runtime::current::with_current_task;
use crate::runtime::task::Task;
use crate::runtime::wait;
use crate::runtime::worker::Worker;

/// Waiters in order of arrival, each with its request `I`: a doubly linked list inside a vector.
pub(crate) struct WaitList<I> {
    slots: Vec<Slot<I>>,
    /// The head of the list of free slots.
    free: Key,
    first: Key,
    last: Key,
    waiting: usize,
    used: usize,
}

/// Names an entry while its owner waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key(u32);

const NONE: Key = Key(u32::MAX);

const GOOD: &str = "a key is good until its owner removes the entry";

/// Above this many slots, a list that has become empty frees its memory.
const KEPT_SLOTS: usize = 64;

struct Slot<I> {
    task: Waiter,
    /// The request of the waiter, or its outcome. `None`: the slot is free.
    request: Option<I>,
    waiting: bool,
    previous: Key,
    /// Of a free slot: the next free one.
    next: Key,
}

/// The address of a waiter's task.
#[derive(Clone, Copy)]
struct Waiter {
    task: *const Task,
    /// It suspends a green thread, and does not hold up its OS thread.
    is_green: bool,
}

// SAFETY: a task is Send and Sync; that the address is good is the protocol at the head of this file.
unsafe impl Send for Waiter {}

impl<I> WaitList<I> {
    pub(crate) const fn new() -> WaitList<I> {
        WaitList { slots: Vec::new(), free: NONE, first: NONE, last: NONE, waiting: 0, used: 0 }
    }

    /// Returns how many wait and have not been notified.
    pub(crate) fn len(&self) -> usize {
        self.waiting
    }

    /// Returns whether nobody waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting == 0
    }

    /// Enters the calling thread as the last.
    #[inline(always)]
    pub(crate) fn push_back(&mut self, request: I) -> Key {
        let key = self.insert(request, true);
        self.link(self.last, key);
        self.link(key, NONE);
        key
    }

    /// Enters the calling thread as the first.
    pub(crate) fn push_front(&mut self, request: I) -> Key {
        let key = self.insert(request, true);
        self.link(key, self.first);
        self.link(NONE, key);
        key
    }

    /// Enters the calling thread as one that has been notified already.
    pub(crate) fn insert_notified(&mut self, request: I) -> Key {
        self.insert(request, false)
    }

    /// Returns the first waiter.
    pub(crate) fn first(&self) -> Option<Key> {
        (self.first != NONE).then_some(self.first)
    }

    /// Returns the waiters, in order.
    fn waiting(&self) -> impl Iterator<Item = (Key, &I)> {
        let mut key = self.first;
        std::iter::from_fn(move || {
            let found = (key != NONE).then_some(key)?;
            key = self.slot(found).next;
            Some((found, self.request_ref(found)))
        })
    }

    /// Returns the requests of the waiters, in order.
    pub(crate) fn requests(&self) -> impl Iterator<Item = &I> {
        self.waiting().map(|(_, request)| request)
    }

    /// Returns the first waiter whose request `matches`.
    pub(crate) fn find(&self, matches: impl Fn(&I) -> bool) -> Option<Key> {
        self.waiting().find(|(_, request)| matches(request)).map(|(key, _)| key)
    }

    /// Returns the request of an entry, or its outcome.
    #[inline]
    pub(crate) fn request(&mut self, key: Key) -> &mut I {
        self.slot_mut(key).request.as_mut().expect(GOOD)
    }

    /// As [`WaitList::request`], to read.
    #[inline]
    pub(crate) fn request_ref(&self, key: Key) -> &I {
        self.slot(key).request.as_ref().expect(GOOD)
    }

    /// Returns whether the entry still waits to be notified.
    #[inline]
    pub(crate) fn is_waiting(&self, key: Key) -> bool {
        self.slot(key).waiting
    }

    /// Wakes a waiter: takes it out of the order and unparks it, at once or by `wakes`.
    #[inline]
    pub(crate) fn wake(&mut self, key: Key, wakes: &mut WakeList) {
        self.unlink(key);
        self.wake_dequeued(key, wakes);
    }

    /// Takes a waiter out of the order. [`WaitList::wake_dequeued`] unparks it later.
    pub(crate) fn dequeue(&mut self, key: Key) {
        self.unlink(key);
    }

    /// Unparks a waiter that [`WaitList::dequeue`] took out of the order, at once or by `wakes`.
    #[inline]
    pub(crate) fn wake_dequeued(&mut self, key: Key, wakes: &mut WakeList) {
        wakes.push(self.slot(key).task);
    }

    /// Wakes the first waiter. Returns false if there is none.
    pub(crate) fn wake_first(&mut self, wakes: &mut WakeList) -> bool {
        let first = self.first();
        if let Some(key) = first {
            self.wake(key, wakes);
        }
        first.is_some()
    }

    /// Wakes all waiters, in order.
    pub(crate) fn wake_all(&mut self, wakes: &mut WakeList) {
        while self.wake_first(wakes) {}
    }

    /// Removes an entry, notified or not. For its owner only.
    pub(crate) fn remove(&mut self, key: Key) -> I {
        let request = self.slot_mut(key).request.take().expect(GOOD);
        self.free(key);
        request
    }

    /// As [`WaitList::remove`], but drops the request where it lies.
    #[inline]
    pub(crate) fn discard(&mut self, key: Key) {
        self.slot_mut(key).request = None;
        self.free(key);
    }

    #[inline]
    fn free(&mut self, key: Key) {
        if self.is_waiting(key) {
            self.unlink(key);
        }
        self.slot_mut(key).next = self.free;
        self.free = key;
        self.used -= 1;
        if self.used == 0 && self.slots.len() > KEPT_SLOTS {
            self.slots = Vec::new();
            self.free = NONE;
        }
    }

    #[inline(always)]
    fn insert(&mut self, request: I, waiting: bool) -> Key {
        if self.free == NONE {
            self.grow();
        }
        self.used += 1;
        self.waiting += usize::from(waiting);
        let key = self.free;
        let slot = self.slot_mut(key);
        // Part by part: a whole slot written at once would be read in other parts right after, which stalls.
        slot.task = Waiter { task: with_current_task(Arc::as_ptr), is_green: wait::is_green() };
        slot.request = Some(request);
        slot.waiting = waiting;
        self.free = self.slot(key).next;
        key
    }

    /// Makes a free slot.
    #[cold]
    fn grow(&mut self) {
        self.free = Key(u32::try_from(self.slots.len()).expect("fewer than 2^32 threads wait"));
        let slot = Slot {
            task: Waiter { task: ptr::null(), is_green: false },
            request: None,
            waiting: false,
            previous: NONE,
            next: NONE,
        };
        self.slots.push(slot);
    }

    #[inline]
    fn unlink(&mut self, key: Key) {
        let slot = self.slot_mut(key);
        debug_assert!(slot.waiting, "a waiter is dequeued once");
        slot.waiting = false;
        let (previous, next) = (slot.previous, slot.next);
        self.link(previous, next);
        self.waiting -= 1;
    }

    /// Makes `right` the neighbour of `left`; [`NONE`] is the end.
    #[inline]
    fn link(&mut self, left: Key, right: Key) {
        match left {
            NONE => self.first = right,
            left => self.slot_mut(left).next = right,
        }
        match right {
            NONE => self.last = left,
            right => self.slot_mut(right).previous = left,
        }
    }

    #[inline]
    fn slot(&self, key: Key) -> &Slot<I> {
        &self.slots[key.0 as usize]
    }

    #[inline]
    fn slot_mut(&mut self, key: Key) -> &mut Slot<I> {
        &mut self.slots[key.0 as usize]
    }
}

/// The threads to unpark once the lock is released: those that run elsewhere. A green thread of the calling thread's worker
/// cannot run before the calling thread suspends, so it is unparked at once and never enters this list.
#[derive(Default)]
#[must_use]
pub(crate) struct WakeList {
    first: Option<Wake>,
    others: Vec<Wake>,
}

enum Wake {
    Green(Arc<Task>),
    /// It holds up its OS thread.
    Blocked(Arc<Task>),
}

impl WakeList {
    #[inline]
    pub(crate) fn new() -> WakeList {
        WakeList::default()
    }

    /// Under the lock of the list that the waiter stands in.
    #[inline]
    fn push(&mut self, waiter: Waiter) {
        // SAFETY: under the lock, a waiter is alive.
        let task = unsafe { &*waiter.task };
        if !(waiter.is_green && Worker::schedule_notified_here(task)) {
            self.keep(waiter);
        }
    }

    #[cold]
    fn keep(&mut self, waiter: Waiter) {
        // SAFETY: under the lock, a waiter is alive; and tasks live in an `Arc`, from which the address came.
        let task = unsafe {
            Arc::increment_strong_count(waiter.task);
            Arc::from_raw(waiter.task)
        };
        let wake = if waiter.is_green { Wake::Green(task) } else { Wake::Blocked(task) };
        if self.first.is_none() {
            self.first = Some(wake);
        } else {
            self.others.push(wake);
        }
    }

    /// Unparks them in order. Not under a lock.
    #[inline]
    pub(crate) fn unpark(self) {
        if self.first.is_some() {
            self.unpark_each();
        } else {
            // Nothing to drop, and the compiler does not see it.
            std::mem::forget(self);
        }
    }

    #[cold]
    fn unpark_each(self) {
        for wake in self.first.into_iter().chain(self.others) {
            match wake {
                Wake::Green(task) => Worker::schedule_notified(task),
                Wake::Blocked(task) => task.unpark(),
            }
        }
    }
}

/// How [`sleep`] ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The request has been granted.
    Notified,
    /// The time was over.
    TimedOut,
    /// A cancel is due: remove the entry, unlock, then call [`wait::cancel_again`].
    Cancelled,
}

/// Blocks the calling thread, whose entry `key` stands in a list inside `lock`, until it has been notified and
/// `is_done` finds the outcome, until the deadline, or until a cancel is due, which the caller handles. Once notified, it
/// waits for the outcome whatever happens. Returns with the lock held; the caller removes the entry.
#[inline(always)]
pub(crate) fn sleep<S, I>(
    lock: &SpinLock<S>,
    list: impl Fn(&mut S) -> &mut WaitList<I>,
    key: Key,
    deadline: Option<Instant>,
    is_done: impl Fn(&I) -> bool,
) -> (SpinGuard<'_, S>, End) {
    let mut is_notified = false;
    loop {
        if is_notified || !wait::is_cancel_due() {
            wait::park_in_list(if is_notified { None } else { deadline });
        }
        let mut state = lock.lock();
        let waiters = list(&mut state);
        is_notified = !waiters.is_waiting(key);
        if is_notified {
            if is_done(waiters.request_ref(key)) {
                return (state, End::Notified);
            }
        } else if let Some(end) = reason_to_leave(deadline) {
            return (state, end);
        }
    }
}

#[cold]
fn reason_to_leave(deadline: Option<Instant>) -> Option<End> {
    if wait::is_cancel_due() {
        return Some(End::Cancelled);
    }
    deadline.is_some_and(|deadline| deadline <= Instant::now()).then_some(End::TimedOut)
}

/// Sleeps until the entry is notified: the common case of [`sleep`]. Returns false if the time was over first.
///
/// Calls `withdrawn`, under the lock, after removing an entry that was not notified, because the time was over or a cancel is
/// about to unwind the thread. Then unparks what that returns.
pub(crate) fn sleep_until_notified<S, I>(
    lock: &SpinLock<S>,
    list: impl Fn(&mut S) -> &mut WaitList<I>,
    key: Key,
    deadline: Option<Instant>,
    withdrawn: impl FnOnce(&mut S) -> WakeList,
) -> bool {
    let (mut state, end) = sleep(lock, &list, key, deadline, |_| true);
    list(&mut state).remove(key);
    if end == End::Notified {
        return true;
    }
    let wakes = withdrawn(&mut state);
    drop(state);
    wakes.unpark();
    if end == End::Cancelled {
        wait::cancel_again();
    }
    false
}
