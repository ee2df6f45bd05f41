//! Generators: a body that yields values to its resumer, and receives a value for each.
//!
//! Protocol: the two sides take turns, and what crosses lies in [`Exchange`] while it does. `yielded` is
//! filled by the body before it leaves, and emptied by the resumer after; `sent` the other way round;
//! `returned` is filled once, at the end.

use std::cell::Cell;
use std::fmt;
use std::iter::FusedIterator;
use std::panic::resume_unwind;
use std::rc::Rc;

use super::STACK_BYTES;
use super::fiber::{Fiber, FiberSuspender, Ground, Turn};

/// A function that stops to yield values, as Python's generators do. `Out` is what it yields, `In` what it is
/// sent for each, `Return` what it returns at its end.
///
/// Without anything to send it is an iterator:
/// ```
/// use sward::coroutine::Generator;
///
/// fn program() {
///     let squares = Generator::new(|yielder| {
///         for n in 1..=4 {
///             yielder.yield_value(n * n);
///         }
///     });
///     assert_eq!(squares.collect::<Vec<i32>>(), [1, 4, 9, 16]);
/// }
///
/// // SAFETY: nothing here holds a value that relies on nesting across a blocking call or a yield.
/// unsafe { sward::run(program) }.unwrap();
/// ```
///
/// With something to send it is a consumer, without locks or queues:
/// ```
/// use sward::coroutine::Generator;
///
/// # // SAFETY: nothing here holds a value that relies on nesting across a blocking call or a yield.
/// # unsafe { sward::run(|| {
/// let mut average: Generator<f64, f64> = Generator::new(|yielder| {
///     let (mut sum, mut count) = (0.0, 0.0);
///     loop {
///         sum += yielder.yield_value(if count > 0.0 { sum / count } else { 0.0 });
///         count += 1.0;
///     }
/// });
/// average.start();
/// assert_eq!(average.send(10.0), Some(10.0));
/// assert_eq!(average.send(20.0), Some(15.0));
/// average.close();
/// assert_eq!(average.send(30.0), None);
/// # }) }.unwrap();
/// ```
///
/// The body does not begin before the first value is asked for. A generator that is dropped is
/// [closed](Generator::close). See the [module](super) for what that means, and why a body is `'static`.
///
/// It stays on its OS thread:
/// ```compile_fail,E0277
/// fn send<T: Send>() {}
/// send::<sward::coroutine::Generator<()>>();
/// ```
/// Its body borrows nothing:
/// ```compile_fail,E0597
/// let text = String::from("short-lived");
/// let borrowed = &text;
/// let letters = sward::coroutine::Generator::new(move |yielder| yielder.yield_value(borrowed.len()));
/// # let _: sward::coroutine::Generator<usize> = letters;
/// ```
/// The way out of it cannot be kept:
/// ```compile_fail,E0521
/// let outside = std::rc::Rc::new(std::cell::Cell::new(None));
/// let inside = outside.clone();
/// let generator = sward::coroutine::Generator::<()>::new(move |yielder| inside.set(Some(yielder)));
/// ```
#[must_use = "a generator does nothing until it is asked for a value"]
pub struct Generator<Out, In = (), Return = ()> {
    fiber: Fiber,
    exchange: Rc<Exchange<Out, In, Return>>,
}

/// What crosses between a generator's two sides.
struct Exchange<Out, In, Return> {
    yielded: Cell<Option<Out>>,
    sent: Cell<Option<In>>,
    returned: Cell<Option<Return>>,
}

