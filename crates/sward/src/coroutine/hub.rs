//! The hub: owns a group of greenlets and carries out their switches.
//!
//! A fiber can only go back to its resumer. So a greenlet that switches leaves an order ("to whom, with
//! what") with the hub and goes back to the loop in [`HubShared::run`], which runs in the frame of
//! [`Hub::switch`], and that resumes the one ordered. The main greenlet is that frame: a switch to it ends
//! the loop.
//!
//! ```text
//!   Hub::switch ─▶ loop ─ resume ─▶ A ┐ switch to B       resume ─▶ B ┐ switch to main
//!                   ▲──────────────────┘ ... loop ──────────▲──────────┘ ... loop ─▶ returns
//! ```
//!
//! Invariants kept here:
//! - A fiber is in its slot whenever it does not run. `Hub::switch` borrows the hub mutably, so there is one
//!   loop at a time.
//! - No loan of the slots is held while a body or a destructor runs.
//! - Handles and [`Current`] refer to [`HubShared`] weakly, since it owns the bodies, and these own such.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::num::NonZeroU64;
use std::panic::resume_unwind;
use std::rc::{Rc, Weak};
use std::thread;

use super::current::Current;
use super::fiber::{Fiber, Ground, NOT_HOME, Payload, Turn, this_thread};
use super::greenlet::{Greenlet, State};

/// A group of greenlets that can switch to one another, as Python's `greenlet` has it: each is a function on
/// a stack of its own, and a switch names whom to go on with. `T` is what every switch carries, both ways.
///
/// ```
/// use sward::coroutine::Hub;
///
/// # // SAFETY: nothing here holds a value that relies on nesting across a blocking call or a switch.
/// # unsafe { sward::run(|| {
/// let mut hub: Hub<u32> = Hub::new();
/// let double = hub.spawn(|current, mut n| {
///     loop {
///         n = current.switch(&current.main(), n * 2);
///     }
/// });
/// let add_one_and_double = {
///     let double = double.clone();
///     hub.spawn(move |current, n| current.switch(&double, n + 1))
/// };
/// // To the second, which switches to the first, which switches back here.
/// assert_eq!(hub.switch(&add_one_and_double, 20), 42);
/// assert_eq!(hub.switch(&double, 8), 16);
/// assert!(!double.is_dead());
/// drop(hub); // Unwinds both.
/// assert!(double.is_dead());
/// # }) }.unwrap();
/// ```
///
/// The hub owns its greenlets. When it is dropped, those that are suspended unwind, so that their destructors
/// run. See the [module](super) for what that means, and why bodies are `'static`. It stays on its OS thread:
/// ```compile_fail,E0277
/// fn send<T: Send>() {}
/// send::<sward::coroutine::Hub<()>>();
/// ```
pub struct Hub<T: 'static> {
    shared: Rc<HubShared<T>>,
    /// The thread, green or not, on which its greenlets have begun, once some may have.
    home: Option<NonZeroU64>,
}

/// What a hub, its greenlets and their handles share.
pub(super) struct HubShared<T> {
    /// Where its greenlets may begin.
    pub(super) ground: Ground,
    main: Greenlet<T>,
    slots: RefCell<Slots<T>>,
    /// What the running greenlet wants the loop to do. Empty while none leaves.
    order: Cell<Option<Switch<T>>>,
}

/// Whom to resume, and with what.
type Switch<T> = (Greenlet<T>, thread::Result<T>);

/// The fibers that do not run.
struct Slots<T> {
    fibers: Vec<Option<(Greenlet<T>, Fiber)>>,
    /// Which slots belong to nobody.
    free: Vec<usize>,
}

