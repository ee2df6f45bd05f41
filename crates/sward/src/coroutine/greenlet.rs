//! A handle to one greenlet: its state and its place in the tree of parents. Its stack and its body are the
//! hub's, not the handle's, so that two greenlets that know each other do not keep each other alive.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::{Rc, Weak};
use std::thread;

use super::current::Current;
use super::fiber::Fiber;
use super::hub::HubShared;

/// A handle to one of a [`Hub`](super::Hub)'s greenlets: a function on a stack of its own, from which it can
/// switch to any other greenlet of its hub. Cloning gives another handle to the same one.
///
/// Handles do not keep a greenlet: the hub does, and ends what is left when it is dropped. A handle that is
/// still there then is dead.
pub struct Greenlet<T>(pub(super) Rc<Node<T>>);

/// What a greenlet's handles share.
pub(super) struct Node<T> {
    pub(super) shared: Weak<HubShared<T>>,
    pub(super) state: Cell<State>,
    /// Where its fiber is in the hub, from [`State::Created`] on until it is dead.
    pub(super) index: Cell<usize>,
    /// `None` for the main greenlet only. The chain ends there: `set_parent` sees to it.
    parent: RefCell<Option<Greenlet<T>>>,
    /// What crosses next: into it while it is being resumed, out of it when it has returned.
    pub(super) message: Cell<Option<thread::Result<T>>>,
}

/// How far a greenlet has come.
///
/// ```text
///  Declared ── define ──▶ Created ── first switch ──▶ Started ── returns, unwinds, is killed ──▶ Dead
///      └───────────────────── kill, throw ───────────────────────────────────────────────────────▶
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// The hub's own: the code that called [`Hub::switch`](super::Hub::switch).
    Main,
    /// It has no body yet.
    Declared,
    /// It has a body that has not begun.
    Created,
    /// It runs or is suspended.
    Started,
    /// It is over, or is being unwound.
    Dead,
}

impl<T: 'static> Greenlet<T> {
    /// A greenlet without a body. No parent: it is the main one.
    pub(super) fn bare(shared: &Weak<HubShared<T>>, parent: Option<Greenlet<T>>) -> Greenlet<T> {
        let state = if parent.is_some() { State::Declared } else { State::Main };
        Greenlet(Rc::new(Node {
            shared: shared.clone(),
            state: Cell::new(state),
            index: Cell::new(usize::MAX),
            parent: RefCell::new(parent),
            message: Cell::new(None),
        }))
    }

    /// Sets the body of a [declared](super::Hub::declare) greenlet. It gets the value of the first switch to
    /// it; what it returns goes to its parent.
    ///
    /// # Panics
    /// If it has a body, or its hub is gone.
    pub fn define<F>(&self, body: F)
    where
        F: FnOnce(&Current<'_, T>, T) -> T + 'static,
    {
        self.define_with_stack_size(super::STACK_BYTES, body);
    }

    /// As [`define`](Greenlet::define), with a stack of `bytes` bytes of address space
    /// (otherwise 256 KiB); only pages that are used take memory.
    ///
    /// # Panics
    /// As [`define`](Greenlet::define).
    pub fn define_with_stack_size<F>(&self, bytes: usize, body: F)
    where
        F: FnOnce(&Current<'_, T>, T) -> T + 'static,
    {
        assert!(self.0.state.get() == State::Declared, "this greenlet has a body already, or is dead");
        let shared = self.0.shared.upgrade().expect("this greenlet's hub is gone");
        let itself = self.clone();
        let fiber = Fiber::new(bytes, shared.ground, move |suspender| {
            let current = Current::new(suspender, &itself);
            let first = current.receive();
            let returned = body(&current, first);
            itself.0.message.set(Some(Ok(returned)));
        });
        shared.admit(self, fiber);
    }

    /// Whether it is over: it has returned or unwound, or was killed.
    pub fn is_dead(&self) -> bool {
        self.0.state.get() == State::Dead
    }

    /// Whether it has begun, and is not dead. The main greenlet always has.
    pub fn is_started(&self) -> bool {
        matches!(self.0.state.get(), State::Main | State::Started)
    }

    /// Where its value goes when it returns, and its panic when it panics: the greenlet that created it,
    /// unless [`set_parent`](Greenlet::set_parent) has changed that. `None` for the main greenlet.
    pub fn parent(&self) -> Option<Greenlet<T>> {
        self.0.parent.borrow().clone()
    }

    /// Changes where its value or panic goes at its end.
    ///
    /// # Panics
    /// If it is the main greenlet, `parent` is of another hub, or it would become its own ancestor.
    pub fn set_parent(&self, parent: &Greenlet<T>) {
        assert!(self.0.state.get() != State::Main, "the main greenlet has no parent");
        assert!(Weak::ptr_eq(&self.0.shared, &parent.0.shared), "the parent is a greenlet of another hub");
        let mut ancestor = Some(parent.clone());
        while let Some(greenlet) = ancestor {
            assert!(greenlet != *self, "a greenlet cannot be its own ancestor");
            ancestor = greenlet.parent();
        }
        // The former parent is dropped after the loan has ended.
        let _former = self.0.parent.replace(Some(parent.clone()));
    }
}

impl<T> Clone for Greenlet<T> {
    fn clone(&self) -> Greenlet<T> {
        Greenlet(Rc::clone(&self.0))
    }
}

/// Two handles are equal if they are of the same greenlet.
impl<T> PartialEq for Greenlet<T> {
    fn eq(&self, other: &Greenlet<T>) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }
}

impl<T> Eq for Greenlet<T> {}

impl<T> fmt::Debug for Greenlet<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Greenlet").field(&self.0.state.get()).finish()
    }
}
