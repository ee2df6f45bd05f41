//! Scopes as std documents them: threads that borrow have ended when the scope returns, however it ends. On every engine and outside
//! a runtime.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use sward::thread;
use sward_testing::everywhere;

everywhere! {
    fn threads_borrow_from_the_caller() {
        let mut numbers = vec![1, 2, 3];
        let offset = 10;
        let total = thread::scope(|scope| {
            let threads: Vec<_> = numbers.iter_mut().map(|number| scope.spawn(|| {
                thread::yield_now();
                *number += offset;
                *number
            })).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum::<i32>()
        });
        assert_eq!((total, numbers), (36, vec![11, 12, 13]));
    }

    fn the_scope_waits_for_threads_that_nobody_joins() {
        let done = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..10 {
                scope.spawn(|| {
                    for _ in 0..5 {
                        thread::yield_now();
                    }
                    done.fetch_add(1, Ordering::Relaxed);
                });
            }
        });
        assert_eq!(done.into_inner(), 10);
    }

    fn a_thread_that_cannot_be_named_is_not_waited_for() {
        let nameless = catch_unwind(|| {
            thread::scope(|scope| drop(thread::Builder::new().name("a\0b".into()).spawn_scoped(scope, || ())));
        });
        assert!(nameless.unwrap_err().downcast_ref::<&str>().unwrap().contains("null bytes"));
        // Nor by the end of the runtime.
        let nameless = thread::Builder::new().name("a\0b".into()).daemon(false);
        assert!(catch_unwind(AssertUnwindSafe(|| drop(nameless.spawn(|| ())))).is_err());
    }

    fn threads_of_the_scope_spawn_into_it() {
        let count = AtomicUsize::new(0);
        thread::scope(|scope| {
            scope.spawn(|| {
                scope.spawn(|| {
                    thread::yield_now();
                    scope.spawn(|| count.fetch_add(1, Ordering::Relaxed));
                    count.fetch_add(1, Ordering::Relaxed);
                });
                count.fetch_add(1, Ordering::Relaxed);
            });
        });
        assert_eq!(count.into_inner(), 3);
    }

    fn a_panic_that_nobody_joined_is_the_scopes() {
        let finished = AtomicBool::new(false);
        let result = catch_unwind(AssertUnwindSafe(|| thread::scope(|scope| {
            scope.spawn(|| resume_unwind(Box::new("in a thread")));
            scope.spawn(|| {
                thread::yield_now();
                finished.store(true, Ordering::Relaxed);
            });
        })));
        assert_eq!(result.unwrap_err().downcast_ref(), Some(&"a scoped thread panicked"));
        assert!(finished.into_inner());
    }

    fn a_panic_that_was_joined_is_the_joiners() {
        let value = thread::scope(|scope| {
            let result: thread::Result<()> = scope.spawn(|| resume_unwind(Box::new(5))).join();
            result.unwrap_err().downcast_ref::<i32>().copied()
        });
        assert_eq!(value, Some(5));
    }

    fn a_panic_of_the_closure_waits_for_the_threads() {
        let finished = AtomicBool::new(false);
        let result = catch_unwind(AssertUnwindSafe(|| thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..5 {
                    thread::yield_now();
                }
                finished.store(true, Ordering::Relaxed);
            });
            resume_unwind(Box::new("in the closure"));
        })));
        assert_eq!(result.unwrap_err().downcast_ref(), Some(&"in the closure"));
        assert!(finished.into_inner());
    }

    fn scopes_nest() {
        let count = AtomicUsize::new(0);
        thread::scope(|outer| {
            outer.spawn(|| thread::scope(|inner| {
                inner.spawn(|| count.fetch_add(1, Ordering::Relaxed));
                inner.spawn(|| count.fetch_add(1, Ordering::Relaxed));
            }));
            thread::scope(|inner| drop(inner.spawn(|| count.fetch_add(1, Ordering::Relaxed))));
        });
        assert_eq!(count.into_inner(), 3);
    }

    fn a_scoped_thread_has_a_name_and_a_handle() {
        thread::scope(|scope| {
            let builder = thread::Builder::new().name("scoped".into());
            let thread = builder.spawn_scoped(scope, || thread::current().id()).unwrap();
            assert_eq!(thread.thread().name(), Some("scoped"));
            let id = thread.thread().id();
            while !thread.is_finished() {
                thread::yield_now();
            }
            assert_eq!(thread.join().unwrap(), id);
        });
    }
}
