//! Switching: turns, ends, panics, borrowed data, and what must abort.

#[path = "process/child.rs"]
mod child;

use std::backtrace::Backtrace;
use std::cell::{Cell, RefCell};
use std::panic::{self, AssertUnwindSafe};
use std::rc::Rc;
use std::thread;

use corosensei::stack::Stack as _;
use sward_coroutine::{Coroutine, StackPool, Suspender};

const STACK_BYTES: usize = 64 * 1024;

/// A coroutine on a stack of `pool`.
fn coroutine<F: FnOnce(&Suspender) + 'static>(pool: &mut StackPool, main: F) -> Coroutine {
    // SAFETY: `main` borrows nothing. Where it unwinds, the test is about the abort.
    unsafe { Coroutine::new(pool.take(STACK_BYTES).unwrap(), main) }
}

#[test]
fn turns_alternate_until_main_returns() {
    let mut pool = StackPool::new();
    let log = Rc::new(RefCell::new(Vec::new()));
    let inner_log = log.clone();
    let mut coroutine = coroutine(&mut pool, move |suspender| {
        for turn in 0..3 {
            inner_log.borrow_mut().push(turn);
            suspender.suspend();
        }
    });
    assert!(log.borrow().is_empty(), "nothing runs before the first resume");
    for turns in 1..=3 {
        assert!(!coroutine.resume());
        assert!(!coroutine.is_finished());
        assert_eq!(log.borrow().len(), turns);
    }
    assert!(coroutine.resume());
    assert!(coroutine.is_finished());
    pool.give_back(coroutine.into_stack());
    assert_eq!(*log.borrow(), [0, 1, 2]);
    assert_eq!(Rc::strong_count(&log), 1, "what main owned was dropped");
}

#[test]
fn main_runs_on_its_stack_and_may_borrow() {
    let mut pool = StackPool::new();
    let stack = pool.take(STACK_BYTES).unwrap();
    let local = Cell::new(0usize);
    // SAFETY: `local` outlives the run below; nothing unwinds.
    let mut coroutine = unsafe {
        Coroutine::new(stack, |suspender| {
            let on_stack = 0u8;
            local.set(std::ptr::from_ref(&on_stack) as usize);
            suspender.suspend();
        })
    };
    coroutine.resume();
    coroutine.resume();
    let stack = coroutine.into_stack();
    // AddressSanitizer may keep locals elsewhere, on stacks of its own.
    if !cfg!(feature = "sanitizer") {
        assert!(stack.contains(local.get()));
    }
    assert!(!stack.contains(std::ptr::from_ref(&local) as usize));
    pool.give_back(stack);
}

#[test]
fn suspender_address_is_stable() {
    let mut pool = StackPool::new();
    let addresses = Rc::new(RefCell::new(Vec::new()));
    let inner = addresses.clone();
    let mut coroutine = coroutine(&mut pool, move |suspender| {
        for _ in 0..2 {
            inner.borrow_mut().push(std::ptr::from_ref(suspender) as usize);
            suspender.suspend();
        }
    });
    while !coroutine.resume() {}
    let stack = coroutine.into_stack();
    let addresses = addresses.borrow();
    assert_eq!(addresses[0], addresses[1]);
    assert!(stack.contains(addresses[0]));
    pool.give_back(stack);
}

#[test]
fn a_reused_stack_starts_afresh() {
    let mut pool = StackPool::new();
    let ended = Rc::new(Cell::new(0));
    for _ in 0..100 {
        let ended = ended.clone();
        let mut coroutine = coroutine(&mut pool, move |suspender| {
            suspender.suspend();
            ended.set(ended.get() + 1);
        });
        while !coroutine.resume() {}
        pool.give_back(coroutine.into_stack());
    }
    assert_eq!(ended.get(), 100);
    assert_eq!(pool.statistics().in_use + pool.statistics().free, 1, "one stack served all");
}

