//! `time::timeout` and everything it interrupts; ticks and timers.

use std::cell::Cell;
use std::io::{ErrorKind, Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use sward::net::TcpListener;
use sward::thread;
use sward::time::{Duration, Instant, call_later, interval, remaining, timeout};
use sward_testing::{everywhere, on_every_engine, tcp_pair};

const SHORT: Duration = Duration::from_millis(5);
const LONG: Duration = Duration::from_secs(1000);

struct Counts<'a>(&'a AtomicUsize);

impl Drop for Counts<'_> {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

everywhere! {
    fn a_result_in_time_is_given() {
        assert_eq!(timeout(LONG, || 5), Ok(5));
        assert_eq!(remaining(), None);
    }

    fn a_sleep_is_interrupted_and_destructors_run() {
        let dropped = AtomicUsize::new(0);
        let elapsed = timeout(SHORT, || {
            let _counts = Counts(&dropped);
            thread::sleep(LONG);
        });
        assert_eq!(elapsed.unwrap_err().duration(), SHORT);
        assert_eq!(dropped.into_inner(), 1);
        // Nothing is left over: the thread blocks again as it likes.
        thread::sleep(Duration::from_micros(1));
    }

    fn a_park_and_a_join_are_interrupted() {
        assert!(timeout(SHORT, thread::park).is_err());
        let parked = thread::spawn(|| {
            thread::park();
            7
        });
        let waker = parked.thread().clone();
        // The handle is dropped by the unwinding, which detaches the thread.
        assert!(timeout(SHORT, || parked.join()).is_err());
        waker.unpark();
    }

    fn a_result_wins_over_a_deadline_that_has_passed() {
        let begun = Instant::now();
        let late = timeout(SHORT, || {
            while begun.elapsed() < 2 * SHORT {
                std::hint::spin_loop();
            }
            "late"
        });
        assert_eq!(late, Ok("late"));
    }

    fn the_nearest_deadline_wins_and_says_which() {
        let outer = timeout(LONG, || timeout(SHORT, || thread::sleep(LONG)));
        assert_eq!(outer.unwrap().unwrap_err().duration(), SHORT);

        let inner_was_left = Cell::new(false);
        let outer = timeout(SHORT, || {
            let inner = timeout(LONG, || thread::sleep(LONG));
            inner_was_left.set(true);
            inner
        });
        assert_eq!(outer.unwrap_err().duration(), SHORT);
        assert!(!inner_was_left.get(), "the outer deadline unwinds past the inner one");
    }

    fn a_swallowed_deadline_comes_again() {
        let swallowed = Cell::new(0);
        let elapsed = timeout(SHORT, || {
            for _ in 0..3 {
                if catch_unwind(AssertUnwindSafe(|| thread::sleep(LONG))).is_err() {
                    swallowed.set(swallowed.get() + 1);
                }
            }
            thread::sleep(LONG);
        });
        assert!(elapsed.is_err());
        assert_eq!(swallowed.get(), 3);
    }

    fn a_shield_defers_it() {
        let done = Cell::new(false);
        let elapsed = timeout(SHORT, || {
            thread::shield(|| {
                thread::sleep(2 * SHORT);
                done.set(true);
            });
            thread::sleep(LONG);
        });
        assert!(elapsed.is_err() && done.get());
    }

    fn a_panic_goes_through() {
        let payload = catch_unwind(|| timeout(LONG, || std::panic::resume_unwind(Box::new("mine")))).unwrap_err();
        assert_eq!(payload.downcast_ref(), Some(&"mine"));
        assert_eq!(remaining(), None, "the deadline is gone with its frame");
    }

    fn a_scope_cancels_its_threads_and_waits_for_them() {
        let dropped = AtomicUsize::new(0);
        let elapsed = timeout(SHORT, || {
            thread::scope(|scope| {
                for _ in 0..3 {
                    scope.spawn(|| {
                        let _counts = Counts(&dropped);
                        loop {
                            thread::park();
                        }
                    });
                }
            });
        });
        assert!(elapsed.is_err());
        // A thread that had not started never does.
        assert!(dropped.into_inner() <= 3);
    }

    fn a_cancel_reaches_a_thread_under_a_deadline() {
        let thread = thread::spawn(|| timeout(LONG, || thread::sleep(LONG)));
        thread::yield_now();
        thread.cancel();
        assert!(thread.join().unwrap_err().is::<thread::Cancelled>());
    }

    fn ticks_come_at_equal_distances() {
        let mut ticks = interval(Duration::from_millis(1));
        let first = ticks.tick();
        for number in 1..10 {
            assert_eq!(ticks.tick(), first + number * ticks.period());
            assert!(Instant::now() >= first + number * ticks.period());
        }
        thread::sleep(3 * ticks.period());
        ticks.skip_missed();
        let before = Instant::now();
        assert!(ticks.tick() >= before - ticks.period());
    }

    fn a_delayed_call_is_made_or_cancelled() {
        assert_eq!(call_later(SHORT, || 1).unwrap().join().unwrap(), Some(1));
        let call = call_later(LONG, || 1).unwrap();
        call.cancel();
        assert_eq!(call.join().unwrap(), None);
    }
}

on_every_engine! {
    fn a_read_an_accept_and_a_write_are_interrupted() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        assert!(timeout(SHORT, || listener.accept()).is_err());
        let (near, far) = tcp_pair();
        assert!(timeout(SHORT, || (&near).read(&mut [0; 8])).is_err());
        let full = timeout(SHORT, || while (&near).write_all(&[0; 65536]).is_ok() {});
        assert_eq!(full.unwrap_err().duration(), SHORT);
        drop(far);
    }

    fn the_sockets_own_timeout_and_the_deadline_go_together() {
        let (near, _far) = tcp_pair();
        near.set_read_timeout(Some(SHORT)).unwrap();
        let error = timeout(LONG, || (&near).read(&mut [0; 8])).unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        near.set_read_timeout(Some(LONG)).unwrap();
        assert!(timeout(SHORT, || (&near).read(&mut [0; 8])).is_err());
    }

    fn no_byte_is_lost_to_a_deadline() {
        const BYTES: usize = 20_000;
        let (near, mut far) = tcp_pair();
        let sender = thread::spawn(move || {
            for number in 0..BYTES {
                far.write_all(&[number as u8]).unwrap();
                if number % 7 == 0 {
                    thread::yield_now();
                }
            }
        });
        let mut received = 0;
        while received < BYTES {
            let mut buffer = [0; 16];
            let window = Duration::from_micros(received as u64 % 200);
            if let Ok(read) = timeout(window, || (&near).read(&mut buffer)) {
                for byte in &buffer[..read.unwrap()] {
                    assert_eq!(*byte, received as u8);
                    received += 1;
                }
            }
        }
        sender.join().unwrap();
    }

    fn many_deadlines_pass_at_once() {
        let late = Arc::new(AtomicUsize::new(0));
        let threads: Vec<_> = (0..1000)
            .map(|number| {
                let late = Arc::clone(&late);
                thread::spawn(move || {
                    let wait = Duration::from_micros(number % 10 * 500);
                    if timeout(wait, thread::park).is_err() {
                        late.fetch_add(1, Ordering::Relaxed);
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!(late.load(Ordering::Relaxed), 1000);
    }
}
