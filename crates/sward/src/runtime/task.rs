//! One thread as the rest of the library sees it: a green thread, or an OS thread that uses sward's types.
//!
//! Everything that waits for *another thread* (join, `park`, an OS thread at a lock) waits on its [`WakeWord`].
//!
//! What waits for *the kernel* or *the clock* does not use the word at all: the owning worker alone ends such a wait,
//! so `Local::waiting` (owner only) says all there is to say, without an atomic instruction. Nor does a green thread that stands
//! *in a list of waiters* (`sync/wait_list.rs`): it is chosen once, under the lock of the list, and then its worker makes
//! it ready, by itself or by mail. Either comes after it has suspended, since its worker does one thing at a time.

use std::any::Any;
use std::cell::{Cell, UnsafeCell};
use std::num::NonZeroU64;
use std::panic::Location;
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering};
use std::time::Instant;

use sward_coroutine::{Coroutine, Suspender};
use sward_engine::Operation;

use super::futex;
use super::mailbox::Message;
use super::reason::Reason;
use super::shared::Shared;
pub(crate) use super::wake_word::UserPark;
use super::wake_word::{Duty, Notice, Wait, WakeWord};
use super::worker::Worker;

/// A thread: its identity, its wake-up word, and (for its worker only) its coroutine.
pub(crate) struct Task {
    word: WakeWord,
    /// Which worker it belongs to, once it has started. Meaningless for OS threads.
    worker: AtomicU32,
    id: NonZeroU64,
    name: Option<Box<str>>,
    /// The runtime of a green thread; `None` for an OS thread.
    shared: Option<Arc<Shared>>,
    /// Null: runs, nobody joins. `finished()`: over. Otherwise the joiner, as `Arc::into_raw`.
    completion: AtomicPtr<Task>,
    spawned_at: &'static Location<'static>,
    /// The owning worker's (before the start: whoever holds the task).
    local: Local,
}

/// What only the owning worker touches.
pub(crate) struct Local {
    pub(crate) body: UnsafeCell<Body>,
    pub(crate) suspender: Cell<*const Suspender>,
    pub(crate) waiting: Cell<Waiting>,
    /// What it says it is parked for, in its own frame, or null.
    pub(crate) reason: Cell<*const Reason<'static>>,
    /// When it was last resumed: milliseconds of the coarse clock above, the worker's count of switches below.
    pub(crate) stamp: Cell<u64>,
    /// While above 0, a cancel is not delivered.
    pub(crate) shields: Cell<u32>,
    /// The values of `thread::Local`.
    pub(crate) storage: UnsafeCell<crate::thread::Storage>,
    /// The innermost deadline that it is under, or null.
    pub(crate) deadline: Cell<*const super::deadline::Deadline>,
    /// A deadline of the chain has passed.
    pub(crate) expired: Cell<bool>,
    /// A cancel or a deadline has begun to unwind it.
    pub(crate) cancelling: Cell<bool>,
    /// Its place in the worker's list of live tasks.
    pub(crate) live_index: Cell<u32>,
}

/// How far a green thread has come.
pub(crate) enum Body {
    /// What to run, and on how large a stack.
    Unstarted(Arc<dyn Start>, usize),
    Started(Coroutine),
    /// Also the body of an OS thread.
    Finished,
}

/// What a green thread runs: the user's closure, and where its result goes.
pub(crate) trait Start: Send + Sync {
    /// Runs the closure and keeps its result. Does not unwind.
    fn run(self: Arc<Self>);
    /// The closure will not run: keeps `reason` as the result. Does not unwind.
    fn abandon(self: Arc<Self>, reason: Box<dyn Any + Send>);
}

/// What a suspended green thread waits for, when it is not `park`.
#[derive(Clone, Copy)]
pub(crate) enum Waiting {
    /// Runs, is in a run queue, or is parked (then `state` says so).
    Nothing,
    /// The kernel. Only the operation's completion may resume it.
    Operation(NonNull<Operation>),
    /// The clock, in `sleep`.
    Clock(NonNull<super::timers::Timer>),
    /// To be chosen from a list of waiters.
    Choice,
}

// SAFETY: `local` is the only part that is not Sync. Before the start it is touched by the one who holds the task to
// start it (queues hand it over with release/acquire); afterwards by the owning worker's OS thread only.
unsafe impl Send for Task {}
// SAFETY: as above.
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

/// The mark in `completion` of a thread that is over. Never dereferenced.
fn finished() -> *mut Task {
    ptr::without_provenance_mut(1)
}

impl Task {
    /// A green thread of `shared` that has not started.
    pub(crate) fn green(
        shared: Arc<Shared>,
        name: Option<Box<str>>,
        start: Arc<dyn Start>,
        stack_bytes: usize,
        spawned_at: &'static Location<'static>,
    ) -> Arc<Task> {
        Arc::new(Task::new(Some(shared), name, Body::Unstarted(start, stack_bytes), spawned_at))
    }

    /// An OS thread.
    pub(crate) fn os(name: Option<Box<str>>, spawned_at: &'static Location<'static>) -> Arc<Task> {
        Arc::new(Task::new(None, name, Body::Finished, spawned_at))
    }

