//! `park` and `unpark` as std documents them: one token for each thread, left by anyone, taken by its own park. On every engine,
//! outside a runtime, and between green threads and OS threads.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use sward::thread;
use sward_testing::{everywhere, on_every_engine};

const SHORT: Duration = Duration::from_millis(10);
const LONG: Duration = Duration::from_secs(50);

/// Whether there is no token: a short park takes all of its time.
fn has_no_token() -> bool {
    let begin = Instant::now();
    thread::park_timeout(SHORT);
    begin.elapsed() >= SHORT
}

everywhere! {
    fn a_token_that_is_there_is_taken_without_waiting() {
        thread::current().unpark();
        thread::park();
        assert!(has_no_token());
    }

    fn two_unparks_leave_one_token() {
        thread::current().unpark();
        thread::current().unpark();
        thread::park();
        assert!(has_no_token());
    }

    fn unpark_ends_a_park() {
        let thread = thread::spawn(|| {
            thread::park();
            assert!(has_no_token());
        });
        thread::yield_now();
        thread.thread().unpark();
        thread.join().unwrap();
    }

    fn unpark_before_the_start_counts() {
        let thread = thread::spawn(thread::park);
        thread.thread().unpark();
        thread.join().unwrap();
    }

    fn park_timeout_ends_with_the_token_or_the_time() {
        assert!(has_no_token());
        let parked = thread::current();
        let waker = thread::spawn(move || parked.unpark());
        let begin = Instant::now();
        thread::park_timeout(LONG);
        assert!(begin.elapsed() < LONG);
        waker.join().unwrap();
        thread::park_timeout(Duration::ZERO);
        thread::current().unpark();
        thread::park_timeout(Duration::MAX);
    }

    /// The token belongs to the user: what the library itself waits for neither takes it nor leaves it.
    fn other_waits_leave_the_token_alone() {
        thread::current().unpark();
        thread::spawn(thread::yield_now).join().unwrap();
        thread::sleep(Duration::from_micros(100));
        thread::scope(|scope| drop(scope.spawn(thread::yield_now)));
        let begin = Instant::now();
        thread::park_timeout(LONG);
        assert!(begin.elapsed() < LONG);
        thread::spawn(thread::yield_now).join().unwrap();
        assert!(has_no_token());
    }

    fn unpark_of_a_thread_that_is_over_does_nothing() {
        let thread = thread::spawn(|| ());
        let handle = thread.thread().clone();
        thread.join().unwrap();
        handle.unpark();
    }

    fn two_threads_hand_over_many_times() {
        const ROUNDS: usize = 2000;
        let turn = Arc::new(AtomicUsize::new(0));
        let play = |turn: Arc<AtomicUsize>, first: usize, other: thread::Thread| {
            for round in (first..ROUNDS).step_by(2) {
                while turn.load(Ordering::SeqCst) != round {
                    thread::park();
                }
                turn.store(round + 1, Ordering::SeqCst);
                other.unpark();
            }
        };
        let (here, theirs) = (thread::current(), Arc::clone(&turn));
        let thread = thread::spawn(move || play(theirs, 1, here));
        play(turn, 0, thread.thread().clone());
        thread.join().unwrap();
    }

    /// A wake-up that comes just as the time is over neither gets lost nor counts twice.
    fn tokens_and_timeouts_race() {
        let count = Arc::new(AtomicUsize::new(0));
        let (parked, tokens) = (thread::current(), Arc::clone(&count));
        let waker = thread::spawn(move || for _ in 0..500 {
            tokens.fetch_add(1, Ordering::SeqCst);
            parked.unpark();
            thread::sleep(Duration::from_micros(50));
        });
        while !waker.is_finished() {
            thread::park_timeout(Duration::from_micros(50));
        }
        waker.join().unwrap();
        // At most one is left.
        thread::park_timeout(Duration::ZERO);
        assert!(has_no_token());
        assert_eq!(count.load(Ordering::SeqCst), 500);
    }
}

on_every_engine! {
    fn an_os_thread_wakes_a_runtime_that_sleeps() {
        for _ in 0..50 {
            let parked = thread::current();
            let waker = std::thread::spawn(move || parked.unpark());
            thread::park();
            waker.join().unwrap();
        }
    }

    fn a_green_thread_wakes_an_os_thread() {
        let done = Arc::new(AtomicBool::new(false));
        let theirs = Arc::clone(&done);
        let (sender, receiver) = std::sync::mpsc::channel();
        let sleeper = std::thread::spawn(move || {
            sender.send(thread::current()).unwrap();
            while !theirs.load(Ordering::SeqCst) {
                thread::park();
            }
        });
        let handle = sward::offload(move || receiver.recv().unwrap());
        done.store(true, Ordering::SeqCst);
        handle.unpark();
        sward::offload(|| sleeper.join().unwrap());
    }

    fn green_threads_of_different_workers_hand_over() {
        let workers = sward::worker_count().unwrap();
        let main = thread::current();
        let other = thread::Builder::new().worker(workers - 1).spawn(move || for _ in 0..500 {
            thread::park();
            main.unpark();
        }).unwrap();
        for _ in 0..500 {
            other.thread().unpark();
            thread::park();
        }
        other.join().unwrap();
    }
}