#[test]
fn values_pushed_onto_a_stack_stay_while_a_function_runs_there() {
    let mut pool = StackPool::new();
    let mut stack = pool.take(STACK_BYTES).unwrap();
    let free = stack.base().get();
    let first = stack.push([7_u64; 3]);
    let second = stack.push(11_u128);
    assert!(first.addr().get() + size_of::<[u64; 3]>() <= free);
    assert!(second.addr() >= stack.base() && second.addr().get() + size_of::<u128>() <= first.addr().get());
    let main = |suspender: &Suspender| {
        let frame = std::hint::black_box([1_u8; 512]);
        suspender.suspend();
        assert_eq!(std::hint::black_box(frame), [1; 512]);
    };
    // SAFETY: `main` borrows nothing and does not unwind.
    let mut coroutine = unsafe { Coroutine::new(stack, main) };
    assert!(!coroutine.resume());
    assert!(coroutine.resume());
    // SAFETY: the stack is still out, so nobody else has written there.
    assert_eq!(unsafe { (*first.as_ptr(), *second.as_ptr()) }, ([7; 3], 11));
    pool.give_back(coroutine.into_stack());
    let stack = pool.take(STACK_BYTES).unwrap();
    assert_eq!(stack.base().get(), free, "what was placed is gone");
    pool.give_back(stack);
}

#[test]
fn coroutines_nest() {
    let mut pool = StackPool::new();
    let stack = pool.take(STACK_BYTES).unwrap();
    let order = Rc::new(RefCell::new(String::new()));
    let outer_order = order.clone();
    let mut outer = coroutine(&mut pool, move |outer_suspender| {
        let inner_order = outer_order.clone();
        // SAFETY: borrows nothing, does not unwind.
        let mut inner = unsafe {
            Coroutine::new(stack, move |suspender| {
                inner_order.borrow_mut().push('b');
                suspender.suspend();
                inner_order.borrow_mut().push('e');
            })
        };
        outer_order.borrow_mut().push('a');
        inner.resume();
        outer_order.borrow_mut().push('c');
        outer_suspender.suspend();
        inner.resume();
        outer_order.borrow_mut().push('f');
    });
    outer.resume();
    order.borrow_mut().push('d');
    assert!(outer.resume());
    assert_eq!(*order.borrow(), "abcdef");
    pool.give_back(outer.into_stack());
}

#[test]
fn a_panic_is_caught_inside_and_carried_out() {
    let mut pool = StackPool::new();
    let payload = Rc::new(RefCell::new(None));
    let dropped = Rc::new(Cell::new(false));
    let (inner_payload, inner_dropped) = (payload.clone(), dropped.clone());
    struct SetOnDrop(Rc<Cell<bool>>);
    impl Drop for SetOnDrop {
        fn drop(&mut self) {
            self.0.set(true);
        }
    }
    let mut coroutine = coroutine(&mut pool, move |suspender| {
        let outcome = panic::catch_unwind(AssertUnwindSafe(|| {
            let _local = SetOnDrop(inner_dropped);
            suspender.suspend();
            panic::panic_any(17u32);
        }));
        *inner_payload.borrow_mut() = outcome.err();
    });
    assert!(!coroutine.resume());
    assert!(!dropped.get());
    assert!(coroutine.resume());
    assert!(dropped.get(), "unwinding ran the destructors of its frames");
    pool.give_back(coroutine.into_stack());
    let carried = panic::catch_unwind(AssertUnwindSafe(|| {
        panic::resume_unwind(payload.borrow_mut().take().expect("it panicked"));
    }));
    assert_eq!(carried.unwrap_err().downcast_ref(), Some(&17u32));
}

