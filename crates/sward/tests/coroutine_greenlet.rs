//! Greenlets on a plain OS thread: switches, parents, throwing, killing, and the end of a hub.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind, panic_any};
use std::rc::Rc;

use sward::coroutine::{Generator, Greenlet, Hub, Yielder};

/// A hub on the plain OS thread of a test.
fn new_hub<T>() -> Hub<T> {
    // SAFETY: the greenlets hold nothing that relies on nesting across a switch.
    unsafe { Hub::new_unchecked() }
}

/// A generator on it.
fn generator<Out: 'static>(body: impl FnOnce(&Yielder<'_, Out>) + 'static) -> Generator<Out> {
    // SAFETY: the bodies hold nothing that relies on nesting across a yield.
    unsafe { Generator::new_unchecked(body) }
}

type Log = Rc<RefCell<Vec<String>>>;

fn log() -> (Log, impl Fn(&str) + Clone + 'static) {
    let log = Log::default();
    let inside = Rc::clone(&log);
    (log, move |line: &str| inside.borrow_mut().push(line.to_owned()))
}

/// Writes a line when it is dropped.
struct AtDrop<F: Fn(&str)>(F, &'static str);

impl<F: Fn(&str)> Drop for AtDrop<F> {
    fn drop(&mut self) {
        self.0(self.1);
    }
}

/// The text that a panic carries.
fn panic_of<R>(action: impl FnOnce() -> R) -> &'static str {
    let payload = catch_unwind(AssertUnwindSafe(action)).err().expect("it should panic");
    match payload.downcast::<String>() {
        Ok(text) => text.leak(),
        Err(payload) => payload.downcast_ref::<&'static str>().expect("a text"),
    }
}

#[test]
fn two_switch_to_each_other() {
    let (log, write) = log();
    let mut hub = new_hub();
    let (first, second) = (hub.declare(), hub.declare());
    {
        let (write, second) = (write.clone(), second.clone());
        first.define(move |current, ()| {
            let _end = AtDrop(write.clone(), "first unwinds");
            write("12");
            current.switch(&second, ());
            write("34");
            current.switch(&second, ());
            write("never");
        });
    }
    {
        let (write, first) = (write.clone(), first.clone());
        second.define(move |current, ()| {
            write("56");
            current.switch(&first, ());
            write("78");
        });
    }
    hub.switch(&first, ());
    assert_eq!(*log.borrow(), ["12", "56", "34", "78"]);
    assert!(!first.is_dead() && first.is_started());
    assert!(second.is_dead() && !second.is_started());
    drop(hub);
    assert!(first.is_dead());
    assert_eq!(log.borrow().last().unwrap(), "first unwinds");
}

#[test]
fn values_cross_in_every_direction() {
    let mut hub = new_hub();
    let echo = hub.spawn(|current, mut n: u32| {
        while n > 0 {
            n = current.switch(&current.main(), n + 1);
        }
        99
    });
    assert_eq!(hub.switch(&echo, 1), 2);
    assert_eq!(hub.switch(&echo, 10), 11);
    assert_eq!(hub.switch(&echo, 0), 99, "what it returns goes to its parent");
    assert!(echo.is_dead());
    assert_eq!(hub.switch(&echo, 5), 5, "its parent stands in for the dead: that is us");
}

#[test]
fn a_value_goes_to_the_parent_and_a_dead_parents_to_its_own() {
    let mut hub: Hub<u32> = new_hub();
    let parent = hub.spawn(|current, n| {
        let child = current.spawn(|_, n| n * 10);
        assert_eq!(child.parent(), Some(current.greenlet()));
        current.switch(&child, n) + 1
    });
    assert_eq!(parent.parent(), Some(hub.main()));
    assert_eq!(hub.switch(&parent, 4), 41);

    let (grandparent, parent, child) =
        (hub.spawn(|_, n| n + 100), hub.spawn(|_, n| n + 10), hub.spawn(|_, n| n + 1));
    parent.set_parent(&grandparent);
    child.set_parent(&parent);
    hub.kill(&parent);
    assert_eq!(hub.switch(&child, 0), 101);
    assert!(grandparent.is_dead());
}

