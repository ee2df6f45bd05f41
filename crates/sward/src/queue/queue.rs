//! The queue itself, in any of its orders.
//!
//! Protocol: one lock around the items and the two lines of waiters. An item is handed directly to the first
//! thread that waits for one, and room directly to the first that waits for room (whose item then moves in), so no thread
//! is overtaken.
//!
//! That lock is a spin lock, under which no user code runs. Where the order is found by comparing items, the comparing thread
//! holds `ordering`, a lock that may block: it takes the collection out of the state, unlocks the state, orders the items, and
//! puts the collection back ([`Queue::arrange`]).

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::fmt;
use std::mem;
use std::panic::Location;
use std::time::{Duration, Instant};

use super::error::{Closed, GetError, PutError};
use super::order::Order;
use crate::runtime::reason::{What, because};
use crate::runtime::wait;
use crate::sync::spin_lock::{SpinGuard, SpinLock};
use crate::sync::wait_list::{End, WaitList, WakeList, sleep, sleep_until_notified};
use crate::sync::{Mutex, MutexGuard, PoisonError};

/// A queue from which comes first what was put first.
pub type Fifo<T> = Queue<T, VecDeque<T>>;

/// A queue from which comes first what was put last.
pub type Lifo<T> = Queue<T, Vec<T>>;

/// A queue from which the least comes first. Of equals, any.
///
/// One thread at a time compares items. Comparing may block; then others who put or get wait for that, also those who do not
/// wait for items or room, and can be [cancelled](crate::thread::JoinHandle::cancel) meanwhile. It may ask the queue how long it
/// is, but not put or get. If it panics while an item is put, the item is in the queue, somewhere; while one is got, that
/// item is lost, and its work counts as done.
///
/// # Examples
/// ```
/// let queue = sward::queue::Priority::new(0);
/// for item in [(2, "second"), (1, "first"), (3, "third")] {
///     queue.put(item).unwrap();
/// }
/// assert_eq!(queue.get(), Ok((1, "first")));
/// ```
pub type Priority<T> = Queue<T, BinaryHeap<Reverse<T>>>;

/// A queue; see [`Fifo`], [`Lifo`] and [`Priority`] for its three orders.
pub struct Queue<T, O> {
    state: SpinLock<QueueState<T, O>>,
    /// Held while the items are looked at in a way that compares them.
    ordering: Mutex<()>,
    /// How many items it holds at most.
    limit: usize,
}

struct QueueState<T, O> {
    /// Elsewhere while they are being compared.
    items: O,
    /// How many there are. While they are being compared: how many there were before.
    len: usize,
    /// Items that were put, and for which `task_done` has not been called.
    unfinished: usize,
    closed: bool,
    /// Each with the item that it was given; without one, when notified: the queue was closed.
    getting: WaitList<Option<T>>,
    /// Each with its item; without, when notified: it was taken.
    putting: WaitList<Option<T>>,
    joining: WaitList<()>,
}

/// How long to wait.
#[derive(Clone, Copy)]
enum Patience {
    None,
    Until(Option<Instant>),
}

impl Patience {
    fn of(timeout: Duration) -> Patience {
        Patience::Until(Instant::now().checked_add(timeout))
    }
}

impl<T, O: Order<T>> QueueState<T, O> {
    /// Hands the item to the first waiting getter.
    fn hand_over(&mut self, item: T, wakes: &mut WakeList) -> Result<(), T> {
        let Some(key) = self.getting.first() else { return Err(item) };
        // The waiter has seen the queue empty, so this item is the next in any order.
        *self.getting.request(key) = Some(item);
        self.getting.wake(key, wakes);
        self.unfinished += 1;
        Ok(())
    }

    /// Takes the item of the first waiting putter. The caller finds its position.
    fn admit(&mut self, wakes: &mut WakeList) -> Option<T> {
        let key = self.putting.first()?;
        let item = self.putting.request(key).take().expect("a waiting putter has its item");
        self.putting.wake(key, wakes);
        self.unfinished += 1;
        Some(item)
    }

