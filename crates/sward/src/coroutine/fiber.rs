//! A body on a stack of its own, which always gets to its end: a fiber that is dropped while suspended is
//! resumed with the order to unwind.
//!
//! ```text
//!             resume           FiberSuspender::suspend
//!  created ─────────▶ running ────────────────▶ suspended
//!     │                │   ▲                      │    │
//!     │ close:         │   └──────── resume ──────┘    │ close: resumed with `closing` set, so that
//!     │ drops the body │ returns, or unwinds           │        `suspend` unwinds instead
//!     ▼                ▼                               ▼
//!                            over: the stack is back in its pool
//! ```
//!
//! Invariants kept here:
//! - **A stack is given back only when its body is over**, so a leaked fiber leaks its stack, and nothing
//!   else goes wrong.
//! - **A body suspends only by its [`FiberSuspender`]**, a borrow that cannot outlive the body's own frames; so whoever
//!   leaves runs on the stack of this fiber, or on one nested in it.
//! - **Nothing leaves while it unwinds**: the panic count is the OS thread's, and must come down where it
//!   went up.
//! - **A body begins where somebody has promised what `run` asks for** ([`Ground`]).
//! - **A body that has begun stays on its thread, green or not**, and **nothing leaves in the middle of a
//!   timeout or a shield** that began in it: their frames are linked to the thread
//!   ([`Local`](crate::runtime::task::Local)) in the order in which they nest.
//!
//! On nesting: what runs on an inner stack may suspend an *outer* coroutine (a blocking call does: it
//! suspends the green thread). The outer one's `suspend` saves the stack pointer of whatever stack it is
//! called on and returns to the outer one's resumer; resuming switches back to that pointer. The inner
//! stack's link to the outer frame that resumed it stays good, as that frame is suspended with it. corosensei
//! allows it: its `ScopedCoroutine` lets an inner body borrow the outer `Yielder` without `unsafe`.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::mem;
use std::num::NonZeroU64;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::ptr;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use sward_coroutine::{
    Coroutine, OverflowReport, OverflowWatch, Stack, StackPool, Suspender, watch_overflow,
};

use crate::runtime::current::{with_current_task, with_local};
use crate::runtime::deadline::Deadline;
use crate::runtime::worker::Worker;

/// What a panic carries.
pub(super) type Payload = Box<dyn Any + Send>;

/// What a fiber runs.
type Body = Box<dyn FnOnce(&FiberSuspender<'_>)>;

/// A body on a stack of its own. Belongs to its OS thread.
pub(super) struct Fiber {
    stage: Stage,
    shared: Rc<FiberShared>,
}

enum Stage {
    /// The body, and the size of its stack in bytes.
    Created(Body, usize),
    /// Suspended; or running, and then its resumer borrows the fiber.
    Started(Coroutine),
    Over,
}

/// The state that a fiber's body and its resumer share.
struct FiberShared {
    /// Which fiber it is, for the life of the process.
    id: u64,
    /// Where the body may begin.
    ground: Ground,
    /// The thread, green or not, that the body has begun on; `None`: it has not.
    home: Cell<Option<NonZeroU64>>,
    /// What the resumer was in the middle of.
    surroundings: Cell<Surroundings>,
    /// The body has to unwind.
    closing: Cell<bool>,
    /// The resumer was unwinding (a destructor of its resumes us), so that `panicking` says nothing about the
    /// body.
    resumed_unwinding: Cell<bool>,
    /// How the body ended, when it unwound.
    end: Cell<Option<Payload>>,
}

/// Where a body may begin: who makes it has promised what [`run`](crate::run#safety) asks for, for so much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ground {
    /// On green threads, which is what the caller of `run` has promised.
    Green,
    /// On the OS thread that it was made on as well.
    Anywhere,
}

impl Ground {
    /// For what is made by safe code.
    ///
    /// # Panics
    /// Outside a runtime.
    #[track_caller]
    pub(super) fn green() -> Ground {
        assert!(Ground::Green.is_here(), "{NOT_GREEN}");
        Ground::Green
    }

    fn is_here(self) -> bool {
        self == Ground::Anywhere || Worker::is_current()
    }
}

/// What the calling thread is in the middle of, of which it keeps account in its frames.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Surroundings {
    /// The innermost timeout. Only compared.
    deadline: *const Deadline,
    shields: u32,
}

