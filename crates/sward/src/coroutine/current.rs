//! What a running greenlet switches with. It is lent to the body and cannot leave its frames, so that only
//! the greenlet that runs can switch away from itself: there is no thread-local "current greenlet" that could
//! be wrong inside a generator, another hub's greenlet, or another green thread of the same OS thread.

use std::any::Any;
use std::fmt;
use std::panic::resume_unwind;
use std::rc::{Rc, Weak};
use std::thread;

use super::fiber::FiberSuspender;
use super::greenlet::Greenlet;
use super::hub::HubShared;

/// The running greenlet, as its own body sees it.
pub struct Current<'body, T> {
    suspender: &'body FiberSuspender<'body>,
    greenlet: &'body Greenlet<T>,
}

impl<'body, T: 'static> Current<'body, T> {
    pub(super) fn new(
        suspender: &'body FiberSuspender<'body>,
        greenlet: &'body Greenlet<T>,
    ) -> Current<'body, T> {
        Current { suspender, greenlet }
    }

    /// A handle to the running greenlet: Python's `getcurrent()`.
    pub fn greenlet(&self) -> Greenlet<T> {
        self.greenlet.clone()
    }

    /// The code outside, which called [`Hub::switch`](super::Hub::switch).
    pub fn main(&self) -> Greenlet<T> {
        self.shared().main()
    }

    /// A new greenlet, whose parent is this one. It begins when somebody switches to it.
    pub fn spawn<F>(&self, body: F) -> Greenlet<T>
    where
        F: FnOnce(&Current<'_, T>, T) -> T + 'static,
    {
        let greenlet = self.declare();
        greenlet.define(body);
        greenlet
    }

    /// A new greenlet, whose parent is this one and which gets its body [later](Greenlet::define).
    pub fn declare(&self) -> Greenlet<T> {
        Greenlet::bare(&self.greenlet.0.shared, Some(self.greenlet()))
    }

    /// Switches to `target`: its own `switch` returns `value` there, or its body begins with it. Returns when
    /// somebody switches to this greenlet, with the value that they switch with. If `target` is dead, its
    /// parent stands in for it.
    ///
    /// Unwinds with the payload if somebody [throws](Current::throw) one at this greenlet, and if it is
    /// killed.
    ///
    /// # Panics
    /// If `target` is of another hub; inside a timeout or a shield that began in the calling body; or if that
    /// body unwinds (in one of its destructors; the process aborts then). If `target` has no body, the panic
    /// goes to [`Hub::switch`](super::Hub::switch).
    pub fn switch(&self, target: &Greenlet<T>, value: T) -> T {
        self.leave(target, Ok(value))
    }

    /// Switches to `target`, whose own `switch` unwinds there with `payload`. If its body does not catch it,
    /// `target` is dead and the payload goes on to its parent. One that has not begun is dead at once.
    ///
    /// # Panics
    /// As [`switch`](Current::switch).
    pub fn throw(&self, target: &Greenlet<T>, payload: Box<dyn Any + Send>) -> T {
        self.leave(target, Err(payload))
    }

    /// Ends `target` where it stands, without switching: unwinds it, so that its destructors run. Nothing
    /// goes to its parent.
    ///
    /// # Panics
    /// If `target` runs (a greenlet ends itself by returning), is the main one or of another hub; and with
    /// its own panic if it panics instead.
    pub fn kill(&self, target: &Greenlet<T>) {
        self.shared().kill(target);
    }

    fn leave(&self, target: &Greenlet<T>, message: thread::Result<T>) -> T {
        let shared = Rc::downgrade(&self.shared());
        assert!(Weak::ptr_eq(&shared, &target.0.shared), "the target is a greenlet of another hub");
        let order = (target.clone(), message);
        self.suspender.suspend(|| self.shared().order(order));
        self.receive()
    }

    /// What the greenlet has just been resumed with.
    pub(super) fn receive(&self) -> T {
        match self.greenlet.0.message.take() {
            Some(Ok(value)) => value,
            Some(Err(payload)) => resume_unwind(payload),
            None => unreachable!("a greenlet is resumed with something, or closed"),
        }
    }

    /// No body runs without its hub: the hub's drop ends all of them first.
    fn shared(&self) -> Rc<HubShared<T>> {
        self.greenlet.0.shared.upgrade().expect("a greenlet's hub outlives its body")
    }
}

impl<T> fmt::Debug for Current<'_, T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Current").field(self.greenlet).finish()
    }
}