impl<Out: 'static, In: 'static, Return: 'static> Generator<Out, In, Return> {
    /// A generator that will run `body`, on a stack of 256 KiB of address space.
    ///
    /// # Panics
    /// Outside [`run`](crate::run), where it is [`new_unchecked`](Generator::new_unchecked). The body begins inside, too: else, asking for
    /// the first value panics.
    #[track_caller]
    pub fn new<F>(body: F) -> Generator<Out, In, Return>
    where
        F: FnOnce(&Yielder<'_, Out, In>) -> Return + 'static,
    {
        Generator::with_stack_size(STACK_BYTES, body)
    }

    /// As [`new`](Generator::new), on a stack of `bytes` bytes of address space; only pages that are used take memory.
    ///
    /// # Panics
    /// As [`new`](Generator::new).
    #[track_caller]
    pub fn with_stack_size<F>(bytes: usize, body: F) -> Generator<Out, In, Return>
    where
        F: FnOnce(&Yielder<'_, Out, In>) -> Return + 'static,
    {
        Generator::on(Ground::green(), bytes, body)
    }

    /// As [`new`](Generator::new), on any thread: a plain OS thread needs no runtime.
    ///
    /// ```
    /// use sward::coroutine::Generator;
    ///
    /// // SAFETY: the body holds nothing that relies on nesting across a yield.
    /// let squares = unsafe { Generator::new_unchecked(|yielder| (1..=4).for_each(|n| yielder.yield_value(n * n))) };
    /// assert_eq!(squares.collect::<Vec<i32>>(), [1, 4, 9, 16]);
    /// ```
    /// ```compile_fail,E0133
    /// let squares = sward::coroutine::Generator::new_unchecked(|yielder| yielder.yield_value(1));
    /// # let _: sward::coroutine::Generator<i32> = squares;
    /// ```
    ///
    /// # Safety
    /// The body keeps what [`run`](crate::run#safety) asks for: no value that is right only because calls on one OS thread nest, and no
    /// borrow that was lent for the length of a call, is held across a yield.
    pub unsafe fn new_unchecked<F>(body: F) -> Generator<Out, In, Return>
    where
        F: FnOnce(&Yielder<'_, Out, In>) -> Return + 'static,
    {
        Generator::on(Ground::Anywhere, STACK_BYTES, body)
    }

    /// As [`with_stack_size`](Generator::with_stack_size), on any thread.
    ///
    /// # Safety
    /// As [`new_unchecked`](Generator::new_unchecked).
    pub unsafe fn with_stack_size_unchecked<F>(bytes: usize, body: F) -> Generator<Out, In, Return>
    where
        F: FnOnce(&Yielder<'_, Out, In>) -> Return + 'static,
    {
        Generator::on(Ground::Anywhere, bytes, body)
    }

    fn on<F>(ground: Ground, bytes: usize, body: F) -> Generator<Out, In, Return>
    where
        F: FnOnce(&Yielder<'_, Out, In>) -> Return + 'static,
    {
        let exchange =
            Rc::new(Exchange { yielded: Cell::new(None), sent: Cell::new(None), returned: Cell::new(None) });
        let inside = Rc::clone(&exchange);
        let fiber = Fiber::new(bytes, ground, move |suspender| {
            let returned = body(&Yielder { suspender, yielded: &inside.yielded, sent: &inside.sent });
            inside.returned.set(Some(returned));
        });
        Generator { fiber, exchange }
    }

    /// Runs the body up to its first yield, and gives the value yielded there; `None` if it ends before.
    /// Python's first `next()`.
    ///
    /// # Panics
    /// With the body's panic; if there is no memory for its stack; and if it has been started already.
    pub fn start(&mut self) -> Option<Out> {
        assert!(!self.fiber.is_suspended(), "this generator has been started already: send it a value");
        self.advance()
    }

    /// Sends `value` to the yield where the body stands, runs the body up to its next yield, and gives the
    /// value yielded there; `None` if it ends before, or has ended already (then `value` is dropped).
    ///
    /// # Panics
    /// With the body's panic; if it has not been [started](Generator::start), since then it stands at no
    /// yield; and if it was started on another thread, green or not.
    pub fn send(&mut self, value: In) -> Option<Out> {
        assert!(!self.fiber.is_created(), "this generator stands at no yield yet: start it, then send");
        if self.fiber.is_suspended() {
            self.exchange.sent.set(Some(value));
        }
        self.advance()
    }

    /// Ends the body where it stands: unwinds it, so that its destructors run. A body that has not begun is
    /// dropped. Afterwards there are no more values. A body that catches the unwinding and returns has
    /// returned.
    ///
    /// # Panics
    /// If the body panics instead.
    pub fn close(&mut self) {
        if let Some(payload) = self.fiber.close() {
            resume_unwind(payload);
        }
    }

    /// Whether there are no more values: the body has returned or panicked, or was closed.
    pub fn is_finished(&self) -> bool {
        self.fiber.is_over()
    }

    /// What the body has returned: `None` if it has not got that far.
    ///
    /// ```
    /// use sward::coroutine::Generator;
    ///
    /// # // SAFETY: nothing here holds a value that relies on nesting across a blocking call or a yield.
    /// # unsafe { sward::run(|| {
    /// let mut words = Generator::new(|yielder| {
    ///     yielder.yield_value("green");
    ///     yielder.yield_value("blades");
    ///     2
    /// });
    /// assert_eq!((&mut words).collect::<Vec<_>>().join(" "), "green blades");
    /// assert_eq!(words.into_returned(), Some(2));
    /// # }) }.unwrap();
    /// ```
    pub fn into_returned(self) -> Option<Return> {
        self.exchange.returned.take()
    }

    fn advance(&mut self) -> Option<Out> {
        if self.fiber.is_over() {
            return None;
        }
        match self.fiber.resume() {
            Turn::Suspended => self.exchange.yielded.take(),
            Turn::Ended => None,
            Turn::Unwound(payload) => resume_unwind(payload),
        }
    }
}

/// # Panics
/// `next` panics with the body's panic, if there is no memory for its stack, and if its body has begun on
/// another thread, green or not.
impl<Out: 'static, Return: 'static> Iterator for Generator<Out, (), Return> {
    type Item = Out;

    fn next(&mut self) -> Option<Out> {
        self.exchange.sent.set(Some(()));
        self.advance()
    }
}

impl<Out: 'static, Return: 'static> FusedIterator for Generator<Out, (), Return> {}

impl<Out, In, Return> fmt::Debug for Generator<Out, In, Return> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match () {
            () if self.fiber.is_created() => "created",
            () if self.fiber.is_over() => "finished",
            () => "suspended",
        };
        formatter.debug_tuple("Generator").field(&state).finish()
    }
}

/// What a [`Generator`]'s body yields by.
pub struct Yielder<'body, Out, In = ()> {
    suspender: &'body FiberSuspender<'body>,
    yielded: &'body Cell<Option<Out>>,
    sent: &'body Cell<Option<In>>,
}

impl<Out, In> Yielder<'_, Out, In> {
    /// Passes `value` to the resumer, and waits until it sends one back. Unwinds instead when the generator is
    /// closed.
    ///
    /// # Panics
    /// Inside a timeout or a shield that began in the body; and if the body unwinds, that is, in one of its
    /// destructors (the process aborts then).
    pub fn yield_value(&self, value: Out) -> In {
        self.suspender.suspend(|| self.yielded.set(Some(value)));
        self.sent.take().expect("a suspended generator is resumed with a value, or closed")
    }
}

impl<Out> Yielder<'_, Out> {
    /// Yields each of `values`: Python's `yield from`.
    ///
    /// ```
    /// use sward::coroutine::Generator;
    ///
    /// /// Counts down to 1, by way of a generator in a generator.
    /// fn countdown(from: u32) -> Generator<u32> {
    ///     Generator::new(move |yielder| {
    ///         if from > 0 {
    ///             yielder.yield_value(from);
    ///             yielder.yield_from(countdown(from - 1));
    ///         }
    ///     })
    /// }
    /// # // SAFETY: nothing here holds a value that relies on nesting across a blocking call or a yield.
    /// # unsafe { sward::run(|| {
    /// assert_eq!(countdown(3).collect::<Vec<_>>(), [3, 2, 1]);
    /// # }) }.unwrap();
    /// ```
    pub fn yield_from(&self, values: impl IntoIterator<Item = Out>) {
        values.into_iter().for_each(|value| self.yield_value(value));
    }
}

impl<Out, In> fmt::Debug for Yielder<'_, Out, In> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Yielder")
    }
}