/// The payload that unwinds the fiber of that number.
struct Close(u64);

/// How a turn ended.
pub(super) enum Turn {
    /// The body left, and can be resumed.
    Suspended,
    /// The body returned, or was closed.
    Ended,
    /// The body panicked, or was cancelled.
    Unwound(Payload),
}

impl Fiber {
    /// A fiber that will run `body`. It takes its stack when it is first resumed.
    pub(super) fn new(
        stack_bytes: usize,
        ground: Ground,
        body: impl FnOnce(&FiberSuspender<'_>) + 'static,
    ) -> Fiber {
        static FIBERS: AtomicU64 = AtomicU64::new(0);
        let shared = FiberShared {
            id: FIBERS.fetch_add(1, Ordering::Relaxed),
            ground,
            home: Cell::new(None),
            surroundings: Cell::new(Surroundings { deadline: ptr::null(), shields: 0 }),
            closing: Cell::new(false),
            resumed_unwinding: Cell::new(false),
            end: Cell::new(None),
        };
        Fiber { stage: Stage::Created(Box::new(body), stack_bytes), shared: Rc::new(shared) }
    }

    /// Whether the body has begun, and is not over.
    pub(super) fn is_suspended(&self) -> bool {
        matches!(self.stage, Stage::Started(_))
    }

    /// Whether the body has not begun.
    pub(super) fn is_created(&self) -> bool {
        matches!(self.stage, Stage::Created(..))
    }

    /// Whether the body is over.
    pub(super) fn is_over(&self) -> bool {
        matches!(self.stage, Stage::Over)
    }

    /// Whether the body has not begun, or has begun on the calling thread, green or not.
    fn is_home(&self) -> bool {
        !self.is_suspended() || self.shared.home.get() == Some(this_thread())
    }

    /// Runs the body until it leaves or ends. If there is no stack for it, it unwinds with a panic that says
    /// so.
    ///
    /// # Panics
    /// It is over, or has begun on another thread, or may not begin here.
    pub(super) fn resume(&mut self) -> Turn {
        assert!(self.is_home(), "{NOT_HOME}");
        assert!(!self.is_created() || self.shared.ground.is_here(), "{NOT_GREEN}");
        if self.is_created()
            && let Err(payload) = catch_unwind(AssertUnwindSafe(|| self.start()))
        {
            self.stage = Stage::Over;
            return Turn::Unwound(payload);
        }
        let Stage::Started(coroutine) = &mut self.stage else {
            panic!("a body that is over cannot be resumed")
        };
        self.shared.surroundings.set(Surroundings::now());
        self.shared.resumed_unwinding.set(thread::panicking());
        if !coroutine.resume() {
            return Turn::Suspended;
        }
        if let Stage::Started(coroutine) = mem::replace(&mut self.stage, Stage::Over) {
            give_back(coroutine.into_stack());
        }
        match self.shared.end.take() {
            None => Turn::Ended,
            Some(payload) if payload.downcast_ref().is_some_and(|&Close(id)| id == self.shared.id) => {
                Turn::Ended
            }
            Some(payload) => Turn::Unwound(payload),
        }
    }

    /// Puts the body on a stack.
    ///
    /// # Panics
    /// Panics if the kernel refuses the memory.
    fn start(&mut self) {
        let Stage::Created(_, stack_bytes) = self.stage else { return };
        let stack = take(stack_bytes);
        if let Stage::Created(body, _) = mem::replace(&mut self.stage, Stage::Over) {
            self.shared.home.set(Some(this_thread()));
            let shared = Rc::clone(&self.shared);
            let main = move |suspender: &Suspender| {
                let suspender = FiberSuspender { suspender, shared: &shared };
                shared.end.set(catch_unwind(AssertUnwindSafe(|| body(&suspender))).err());
            };
            // SAFETY: `main` is 'static, so it borrows nothing that could end; it catches what unwinds.
            self.stage = Stage::Started(unsafe { Coroutine::new(stack, main) });
        }
    }

    /// Brings the body to its end: unwinds it, or drops it if it has not begun. Returns the panic that comes
    /// out of it instead. A body that cannot be unwound, or not here, is leaked.
    pub(super) fn close(&mut self) -> Option<Payload> {
        if let Stage::Started(_) = self.stage {
            return self.unwind();
        }
        match mem::replace(&mut self.stage, Stage::Over) {
            Stage::Created(body, _) => catch_unwind(AssertUnwindSafe(|| drop(body))).err(),
            Stage::Started(_) | Stage::Over => None,
        }
    }

    /// Unwinds a suspended body.
    fn unwind(&mut self) -> Option<Payload> {
        if cfg!(panic = "abort") || !self.is_home() {
            mem::forget(mem::replace(&mut self.stage, Stage::Over));
            return None;
        }
        self.shared.closing.set(true);
        match self.resume() {
            Turn::Suspended => unreachable!("a body that closes does not leave"),
            Turn::Ended => None,
            Turn::Unwound(payload) => Some(payload),
        }
    }
}

impl Drop for Fiber {
    fn drop(&mut self) {
        if let Some(payload) = self.close()
            && !thread::panicking()
        {
            resume_unwind(payload);
        }
    }
}

/// For what may only be done by the thread that has begun a body.
pub(super) const NOT_HOME: &str =
    "a generator or greenlet goes on only on the thread, green or not, that it has begun on";

/// For what safe code may only do inside a runtime.
const NOT_GREEN: &str = "outside sward::run, a generator or hub is made by `new_unchecked`, which is unsafe: \
                         nobody has promised there what `run` asks for";

/// The calling thread, green or not.
pub(super) fn this_thread() -> NonZeroU64 {
    with_current_task(|task| task.id())
}

impl Surroundings {
    fn now() -> Surroundings {
        with_local(|_, local| Surroundings { deadline: local.deadline.get(), shields: local.shields.get() })
    }
}

/// Suspends a fiber from inside its body. Lives in the lowest frame of the body's stack.
pub(super) struct FiberSuspender<'body> {
    suspender: &'body Suspender,
    shared: &'body FiberShared,
}