#[test]
fn a_large_or_widely_aligned_main_fits_the_smallest_stack() {
    #[repr(align(4096))]
    struct Page([u8; 4096]);
    let mut pool = StackPool::new();
    let large = [7u8; 100_000];
    let page = Page([9; 4096]);
    let sum = Rc::new(Cell::new(0usize));
    let inner_sum = sum.clone();
    let stack = pool.take(0).unwrap();
    let boxed = Box::new((large, page));
    // SAFETY: borrows nothing, does not unwind.
    let mut small = unsafe { Coroutine::new(stack, move |_| drop(boxed)) };
    assert!(small.resume());
    let stack = small.into_stack();
    let large = [7u8; 100_000];
    let page = Page([9; 4096]);
    // SAFETY: as above.
    let mut coroutine = unsafe {
        Coroutine::new(stack, move |_| {
            let bytes = large.iter().chain(&page.0);
            inner_sum.set(bytes.map(|&byte| usize::from(byte)).sum());
        })
    };
    assert!(coroutine.resume());
    assert_eq!(sum.get(), 7 * 100_000 + 9 * 4096);
    pool.give_back(coroutine.into_stack());
}

#[test]
fn a_backtrace_can_be_taken_inside() {
    let mut pool = StackPool::new();
    let text = Rc::new(RefCell::new(String::new()));
    let inner_text = text.clone();
    // SAFETY: borrows nothing, does not unwind. A backtrace needs room to read debug information.
    let mut coroutine = unsafe {
        Coroutine::new(pool.take(1 << 20).unwrap(), move |_| {
            *inner_text.borrow_mut() = Backtrace::force_capture().to_string();
        })
    };
    assert!(coroutine.resume());
    let text = text.borrow();
    assert!(text.contains("a_backtrace_can_be_taken_inside"), "{text}");
    pool.give_back(coroutine.into_stack());
}

#[test]
fn a_coroutine_that_never_ran_is_dropped_with_its_main() {
    let mut pool = StackPool::new();
    let owned = Rc::new(());
    let theirs = owned.clone();
    drop(coroutine(&mut pool, move |_| drop(theirs)));
    assert_eq!(Rc::strong_count(&owned), 1);
    assert_eq!(pool.statistics().in_use, 1, "its stack is lost");
}

#[test]
fn misuse_panics() {
    let mut pool = StackPool::new();
    let unstarted = coroutine(&mut pool, |_| {});
    assert!(panic::catch_unwind(AssertUnwindSafe(|| unstarted.into_stack())).is_err());
    let mut finished = coroutine(&mut pool, |_| {});
    finished.resume();
    assert!(panic::catch_unwind(AssertUnwindSafe(|| finished.resume())).is_err());
}

#[test]
fn works_on_any_os_thread() {
    let threads: Vec<_> = (0..4)
        .map(|_| {
            thread::spawn(|| {
                let mut pool = StackPool::new();
                let mut coroutines: Vec<_> =
                    (0..50).map(|_| coroutine(&mut pool, |suspender| suspender.suspend())).collect();
                coroutines.iter_mut().for_each(|coroutine| assert!(!coroutine.resume()));
                coroutines.iter_mut().for_each(|coroutine| assert!(coroutine.resume()));
                coroutines.into_iter().for_each(|coroutine| pool.give_back(coroutine.into_stack()));
                pool.statistics()
            })
        })
        .collect();
    for thread in threads {
        assert_eq!(thread.join().unwrap().in_use, 0);
    }
}

#[test]
fn dropping_a_suspended_coroutine_aborts() {
    let child = child::run("dropping_a_suspended_coroutine_aborts", || {
        let mut pool = StackPool::new();
        let mut coroutine = coroutine(&mut pool, |suspender| {
            suspender.suspend();
        });
        coroutine.resume();
        drop(coroutine);
    });
    assert_eq!(child.signal, Some(libc::SIGABRT), "{}", child.errors);
    assert!(child.errors.contains("a suspended green thread was dropped, aborting"), "{}", child.errors);
}

#[test]
fn a_panic_that_escapes_main_aborts() {
    let child = child::run("a_panic_that_escapes_main_aborts", || {
        let mut pool = StackPool::new();
        let mut coroutine = coroutine(&mut pool, |_| panic!("unheard"));
        let _caught = panic::catch_unwind(AssertUnwindSafe(|| coroutine.resume()));
    });
    assert_eq!(child.signal, Some(libc::SIGABRT), "{}", child.errors);
    assert!(child.errors.contains("a panic escaped from a green thread, aborting"), "{}", child.errors);
}
