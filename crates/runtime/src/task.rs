//! One thread as the rest of the library sees it: a green thread, or an OS thread that uses sward's types.
//!
//! Everything that waits for *another thread* (join, `park`, an OS thread at a lock) waits on its [`WakeWord`].
//!
//! What waits for *the kernel* or *the clock* does not use the word at all: the owning worker alone ends such a wait,
//! so `Local::waiting` (owner only) says all there is to say, without an atomic instruction. Nor does a green thread that stands
//! *in a list of waiters* (`sync/wait_list.rs`): it is notified once, under the lock of the list, and then its worker makes
//! it ready, by itself or by mail. Either comes after it has suspended, since its worker does one thing at a time.

use std::any::Any;
use std::cell::{Cell, UnsafeCell};
use std::collections::HashMap;
use std::hint::unreachable_unchecked;
use std::num::NonZeroU64;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering, fence};
use std::time::Instant;

use sward_coroutine::{Coroutine, Suspender};
use sward_engine::Operation;

use super::deadline::Cancelled;
use super::futex;
use super::message::Message;
use super::reason::Reason;
use super::shared::Shared;
use super::span::{self, ThreadSpans};
use super::stack_reservation::StackReservation;
use super::unwinding::Unwinding;
pub use super::wake_word::UserPark;
use super::wake_word::{Duty, Notice, WaitMode, WakeWord};
use super::worker::Worker;
use crate::report::fatal;

/// A thread: its identity, its wake-up word, and (for its worker only) the way to what it runs.
pub struct Task {
    word: WakeWord,
    /// Which worker it belongs to; [`UNDECIDED`] until one of several has started it. Meaningless for OS threads.
    worker: AtomicU32,
    id: NonZeroU64,
    /// Boxed twice, since most threads have none, and there may be millions.
    name: Option<Box<Box<str>>>,
    /// The runtime of a green thread; `None` for an OS thread.
    shared: Option<Arc<Shared>>,
    /// Null: runs, nobody joins. `finished()`: over. Otherwise the joiner: an `Arc` made raw, or a [`LENT`] address.
    completion: AtomicPtr<Task>,
    spawned_at: &'static Location<'static>,
    /// The owning worker's (before the start: whoever holds the task).
    body: UnsafeCell<Body>,
}

/// What only the owning worker touches, from the start of the thread to its end.
///
/// It lies at the top of the thread's own stack, where it takes no memory that would not be there anyway; an OS thread's lies in
/// a box.
pub struct Local {
    /// `None` for an OS thread, and until it has been made.
    pub coroutine: UnsafeCell<Option<Coroutine>>,
    pub suspender: Cell<*const Suspender>,
    pub waiting: Cell<Waiting>,
    /// What it says it is parked for, in its own frame, or null.
    pub reason: Cell<*const Reason<'static>>,
    /// When it was last resumed: milliseconds of the coarse clock above, the worker's count of switches below.
    pub stamp: Cell<u64>,
    /// While above 0, a cancel is not delivered.
    pub shields: Cell<u32>,
    /// The values of `thread::Local`.
    pub storage: UnsafeCell<Storage>,
    /// The innermost deadline that it is under, or null.
    pub deadline: Cell<*const super::deadline::Deadline>,
    /// A deadline of the chain has passed, or the thread is to panic with a report.
    pub expired: Cell<bool>,
    pub unwinding: Unwinding,
    /// Its slot in the worker's [`LiveTasks`](super::live_tasks::LiveTasks).
    pub slot: Cell<u32>,
    pub spans: ThreadSpans,
}

/// The values of one thread's `thread::Local`s, by the address of each. Boxed, since most threads have none.
pub type Storage = Option<Box<HashMap<usize, Box<dyn Any>>>>;

/// How far a thread has come.
enum Body {
    /// What to run, and on how large a stack.
    Unstarted(Arc<dyn Start>, StackReservation),
    /// Runs, or is suspended. Null: it is over, or will never start.
    Started(*const Local),
}

