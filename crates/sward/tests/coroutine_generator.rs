//! Generators on a plain OS thread: turns, ends, panics, and what becomes of a body that is dropped in the
//! middle.

use std::cell::{Cell, RefCell};
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind, panic_any};
use std::rc::Rc;

use sward::coroutine::{Generator, Yielder};

/// A generator on the plain OS thread of a test.
fn generator<Out: 'static, In: 'static, Return: 'static>(
    body: impl FnOnce(&Yielder<'_, Out, In>) -> Return + 'static,
) -> Generator<Out, In, Return> {
    // SAFETY: the bodies hold nothing that relies on nesting across a yield.
    unsafe { Generator::new_unchecked(body) }
}

/// As [`generator`], on a stack of that size.
fn generator_with_stack_size<Out: 'static, In: 'static, Return: 'static>(
    bytes: usize,
    body: impl FnOnce(&Yielder<'_, Out, In>) -> Return + 'static,
) -> Generator<Out, In, Return> {
    // SAFETY: the bodies hold nothing that relies on nesting across a yield.
    unsafe { Generator::with_stack_size_unchecked(bytes, body) }
}

/// Counts its drops.
#[derive(Clone, Default)]
struct Drops(Rc<Cell<u32>>);

impl Drop for Drops {
    fn drop(&mut self) {
        self.0.set(self.0.get() + 1);
    }
}

/// What can be seen of the drops of something that is moved away.
fn watched() -> (Drops, Rc<Cell<u32>>) {
    let drops = Drops::default();
    let seen = Rc::clone(&drops.0);
    (drops, seen)
}