impl<T: 'static> Hub<T> {
    /// A hub without greenlets, but for the main one: the code that calls [`switch`](Hub::switch).
    ///
    /// # Panics
    /// Outside [`run`](crate::run), where it is [`new_unchecked`](Hub::new_unchecked). Its greenlets begin inside, too:
    /// else, `switch` panics.
    #[expect(clippy::new_without_default, reason = "a default does not panic")]
    #[track_caller]
    pub fn new() -> Hub<T> {
        Hub::on(Ground::green())
    }

    /// As [`new`](Hub::new), on any thread: a plain OS thread needs no runtime.
    ///
    /// # Safety
    /// Its greenlets keep what [`run`](crate::run#safety) asks for: no value that is right only because calls on one OS thread nest, and
    /// no borrow that was lent for the length of a call, is held across a switch.
    pub unsafe fn new_unchecked() -> Hub<T> {
        Hub::on(Ground::Anywhere)
    }

    fn on(ground: Ground) -> Hub<T> {
        let shared = Rc::new_cyclic(|shared: &Weak<HubShared<T>>| HubShared {
            ground,
            main: Greenlet::bare(shared, None),
            slots: RefCell::new(Slots { fibers: Vec::new(), free: Vec::new() }),
            order: Cell::new(None),
        });
        Hub { shared, home: None }
    }

    /// The main greenlet, which is the parent of those that the hub spawns.
    pub fn main(&self) -> Greenlet<T> {
        self.shared.main()
    }

    /// A new greenlet. It begins when somebody switches to it, with the value that they switch with; what it
    /// returns goes to its parent.
    pub fn spawn<F>(&self, body: F) -> Greenlet<T>
    where
        F: FnOnce(&Current<'_, T>, T) -> T + 'static,
    {
        let greenlet = self.declare();
        greenlet.define(body);
        greenlet
    }

    /// A new greenlet that gets its body [later](Greenlet::define): for two that know each other.
    pub fn declare(&self) -> Greenlet<T> {
        Greenlet::bare(&Rc::downgrade(&self.shared), Some(self.shared.main()))
    }

    /// Switches to `target`: its own `switch` returns `value` there, or its body begins with it. Returns when
    /// one of the greenlets switches to [`main`](Hub::main), or ends with no other parent left. If `target`
    /// is dead, its parent stands in for it.
    ///
    /// # Panics
    /// With the panic of a greenlet that no other parent is left for; if a greenlet without a body is
    /// switched to; if `target` is of another hub; and if the hub's first switch was on another thread, green
    /// or not.
    pub fn switch(&mut self, target: &Greenlet<T>, value: T) -> T {
        self.enter(target, Ok(value))
    }

    /// Switches to `target`, whose own `switch` unwinds there with `payload`. If its body does not catch it,
    /// `target` is dead and the payload goes on to its parent. One that has not begun is dead at once.
    ///
    /// # Panics
    /// As [`switch`](Hub::switch): with `payload`, too, if nobody catches it.
    pub fn throw(&mut self, target: &Greenlet<T>, payload: Box<dyn Any + Send>) -> T {
        self.enter(target, Err(payload))
    }

    /// Ends `target` where it stands, without switching: unwinds it, so that its destructors run. Nothing
    /// goes to its parent.
    ///
    /// # Panics
    /// If `target` is the main one or of another hub; and with its own panic if it panics instead.
    pub fn kill(&mut self, target: &Greenlet<T>) {
        self.shared.kill(target);
    }

    fn enter(&mut self, target: &Greenlet<T>, message: thread::Result<T>) -> T {
        assert!(self.shared.is_parent_of(target), "the target is a greenlet of another hub");
        assert!(*self.home.get_or_insert_with(this_thread) == this_thread(), "{NOT_HOME}");
        match self.shared.run((target.clone(), message)) {
            Ok(value) => value,
            Err(payload) => resume_unwind(payload),
        }
    }
}

impl<T> HubShared<T> {
    pub(super) fn main(&self) -> Greenlet<T> {
        self.main.clone()
    }

    fn is_parent_of(self: &Rc<Self>, greenlet: &Greenlet<T>) -> bool {
        std::ptr::eq(greenlet.0.shared.as_ptr(), Rc::as_ptr(self))
    }
}

