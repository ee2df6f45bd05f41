//! Coroutines suspended in the middle of unwinding: std's panic count of the OS thread does not include them.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Mutex;
use std::thread::panicking;

use sward_coroutine::{Coroutine, StackPool, Suspender, attach_panics, detach_panics, panic_count};

/// Suspends when dropped, with its panics detached.
struct Suspends<'a>(&'a Suspender);

impl Drop for Suspends<'_> {
    fn drop(&mut self) {
        let count = detach_panics();
        self.0.suspend();
        assert!(!panicking(), "the thread that resumes does not unwind");
        attach_panics(count);
    }
}

/// Unwinds `depth` times, each in the destructor of the one before, and suspends in the innermost.
fn unwind(suspender: &Suspender, depth: u32) {
    struct Deeper<'a>(&'a Suspender, u32);
    impl Drop for Deeper<'_> {
        fn drop(&mut self) {
            let Deeper(suspender, depth) = *self;
            if depth > 0 {
                unwind(suspender, depth);
            } else {
                drop(Suspends(suspender));
            }
        }
    }
    let before = panic_count();
    let caught = catch_unwind(AssertUnwindSafe(|| {
        let _deeper = Deeper(suspender, depth - 1);
        resume_unwind(Box::new(depth));
    }));
    assert_eq!(*caught.unwrap_err().downcast::<u32>().unwrap(), depth);
    assert_eq!(panic_count(), before);
}

#[test]
fn many_unwind_at_once_on_one_thread_and_nobody_notices() {
    let mut pool = StackPool::new();
    let mut coroutines: Vec<_> = (1..=40)
        .map(|n: u32| {
            // SAFETY: it borrows nothing and catches what it raises.
            unsafe {
                Coroutine::new(pool.take(256 * 1024).unwrap(), move |suspender| unwind(suspender, 1 + n % 3))
            }
        })
        .collect();
    for coroutine in &mut coroutines {
        assert!(!coroutine.resume());
        assert!(!panicking(), "it is suspended");
        assert_eq!(panic_count(), 0);
    }
    // A panic beside them is one panic, and poisons what it held.
    let lock = Mutex::new(());
    let panics = catch_unwind(AssertUnwindSafe(|| {
        let _guard = lock.lock().unwrap();
        resume_unwind(Box::new(()));
    }));
    assert!(panics.is_err() && lock.is_poisoned() && !panicking());
    // In another order.
    while !coroutines.is_empty() {
        let mut coroutine = coroutines.swap_remove(coroutines.len() / 2);
        assert!(coroutine.resume());
        assert!(!panicking());
        pool.give_back(coroutine.into_stack());
    }
}

#[test]
fn the_count_is_exact() {
    struct Counts;
    impl Drop for Counts {
        fn drop(&mut self) {
            assert_eq!(panic_count(), 1);
            assert!(panicking());
            let inner = catch_unwind(|| {
                struct Two;
                impl Drop for Two {
                    fn drop(&mut self) {
                        assert_eq!(panic_count(), 2);
                    }
                }
                let _two = Two;
                resume_unwind(Box::new(()));
            });
            assert!(inner.is_err());
            assert_eq!(panic_count(), 1);
        }
    }
    assert_eq!(panic_count(), 0);
    let caught = catch_unwind(|| {
        let _counts = Counts;
        resume_unwind(Box::new(()));
    });
    assert!(caught.is_err());
    assert_eq!((panic_count(), panicking()), (0, false));
}