    /// So many items are done.
    fn finish(&mut self, count: usize, wakes: &mut WakeList) {
        self.unfinished -= count;
        if self.unfinished == 0 {
            self.joining.wake_all(wakes);
        }
    }

    fn close(&mut self, wakes: &mut WakeList) {
        self.closed = true;
        self.putting.wake_all(wakes);
        self.getting.wake_all(wakes);
    }
}

impl<T> Fifo<T> {
    /// An empty queue that holds at most `maxsize` items; 0: any number.
    pub const fn new(maxsize: usize) -> Fifo<T> {
        Queue::with(VecDeque::new(), maxsize)
    }
}

impl<T> Lifo<T> {
    /// An empty queue that holds at most `maxsize` items; 0: any number.
    pub const fn new(maxsize: usize) -> Lifo<T> {
        Queue::with(Vec::new(), maxsize)
    }
}

impl<T: Ord> Priority<T> {
    /// An empty queue that holds at most `maxsize` items; 0: any number.
    pub const fn new(maxsize: usize) -> Priority<T> {
        Queue::with(BinaryHeap::new(), maxsize)
    }
}

impl<T, O> Queue<T, O> {
    const fn with(items: O, maxsize: usize) -> Queue<T, O> {
        let state = QueueState {
            items,
            len: 0,
            unfinished: 0,
            closed: false,
            getting: WaitList::new(),
            putting: WaitList::new(),
            joining: WaitList::new(),
        };
        let limit = if maxsize == 0 { usize::MAX } else { maxsize };
        Queue { state: SpinLock::new(state), ordering: Mutex::new(()), limit }
    }

    /// How many items it holds at most; 0: any number.
    pub fn maxsize(&self) -> usize {
        if self.limit == usize::MAX { 0 } else { self.limit }
    }
}

#[allow(private_bounds, reason = "the three orders are all there are")]
impl<T, O: Order<T>> Queue<T, O> {
    /// Waits until there is room, and puts an item.
    ///
    /// # Errors
    /// The item, if the queue is closed, or is closed while one waits.
    ///
    /// # Cancellation
    /// This is a [cancellation point](crate::thread::JoinHandle::cancel) if it has to wait: then the item is dropped.
    #[track_caller]
    pub fn put(&self, item: T) -> Result<(), Closed<T>> {
        self.put_with(item, Patience::Until(None)).map_err(|error| Closed(error.into_inner()))
    }

    /// Puts an item as [`put`](Queue::put) does, but waits for `timeout` at most.
    ///
    /// # Errors
    /// The item, if the queue is full or closed.
    ///
    /// # Cancellation
    /// This is a [cancellation point](crate::thread::JoinHandle::cancel) if it has to wait.
    #[track_caller]
    pub fn put_timeout(&self, item: T, timeout: Duration) -> Result<(), PutError<T>> {
        self.put_with(item, Patience::of(timeout))
    }

    /// Puts an item if there is room. Never waits.
    ///
    /// # Errors
    /// The item, if the queue is full or closed.
    pub fn try_put(&self, item: T) -> Result<(), PutError<T>> {
        self.put_with(item, Patience::None)
    }

    #[track_caller]
    fn put_with(&self, mut item: T, patience: Patience) -> Result<(), PutError<T>> {
        wait::count_operation();
        loop {
            let turn = self.turn();
            let mut wakes = WakeList::new();
            let mut state = self.state.lock();
            if state.closed {
                drop(state);
                return Err(PutError::Closed(item));
            }
            if let Err(unput) = state.hand_over(item, &mut wakes) {
                item = unput;
            } else {
                drop(state);
                wakes.unpark();
                return Ok(());
            }
            if state.len < self.limit {
                state.unfinished += 1;
                self.arrange(state, wakes, 1, |items| items.push(item));
                return Ok(());
            }
            let Patience::Until(deadline) = patience else {
                drop(state);
                return Err(PutError::Full(item));
            };
            let key = state.putting.push_back(Some(item));
            drop((state, turn));
            let what = What::Object("room in the queue", (&raw const *self).addr());
            let (mut state, end) = because(what, Location::caller(), || {
                sleep(&self.state, |state| &mut state.putting, key, deadline, |_| true)
            });
            let left = state.putting.remove(key);
            drop(state);
            let Some(unput) = left else { return Ok(()) };
            match end {
                End::Notified => return Err(PutError::Closed(unput)),
                End::TimedOut => return Err(PutError::Full(unput)),
                End::Cancelled => wait::cancel_again(),
            }
            item = unput;
        }
    }