#[test]
fn parents_form_a_tree() {
    let hub: Hub<()> = new_hub();
    let (first, second) = (hub.spawn(|_, ()| ()), hub.spawn(|_, ()| ()));
    first.set_parent(&second);
    assert_eq!(panic_of(|| second.set_parent(&first)), "a greenlet cannot be its own ancestor");
    assert_eq!(panic_of(|| first.set_parent(&first)), "a greenlet cannot be its own ancestor");
    assert_eq!(panic_of(|| hub.main().set_parent(&first)), "the main greenlet has no parent");
    assert_eq!(second.parent(), Some(hub.main()));
    assert_eq!(hub.main().parent(), None);
    let other = new_hub();
    assert_eq!(panic_of(|| first.set_parent(&other.main())), "the parent is a greenlet of another hub");
}

#[test]
fn a_throw_can_be_caught_where_it_lands() {
    let mut hub: Hub<&'static str> = new_hub();
    let catcher = hub.spawn(|current, _| {
        let caught = panic_of(|| current.switch(&current.main(), "ready"));
        current.switch(&current.main(), caught);
        "over"
    });
    assert_eq!(hub.switch(&catcher, "go"), "ready");
    assert_eq!(hub.throw(&catcher, Box::new("stone")), "stone");
    assert!(!catcher.is_dead());
    assert_eq!(hub.switch(&catcher, "go"), "over");
}

#[test]
fn a_throw_that_nobody_catches_kills_and_goes_on_to_the_parent() {
    let (log, write) = log();
    let mut hub: Hub<()> = new_hub();
    let parent = {
        let write = write.clone();
        hub.spawn(move |current, ()| {
            let main = current.main();
            let caught = panic_of(|| current.switch(&main, ()));
            write(caught);
        })
    };
    let child = hub.spawn(move |current, ()| {
        let _end = AtDrop(write, "child unwinds");
        current.switch(&current.main(), ());
    });
    child.set_parent(&parent);
    hub.switch(&parent, ());
    hub.switch(&child, ());
    hub.throw(&child, Box::new("stone"));
    assert_eq!(*log.borrow(), ["child unwinds", "stone"]);
    assert!(child.is_dead() && parent.is_dead());

    let unstarted = hub.spawn(|_, ()| unreachable!("it is dead before it begins"));
    assert_eq!(panic_of(|| hub.throw(&unstarted, Box::new("stone"))), "stone");
    assert!(unstarted.is_dead());
}

#[test]
fn a_panic_goes_on_to_the_parent_and_the_hub_lives() {
    let mut hub: Hub<u32> = new_hub();
    let bystander = hub.spawn(|current, n| current.switch(&current.main(), n));
    assert_eq!(hub.switch(&bystander, 1), 1);
    let panicking = hub.spawn(|_, _| panic_any("out of grass"));
    assert_eq!(panic_of(|| hub.switch(&panicking, 0)), "out of grass");
    assert!(panicking.is_dead() && !bystander.is_dead());
    assert_eq!(hub.switch(&bystander, 7), 7);
    assert!(bystander.is_dead());
}

#[test]
fn a_kill_unwinds_without_a_switch() {
    let (log, write) = log();
    let mut hub: Hub<()> = new_hub();
    let victim = {
        let write = write.clone();
        hub.spawn(move |current, ()| {
            let _end = AtDrop(write, "victim unwinds");
            loop {
                current.switch(&current.main(), ());
            }
        })
    };
    hub.switch(&victim, ());
    let killer = {
        let (write, victim) = (write.clone(), victim.clone());
        hub.spawn(move |current, ()| {
            current.kill(&victim);
            current.kill(&victim);
            write("killer goes on");
            assert_eq!(
                panic_of(|| current.kill(&current.greenlet())),
                "a greenlet that runs cannot be killed: it ends by returning"
            );
        })
    };
    hub.switch(&killer, ());
    assert!(victim.is_dead() && killer.is_dead());
    assert_eq!(*log.borrow(), ["victim unwinds", "killer goes on"]);
    let main = hub.main();
    assert_eq!(panic_of(|| hub.kill(&main)), "the main greenlet cannot be killed");
}

#[test]
fn a_body_that_swallows_a_kill_meets_it_again() {
    let swallowed = Rc::new(Cell::new(0));
    let inside = Rc::clone(&swallowed);
    let mut hub: Hub<()> = new_hub();
    let stubborn = hub.spawn(move |current, ()| {
        for _ in 0..3 {
            if catch_unwind(AssertUnwindSafe(|| current.switch(&current.main(), ()))).is_err() {
                inside.set(inside.get() + 1);
            }
        }
    });
    hub.switch(&stubborn, ());
    hub.kill(&stubborn);
    assert_eq!(swallowed.get(), 3);
    assert!(stubborn.is_dead());
}