impl Local {
    pub(crate) fn new() -> Local {
        Local {
            coroutine: UnsafeCell::new(None),
            suspender: Cell::new(ptr::null()),
            waiting: Cell::new(Waiting::Nothing),
            reason: Cell::new(ptr::null()),
            stamp: Cell::new(0),
            shields: Cell::new(0),
            storage: UnsafeCell::new(None),
            deadline: Cell::new(ptr::null()),
            expired: Cell::new(false),
            unwinding: Unwinding::default(),
            slot: Cell::new(0),
            spans: ThreadSpans::default(),
        }
    }
}

/// What a green thread runs: the user's closure, and where its result goes.
pub trait Start: Send + Sync {
    /// Runs the closure and keeps its result. Does not unwind.
    fn run(self: Arc<Self>);
    /// The closure will not run: keeps `reason` as the result. Does not unwind.
    fn abandon(self: Arc<Self>, reason: Box<dyn Any + Send>);
}

/// What a suspended green thread waits for, when it is not `park`.
#[derive(Clone, Copy)]
pub enum Waiting {
    /// Runs, is in a run queue, or is parked (then `state` says so).
    Nothing,
    /// The kernel. Only the operation's completion may resume it.
    Operation(NonNull<Operation>),
    /// The clock, in `sleep`.
    Clock(NonNull<super::timers::Timer>),
    /// To be notified in a list of waiters.
    Notification,
}

// SAFETY: `body`, and what it leads to, is the only part that is not Sync. Before the start it is touched by the one who holds the task to
// start it (queues hand it over with release/acquire); afterwards by the owning worker's OS thread only.
unsafe impl Send for Task {}
// SAFETY: shared, it shows atomics and constants to all and its `body` to one at a time, as said at `Send`.
unsafe impl Sync for Task {}

/// An identity that no other thread of this process has had. Each OS thread takes them from a block of its own.
fn next_id() -> NonZeroU64 {
    const BLOCK: u64 = 256;
    static NEXT_BLOCK: AtomicU64 = AtomicU64::new(0);
    thread_local! { static NEXT: Cell<u64> = const { Cell::new(0) } }
    let mut id = NEXT.get();
    if id.is_multiple_of(BLOCK) {
        id = NEXT_BLOCK.fetch_add(BLOCK, Ordering::Relaxed);
    }
    NEXT.set(id + 1);
    NonZeroU64::MIN.saturating_add(id)
}

/// The worker of a green thread that any worker may start.
const UNDECIDED: u32 = u32::MAX;

/// The mark in `completion` of a thread that is over. Never dereferenced.
fn finished() -> *mut Task {
    ptr::without_provenance_mut(1)
}

impl Task {
    /// A green thread of `shared` that has not started, and that no worker but `worker` will start.
    #[inline]
    pub fn green(
        shared: Arc<Shared>,
        worker: Option<usize>,
        name: Option<Box<str>>,
        start: Arc<dyn Start>,
        stack: StackReservation,
        spawned_at: &'static Location<'static>,
    ) -> Arc<Task> {
        let worker = worker.map_or(UNDECIDED, |index| index as u32);
        let body = Body::Unstarted(start, stack);
        let task = Arc::new(Task::new(Some(shared), worker, name, body, spawned_at));
        span::spawned(&task);
        task
    }

    /// An OS thread.
    pub fn os(name: Option<Box<str>>, spawned_at: &'static Location<'static>) -> Arc<Task> {
        let local = Box::into_raw(Box::new(Local::new()));
        Arc::new(Task::new(None, UNDECIDED, name, Body::Started(local), spawned_at))
    }

    #[inline]
    fn new(
        shared: Option<Arc<Shared>>,
        worker: u32,
        name: Option<Box<str>>,
        body: Body,
        spawned_at: &'static Location<'static>,
    ) -> Task {
        Task {
            word: WakeWord::new(),
            worker: AtomicU32::new(worker),
            id: next_id(),
            name: name.map(Box::new),
            shared,
            completion: AtomicPtr::new(ptr::null_mut()),
            spawned_at,
            body: UnsafeCell::new(body),
        }
    }

