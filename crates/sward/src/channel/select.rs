//! Waiting for the first of several channel operations.
//!
//! Protocol of [`Select::select`]:
//! 1. Try each operation. If one can go on, it is *started*, and a [`Token`] stands for it.
//! 2. Otherwise enter the lists of all channels, with one [`Ticket`], and sleep. A partner that can serve one of the entries
//!    claims the ticket; the first wins. (If a channel has changed since step 1, leave again and start over.)
//! 3. Close the ticket, leave all lists. If the ticket had been claimed, that operation has been started.
//!
//! A started operation is *finished* by [`SelectedOperation::send`] or [`recv`](SelectedOperation::recv).
//! Once claimed, a select goes through with it: a cancel or a deadline that comes later has come too late.

use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;
use std::panic::{Location, RefUnwindSafe, UnwindSafe};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::sender::give_back;
use super::{
    ReadyTimeoutError, Receiver, RecvError, SelectTimeoutError, SendError, Sender, TryReadyError,
    TrySelectError,
};
use crate::primitive::{AtomicUsize, Ordering};
use crate::runtime::reason::{What, because};
use crate::runtime::wait;
use crate::sync::wait_list::Key;

/// Of one sleep of one select: which operation it was claimed for.
pub(super) struct Ticket {
    /// The index of the operation, or one of the two below.
    state: AtomicUsize,
}

const OPEN: usize = usize::MAX;
const CLOSED: usize = usize::MAX - 1;

impl Ticket {
    fn new() -> Ticket {
        Ticket { state: AtomicUsize::new(OPEN) }
    }

    fn is_open(&self) -> bool {
        self.state.load(Ordering::Acquire) == OPEN
    }

    /// No more claims. The operation that it had been claimed for, if it had.
    fn close(&self) -> Option<usize> {
        self.state.compare_exchange(OPEN, CLOSED, Ordering::AcqRel, Ordering::Acquire).err()
    }
}

/// What one line needs to know of a select. One word, so that it costs little where there is none.
pub(super) struct Claim(Box<(Arc<Ticket>, usize)>);

impl Claim {
    /// On operation `index` of the select with this ticket.
    fn new(ticket: &Arc<Ticket>, index: usize) -> Claim {
        Claim(Box::new((Arc::clone(ticket), index)))
    }

    pub(super) fn ticket(&self) -> &Arc<Ticket> {
        &self.0.0
    }

    /// Claims the select for this operation.
    pub(super) fn succeeds(&self) -> bool {
        let (ticket, index) = &*self.0;
        ticket.state.compare_exchange(OPEN, *index, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// Whether `claim` is one of the select with this ticket.
    pub(super) fn is_of(claim: &Option<Claim>, ticket: Option<&Arc<Ticket>>) -> bool {
        claim.as_ref().zip(ticket).is_some_and(|(claim, ticket)| Arc::ptr_eq(claim.ticket(), ticket))
    }
}

/// An operation that has been started.
#[derive(Clone, Copy)]
pub(super) enum Token {
    /// The message is in this entry of the receivers' line, or has been promised to it.
    Entry(Key),
    /// A slot in the buffer is kept.
    Reserved,
    /// The receiver with this entry waits for the message.
    Partner(Key),
    Disconnected,
    /// The message of a clock.
    Time(Instant),
}

/// What became of entering a line.
pub(super) enum Entered {
    NeedNotWait,
    Waits(Key),
    /// There is no line, only [`SelectHandle::due`].
    WaitsForTime,
}

/// A sender or a receiver, of whatever type, as a select uses it.
pub(super) trait SelectHandle {
    /// Tells handles apart.
    fn address(&self) -> usize;
    fn try_start(&self) -> Option<Token>;
    fn enter(&self, claim: Claim) -> Entered;
    /// Leaves a line; `selected` says whether the ticket was claimed for it.
    fn leave(&self, key: Key, selected: bool) -> Option<Token>;
    /// What was started will not be finished.
    fn abandon(&self, token: Token);
    fn is_ready(&self) -> bool;
    /// When it will be ready without anybody's doing.
    fn due(&self) -> Option<Instant>;
    /// Asks to be woken when anything changes. `None`: nothing will but the time.
    fn watch(&self) -> Option<Key>;
    fn unwatch(&self, key: Key);
}

/// Waits for the first of several channel operations: crossbeam's `Select`. For a set of operations that is
/// known when the program is written, [`select!`](super::select) is easier.
///
/// # Examples
/// ```
/// use sward::channel::{Select, unbounded};
/// let (_first_sender, first) = unbounded::<i32>();
/// let (second_sender, second) = unbounded();
/// second_sender.send(7).unwrap();
///
/// let mut select = Select::new();
/// select.recv(&first);
/// let second_index = select.recv(&second);
/// let operation = select.select();
/// assert_eq!(operation.index(), second_index);
/// assert_eq!(operation.recv(&second), Ok(7));
/// ```
pub struct Select<'a> {
    /// In the order in which they are tried.
    operations: Vec<Operation<'a>>,
    next_index: usize,
    biased: bool,
}

#[derive(Clone, Copy)]
struct Operation<'a> {
    /// As the caller knows it.
    index: usize,
    handle: &'a dyn SelectHandle,
}