impl FiberSuspender<'_> {
    /// Runs `before`, switches to the resumer, and returns when the fiber is resumed. Unwinds if the fiber is
    /// closed.
    ///
    /// # Panics
    /// The body unwinds, or is in the middle of a timeout or a shield.
    pub(super) fn suspend(&self, before: impl FnOnce()) {
        if thread::panicking() && !self.shared.resumed_unwinding.get() {
            panic!("a body that unwinds cannot yield or switch");
        }
        self.unwind_if_closing();
        if Surroundings::now() != self.shared.surroundings.get() {
            panic!("a body cannot yield or switch inside a timeout or a shield that began in it");
        }
        before();
        self.suspender.suspend();
        self.unwind_if_closing();
    }

    fn unwind_if_closing(&self) {
        if self.shared.closing.get() {
            resume_unwind(Box::new(Close(self.shared.id)));
        }
    }
}

/// An OS thread's stacks for fibers.
struct Stacks {
    pool: StackPool,
    /// On a worker, the worker watches.
    _overflow: Option<OverflowWatch>,
}

thread_local! {
    static STACKS: RefCell<Stacks> = RefCell::new(Stacks {
        pool: StackPool::new(),
        _overflow: (!Worker::is_here()).then(|| watch_overflow(describe)),
    });
}

/// Takes a stack.
///
/// # Panics
/// Panics if the kernel refuses the memory.
fn take(stack_bytes: usize) -> Stack {
    // An OS thread that is ending has lost its pool: its last stacks come from pools of their own, and are
    // not reused.
    let taken = STACKS
        .try_with(|stacks| stacks.borrow_mut().pool.take(stack_bytes))
        .unwrap_or_else(|_| StackPool::new().take(stack_bytes));
    taken.unwrap_or_else(|error| panic!("a coroutine has not started: {error}"))
}

/// Returns a stack that [`take`] took on this OS thread. After the end of the pool, the stack is lost.
fn give_back(stack: Stack) {
    let _ = STACKS.try_with(|stacks| {
        let pool = &mut stacks.borrow_mut().pool;
        pool.give_back(stack);
        // No worker counts time here: what is left when one more comes back, was not needed.
        pool.begin_period();
        pool.trim(1);
    });
}

/// Runs inside the signal handler for a stack overflow: says whose stack it was.
fn describe(report: &mut OverflowReport) {
    report.set_name("a generator or greenlet");
}