#[test]
fn a_hub_ends_all_before_a_panic_goes_on() {
    let (log, write) = log();
    let mut hub: Hub<()> = new_hub();
    for name in ["first", "second"] {
        let write = write.clone();
        let greenlet = hub.spawn(move |current, ()| {
            let _end = AtDrop(write, name);
            let _ = catch_unwind(AssertUnwindSafe(|| current.switch(&current.main(), ())));
            // Born while the hub dies: it is ended as well.
            current.spawn(|_, ()| unreachable!("nobody switches to it"));
            panic_any(name);
        });
        hub.switch(&greenlet, ());
    }
    assert_eq!(panic_of(|| drop(hub)), "first");
    assert_eq!(*log.borrow(), ["first", "second"]);
}

#[test]
fn handles_outlive_their_hub_and_say_so() {
    let hub: Hub<u32> = new_hub();
    let (declared, created) = (hub.declare(), hub.spawn(|_, n| n));
    drop(hub);
    assert!(created.is_dead());
    assert_eq!(panic_of(|| declared.define(|_, n| n)), "this greenlet's hub is gone");
}

#[test]
fn mistakes_are_told() {
    let mut hub: Hub<u32> = new_hub();
    let declared = hub.declare();
    assert_eq!(panic_of(|| hub.switch(&declared, 1)), "a greenlet was switched to that has no body");
    declared.define(|_, n| n + 1);
    assert_eq!(panic_of(|| declared.define(|_, n| n)), "this greenlet has a body already, or is dead");
    assert_eq!(hub.switch(&declared, 1), 2, "the mistakes have done nothing");

    let stranger = new_hub::<u32>().spawn(|_, n| n);
    assert_eq!(panic_of(|| hub.switch(&stranger, 1)), "the target is a greenlet of another hub");
    assert_eq!(panic_of(|| hub.kill(&stranger)), "the target is a greenlet of another hub");
    let switcher = hub.spawn(move |current, n| current.switch(&stranger, n));
    assert_eq!(panic_of(|| hub.switch(&switcher, 1)), "the target is a greenlet of another hub");
}

/// One that is switched to from inside a generator, or another hub's greenlet, is still the one that its
/// `Current` says.
#[test]
fn hubs_and_generators_nest() {
    let mut outer: Hub<u32> = new_hub();
    let rest = outer.spawn(|current, n| current.switch(&current.main(), n + 1000));
    let nested = {
        let rest = rest.clone();
        outer.spawn(move |current, n| {
            let numbers = generator(move |yielder| {
                let mut inner: Hub<u32> = new_hub();
                let add = inner.spawn(|current, mut n| {
                    loop {
                        n = current.switch(&current.main(), n + 1);
                    }
                });
                for n in n..n + 3 {
                    yielder.yield_value(inner.switch(&add, n));
                }
            });
            let sum = numbers.sum::<u32>();
            current.switch(&rest, sum)
        })
    };
    assert_eq!(outer.switch(&nested, 0), 1 + 2 + 3 + 1000);
    assert_eq!(outer.switch(&nested, 5), 5);
}

#[test]
fn slots_are_reused_and_many_switch_in_a_ring() {
    let mut hub: Hub<u64> = new_hub();
    for _ in 0..3 {
        let mut next = hub.main();
        for _ in 0..200 {
            let then = next.clone();
            next = hub.spawn(move |current, n| {
                let n = current.switch(&then, n + 1);
                n + 1
            });
        }
        assert_eq!(hub.switch(&next, 0), 200);
        // Each has one more turn; its value goes to its parent: here.
        let ring: Vec<Greenlet<u64>> = vec![next];
        for greenlet in ring {
            assert_eq!(hub.switch(&greenlet, 1), 2);
            assert!(greenlet.is_dead());
        }
    }
}

/// Nobody has promised there what `run` asks for.
#[test]
fn safe_code_makes_no_hub_outside_a_runtime() {
    let refusal = panic_of(Hub::<()>::new);
    assert!(refusal.contains("new_unchecked"), "{refusal}");
}