    #[inline]
    pub fn id(&self) -> NonZeroU64 {
        self.id
    }

    #[inline]
    pub fn name(&self) -> Option<&str> {
        self.name.as_ref().map(|name| &***name)
    }

    #[inline]
    pub fn shared(&self) -> Option<&Arc<Shared>> {
        self.shared.as_ref()
    }

    #[inline]
    pub fn spawned_at(&self) -> &'static Location<'static> {
        self.spawned_at
    }

    /// The number of the worker that it belongs to; of one that any may start, none that there is.
    #[inline]
    pub fn worker(&self) -> usize {
        self.worker.load(Ordering::Relaxed) as usize
    }

    // ---- the body: the owning worker's --------------------------------------------------------------------------

    /// Takes the closure and the stack reservation out of a task that has not started. Until the task has a body again, it is over.
    ///
    /// # Safety
    /// The task is unstarted, and the caller is the one who has taken it from its queue.
    #[inline]
    pub(crate) unsafe fn take_start(&self) -> (Arc<dyn Start>, StackReservation) {
        // SAFETY: nobody touches the body of an unstarted task but the one who has taken it from its queue, which is the caller.
        match std::mem::replace(unsafe { &mut *self.body.get() }, Body::Started(ptr::null())) {
            Body::Unstarted(start, stack) => (start, stack),
            Body::Started(_) => unreachable!("only unstarted tasks are in the queues of unstarted tasks"),
        }
    }

    /// Puts back what [`Task::take_start`] has taken: another worker will start it.
    ///
    /// # Safety
    /// The caller has taken it, and has not shown the task to anybody since.
    #[cold]
    pub(crate) unsafe fn put_back(&self, start: Arc<dyn Start>, stack: StackReservation) {
        // SAFETY: nobody else touches the body of a task that is in no queue and has not started.
        unsafe { *self.body.get() = Body::Unstarted(start, stack) };
    }

    /// Ends a task that will never start. By the thread that has taken it from its queue.
    pub(crate) fn abandon(&self) {
        // SAFETY: an unstarted task is touched by the one who has taken it from its queue, which is the caller.
        let (start, _) = unsafe { self.take_start() };
        start.abandon(Box::new(Cancelled::before_start()));
        self.complete();
    }

    /// The worker `index` takes it. From now on a cancel is told to that worker; one that came before is seen by it, in
    /// [`Task::is_cancelled`].
    #[inline]
    pub(crate) fn set_worker(&self, index: usize) {
        if self.worker() != index {
            self.worker.store(index as u32, Ordering::Relaxed);
            fence(Ordering::SeqCst);
        }
    }

    /// What the owning worker keeps of it from now on; null: it is over.
    ///
    /// # Safety
    /// The caller is the owning worker, and the pointer is good until this is called again.
    #[inline]
    pub(crate) unsafe fn set_local(&self, local: *const Local) {
        // SAFETY: the body of a started task is its worker's alone, which is the caller.
        unsafe { *self.body.get() = Body::Started(local) };
    }

    /// The owner's part, if it has started and is not over.
    ///
    /// # Safety
    /// Called by the task's owning worker, or before the start by whoever holds it alone.
    #[inline]
    pub(crate) unsafe fn started(&self) -> Option<&Local> {
        // SAFETY: the body is the owning worker's, or the holder's before the start, and that is the caller.
        match unsafe { &*self.body.get() } {
            // SAFETY: `set_local`'s caller said that it is good.
            Body::Started(local) => unsafe { local.as_ref() },
            Body::Unstarted(..) => None,
        }
    }

