//! Threads as std documents them: what is spawned runs once and leaves its result; names, identities, panics. On every engine, with
//! one worker and two, and outside a runtime, where they are OS threads.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use sward::thread::{self, Builder};
use sward_testing::{everywhere, is_stressed, on_every_engine};

everywhere! {
    fn an_unchecked_spawn_may_borrow() {
        let mut text = String::from("mine");
        // SAFETY: joined before `text` goes, and the handle is used up by that.
        let thread = unsafe {
            thread::Builder::new().spawn_unchecked(|| {
                text.push_str(", still");
                &text
            })
        };
        assert_eq!(thread.unwrap().join().unwrap(), "mine, still");
    }

    fn join_gives_the_result() {
        let text = String::from("moved in and out");
        let thread = thread::spawn(move || text);
        assert_eq!(thread.join().unwrap(), "moved in and out");
    }

    fn join_gives_the_panics_payload() {
        let thread = thread::spawn(|| std::panic::resume_unwind(Box::new(42)));
        let result: thread::Result<()> = thread.join();
        assert_eq!(result.unwrap_err().downcast_ref(), Some(&42));
        let result: thread::Result<()> = thread::spawn(|| panic!("number {}", std::hint::black_box(7))).join();
        assert_eq!(result.unwrap_err().downcast_ref::<String>().unwrap(), "number 7");
    }

    fn a_panic_runs_destructors_and_touches_no_other_thread() {
        struct Flag(Arc<AtomicBool>);
        impl Drop for Flag {
            fn drop(&mut self) {
                assert!(thread::panicking());
                self.0.store(true, Ordering::Relaxed);
            }
        }
        let dropped = Arc::new(AtomicBool::new(false));
        let flag = Flag(Arc::clone(&dropped));
        let thread = thread::spawn(move || {
            let _flag = flag;
            thread::yield_now();
            std::panic::resume_unwind(Box::new(()));
        });
        let bystander = thread::spawn(|| {
            thread::yield_now();
            assert!(!thread::panicking());
        });
        let result: thread::Result<()> = thread.join();
        assert!(result.is_err());
        assert!(dropped.load(Ordering::Relaxed));
        bystander.join().unwrap();
    }

    fn a_thread_whose_handle_is_dropped_goes_on() {
        let done = Arc::new(AtomicBool::new(false));
        let theirs = Arc::clone(&done);
        drop(thread::spawn(move || theirs.store(true, Ordering::Relaxed)));
        while !done.load(Ordering::Relaxed) {
            thread::yield_now();
        }
    }

    fn threads_spawn_threads() {
        fn sum(from: u64, to: u64) -> u64 {
            if to - from == 1 {
                return from;
            }
            let middle = from.midpoint(to);
            let half = thread::spawn(move || sum(from, middle));
            sum(middle, to) + half.join().unwrap()
        }
        assert_eq!(sum(0, 200), 199 * 100);
    }

    fn a_builder_names_its_thread() {
        let builder = Builder::new().name("worker bee".into()).stack_size(100_000);
        let thread = builder.spawn(|| thread::current().name().map(String::from)).unwrap();
        assert_eq!(thread.thread().name(), Some("worker bee"));
        assert_eq!(thread.join().unwrap().as_deref(), Some("worker bee"));
        assert_eq!(thread::spawn(|| thread::current().name().map(String::from)).join().unwrap(), None);
    }

    fn a_name_with_a_nul_byte_is_refused() {
        let spawned = std::panic::catch_unwind(|| drop(Builder::new().name("a\0b".into()).spawn(|| ())));
        assert!(spawned.is_err());
    }

    fn identities_are_never_shared() {
        let threads: Vec<_> = (0..50).map(|_| thread::spawn(|| thread::current().id())).collect();
        let mut seen = HashSet::from([thread::current().id()]);
        for thread in threads {
            let id = thread.thread().id();
            assert_eq!(thread.join().unwrap(), id);
            assert!(seen.insert(id));
        }
        assert_eq!(thread::current().id(), thread::current().id());
    }

    fn a_thread_says_where_it_was_spawned() {
        let thread = thread::spawn(|| ());
        assert_eq!((thread.thread().spawned_at().file(), thread.thread().spawned_at().line()), (file!(), line!() - 1));
        let thread = Builder::new().spawn(|| ()).unwrap();
        assert_eq!(thread.thread().spawned_at().line(), line!() - 1);
    }

    fn is_finished_says_whether_join_would_wait() {
        let gate = Arc::new(AtomicBool::new(false));
        let theirs = Arc::clone(&gate);
        let thread = thread::spawn(move || {
            while !theirs.load(Ordering::Relaxed) {
                thread::yield_now();
            }
        });
        assert!(!thread.is_finished());
        gate.store(true, Ordering::Relaxed);
        while !thread.is_finished() {
            thread::yield_now();
        }
        thread.join().unwrap();
    }

    fn join_timeout_gives_the_handle_back() {
        let gate = thread::current();
        let thread = thread::spawn(move || {
            thread::park();
            gate.id()
        });
        let thread = thread.join_timeout(Duration::from_millis(5)).unwrap_err();
        let thread = thread.join_timeout(Duration::ZERO).unwrap_err();
        thread.thread().unpark();
        assert_eq!(thread.join_timeout(Duration::from_secs(50)).unwrap().unwrap(), thread::current().id());
    }

    fn sleep_takes_its_time() {
        let begin = Instant::now();
        thread::sleep(Duration::from_millis(10));
        assert!(begin.elapsed() >= Duration::from_millis(10));
        thread::sleep(Duration::ZERO);
        let deadline = Instant::now() + Duration::from_millis(5);
        thread::sleep_until(deadline);
        assert!(Instant::now() >= deadline);
        thread::sleep_until(begin);
    }

    fn handles_and_results_may_go_to_other_threads() {
        let thread = thread::spawn(|| vec![1, 2, 3]);
        let joiner = thread::spawn(move || thread.join().unwrap());
        assert_eq!(joiner.join().unwrap(), [1, 2, 3]);
    }
}