/// The `&str` or other payload of a panic.
fn panic_of<R>(action: impl FnOnce() -> R) -> String {
    let payload = catch_unwind(AssertUnwindSafe(action)).err().expect("it should panic");
    match payload.downcast::<String>() {
        Ok(text) => *text,
        Err(payload) => (*payload.downcast::<&'static str>().expect("a text")).to_owned(),
    }
}

#[test]
fn turns_alternate() {
    let log = Rc::new(RefCell::new(Vec::new()));
    let inside = Rc::clone(&log);
    let mut generator: Generator<u32, &str, &str> = generator(move |yielder| {
        for n in 1..=2 {
            let sent = yielder.yield_value(n);
            inside.borrow_mut().push(format!("got {sent}"));
        }
        "over"
    });
    assert!(log.borrow().is_empty());
    assert_eq!(generator.start(), Some(1));
    assert!(log.borrow().is_empty());
    assert_eq!(generator.send("a"), Some(2));
    assert_eq!(*log.borrow(), ["got a"]);
    assert!(!generator.is_finished());
    assert_eq!(generator.send("b"), None);
    assert_eq!(*log.borrow(), ["got a", "got b"]);
    assert!(generator.is_finished());
    assert_eq!(generator.send("c"), None);
    assert_eq!(generator.into_returned(), Some("over"));
}

#[test]
fn an_iterator_ends_once_and_for_all() {
    let mut generator = generator(|yielder| yielder.yield_from(0..3));
    assert_eq!(generator.by_ref().collect::<Vec<i32>>(), [0, 1, 2]);
    assert_eq!(generator.next(), None);
    assert_eq!(generator.start(), None);
    assert_eq!(generator.into_returned(), Some(()));
}

#[test]
fn sending_to_no_yield_is_a_panic_that_says_so() {
    let mut generator: Generator<u32, u32> = generator(|yielder| while yielder.yield_value(0) > 0 {});
    assert!(panic_of(|| generator.send(1)).contains("start it, then send"));
    assert_eq!(generator.start(), Some(0), "the mistake has done nothing");
    assert!(panic_of(|| generator.start()).contains("started already"));
    assert_eq!(generator.send(1), Some(0));
    assert_eq!(generator.send(0), None);
}

#[test]
fn a_drop_unwinds_the_body_and_goes_no_further() {
    let (drops, seen) = watched();
    let after = Rc::new(Cell::new(false));
    let reached = Rc::clone(&after);
    let mut generator: Generator<()> = generator(move |yielder| {
        let _local = drops;
        yielder.yield_value(());
        reached.set(true);
    });
    generator.next();
    assert_eq!(seen.get(), 0);
    drop(generator);
    assert_eq!(seen.get(), 1);
    assert!(!after.get(), "what follows the yield does not run");
    assert!(!std::thread::panicking());
}

#[test]
fn a_body_that_has_not_begun_is_dropped() {
    let (drops, seen) = watched();
    let generator: Generator<()> = generator(move |_| {
        let _captured = &drops;
        unreachable!("nobody asks for a value");
    });
    drop(generator);
    assert_eq!(seen.get(), 1);
}

#[test]
fn close_ends_it_and_can_be_repeated() {
    let (drops, seen) = watched();
    let mut generator: Generator<u32> = generator(move |yielder| {
        let _local = drops;
        yielder.yield_from(0..u32::MAX);
    });
    assert_eq!(generator.next(), Some(0));
    generator.close();
    assert_eq!(seen.get(), 1);
    assert!(generator.is_finished());
    generator.close();
    assert_eq!(generator.next(), None);
    assert_eq!(generator.into_returned(), None);
    assert_eq!(seen.get(), 1);
}

#[test]
fn a_body_that_swallows_the_unwinding_meets_it_again() {
    let swallowed = Rc::new(Cell::new(0));
    let inside = Rc::clone(&swallowed);
    let mut generator: Generator<u32> = generator(move |yielder| {
        for n in 0..3 {
            if catch_unwind(AssertUnwindSafe(|| yielder.yield_value(n))).is_err() {
                inside.set(inside.get() + 1);
            }
        }
    });
    assert_eq!(generator.next(), Some(0));
    generator.close();
    assert_eq!(swallowed.get(), 3, "at its yield, and at the two others that it came to");
    assert_eq!(generator.into_returned(), Some(()), "it has returned, after all");
}

#[test]
fn values_that_nobody_takes_are_dropped_once() {
    let (yielded, yielded_seen) = watched();
    let (sent, sent_seen) = watched();
    let mut generator: Generator<Drops, Drops> = generator(move |yielder| {
        yielder.yield_value(yielded);
    });
    let value = generator.start();
    assert_eq!(yielded_seen.get(), 0);
    drop(value);
    assert_eq!(yielded_seen.get(), 1);
    assert!(generator.send(sent).is_none());
    assert_eq!(sent_seen.get(), 1, "the body let it fall");
    let (late, late_seen) = watched();
    assert!(generator.send(late).is_none());
    assert_eq!(late_seen.get(), 1);
}

#[test]
fn a_panic_goes_on_in_the_resumer() {
    let (drops, seen) = watched();
    let mut generator: Generator<u32> = generator(move |yielder| {
        let _local = drops;
        yielder.yield_value(1);
        panic_any("out of grass");
    });
    assert_eq!(generator.next(), Some(1));
    assert_eq!(panic_of(|| generator.next()), "out of grass");
    assert_eq!(seen.get(), 1);
    assert!(generator.is_finished());
    assert_eq!(generator.next(), None);
}

#[test]
fn a_panic_while_closing_goes_on_in_the_closer() {
    let endless = || -> Generator<()> {
        generator(|yielder| {
            let _ = catch_unwind(AssertUnwindSafe(|| yielder.yield_value(())));
            panic_any("not so fast");
        })
    };
    let mut closed = endless();
    closed.next();
    assert_eq!(panic_of(|| closed.close()), "not so fast");
    let mut dropped = endless();
    dropped.next();
    assert_eq!(panic_of(|| drop(dropped)), "not so fast");
}

#[test]
fn a_panic_of_the_resumer_unwinds_the_body_as_well() {
    let (drops, seen) = watched();
    let text = panic_of(|| {
        let mut generator: Generator<()> = generator(move |yielder| {
            let _local = drops;
            yielder.yield_value(());
        });
        generator.next();
        panic_any("resumer");
    });
    assert_eq!(text, "resumer");
    assert_eq!(seen.get(), 1);
    assert!(!std::thread::panicking());
}

#[test]
fn a_destructor_may_use_a_generator_while_it_unwinds() {
    struct Sums(Rc<Cell<u32>>);
    impl Drop for Sums {
        fn drop(&mut self) {
            assert!(std::thread::panicking());
            self.0.set(generator(|yielder| yielder.yield_from(1..=4)).sum());
        }
    }
    let sum = Rc::new(Cell::new(0));
    let summer = Sums(Rc::clone(&sum));
    panic_of(|| {
        let _summer = summer;
        panic_any("unwind");
    });
    assert_eq!(sum.get(), 10);
    assert!(!std::thread::panicking());
}

#[test]
fn a_destructor_that_yields_while_its_body_unwinds_is_told() {
    struct Yields<'a, 'b>(&'a Yielder<'b, ()>, Rc<RefCell<String>>);
    impl Drop for Yields<'_, '_> {
        fn drop(&mut self) {
            *self.1.borrow_mut() = panic_of(|| self.0.yield_value(()));
        }
    }
    let told = Rc::new(RefCell::new(String::new()));
    let inside = Rc::clone(&told);
    let mut generator: Generator<()> = generator(move |yielder| {
        let _yields = Yields(yielder, inside);
        yielder.yield_value(());
    });
    generator.next();
    drop(generator);
    assert_eq!(*told.borrow(), "a body that unwinds cannot yield or switch");
}

#[test]
fn a_leaked_generator_leaks_its_stack_and_nothing_else() {
    let (drops, seen) = watched();
    let mut leaked: Generator<usize> = generator(move |yielder| {
        let _local = drops;
        let array = [7usize; 64];
        yielder.yield_value(std::ptr::from_ref(&array) as usize);
    });
    let address = leaked.next().unwrap() as *const [usize; 64];
    mem::forget(leaked);
    // Others come and go; none gets that stack.
    for _ in 0..100 {
        assert_eq!(generator(|yielder| yielder.yield_from([[0usize; 512]; 8])).count(), 8);
    }
    assert_eq!(seen.get(), 0);
    // SAFETY: the frame that holds the array was never left, and its stack is never reused.
    assert_eq!(unsafe { address.read() }, [7; 64]);
}

#[test]
fn generators_nest() {
    /// The leaves of a tree of the given depth, each by way of as many generators.
    fn leaves(depth: u32) -> Generator<u32> {
        generator(move |yielder| {
            if depth == 0 {
                return yielder.yield_value(0);
            }
            for branch in 0..2 {
                yielder.yield_from(leaves(depth - 1).map(|leaf| leaf * 2 + branch));
            }
        })
    }
    assert_eq!(leaves(3).collect::<Vec<_>>(), [0, 4, 2, 6, 1, 5, 3, 7]);
    let mut abandoned = leaves(6);
    assert_eq!(abandoned.next(), Some(0));
}

#[test]
fn many_at_once_and_in_any_order() {
    let mut generators: Vec<_> = (0..1000u32)
        .map(|n| generator_with_stack_size(16 * 1024, move |yielder| yielder.yield_from(n..n + 3)))
        .collect();
    for turn in 0..3 {
        for (n, generator) in generators.iter_mut().enumerate() {
            assert_eq!(generator.next(), Some(n as u32 + turn));
        }
    }
    while let Some(mut generator) = generators.pop() {
        assert_eq!(generator.next(), None);
    }
}

#[test]
fn a_stack_that_cannot_be_had_is_a_panic_that_says_so() {
    let mut generator: Generator<()> = generator_with_stack_size(1 << 60, |yielder| yielder.yield_value(()));
    assert!(panic_of(|| generator.next()).starts_with("a coroutine has not started: cannot map a stack"));
    assert!(generator.is_finished());
}

/// A thread-local generator outlives its OS thread's pool of stacks, or goes before it; either must do.
#[test]
fn thread_locals_may_hold_generators() {
    thread_local! {
        static KEPT: RefCell<Option<Generator<u32>>> = const { RefCell::new(None) };
    }
    for kept_first in [false, true] {
        let thread = std::thread::spawn(move || {
            if kept_first {
                KEPT.with(|kept| assert!(kept.borrow().is_none()));
            }
            let mut generator = generator(|yielder| yielder.yield_from(0..10));
            assert_eq!(generator.next(), Some(0));
            KEPT.set(Some(generator));
        });
        thread.join().unwrap();
    }
}

#[test]
fn debug_says_the_state() {
    let mut generator = generator(|yielder| yielder.yield_value(()));
    assert_eq!(format!("{generator:?}"), r#"Generator("created")"#);
    generator.next();
    assert_eq!(format!("{generator:?}"), r#"Generator("suspended")"#);
    generator.next();
    assert_eq!(format!("{generator:?}"), r#"Generator("finished")"#);
}

/// Nobody has promised there what `run` asks for.
#[test]
fn safe_code_makes_none_outside_a_runtime() {
    let refusal = panic_of(|| Generator::<u32>::new(|yielder| yielder.yield_value(1)));
    assert!(refusal.contains("new_unchecked"), "{refusal}");
    let refusal = panic_of(|| Generator::<u32>::with_stack_size(1 << 16, |yielder| yielder.yield_value(1)));
    assert!(refusal.contains("new_unchecked"), "{refusal}");
}