    /// The owner's part.
    ///
    /// # Safety
    /// The task has started and is not over, and the caller is its owning worker; or it is the calling OS thread's.
    #[inline]
    pub unsafe fn local(&self) -> &Local {
        // SAFETY: the body is the owning worker's, or the holder's before the start, and that is the caller.
        match unsafe { &*self.body.get() } {
            // SAFETY: `set_local`'s caller said that it is good.
            Body::Started(local) => unsafe { &**local },
            Body::Unstarted(..) => {
                debug_assert!(false, "only a started task has an owner's part");
                // SAFETY: the caller promises that it has started.
                unsafe { unreachable_unchecked() }
            }
        }
    }

    /// Drops the calling thread's values of `thread::Local`: when its closure has returned, or at the end of an OS thread that sward
    /// did not start. Destructors may make new values. The calling thread's own task.
    #[inline]
    pub fn drop_locals(&self) {
        // SAFETY: it is the calling thread's own task.
        let local = unsafe { self.local() };
        // SAFETY: the storage is the calling thread's, and nothing of it is borrowed any more: the thread is in no `with`.
        while let Some(values) = unsafe { (*local.storage.get()).take() } {
            local.shields.set(local.shields.get() + 1);
            if catch_unwind(AssertUnwindSafe(|| drop(values))).is_err() {
                fatal(format_args!("a thread-local value panicked when it was dropped"));
            }
            local.shields.set(local.shields.get() - 1);
        }
    }

    // ---- waking -------------------------------------------------------------------------------------------------

    /// Ends the thread's wait, or its next one. From any thread.
    #[inline]
    pub fn unpark(&self) {
        self.notify(Notice::Unpark);
    }

    /// `Thread::unpark`: ends a `thread::park`, or leaves the token for the next one. From any thread.
    #[inline]
    pub fn give_token(&self) {
        self.notify(Notice::Token);
    }

    /// Asks the thread to end at its next blocking call, or at the present one. A second time: to end without waiting for anything in
    /// its destructors. From any thread.
    pub fn cancel(self: &Arc<Self>) {
        let is_first = !self.is_cancelled();
        self.notify(Notice::Cancel);
        // It may wait for the kernel or the clock, which only its worker may interrupt. The fence is the other half of that in
        // `set_worker`: either we see the worker, or the worker sees the notice before it starts the thread.
        // (Once it is over, it waits for nothing.)
        fence(Ordering::SeqCst);
        let worker = self.worker.load(Ordering::Relaxed);
        if let Some(shared) = &self.shared
            && worker != UNDECIDED
            && !self.is_complete()
        {
            shared.send(worker as usize, Message::Cancel { task: Arc::clone(self), is_first });
        }
    }

    #[inline]
    fn notify(&self, notice: Notice) {
        match self.word.notify(notice) {
            Duty::Nothing => {}
            Duty::Schedule => Worker::schedule(self),
            Duty::WakeFutex => futex::wake(self.word.as_atomic()),
        }
    }

    /// Whether it is suspended until it is notified, and if so, whether in `thread::park`.
    #[inline]
    pub fn is_parked(&self) -> Option<UserPark> {
        self.word.is_parked()
    }

    /// Whether its OS thread sleeps until it is notified. From any thread.
    #[inline]
    pub fn is_blocked(&self) -> bool {
        self.word.blocked().is_some()
    }

    /// Whether a cancel has been asked for.
    #[inline]
    pub fn is_cancelled(&self) -> bool {
        self.word.is_cancelled()
    }

    // ---- parking: called by the thread itself -------------------------------------------------------------------

    /// Announces that the thread is about to suspend. Returns false if it has been notified and must not suspend.
    #[inline]
    pub fn begin_park(&self) -> bool {
        self.word.begin(WaitMode::Park)
    }

    /// As [`Task::begin_park`], for `thread::park`: takes the token instead, if it is there.
    #[inline]
    pub fn begin_user_park(&self) -> bool {
        self.word.begin(WaitMode::UserPark)
    }

    /// Puts the OS thread to sleep until it is notified (in a user's park: until it has the token) or the deadline passes.
    pub fn block(&self, user: bool, deadline: Option<Instant>) {
        if !self.word.begin(if user { WaitMode::UserBlock } else { WaitMode::Block }) {
            return;
        }
        while let Some(state) = self.word.blocked() {
            if !futex::wait(self.word.as_atomic(), state, deadline) {
                return self.word.stop_blocking();
            }
        }
    }

