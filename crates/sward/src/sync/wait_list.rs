//! Who waits, in which order, and what for: the list that stands behind every lock, channel and queue.
//!
//! Protocol, all of it under the [`ShortLock`] that guards the list: 1. The waiter enters itself
//! ([`WaitList::push_back`]) and sleeps ([`sleep`]). 2. Who makes its wish come true takes it out of the
//! order ([`WaitList::choose`]), and unparks it, after unlocking if it runs elsewhere ([`Wakes`]). The entry itself
//! stays: it carries the outcome. 3. The waiter, and nobody else, removes the entry ([`WaitList::remove`]). So a key is
//! good until its owner gives it up.
//!
//! An entry names its waiter by address, without owning a reference, since counting costs as much as locking does:
//! **who has an entry is alive, since it removes the entry before it ends.** Hence the address is good under the lock and no longer.
//!
//! A wake-up cannot be lost: a waiter that is cancelled or whose time is over looks, under the same lock,
//! whether it has been chosen meanwhile. If so, that counts, and the cancel is delivered at its next blocking
//! call.
//!
//! ```text
//!            push_back            choose                remove
//!   absent ───────────▶ waiting ──────────▶ chosen ─────────────▶ absent
//!                          └──────────── remove (time over, cancelled) ──▲
//! ```

use std::ptr;
use std::sync::Arc;
use std::time::Instant;

use super::short_lock::{ShortGuard, ShortLock};
use crate::runtime::current::with_current_task;
use crate::runtime::task::Task;
use crate::runtime::wait;
use crate::runtime::worker::Worker;

/// Waiters in order of arrival, each with its wish `I`. A doubly linked list inside a vector.
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

/// Above this many slots, a list that has become empty gives its memory back.
const KEPT_SLOTS: usize = 64;

struct Slot<I> {
    task: Waiter,
    /// What the waiter wishes, or its outcome. `None`: the slot is free.
    wish: Option<I>,
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

    /// How many wait and have not been chosen.
    pub(crate) fn len(&self) -> usize {
        self.waiting
    }