    /// Waits until there is an item, and takes it.
    ///
    /// # Errors
    /// If the queue is closed and empty.
    ///
    /// # Cancellation
    /// This is a [cancellation point](crate::thread::JoinHandle::cancel) if it has to wait.
    #[track_caller]
    pub fn get(&self) -> Result<T, Closed> {
        self.get_with(Patience::Until(None)).map_err(|_| Closed(()))
    }

    /// Takes an item as [`get`](Queue::get) does, but waits for `timeout` at most.
    ///
    /// # Errors
    /// If the queue is empty; and whether it is closed.
    ///
    /// # Cancellation
    /// This is a [cancellation point](crate::thread::JoinHandle::cancel) if it has to wait.
    #[track_caller]
    pub fn get_timeout(&self, timeout: Duration) -> Result<T, GetError> {
        self.get_with(Patience::of(timeout))
    }

    /// Takes the next item if there is one. Never waits.
    ///
    /// # Errors
    /// If the queue is empty; and whether it is closed.
    pub fn try_get(&self) -> Result<T, GetError> {
        self.get_with(Patience::None)
    }

    #[track_caller]
    fn get_with(&self, patience: Patience) -> Result<T, GetError> {
        wait::count_operation();
        loop {
            let turn = self.turn();
            let mut wakes = WakeList::new();
            let mut state = self.state.lock();
            let is_empty = state.len == 0;
            let admitted = state.admit(&mut wakes);
            if is_empty && let Some(item) = admitted {
                // It had waited beside room that a comparison has left when it panicked.
                drop(state);
                wakes.unpark();
                return Ok(item);
            }
            if !is_empty {
                let incoming = usize::from(admitted.is_some());
                let item = self.arrange(state, wakes, incoming, |items| {
                    let item = items.pop();
                    admitted.into_iter().for_each(|admitted| items.push(admitted));
                    item
                });
                return Ok(item.expect("the queue is not empty, and the comparing thread has it for itself"));
            }
            if state.closed {
                return Err(GetError::Closed);
            }
            let Patience::Until(deadline) = patience else { return Err(GetError::Empty) };
            let key = state.getting.push_back(None);
            drop((state, turn));
            let what = What::Object("an item of the queue", (&raw const *self).addr());
            let (mut state, end) = because(what, Location::caller(), || {
                sleep(&self.state, |state| &mut state.getting, key, deadline, |_| true)
            });
            let given = state.getting.remove(key);
            drop(state);
            match (given, end) {
                (Some(item), _) => return Ok(item),
                (None, End::Notified) => return Err(GetError::Closed),
                (None, End::TimedOut) => return Err(GetError::Empty),
                (None, End::Cancelled) => wait::cancel_again(),
            }
        }
    }

    /// How many items are in the queue.
    pub fn len(&self) -> usize {
        self.state.lock().len
    }

    /// Whether no item is in the queue.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether there is no room.
    pub fn is_full(&self) -> bool {
        self.len() >= self.limit
    }

    /// Whether the queue has been closed.
    pub fn is_closed(&self) -> bool {
        self.state.lock().closed
    }

    /// Marks the work on one item as done. The thread that got the item calls it once.
    ///
    /// # Panics
    /// If it is called more often than items were put.
    pub fn task_done(&self) {
        let mut wakes = WakeList::new();
        let mut state = self.state.lock();
        let unfinished = state.unfinished;
        if unfinished > 0 {
            state.finish(1, &mut wakes);
        }
        drop(state);
        wakes.unpark();
        assert!(unfinished > 0, "task_done was called more often than items were put");
    }

