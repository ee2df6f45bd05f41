//! Threads in company: waiting for several, daemons, scopes that cancel, values of their own.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use sward::thread::{self, Cancelled, Local};
use sward::time::Duration;
use sward_testing::{everywhere, on_every_engine};

const SHORT: Duration = Duration::from_millis(5);

everywhere! {
    fn join_all_gives_results_in_order() {
        let threads: Vec<_> = (0..20).map(|number| thread::spawn(move || number)).collect();
        let results: Vec<_> = thread::join_all(threads).into_iter().map(Result::unwrap).collect();
        assert_eq!(results, (0..20).collect::<Vec<_>>());
    }

    fn join_all_waits_for_the_others_when_one_panics() {
        let lost = thread::spawn(|| std::panic::resume_unwind(Box::new("lost")));
        let patient = thread::spawn(|| {
            thread::sleep(SHORT);
            "done"
        });
        let mut results = thread::join_all([lost, patient]).into_iter();
        assert!(results.next().unwrap().unwrap_err().is::<&str>());
        assert_eq!(results.next().unwrap().unwrap(), "done");
        assert!(results.next().is_none());
        assert!(thread::join_all(Vec::<thread::JoinHandle<()>>::new()).is_empty());
    }

    fn join_all_timeout_waits_for_all_if_there_is_time() {
        let threads: Vec<_> = (0..20).map(|number| thread::spawn(move || number)).collect();
        let (results, late) = thread::join_all_timeout(threads, Duration::MAX);
        let results: Vec<_> = results.into_iter().map(Result::unwrap).collect();
        assert_eq!((results, late.len()), ((0..20).collect::<Vec<_>>(), 0));
    }

    fn join_all_timeout_returns_the_handles_of_late_threads() {
        let parked = thread::spawn(|| {
            thread::park();
            "woken"
        });
        let done = thread::spawn(|| "done");
        while !done.is_finished() {
            thread::yield_now();
        }
        // The first uses up the time, and what has ended is joined all the same.
        let (results, late) = thread::join_all_timeout([parked, done], SHORT);
        let results: Vec<_> = results.into_iter().map(Result::unwrap).collect();
        assert_eq!(results, ["done"]);
        let [parked] = <[_; 1]>::try_from(late).unwrap();
        parked.thread().unpark();
        assert_eq!(parked.join().unwrap(), "woken");
    }

    fn the_first_of_several_is_found_and_the_others_go_on() {
        let mut threads: Vec<_> = (0..10)
            .map(|number| {
                thread::spawn(move || {
                    if number != 7 {
                        loop {
                            thread::park();
                        }
                    }
                    number
                })
            })
            .collect();
        let (index, result, others) = thread::join_any(std::mem::take(&mut threads));
        assert_eq!((index, result.unwrap(), others.len()), (7, 7, 9));
        for other in &others {
            other.cancel();
        }
        for other in others {
            assert!(other.join().unwrap_err().is::<Cancelled>());
        }
    }

    fn a_panic_cancels_the_siblings_of_a_scope_that_wants_it() {
        thread::scope(|scope| {
            scope.cancel_on_panic();
            let patient: Vec<_> = (0..3)
                .map(|_| {
                    scope.spawn(|| loop {
                        thread::park()
                    })
                })
                .collect();
            let lost = scope.spawn(|| std::panic::resume_unwind(Box::new("lost")));
            assert!(lost.join().is_err());
            for patient in patient {
                let payload: Box<dyn std::any::Any + Send> = patient.join().map(|never: ()| never).unwrap_err();
                assert!(payload.is::<Cancelled>());
            }
        });
    }

    fn a_local_is_each_threads_own() {
        static NUMBER: Local<Cell<usize>> = Local::new(|| Cell::new(0));
        NUMBER.with(|number| number.set(1));
        let threads: Vec<_> = (0..100)
            .map(|own| {
                thread::spawn(move || {
                    assert_eq!(NUMBER.with(Cell::get), 0);
                    NUMBER.with(|number| {
                        number.set(own);
                        thread::yield_now();
                        assert_eq!(number.get(), own);
                    });
                })
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!(NUMBER.with(Cell::get), 1);
        NUMBER.with(|number| number.set(0));
    }

    fn a_local_is_dropped_before_its_thread_is_over() {
        struct Counts(Arc<AtomicUsize>);
        impl Drop for Counts {
            fn drop(&mut self) {
                thread::yield_now();
                self.0.fetch_add(1, Ordering::Relaxed);
            }
        }
        static OWNED: Local<RefCell<Option<Counts>>> = Local::new(|| RefCell::new(None));
        let dropped = Arc::new(AtomicUsize::new(0));
        for _ in 0..10 {
            let theirs = Counts(Arc::clone(&dropped));
            thread::spawn(|| OWNED.with(|owned| *owned.borrow_mut() = Some(theirs))).join().unwrap();
        }
        assert_eq!(dropped.load(Ordering::Relaxed), 10);
    }

    fn a_locals_maker_may_use_it() {
        static DEPTH: Local<u32> = Local::new(|| NESTED.with(|nested| nested + 1));
        static NESTED: Local<u32> = Local::new(|| 1);
        assert_eq!(DEPTH.with(|depth| *depth), 2);
    }
}

on_every_engine! {
    fn the_runtime_waits_for_a_thread_that_is_no_daemon(engine: sward::EngineKind) {
        let finished = Arc::new(AtomicUsize::new(0));
        let theirs = Arc::clone(&finished);
        let nested = std::thread::spawn(move || {
            let main = move || {
                let slow = Arc::clone(&theirs);
                let stay = move || {
                    thread::sleep(SHORT);
                    slow.fetch_add(1, Ordering::Relaxed);
                };
                thread::Builder::new().daemon(false).spawn(stay).unwrap();
                // This one is a daemon and would stay for ever.
                thread::spawn(thread::park);
            };
            // SAFETY: nothing here holds a scoped thread-local value across a blocking call.
            unsafe { sward::Builder::new().engine(engine).workers(2).run(main) }.unwrap();
        });
        sward::offload(|| nested.join()).unwrap();
        assert_eq!(finished.load(Ordering::Relaxed), 1);
    }
}
