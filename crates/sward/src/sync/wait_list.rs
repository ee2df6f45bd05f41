//! Who waits, in which order, and what for: the list that stands behind every lock, channel and queue.
//!
//! Protocol, all of it under the [`ShortLock`] that guards the list: 1. The waiter enters itself
//! ([`WaitList::push_back`]) and sleeps ([`sleep`]). 2. Who makes its wish come true takes it out of the
//! order ([`WaitList::choose`]), and unparks it after unlocking. The entry itself stays: it carries the
//! outcome. 3. The waiter, and nobody else, removes the entry ([`WaitList::remove`]). So a key is good until
//! its owner gives it up.
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

use std::sync::Arc;
use std::time::Instant;

use super::short_lock::{ShortGuard, ShortLock};
use crate::runtime::task::Task;
use crate::runtime::wait;
use crate::thread;

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

/// Above this many slots, a list that has become empty gives its memory back.
const KEPT_SLOTS: usize = 64;

enum Slot<I> {
    Free { next: Key },
    Used(Entry<I>),
}

struct Entry<I> {
    task: Option<Arc<Task>>,
    wish: I,
    waiting: bool,
    previous: Key,
    next: Key,
}

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
    pub(crate) fn push_back(&mut self, wish: I) -> Key {
        let key = self.insert(wish, true);
        let last = self.last;
        self.entry(key).previous = last;
        self.link(last, key);
        self.link(key, NONE);
        key
    }

    /// Enters the calling thread as the first.
    pub(crate) fn push_front(&mut self, wish: I) -> Key {
        let key = self.insert(wish, true);
        let first = self.first;
        self.link(key, first);
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
            let found = (key != NONE).then(|| (key, self.entry_ref(key)));
            found.map(|(found, entry)| {
                key = entry.next;
                (found, &entry.wish)
            })
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
    pub(crate) fn wish(&mut self, key: Key) -> &mut I {
        &mut self.entry(key).wish
    }

    /// As [`WaitList::wish`], to look at.
    pub(crate) fn wish_ref(&self, key: Key) -> &I {
        &self.entry_ref(key).wish
    }

    /// Whether the entry has not been chosen.
    pub(crate) fn is_waiting(&self, key: Key) -> bool {
        self.entry_ref(key).waiting
    }

    /// Takes a waiter out of the order and gives the task to unpark.
    pub(crate) fn choose(&mut self, key: Key) -> Arc<Task> {
        self.unlink(key);
        self.entry(key).task.take().expect("who waits has not been chosen")
    }

    /// Takes a waiter out of the order whose wish will be granted later, with [`WaitList::take_task`].
    pub(crate) fn promise(&mut self, key: Key) {
        self.unlink(key);
    }

    /// The task of an entry that was promised its wish, to unpark it before the wish is granted.
    pub(crate) fn task(&mut self, key: Key) -> Arc<Task> {
        self.entry(key).task.clone().expect("what was promised has its task")
    }

    /// The task of an entry that was promised its wish, now that it is granted.
    pub(crate) fn take_task(&mut self, key: Key) -> Arc<Task> {
        self.entry(key).task.take().expect("what was promised has its task")
    }

    /// Takes the first waiter out of the order.
    pub(crate) fn choose_first(&mut self) -> Option<Arc<Task>> {
        self.first().map(|key| self.choose(key))
    }

    /// Takes all waiters out of the order.
    pub(crate) fn choose_all(&mut self) -> Vec<Arc<Task>> {
        std::iter::from_fn(|| self.choose_first()).collect()
    }

    /// Ends an entry, chosen or not. For its owner.
    pub(crate) fn remove(&mut self, key: Key) -> I {
        if self.is_waiting(key) {
            self.unlink(key);
        }
        let slot = std::mem::replace(&mut self.slots[key.0 as usize], Slot::Free { next: self.free });
        self.free = key;
        self.used -= 1;
        if self.used == 0 && self.slots.len() > KEPT_SLOTS {
            self.slots = Vec::new();
            self.free = NONE;
        }
        match slot {
            Slot::Used(entry) => entry.wish,
            Slot::Free { .. } => unreachable!("a key is good until its owner removes the entry"),
        }
    }

    fn insert(&mut self, wish: I, waiting: bool) -> Key {
        let task = Some(thread::with_current_task(Arc::clone));
        let slot = Slot::Used(Entry { task, wish, waiting, previous: NONE, next: NONE });
        self.used += 1;
        self.waiting += usize::from(waiting);
        if self.free == NONE {
            let key = Key(u32::try_from(self.slots.len()).expect("fewer than 2^32 threads wait"));
            self.slots.push(slot);
            return key;
        }
        let key = self.free;
        if let Slot::Free { next } = std::mem::replace(&mut self.slots[key.0 as usize], slot) {
            self.free = next;
        }
        key
    }

    fn unlink(&mut self, key: Key) {
        let entry = self.entry(key);
        debug_assert!(entry.waiting, "who has been chosen is not chosen again");
        entry.waiting = false;
        let (previous, next) = (entry.previous, entry.next);
        self.link(previous, next);
        self.waiting -= 1;
    }

    /// Makes `right` the neighbour of `left`; [`NONE`] is the end.
    fn link(&mut self, left: Key, right: Key) {
        match left {
            NONE => self.first = right,
            left => self.entry(left).next = right,
        }
        match right {
            NONE => self.last = left,
            right => self.entry(right).previous = left,
        }
    }

    fn entry(&mut self, key: Key) -> &mut Entry<I> {
        match &mut self.slots[key.0 as usize] {
            Slot::Used(entry) => entry,
            Slot::Free { .. } => unreachable!("a key is good until its owner removes the entry"),
        }
    }

    fn entry_ref(&self, key: Key) -> &Entry<I> {
        match &self.slots[key.0 as usize] {
            Slot::Used(entry) => entry,
            Slot::Free { .. } => unreachable!("a key is good until its owner removes the entry"),
        }
    }
}

/// Who is to be unparked once the lock has been let go.
#[derive(Default)]
#[must_use]
pub(crate) struct Wakes {
    first: Option<Arc<Task>>,
    others: Vec<Arc<Task>>,
}

impl Wakes {
    pub(crate) fn none() -> Wakes {
        Wakes::default()
    }

    pub(crate) fn push(&mut self, task: Arc<Task>) {
        if self.first.is_none() {
            self.first = Some(task);
        } else {
            self.others.push(task);
        }
    }

    pub(crate) fn extend(&mut self, tasks: impl IntoIterator<Item = Arc<Task>>) {
        for task in tasks {
            self.push(task);
        }
    }

    /// Unparks them in order. Not under a lock.
    pub(crate) fn unpark(self) {
        for task in self.first.into_iter().chain(self.others) {
            task.unpark();
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
pub(crate) fn sleep<S, I>(
    lock: &ShortLock<S>,
    list: impl Fn(&mut S) -> &mut WaitList<I>,
    key: Key,
    deadline: Option<Instant>,
    is_done: impl Fn(&I) -> bool,
) -> (ShortGuard<'_, S>, End) {
    let mut is_chosen = false;
    loop {
        if is_chosen {
            wait::park_quietly(None);
        } else if !wait::is_cancel_due() {
            wait::park_quietly(deadline);
        }
        let mut state = lock.lock();
        let waiters = list(&mut state);
        is_chosen = !waiters.is_waiting(key);
        if is_chosen {
            if is_done(waiters.wish(key)) {
                return (state, End::Chosen);
            }
        } else if wait::is_cancel_due() {
            return (state, End::Cancelled);
        } else if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
            return (state, End::TimedOut);
        }
    }
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