on_every_engine! {
    fn ten_thousand_threads_at_once() {
        let arrived = Arc::new(AtomicUsize::new(0));
        let threads: Vec<_> = (0..10_000).map(|number| {
            let arrived = Arc::clone(&arrived);
            Builder::new().stack_size(64 * 1024).spawn(move || {
                arrived.fetch_add(1, Ordering::Relaxed);
                thread::park();
                number
            }).unwrap()
        }).collect();
        while arrived.load(Ordering::Relaxed) < threads.len() {
            thread::yield_now();
        }
        threads.iter().for_each(|thread| thread.thread().unpark());
        for (number, thread) in threads.into_iter().enumerate() {
            assert_eq!(thread.join().unwrap(), number);
        }
    }

    /// With one worker, no matter how late it comes to look at its clock.
    fn sleepers_wake_in_the_order_of_their_deadlines() {
        if sward::worker_count() != Some(1) || is_stressed() {
            return;
        }
        let base = Instant::now() + Duration::from_millis(100);
        let order = Arc::new(Mutex::new(Vec::new()));
        let threads: Vec<_> = [5, 1, 4, 0, 3, 2].into_iter().map(|place: u32| {
            let order = Arc::clone(&order);
            thread::spawn(move || {
                thread::sleep_until(base + place * Duration::from_millis(2));
                order.lock().unwrap().push(place);
            })
        }).collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(*order.lock().unwrap(), [0, 1, 2, 3, 4, 5]);
    }

    fn one_worker_starts_threads_in_the_order_of_their_spawning() {
        if sward::worker_count() != Some(1) || is_stressed() {
            return;
        }
        let order = Arc::new(Mutex::new(Vec::new()));
        let threads: Vec<_> = (0..10).map(|number| {
            let order = Arc::clone(&order);
            thread::spawn(move || {
                order.lock().unwrap().push(number);
                thread::yield_now();
                order.lock().unwrap().push(number + 10);
            })
        }).collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(*order.lock().unwrap(), (0..20).collect::<Vec<_>>());
    }

    /// Each holds up its worker until the other one runs.
    fn an_idle_worker_steals_what_has_not_started() {
        if sward::worker_count() != Some(2) {
            return;
        }
        let running = Arc::new(AtomicUsize::new(0));
        let meet = |running: Arc<AtomicUsize>| move || {
            running.fetch_add(1, Ordering::SeqCst);
            while running.load(Ordering::SeqCst) < 2 {
                std::hint::spin_loop();
            }
            sward::worker_index().unwrap()
        };
        let threads = [thread::spawn(meet(Arc::clone(&running))), thread::spawn(meet(running))];
        let mut workers = threads.map(|thread| thread.join().unwrap());
        workers.sort_unstable();
        assert_eq!(workers, [0, 1]);
    }

    fn a_thread_stays_on_its_worker() {
        let threads: Vec<_> = (0..20).map(|_| thread::spawn(|| {
            let (worker, native) = (sward::worker_index(), std::thread::current().id());
            for _ in 0..10 {
                thread::yield_now();
                thread::sleep(Duration::from_micros(100));
                assert_eq!((sward::worker_index(), std::thread::current().id()), (worker, native));
            }
        })).collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    }

    fn a_builder_chooses_the_worker() {
        let workers = sward::worker_count().unwrap();
        for index in 0..workers {
            let thread = Builder::new().worker(index).spawn(sward::worker_index).unwrap();
            assert_eq!(thread.join().unwrap(), Some(index));
        }
        let error = Builder::new().worker(workers).spawn(|| ()).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    }

    /// A stack that is given back and taken again is no trap for the next one.
    fn stacks_are_used_again() {
        fn depth(left: usize) -> usize {
            let page = std::hint::black_box([left as u8; 1000]);
            if left == 0 { usize::from(page[0]) } else { depth(left - 1) + 1 }
        }
        for round in 0..300 {
            let thread = thread::spawn(move || depth(round % 50));
            assert_eq!(thread.join().unwrap(), round % 50);
        }
    }
}