    /// Whether nobody waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting == 0
    }

    /// Enters the calling thread as the last.
    #[inline(always)]
    pub(crate) fn push_back(&mut self, wish: I) -> Key {
        let key = self.insert(wish, true);
        self.link(self.last, key);
        self.link(key, NONE);
        key
    }

    /// Enters the calling thread as the first.
    pub(crate) fn push_front(&mut self, wish: I) -> Key {
        let key = self.insert(wish, true);
        self.link(key, self.first);
        self.link(NONE, key);
        key
    }

    /// Enters the calling thread as one that has been chosen already.
    pub(crate) fn insert_chosen(&mut self, wish: I) -> Key {
        self.insert(wish, false)
    }

    /// The first who waits.
    pub(crate) fn first(&self) -> Option<Key> {
        (self.first != NONE).then_some(self.first)
    }

    /// Those who wait, in order.
    fn waiting(&self) -> impl Iterator<Item = (Key, &I)> {
        let mut key = self.first;
        std::iter::from_fn(move || {
            let found = (key != NONE).then_some(key)?;
            key = self.slot(found).next;
            Some((found, self.wish_ref(found)))
        })
    }

    /// The wishes of those who wait, in order.
    pub(crate) fn wishes(&self) -> impl Iterator<Item = &I> {
        self.waiting().map(|(_, wish)| wish)
    }

    /// The first who waits and whose wish is such as `matches` says.
    pub(crate) fn find(&self, matches: impl Fn(&I) -> bool) -> Option<Key> {
        self.waiting().find(|(_, wish)| matches(wish)).map(|(key, _)| key)
    }

    /// The wish of an entry, or its outcome.
    #[inline]
    pub(crate) fn wish(&mut self, key: Key) -> &mut I {
        self.slot_mut(key).wish.as_mut().expect(GOOD)
    }

    /// As [`WaitList::wish`], to look at.
    #[inline]
    pub(crate) fn wish_ref(&self, key: Key) -> &I {
        self.slot(key).wish.as_ref().expect(GOOD)
    }

    /// Whether the entry has not been chosen.
    #[inline]
    pub(crate) fn is_waiting(&self, key: Key) -> bool {
        self.slot(key).waiting
    }

    /// Takes a waiter out of the order and unparks it by means of `wakes`.
    #[inline]
    pub(crate) fn choose(&mut self, key: Key, wakes: &mut Wakes) {
        self.unlink(key);
        self.wake(key, wakes);
    }

    /// Takes a waiter out of the order whose wish will be granted later, with [`WaitList::wake`].
    pub(crate) fn promise(&mut self, key: Key) {
        self.unlink(key);
    }

    /// Unparks the owner of an entry by means of `wakes`.
    #[inline]
    pub(crate) fn wake(&mut self, key: Key, wakes: &mut Wakes) {
        wakes.push(self.slot(key).task);
    }

    /// Takes the first waiter out of the order and unparks it by means of `wakes`; false if there is none.
    pub(crate) fn choose_first(&mut self, wakes: &mut Wakes) -> bool {
        let first = self.first();
        if let Some(key) = first {
            self.choose(key, wakes);
        }
        first.is_some()
    }

    /// Takes all waiters out of the order and unparks them by means of `wakes`.
    pub(crate) fn choose_all(&mut self, wakes: &mut Wakes) {
        while self.choose_first(wakes) {}
    }

    /// Ends an entry, chosen or not. For its owner.
    pub(crate) fn remove(&mut self, key: Key) -> I {
        let wish = self.slot_mut(key).wish.take().expect(GOOD);
        self.free(key);
        wish
    }

    /// As [`WaitList::remove`], when nothing of the wish is wanted: it need not be moved, only dropped.
    #[inline]
    pub(crate) fn discard(&mut self, key: Key) {
        self.slot_mut(key).wish = None;
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
    fn insert(&mut self, wish: I, waiting: bool) -> Key {
        if self.free == NONE {
            self.grow();
        }
        self.used += 1;
        self.waiting += usize::from(waiting);
        let key = self.free;
        let slot = self.slot_mut(key);
        // Part by part: a whole slot written at once would be read in other parts right after, which stalls.
        slot.task = Waiter { task: with_current_task(Arc::as_ptr), is_green: wait::is_green() };
        slot.wish = Some(wish);
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
            wish: None,
            waiting: false,
            previous: NONE,
            next: NONE,
        };
        self.slots.push(slot);
    }

    #[inline]
    fn unlink(&mut self, key: Key) {
        let slot = self.slot_mut(key);
        debug_assert!(slot.waiting, "who has been chosen is not chosen again");
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

/// Who is to be unparked once the lock has been let go: those who run elsewhere. Who belongs to the calling thread's worker
/// cannot run before the calling thread suspends, so it is unparked at once.
#[derive(Default)]
#[must_use]
pub(crate) struct Wakes {
    first: Option<Wake>,
    others: Vec<Wake>,
}

enum Wake {
    Green(Arc<Task>),
    /// It holds up its OS thread.
    Blocked(Arc<Task>),
}

impl Wakes {
    #[inline]
    pub(crate) fn none() -> Wakes {
        Wakes::default()
    }

    /// Under the lock of the list that the waiter stands in.
    #[inline]
    fn push(&mut self, waiter: Waiter) {
        // SAFETY: under the lock, a waiter is alive.
        let task = unsafe { &*waiter.task };
        if !(waiter.is_green && Worker::schedule_chosen_here(task)) {
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
                Wake::Green(task) => Worker::schedule_chosen(task),
                Wake::Blocked(task) => task.unpark(),
            }
        }
    }
}

/// How [`sleep`] ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The wish has come true.
    Chosen,
    /// The time was over.
    TimedOut,
    /// A cancel is due: remove the entry, unlock, then call [`wait::cancel_again`].
    Cancelled,
}

/// Blocks the calling thread, whose entry `key` stands in a list inside `lock`, until it has been chosen and
/// `is_done` says that the outcome is there, or the deadline, or a cancel, which it leaves to the caller. Who
/// has been chosen does not leave before the outcome. Returns with the lock held; the caller removes the
/// entry.
#[inline(always)]
pub(crate) fn sleep<S, I>(
    lock: &ShortLock<S>,
    list: impl Fn(&mut S) -> &mut WaitList<I>,
    key: Key,
    deadline: Option<Instant>,
    is_done: impl Fn(&I) -> bool,
) -> (ShortGuard<'_, S>, End) {
    let mut is_chosen = false;
    loop {
        if is_chosen || !wait::is_cancel_due() {
            wait::park_in_list(if is_chosen { None } else { deadline });
        }
        let mut state = lock.lock();
        let waiters = list(&mut state);
        is_chosen = !waiters.is_waiting(key);
        if is_chosen {
            if is_done(waiters.wish_ref(key)) {
                return (state, End::Chosen);
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

/// The common case of [`sleep`]: the wish is to be chosen. True if that has happened, false if the time was
/// over first.
///
/// `withdrawn` is called, under the lock, when the entry has been removed although it was not chosen: the
/// time was over, or the thread is about to be unwound by a cancel. What it returns is unparked.
pub(crate) fn sleep_until_chosen<S, I>(
    lock: &ShortLock<S>,
    list: impl Fn(&mut S) -> &mut WaitList<I>,
    key: Key,
    deadline: Option<Instant>,
    withdrawn: impl FnOnce(&mut S) -> Wakes,
) -> bool {
    let (mut state, end) = sleep(lock, &list, key, deadline, |_| true);
    list(&mut state).remove(key);
    if end == End::Chosen {
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