    /// Waits until the work on all items is [done](Queue::task_done).
    ///
    /// # Cancellation
    /// This is a [cancellation point](crate::thread::JoinHandle::cancel) if it has to wait.
    #[track_caller]
    pub fn join(&self) {
        self.join_until(None);
    }

    /// Waits as [`join`](Queue::join) does, but for `timeout` at most. Returns whether all is done.
    ///
    /// # Cancellation
    /// This is a [cancellation point](crate::thread::JoinHandle::cancel) if it has to wait.
    #[track_caller]
    pub fn join_timeout(&self, timeout: Duration) -> bool {
        self.join_until(Instant::now().checked_add(timeout))
    }

    #[track_caller]
    fn join_until(&self, deadline: Option<Instant>) -> bool {
        let mut state = self.state.lock();
        if state.unfinished == 0 {
            return true;
        }
        let key = state.joining.push_back(());
        drop(state);
        because(What::Object("the work on the queue", (&raw const *self).addr()), Location::caller(), || {
            sleep_until_notified(&self.state, |state| &mut state.joining, key, deadline, |_| WakeList::new())
        })
    }

    /// Takes no more items. What is in the queue can still be got; a thread that waits for more, or for room, learns
    /// that it is closed.
    pub fn close(&self) {
        let mut wakes = WakeList::new();
        self.state.lock().close(&mut wakes);
        wakes.unpark();
    }

    /// As [`close`](Queue::close), and takes out what is in the queue. It counts as [done](Queue::task_done).
    pub fn close_now(&self) -> Vec<T> {
        let _turn = self.turn();
        let mut wakes = WakeList::new();
        let mut state = self.state.lock();
        state.close(&mut wakes);
        let mut items = mem::take(&mut state.items);
        let len = mem::take(&mut state.len);
        state.finish(len, &mut wakes);
        drop(state);
        wakes.unpark();
        std::iter::from_fn(|| items.pop()).collect()
    }

    /// The right to compare items, where the order needs that. Waits while another thread has it.
    #[track_caller]
    fn turn(&self) -> Option<MutexGuard<'_, ()>> {
        O::COMPARES.then(|| self.ordering.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Lends the items to `change`, which puts in `incoming` items that are counted as unfinished already; lets go of the state, and
    /// unparks `wakes`: before `change` if that compares items, after it if not. The caller has its [turn](Queue::turn).
    #[inline]
    fn arrange<R>(
        &self,
        mut state: SpinGuard<'_, QueueState<T, O>>,
        wakes: WakeList,
        incoming: usize,
        change: impl FnOnce(&mut O) -> R,
    ) -> R {
        if !O::COMPARES {
            let result = change(&mut state.items);
            state.len = state.items.len();
            drop(state);
            wakes.unpark();
            return result;
        }
        let items = mem::take(&mut state.items);
        let mut lent = Lent { total: items.len() + incoming, items, queue: self, is_done: false };
        drop(state);
        wakes.unpark();
        let result = change(&mut lent.items);
        lent.is_done = true;
        result
    }
}

/// The items, out of the state. Dropping it puts them back.
struct Lent<'a, T, O: Order<T>> {
    queue: &'a Queue<T, O>,
    items: O,
    /// How many there are before one is taken out.
    total: usize,
    /// No comparison has panicked, so none is lost.
    is_done: bool,
}

impl<T, O: Order<T>> Drop for Lent<'_, T, O> {
    fn drop(&mut self) {
        let mut wakes = WakeList::new();
        let mut state = self.queue.state.lock();
        state.len = self.items.len();
        state.items = mem::take(&mut self.items);
        if !self.is_done {
            let lost = self.total - state.len;
            state.finish(lost, &mut wakes);
        }
        drop(state);
        wakes.unpark();
    }
}

impl<T, O: Order<T>> fmt::Debug for Queue<T, O> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state.lock();
        let (len, unfinished, closed) = (state.len, state.unfinished, state.closed);
        // What it writes to is the user's.
        drop(state);
        formatter
            .debug_struct("Queue")
            .field("len", &len)
            .field("maxsize", &self.maxsize())
            .field("unfinished", &unfinished)
            .field("closed", &closed)
            .finish_non_exhaustive()
    }
}