    fn new(
        shared: Option<Arc<Shared>>,
        name: Option<Box<str>>,
        body: Body,
        spawned_at: &'static Location<'static>,
    ) -> Task {
        Task {
            word: WakeWord::new(),
            worker: AtomicU32::new(0),
            id: next_id(),
            name,
            shared,
            completion: AtomicPtr::new(ptr::null_mut()),
            spawned_at,
            local: Local {
                body: UnsafeCell::new(body),
                suspender: Cell::new(ptr::null()),
                waiting: Cell::new(Waiting::Nothing),
                reason: Cell::new(ptr::null()),
                stamp: Cell::new(0),
                shields: Cell::new(0),
                storage: UnsafeCell::new(None),
                deadline: Cell::new(ptr::null()),
                expired: Cell::new(false),
                cancelling: Cell::new(false),
                live_index: Cell::new(0),
            },
        }
    }

    pub(crate) fn id(&self) -> NonZeroU64 {
        self.id
    }

    pub(crate) fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    pub(crate) fn shared(&self) -> Option<&Arc<Shared>> {
        self.shared.as_ref()
    }

    pub(crate) fn spawned_at(&self) -> &'static Location<'static> {
        self.spawned_at
    }

    pub(crate) fn worker(&self) -> usize {
        self.worker.load(Ordering::Relaxed) as usize
    }

    /// The owning worker takes it, before the first run.
    pub(crate) fn set_worker(&self, index: usize) {
        self.worker.store(index as u32, Ordering::Relaxed);
    }

    /// The owner's part.
    ///
    /// # Safety
    /// Called by the task's owning worker, or before the start by whoever holds it alone.
    pub(crate) unsafe fn local(&self) -> &Local {
        &self.local
    }

    // ---- waking -------------------------------------------------------------------------------------------------

    /// Ends the thread's wait, or its next one. From any thread.
    #[inline]
    pub(crate) fn unpark(&self) {
        self.notify(Notice::Unpark);
    }

    /// `Thread::unpark`: ends a `thread::park`, or leaves the token for the next one. From any thread.
    #[inline]
    pub(crate) fn give_token(&self) {
        self.notify(Notice::Token);
    }

    /// Asks the thread to end at its next blocking call, or at the present one. From any thread.
    pub(crate) fn cancel(self: &Arc<Self>) {
        self.notify(Notice::Cancel);
        // It may wait for the kernel or the clock, which only its worker may interrupt.
        // (Not once it is over: its runtime may be, too, and nobody would read the message, which holds the runtime.)
        if let Some(shared) = &self.shared
            && !self.is_complete()
        {
            shared.send(self.worker(), Message::Cancel(Arc::clone(self)));
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
    pub(crate) fn is_parked(&self) -> Option<UserPark> {
        self.word.is_parked()
    }

    /// Whether a cancel has been asked for.
    #[inline]
    pub(crate) fn is_cancelled(&self) -> bool {
        self.word.is_cancelled()
    }

    // ---- parking: called by the thread itself -------------------------------------------------------------------

    /// Announces that the thread is about to suspend. False: it has been notified, and shall not.
    #[inline]
    pub(crate) fn begin_park(&self) -> bool {
        self.word.begin(Wait::Park)
    }

    /// As [`Task::begin_park`], for `thread::park`: takes the token instead, if it is there.
    #[inline]
    pub(crate) fn begin_user_park(&self) -> bool {
        self.word.begin(Wait::UserPark)
    }

    /// Puts the OS thread to sleep until it is notified (in a user's park: until it has the token) or the deadline passes.
    pub(crate) fn block(&self, user: bool, deadline: Option<Instant>) {
        if !self.word.begin(if user { Wait::UserBlock } else { Wait::Block }) {
            return;
        }
        while let Some(state) = self.word.blocked() {
            if !futex::wait(self.word.as_atomic(), state, deadline) {
                return self.word.stop_blocking();
            }
        }
    }

    // ---- the end ------------------------------------------------------------------------------------------------

    /// The thread is over: lets the joiner go on. Called once.
    pub(crate) fn complete(&self) {
        let joiner = self.completion.swap(finished(), Ordering::AcqRel);
        if !joiner.is_null() {
            // SAFETY: `await_completion` put it there with `Arc::into_raw`, and the swap took it out for us alone.
            unsafe { Arc::from_raw(joiner) }.unpark();
        }
    }

    /// Whether the thread is over.
    pub(crate) fn is_complete(&self) -> bool {
        self.completion.load(Ordering::Acquire) == finished()
    }

    /// Makes `joiner` the one whom [`Task::complete`] unparks. False: the thread is over already. One at a time.
    pub(crate) fn set_joiner(&self, joiner: Arc<Task>) -> bool {
        let raw = Arc::into_raw(joiner).cast_mut();
        let set = self.completion.compare_exchange(ptr::null_mut(), raw, Ordering::AcqRel, Ordering::Acquire);
        if set.is_err() {
            // SAFETY: it was made from an `Arc` just now and nobody else has seen it.
            drop(unsafe { Arc::from_raw(raw) });
        }
        set.is_ok()
    }

    /// Takes back what [`Task::set_joiner`] did.
    pub(crate) fn clear_joiner(&self) {
        let joiner = self.completion.load(Ordering::Acquire);
        if joiner.is_null() || joiner == finished() {
            return;
        }
        if self
            .completion
            .compare_exchange(joiner, ptr::null_mut(), Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
        {
            // SAFETY: as in `complete`; the exchange took it out for us alone.
            drop(unsafe { Arc::from_raw(joiner) });
        }
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.clear_joiner();
    }
}