// SAFETY: what a select does to a channel (`SelectHandle`) moves messages from slot to slot under the channel's lock; it
// neither looks at one nor drops one. So the thread that does it need not be one that may have the messages. To finish the operation it
// needs the handle itself.
unsafe impl Send for Operation<'_> {}
// SAFETY: likewise; and a shared operation is only copied.
unsafe impl Sync for Operation<'_> {}

/// Until when to wait.
#[derive(Clone, Copy)]
enum Patience {
    None,
    Until(Instant),
    Endless,
}

impl Patience {
    fn of(timeout: Duration) -> Patience {
        Instant::now().checked_add(timeout).map_or(Patience::Endless, Patience::Until)
    }

    fn is_over(self) -> bool {
        match self {
            Patience::None => true,
            Patience::Until(deadline) => deadline <= Instant::now(),
            Patience::Endless => false,
        }
    }

    fn deadline(self) -> Option<Instant> {
        match self {
            Patience::Until(deadline) => Some(deadline),
            _ => None,
        }
    }
}

impl<'a> Select<'a> {
    /// No operations yet. Among several that can go on, one is selected at random.
    pub fn new() -> Select<'a> {
        Select { operations: Vec::new(), next_index: 0, biased: false }
    }

    /// As [`new`](Select::new), but among several that can go on the one that was added first is selected.
    pub fn new_biased() -> Select<'a> {
        Select { biased: true, ..Select::new() }
    }

    /// Adds sending into `sender`; gives the operation's index.
    pub fn send<T>(&mut self, sender: &'a Sender<T>) -> usize {
        self.add(sender)
    }

    /// Adds receiving from `receiver`; gives the operation's index.
    pub fn recv<T>(&mut self, receiver: &'a Receiver<T>) -> usize {
        self.add(receiver)
    }

    fn add(&mut self, handle: &'a dyn SelectHandle) -> usize {
        let index = self.next_index;
        self.next_index += 1;
        self.operations.push(Operation { index, handle });
        index
    }

    /// Removes an operation. The others keep their indices.
    ///
    /// # Panics
    /// If there is none with this index.
    pub fn remove(&mut self, index: usize) {
        assert!(index < self.next_index, "index out of bounds; {index} >= {}", self.next_index);
        let position = self.operations.iter().position(|operation| operation.index == index);
        self.operations.remove(position.expect("no operation with this index"));
    }

    /// Starts one of the operations, if one can go on at once.
    ///
    /// # Errors
    /// If none can.
    pub fn try_select(&mut self) -> Result<SelectedOperation<'a>, TrySelectError> {
        self.run(Patience::None).ok_or(TrySelectError)
    }

    /// Waits until one of the operations can go on, and starts it. Waits for ever if there is none.
    ///
    /// # Cancellation
    /// This is a [cancellation point](crate::thread::JoinHandle::cancel) if it has to wait.
    #[track_caller]
    pub fn select(&mut self) -> SelectedOperation<'a> {
        self.run(Patience::Endless).expect("endless patience ends with an operation")
    }

    /// Selects as [`select`](Select::select) does, but waits for `timeout` at most.
    ///
    /// # Errors
    /// If the time was over.
    ///
    /// # Cancellation
    /// This is a [cancellation point](crate::thread::JoinHandle::cancel) if it has to wait.
    #[track_caller]
    pub fn select_timeout(&mut self, timeout: Duration) -> Result<SelectedOperation<'a>, SelectTimeoutError> {
        self.run(Patience::of(timeout)).ok_or(SelectTimeoutError)
    }

    /// Selects as [`select`](Select::select) does, but waits until `deadline` at most.
    ///
    /// # Errors
    /// If the time was over.
    ///
    /// # Cancellation
    /// This is a [cancellation point](crate::thread::JoinHandle::cancel) if it has to wait.
    #[track_caller]
    pub fn select_deadline(
        &mut self,
        deadline: Instant,
    ) -> Result<SelectedOperation<'a>, SelectTimeoutError> {
        self.run(Patience::Until(deadline)).ok_or(SelectTimeoutError)
    }

    /// The index of an operation that could go on now, probably.
    ///
    /// # Errors
    /// If there is none.
    pub fn try_ready(&mut self) -> Result<usize, TryReadyError> {
        self.wait_ready(Patience::None).ok_or(TryReadyError)
    }

    /// Waits until one of the operations can probably go on, and returns its index without starting it.
    ///
    /// # Cancellation
    /// This is a [cancellation point](crate::thread::JoinHandle::cancel) if it has to wait.
    #[track_caller]
    pub fn ready(&mut self) -> usize {
        self.wait_ready(Patience::Endless).expect("endless patience ends with an operation")
    }

    /// Waits as [`ready`](Select::ready) does, but for `timeout` at most.
    ///
    /// # Errors
    /// If the time was over.
    ///
    /// # Cancellation
    /// This is a [cancellation point](crate::thread::JoinHandle::cancel) if it has to wait.
    #[track_caller]
    pub fn ready_timeout(&mut self, timeout: Duration) -> Result<usize, ReadyTimeoutError> {
        self.wait_ready(Patience::of(timeout)).ok_or(ReadyTimeoutError)
    }

    /// Waits as [`ready`](Select::ready) does, but until `deadline` at most.
    ///
    /// # Errors
    /// If the time was over.
    ///
    /// # Cancellation
    /// This is a [cancellation point](crate::thread::JoinHandle::cancel) if it has to wait.
    #[track_caller]
    pub fn ready_deadline(&mut self, deadline: Instant) -> Result<usize, ReadyTimeoutError> {
        self.wait_ready(Patience::Until(deadline)).ok_or(ReadyTimeoutError)
    }

    /// Brings the operations into the order in which they shall be tried, and stand in the lines of their channels: several may be on one.
    fn shuffle(&mut self) {
        if !self.biased {
            for last in 1..self.operations.len() {
                self.operations.swap(last, random_up_to(last));
            }
        }
    }

    #[track_caller]
    fn run(&mut self, patience: Patience) -> Option<SelectedOperation<'a>> {
        wait::count_operation();
        self.shuffle();
        loop {
            if let Some(selected) = self.start_one() {
                return Some(selected);
            }
            if patience.is_over() {
                // While we looked at the last channel, its message may have gone and another one come into the first. Whoever sends
                // there before receiving here has sent by now.
                return self.start_one();
            }
            if let Some(selected) = self.sleep(patience.deadline()) {
                return Some(selected);
            }
            if wait::is_cancel_due() {
                wait::cancel_again();
            }
        }
    }

    /// Step 1 of the protocol.
    #[inline]
    fn start_one(&self) -> Option<SelectedOperation<'a>> {
        self.operations.iter().find_map(|&Operation { index, handle }| {
            handle.try_start().map(|token| SelectedOperation::new(index, handle, token))
        })
    }

    /// Steps 2 and 3 of the protocol. `None` for any reason but being claimed.
    #[track_caller]
    fn sleep(&self, deadline: Option<Instant>) -> Option<SelectedOperation<'a>> {
        let ticket = Arc::new(Ticket::new());
        let mut lines = Vec::with_capacity(self.operations.len());
        let mut limit = deadline;
        let mut must_wait = true;
        for &Operation { index, handle } in &self.operations {
            match handle.enter(Claim::new(&ticket, index)) {
                Entered::Waits(key) => lines.push((index, handle, key)),
                Entered::WaitsForTime => limit = limit.into_iter().chain(handle.due()).min(),
                Entered::NeedNotWait => {
                    must_wait = false;
                    break;
                }
            }
        }
        because(What::Object("one of some channels", 0), Location::caller(), || {
            while must_wait && ticket.is_open() && !wait::is_cancel_due() {
                if limit.is_some_and(|limit| limit <= Instant::now()) {
                    break;
                }
                wait::park_in_list(limit);
            }
        });
        let claimed = ticket.close();
        let mut selected = None;
        for (index, handle, key) in lines {
            let is_selected = claimed == Some(index);
            let token = handle.leave(key, is_selected);
            if is_selected {
                let token = token.expect("a claim starts the operation under the same lock");
                selected = Some(SelectedOperation::new(index, handle, token));
            }
        }
        selected
    }

    #[track_caller]
    fn wait_ready(&mut self, patience: Patience) -> Option<usize> {
        wait::count_operation();
        loop {
            self.shuffle();
            let operations = self.operations.iter();
            let ready = || {
                let mut operations = operations.clone();
                operations.find(|operation| operation.handle.is_ready()).map(|operation| operation.index)
            };
            if let Some(index) = ready() {
                return Some(index);
            }
            if patience.is_over() {
                // As in `run`.
                return ready();
            }
            let due = operations.clone().filter_map(|operation| operation.handle.due());
            let limit = due.chain(patience.deadline()).min();
            let watches: Vec<_> = operations
                .clone()
                .filter_map(|operation| Some((operation.handle, operation.handle.watch()?)))
                .collect();
            // What has changed before we watched is seen now, and what changes later wakes us.
            if ready().is_none() && !wait::is_cancel_due() {
                because(What::Object("one of some channels", 0), Location::caller(), || {
                    wait::park_in_list(limit)
                });
            }
            for (handle, key) in watches {
                handle.unwatch(key);
            }
            if wait::is_cancel_due() {
                wait::cancel_again();
            }
        }
    }
}

