//! A thread's closure and the place for its result: one allocation, which the thread and its joiner share.

use std::any::Any;
use std::cell::UnsafeCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use crate::report::{fatal, report};
use crate::runtime::deadline::is_interruption;
use crate::runtime::scope_data::ScopeData;
use crate::runtime::task::Start;
use crate::thread::Result;

/// What a thread and its joiner share.
///
/// The thread's side ends before its task is complete, and the joiner looks after it has seen that: the two never meet.
pub(crate) struct Packet<F, T> {
    content: UnsafeCell<Content<F, T>>,
    scope: Option<Arc<ScopeData>>,
}

/// One place for the one after the other.
enum Content<F, T> {
    /// Until the thread takes it.
    Closure(F),
    /// Until the joiner takes it.
    Result(Result<T>),
    Nothing,
}

// SAFETY: the two sides take turns, ordered by the queue that hands over the unstarted task and by the completion of
// the task; and `Packet::new` asks its caller that closure and result may go where they go.
unsafe impl<F, T> Sync for Packet<F, T> {}
// SAFETY: `Packet::new` asks its caller that closure and result may go where they go.
unsafe impl<F, T> Send for Packet<F, T> {}

/// The joiner's side, which does not know the closure.
pub(crate) trait TakeResult<T>: Send + Sync {
    /// The result, once. The caller has seen that the task is complete.
    fn take(&self) -> Option<Result<T>>;
}

impl<F, T> Packet<F, T>
where
    F: FnOnce() -> T,
{
    /// # Safety
    /// What the closure and its result borrow outlives the thread. A closure that is not `Send` is run (or abandoned)
    /// on the OS thread that made it, and a result that is not `Send` is taken there.
    pub(crate) unsafe fn new(f: F, scope: Option<Arc<ScopeData>>) -> Arc<Self> {
        Arc::new(Packet { content: UnsafeCell::new(Content::Closure(f)), scope })
    }

    /// The thread's side, without its types and lifetimes.
    pub(crate) fn start<'a>(self: &Arc<Self>) -> Arc<dyn Start>
    where
        Self: 'a,
    {
        let start: Arc<dyn Start + 'a> = Arc::clone(self) as Arc<dyn Start + 'a>;
        // SAFETY: only the lifetime bound of the trait object changes; `new` has its caller vouch for what it bounds.
        unsafe { std::mem::transmute::<Arc<dyn Start + 'a>, Arc<dyn Start + 'static>>(start) }
    }

    fn take_closure(&self) -> F {
        // SAFETY: `run` and `abandon` belong to the thread's side, and only one of them is called, once.
        match unsafe { std::mem::replace(&mut *self.content.get(), Content::Nothing) } {
            Content::Closure(closure) => closure,
            Content::Result(_) | Content::Nothing => unreachable!("a thread runs once"),
        }
    }

    /// Leaves the result and lets go of everything that the scope might own.
    fn end(self: Arc<Self>, result: Result<T>) {
        let scope = self.scope.clone();
        if let (Some(scope), Err(payload)) = (&scope, &result)
            && !is_interruption(&**payload)
        {
            scope.child_panicked();
        }
        // SAFETY: the task is not complete, so the joiner does not look yet.
        unsafe { *self.content.get() = Content::Result(result) };
        drop(self);
        if let Some(scope) = scope {
            scope.leave();
        }
    }
}

impl<F, T> Start for Packet<F, T>
where
    F: FnOnce() -> T,
{
    fn run(self: Arc<Self>) {
        let closure = self.take_closure();
        let result = catch_unwind(AssertUnwindSafe(closure));
        self.end(result);
    }

    fn abandon(self: Arc<Self>, reason: Box<dyn Any + Send>) {
        let closure = self.take_closure();
        if catch_unwind(AssertUnwindSafe(|| drop(closure))).is_err() {
            report("sward: what a thread that never started owned panicked when it was dropped");
        }
        self.end(Err(reason));
    }
}

impl<F, T> TakeResult<T> for Packet<F, T> {
    fn take(&self) -> Option<Result<T>> {
        // SAFETY: the task is complete, so the thread does not touch it any more.
        match unsafe { std::mem::replace(&mut *self.content.get(), Content::Nothing) } {
            Content::Result(result) => Some(result),
            Content::Closure(_) | Content::Nothing => None,
        }
    }
}

/// The joiner's side, without the bound on what the closure and the result borrow.
///
/// # Safety
/// What they borrow outlives it.
pub(crate) unsafe fn forever<'a, T>(side: Arc<dyn TakeResult<T> + 'a>) -> Arc<dyn TakeResult<T>> {
    // SAFETY: only the lifetime bound of the trait object changes, and the caller vouches for what it bounds.
    unsafe { std::mem::transmute::<Arc<dyn TakeResult<T> + 'a>, Arc<dyn TakeResult<T> + 'static>>(side) }
}

/// The joiner's side of an OS thread: joins that thread, too.
pub(crate) struct OsPacket<P> {
    packet: Arc<P>,
    native: Mutex<Option<JoinHandle<()>>>,
}

impl<P> OsPacket<P> {
    pub(crate) fn new(packet: Arc<P>, native: JoinHandle<()>) -> OsPacket<P> {
        OsPacket { packet, native: Mutex::new(Some(native)) }
    }
}

impl<T, P: TakeResult<T>> TakeResult<T> for OsPacket<P> {
    fn take(&self) -> Option<Result<T>> {
        let native = self.native.lock().unwrap_or_else(PoisonError::into_inner).take();
        match native.map(JoinHandle::join) {
            Some(Err(payload)) => Some(Err(payload)),
            Some(Ok(())) | None => self.packet.take(),
        }
    }
}

impl<F, T> Drop for Packet<F, T> {
    fn drop(&mut self) {
        let unclaimed = std::mem::replace(self.content.get_mut(), Content::Nothing);
        let panicked = matches!(&unclaimed, Content::Result(Err(payload)) if !is_interruption(&**payload));
        if catch_unwind(AssertUnwindSafe(|| drop(unclaimed))).is_err() {
            fatal(format_args!("the result of a thread panicked when it was dropped"));
        }
        if panicked && let Some(scope) = &self.scope {
            scope.set_panicked();
        }
    }
}
