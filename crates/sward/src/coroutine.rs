//! Coroutines by hand: [`Generator`], which yields values to its resumer, and [`Greenlet`], which switches
//! to any other of its [`Hub`]. They are made inside a green thread, whose blocking calls stay green in them; or, by an `unsafe`
//! constructor, on a plain OS thread, and need no runtime then.
//!
//! ```text
//!   generator.rs   Generator, Yielder: two sides that take turns
//!   hub.rs         Hub: owns greenlets, and runs the loop that carries out their switches
//!   greenlet.rs    Greenlet: a handle to one
//!   current.rs     Current: what a running greenlet switches with
//!   fiber.rs       Fiber: a body on a stack of its own, which is always unwound before it goes      (the unsafe code)
//! ```
//!
//! # What is dropped while it is suspended
//! Its body is resumed once more, with the order to unwind: the destructors on its stack run, as Python's
//! `close()` runs the `finally` clauses. A body that swallows the unwinding (`catch_unwind`) meets it again
//! when it yields again; one that does so in an endless loop never ends. One that is leaked (`mem::forget`)
//! leaks its stack with all that is on it. Under `panic = "abort"` nothing can unwind, so a drop is such a
//! leak.
//!
//! # Why bodies are `'static`
//! A frame may rely on being left some day: `std::thread::scope` lends its threads what lies on the stack,
//! and waits for them before it returns. A body that borrowed from its maker could be forgotten in the middle
//! of such a scope, and the threads would go on with borrows that have ended. A `'static` body has borrowed
//! only from itself and from what lives for ever, and a leaked stack is never used again. So share with `Rc`,
//! or move in.
//!
//! # Blocking calls inside
//! A blocking call in a body suspends the green thread as a whole: the stack of the body, those of all bodies
//! that resumed it, and the green thread's own, as they are. Nobody can resume the body meanwhile, since
//! whoever resumed it still borrows it. A cancel or a timeout of the green thread unwinds the body, and goes
//! on through its resumer.
//!
//! # Across a yield
//! A body that has begun goes on only on the thread, green or not, that it has begun on; dropped on another
//! one, it is leaked. It cannot yield or switch inside a [`timeout`](crate::time::timeout) or a
//! [`shield`](crate::thread::shield) that began in it: that panics.
//!
//! It shares its OS thread's thread-local values with its resumer, and the two do not nest; and it may be kept for longer than what it has
//! borrowed for the length of a call, or be forgotten. What a body must not hold across a yield or a switch is said with
//! [`run`](crate::run#safety), whose caller promises it for all that runs inside. Outside, nobody has promised it yet: hence
//! [`Generator::new_unchecked`] and [`Hub::new_unchecked`].
//!
//! # Panics and unwinding
//! A panic in a body goes on in its resumer (a greenlet's in its parent); the body is over then. A destructor
//! that runs because its body unwinds must not yield or switch: that panics, and so aborts. It may resume
//! others.

mod current;
mod fiber;
mod generator;
mod greenlet;
mod hub;

pub use current::Current;
pub use generator::{Generator, Yielder};
pub use greenlet::Greenlet;
pub use hub::Hub;

/// Address space of a body's stack in bytes. Only pages that are used take memory.
const STACK_BYTES: usize = 256 * 1024;