/// A random number from 0 to `limit`. Not a good one, but one that does not fall into step with the program.
fn random_up_to(limit: usize) -> usize {
    thread_local! {
        static STATE: Cell<u32> = const { Cell::new(0x9E37_79B9) };
    }
    STATE.with(|state| {
        let mut x = state.get();
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
        state.set(x);
        ((u64::from(x) * (limit as u64 + 1)) >> 32) as usize
    })
}

impl Default for Select<'_> {
    fn default() -> Self {
        Select::new()
    }
}

impl Clone for Select<'_> {
    fn clone(&self) -> Self {
        Select { operations: self.operations.clone(), next_index: self.next_index, biased: self.biased }
    }
}

impl fmt::Debug for Select<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad("Select { .. }")
    }
}

/// An operation that a [`Select`] has started, and that the caller must finish with
/// [`send`](SelectedOperation::send) or [`recv`](SelectedOperation::recv), on the channel end that it was
/// added with.
///
/// # Panics
/// Dropping it unfinished panics.
#[must_use]
pub struct SelectedOperation<'a> {
    index: usize,
    handle: &'a dyn SelectHandle,
    /// Taken when it is finished.
    token: Option<Token>,
    /// The token belongs to the thread that entered the line.
    not_send: PhantomData<*const ()>,
}