    // ---- the end ------------------------------------------------------------------------------------------------

    /// The thread is over: lets the joiner go on. Called once, on the task's worker, or where it has never had one or nobody
    /// can have joined it yet.
    #[inline]
    pub fn complete(&self) {
        let joiner = self.completion.swap(finished(), Ordering::AcqRel);
        if joiner.is_null() {
            return;
        }
        if is_lent(joiner) {
            // SAFETY: the joiner is of our worker, so it does not run now; it takes its address back before it is over.
            unsafe { &*joiner.map_addr(|address| address & !LENT) }.unpark();
        } else {
            // SAFETY: `set_joiner` put it there with `Arc::into_raw`, and the swap took it out for us alone.
            unsafe { Arc::from_raw(joiner) }.unpark();
        }
    }

    /// Whether the thread is over.
    #[inline]
    pub fn is_complete(&self) -> bool {
        self.completion.load(Ordering::Acquire) == finished()
    }

    /// Makes `joiner`, which is the calling thread, the one whom [`Task::complete`] unparks. False: the thread is over
    /// already. One at a time. The caller calls [`Task::clear_joiner`] before it is over itself.
    #[inline]
    pub fn set_joiner(&self, joiner: &Arc<Task>) -> bool {
        let raw = if self.is_neighbour(joiner) {
            Arc::as_ptr(joiner).cast_mut().map_addr(|address| address | LENT)
        } else {
            Arc::into_raw(Arc::clone(joiner)).cast_mut()
        };
        let set = self.completion.compare_exchange(ptr::null_mut(), raw, Ordering::AcqRel, Ordering::Acquire);
        if set.is_err() {
            // SAFETY: nobody else has seen it.
            unsafe { drop_joiner(raw) };
        }
        set.is_ok()
    }

    /// Takes back what [`Task::set_joiner`] did.
    #[inline]
    pub fn clear_joiner(&self) {
        let joiner = self.completion.load(Ordering::Acquire);
        if joiner.is_null() || joiner == finished() {
            return;
        }
        if self
            .completion
            .compare_exchange(joiner, ptr::null_mut(), Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
        {
            // SAFETY: the exchange took it out for us alone.
            unsafe { drop_joiner(joiner) };
        }
    }

    /// Whether both are of one worker, for good.
    fn is_neighbour(&self, other: &Task) -> bool {
        let worker = self.worker.load(Ordering::Relaxed);
        let is_of = |shared: &Arc<Shared>| other.shared().is_some_and(|theirs| Arc::ptr_eq(shared, theirs));
        worker != UNDECIDED
            && worker == other.worker.load(Ordering::Relaxed)
            && self.shared().is_some_and(is_of)
    }
}

/// The mark of a joiner whose address has been lent, not counted: joiner and joined are of one worker, which does one
/// thing at a time.
const LENT: usize = 2;

fn is_lent(joiner: *mut Task) -> bool {
    joiner.addr() & LENT != 0
}

/// Releases what [`Task::set_joiner`] has put into `completion`.
///
/// # Safety
/// It is the caller's alone.
unsafe fn drop_joiner(joiner: *mut Task) {
    if !is_lent(joiner) {
        // SAFETY: `set_joiner` made it with `Arc::into_raw`; it is ours alone.
        drop(unsafe { Arc::from_raw(joiner) });
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.clear_joiner();
        if self.shared.is_none()
            && let Body::Started(local) = *self.body.get_mut()
        {
            // SAFETY: `os` made it with `into_raw`, and nobody else has the task.
            let local = unsafe { Box::from_raw(local.cast_mut()) };
            // Values are dropped by their own thread, at its end (`current.rs`). What is still there belongs to a thread that has not
            // come to its end, and this is another.
            std::mem::forget(local.storage.into_inner());
        }
    }
}