impl<T: 'static> HubShared<T> {
    /// Takes in a greenlet's body.
    pub(super) fn admit(&self, greenlet: &Greenlet<T>, fiber: Fiber) {
        let mut slots = self.slots.borrow_mut();
        let index = slots.free.pop().unwrap_or(slots.fibers.len());
        if index == slots.fibers.len() {
            slots.fibers.push(None);
        }
        slots.fibers[index] = Some((greenlet.clone(), fiber));
        greenlet.0.index.set(index);
        greenlet.0.state.set(State::Created);
    }

    /// The running greenlet is about to leave, and this is why.
    pub(super) fn order(&self, order: Switch<T>) {
        self.order.set(Some(order));
    }

    /// Carries out `order`, and those that come of it, until one is for the main greenlet. Returns what that
    /// gets.
    fn run(&self, mut order: Switch<T>) -> thread::Result<T> {
        loop {
            let (target, message) = order;
            let parent = || target.parent().unwrap_or_else(|| self.main());
            order = match target.0.state.get() {
                State::Main => return message,
                State::Dead => (parent(), message),
                State::Started => self.turn(&target, message),
                State::Created if message.is_ok() => self.turn(&target, message),
                State::Declared if message.is_ok() => panic!("a greenlet was switched to that has no body"),
                State::Created | State::Declared => {
                    let unwound = self.end(&target);
                    (parent(), unwound.map_or(message, Err))
                }
            };
        }
    }

    /// Resumes `target` with `message`, and returns the next switch.
    fn turn(&self, target: &Greenlet<T>, message: thread::Result<T>) -> Switch<T> {
        let index = target.0.index.get();
        let taken = self.slots.borrow_mut().fibers[index].take();
        let (greenlet, mut fiber) = taken.expect("what does not run is in its slot");
        target.0.message.set(Some(message));
        target.0.state.set(State::Started);
        let message = match fiber.resume() {
            Turn::Suspended => {
                self.slots.borrow_mut().fibers[index] = Some((greenlet, fiber));
                return self.order.take().expect("a greenlet leaves an order when it leaves");
            }
            Turn::Ended => target.0.message.take().expect("a greenlet that ends here has returned"),
            Turn::Unwound(payload) => Err(payload),
        };
        target.0.state.set(State::Dead);
        self.slots.borrow_mut().free.push(index);
        (target.parent().unwrap_or_else(|| self.main()), message)
    }

    /// Ends `target` here and now.
    pub(super) fn kill(self: &Rc<Self>, target: &Greenlet<T>) {
        assert!(self.is_parent_of(target), "the target is a greenlet of another hub");
        assert!(target.0.state.get() != State::Main, "the main greenlet cannot be killed");
        if let Some(payload) = self.end(target) {
            resume_unwind(payload);
        }
    }

    /// Ends a greenlet that is not the main one. Returns the panic that comes out of it, if any.
    fn end(&self, target: &Greenlet<T>) -> Option<Payload> {
        match target.0.state.get() {
            State::Created | State::Started => {}
            state => {
                debug_assert!(state != State::Main);
                target.0.state.set(State::Dead);
                return None;
            }
        }
        let index = target.0.index.get();
        let taken = self.slots.borrow_mut().fibers[index].take();
        let (_, mut fiber) = taken.expect("a greenlet that runs cannot be killed: it ends by returning");
        target.0.state.set(State::Dead);
        let payload = fiber.close();
        self.slots.borrow_mut().free.push(index);
        // There is one if the body has caught the unwinding, and returned.
        drop(target.0.message.take());
        payload
    }

    /// A greenlet that is in its slot.
    fn any(&self) -> Option<Greenlet<T>> {
        self.slots.borrow().fibers.iter().flatten().map(|(greenlet, _)| greenlet.clone()).next()
    }
}

/// Ends all greenlets, those that destructors create meanwhile as well. If one panics, the rest are ended
/// first.
impl<T: 'static> Drop for Hub<T> {
    fn drop(&mut self) {
        let mut panicked = None;
        while let Some(greenlet) = self.shared.any() {
            panicked = panicked.or(self.shared.end(&greenlet));
        }
        if let Some(payload) = panicked
            && !thread::panicking()
        {
            resume_unwind(payload);
        }
    }
}

impl<T: 'static> fmt::Debug for Hub<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let live = self.shared.slots.borrow().fibers.iter().flatten().count();
        formatter.debug_struct("Hub").field("live", &live).finish()
    }
}