// As crossbeam's: unwinding leaves the channel whole, and undoes what was started.
impl UnwindSafe for SelectedOperation<'_> {}
impl RefUnwindSafe for SelectedOperation<'_> {}

impl<'a> SelectedOperation<'a> {
    fn new(index: usize, handle: &'a dyn SelectHandle, token: Token) -> SelectedOperation<'a> {
        SelectedOperation { index, handle, token: Some(token), not_send: PhantomData }
    }

    /// Which operation it is.
    pub fn index(&self) -> usize {
        self.index
    }

    /// Sends `message`. Does not wait for room or a receiver, except if the one there was has been cancelled
    /// meanwhile: then as [`Sender::send`].
    ///
    /// # Errors
    /// The message, if there is no receiver any more.
    ///
    /// # Panics
    /// If `sender` is not what the operation was added with.
    #[track_caller]
    pub fn send<T>(mut self, sender: &Sender<T>, message: T) -> Result<(), SendError<T>> {
        let mut message = Some(message);
        let token = self.take(sender, "passed a sender that wasn't selected");
        let sent = sender.finish(token, &mut message);
        if sent.is_ok() { Ok(()) } else { give_back(message) }
    }

    /// Receives the message. Waits, as a cancellation point, if the sender is a select that has not brought it yet.
    ///
    /// # Errors
    /// If there is neither a message nor a sender any more.
    ///
    /// # Panics
    /// If `receiver` is not what the operation was added with.
    #[track_caller]
    pub fn recv<T>(mut self, receiver: &Receiver<T>) -> Result<T, RecvError> {
        let mut message = None;
        let token = self.take(receiver, "passed a receiver that wasn't selected");
        let _disconnected = receiver.finish(token, &mut message);
        match message {
            Some(message) => Ok(message),
            None => Err(RecvError),
        }
    }

    #[track_caller]
    fn take(&mut self, handle: &dyn SelectHandle, otherwise: &str) -> Token {
        assert!(self.handle.address() == handle.address(), "{otherwise}");
        self.token.take().expect("an operation is finished once")
    }
}

impl fmt::Debug for SelectedOperation<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad("SelectedOperation { .. }")
    }
}

impl Drop for SelectedOperation<'_> {
    fn drop(&mut self) {
        if let Some(token) = self.token.take() {
            self.handle.abandon(token);
            if !std::thread::panicking() {
                panic!("dropped `SelectedOperation` without completing the operation");
            }
        }
    }
}
