//! Cancelling: at every blocking call, exactly once, with destructors, and never behind a shield. On every engine.

use std::io::{Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use sward::net::{TcpListener, TcpStream, UdpSocket};
use sward::thread::{self, Cancelled, JoinHandle};
use sward_testing::{on_every_engine, run_outside, tcp_pair};

const LONG: Duration = Duration::from_secs(500);

/// Counts how often it is dropped.
struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// Spawns `body`, and returns when it has begun and others have had many turns: it blocks by now, or is about to.
fn started<T: Send + 'static>(body: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    let begun = Arc::new(AtomicBool::new(false));
    let says = Arc::clone(&begun);
    let thread = thread::spawn(move || {
        says.store(true, Ordering::SeqCst);
        body()
    });
    while !begun.load(Ordering::SeqCst) {
        thread::yield_now();
    }
    for _ in 0..10 {
        thread::yield_now();
    }
    thread
}

fn is_cancelled<T>(thread: JoinHandle<T>) -> bool {
    thread.join().is_err_and(|payload| payload.is::<Cancelled>())
}

/// Asserts that a cancel ends `body`, which would block for ever, and runs the destructors of its frame.
fn ends(body: impl FnOnce() + Send + 'static) {
    let drops = Arc::new(AtomicUsize::new(0));
    let counted = Counted(Arc::clone(&drops));
    let thread = started(move || {
        let _counted = counted;
        body();
    });
    thread.cancel();
    assert!(is_cancelled(thread));
    assert_eq!(drops.load(Ordering::SeqCst), 1);
}

/// Two workers, so that one may start a thread while the other cancels it: whichever of the two comes first, it ends.
#[test]
fn a_thread_that_is_cancelled_while_it_starts_ends() {
    let main = || {
        for round in 0..20_000 {
            let sleeper = thread::spawn(|| thread::sleep(LONG));
            for _ in 0..round % 8 {
                thread::yield_now();
            }
            sleeper.cancel();
            assert!(is_cancelled(sleeper));
        }
    };
    // SAFETY: nothing here holds a scoped thread-local value across a blocking call.
    unsafe { sward::Builder::new().workers(2).run(main) }.unwrap();
}

on_every_engine! {
    fn waits_for_the_clock_and_for_threads_end() {
        ends(|| thread::sleep(LONG));
        ends(|| thread::sleep(Duration::MAX));
        ends(|| thread::sleep_until(Instant::now() + LONG));
        ends(thread::park);
        ends(|| thread::park_timeout(LONG));
        ends(|| loop { thread::yield_now() });
        ends(|| loop { thread::sleep(Duration::from_micros(1)) });
        ends(|| thread::spawn(thread::park).join().unwrap());
        ends(|| drop(thread::spawn(thread::park).join_timeout(LONG)));
    }

    fn waits_for_the_kernel_end() {
        ends(|| drop(TcpListener::bind("127.0.0.1:0").unwrap().accept()));
        ends(|| TcpListener::bind("127.0.0.1:0").unwrap().incoming().for_each(drop));
        let (_client, server) = tcp_pair();
        let server = Arc::new(server);
        for timeout in [None, Some(LONG)] {
            server.set_read_timeout(timeout).unwrap();
            let stream = Arc::clone(&server);
            ends(move || drop((&*stream).read(&mut [0; 8])));
            let stream = Arc::clone(&server);
            ends(move || drop(stream.peek(&mut [0; 8])));
        }
        ends(|| {
            let (client, _server) = tcp_pair();
            loop {
                (&client).write_all(&[0; 100_000]).unwrap();
            }
        });
        ends(|| drop(UdpSocket::bind("127.0.0.1:0").unwrap().recv_from(&mut [0])));
        let (reader, _writer) = std::io::pipe().unwrap();
        ends(move || drop(sward::os::fd::wait_readable(reader, None)));
    }

    fn a_connect_ends() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        socket2::SockRef::from(&listener).listen(0).unwrap();
        // It fills the queue, and the rest is not answered.
        let _clients: Vec<_> =
            (0..3).map(|_| TcpStream::connect_timeout(&address, Duration::from_millis(20))).collect();
        ends(move || drop(TcpStream::connect(address)));
        ends(move || drop(TcpStream::connect_timeout(&address, LONG)));
    }

    fn a_scope_ends_with_its_threads() {
        let drops = Arc::new(AtomicUsize::new(0));
        let theirs = Arc::clone(&drops);
        ends(move || thread::scope(|scope| {
            for _ in 0..5 {
                scope.spawn(|| {
                    let _counted = Counted(Arc::clone(&theirs));
                    thread::park();
                });
            }
            for _ in 0..3 {
                thread::yield_now();
            }
        }));
        // Those that had not started were dropped unstarted.
        assert!(drops.load(Ordering::SeqCst) <= 5);
        assert_eq!(Arc::strong_count(&drops), 1);
    }

    fn what_has_not_started_never_does() {
        let ran = Arc::new(AtomicBool::new(false));
        let drops = Arc::new(AtomicUsize::new(0));
        let (says, counted) = (Arc::clone(&ran), Counted(Arc::clone(&drops)));
        let thread = thread::Builder::new().worker(0).spawn(move || {
            let _counted = counted;
            says.store(true, Ordering::SeqCst);
        }).unwrap();
        thread.cancel();
        assert!(is_cancelled(thread));
        assert!(!ran.load(Ordering::SeqCst));
        assert_eq!(drops.load(Ordering::SeqCst), 1);
    }

    fn what_never_blocks_can_ask() {
        let thread = started(|| {
            while !thread::is_cancelled() {
                // The one who cancels may need the worker. The shield keeps the cancel from us.
                thread::shield(thread::yield_now);
            }
            "has seen it"
        });
        thread.cancel();
        assert_eq!(thread.join().unwrap(), "has seen it");
    }

    fn a_cancel_is_sticky() {
        let thread = started(|| {
            for _ in 0..5 {
                let payload = catch_unwind(thread::park).unwrap_err();
                assert!(payload.is::<Cancelled>());
            }
            let payload = catch_unwind(|| thread::sleep(Duration::ZERO)).unwrap_err();
            assert!(payload.is::<Cancelled>());
            "swallowed"
        });
        thread.cancel();
        thread.cancel();
        assert_eq!(thread.join().unwrap(), "swallowed");
    }

    fn a_thread_that_is_over_is_not_cancelled() {
        let thread = thread::spawn(|| 5);
        while !thread.is_finished() {
            thread::yield_now();
        }
        thread.cancel();
        assert_eq!(thread.join().unwrap(), 5);
    }

    fn a_shield_holds_it_off_until_the_next_blocking_call() {
        let (mut client, mut server) = tcp_pair();
        let read = Arc::new(AtomicBool::new(false));
        let says = Arc::clone(&read);
        let thread = started(move || {
            thread::shield(|| {
                thread::shield(thread::yield_now);
                assert_eq!(server.read(&mut [0; 8]).unwrap(), 1);
                thread::sleep(Duration::from_millis(1));
            });
            says.store(true, Ordering::SeqCst);
            thread::yield_now();
            unreachable!("the cancel is due");
        });
        thread.cancel();
        for _ in 0..10 {
            thread::yield_now();
        }
        assert!(!thread.is_finished());
        client.write_all(b"x").unwrap();
        assert!(is_cancelled(thread));
        assert!(read.load(Ordering::SeqCst));
    }

    fn a_joiner_that_is_cancelled_leaves_the_thread_running() {
        let gate = Arc::new(AtomicBool::new(false));
        let (opens, done) = (Arc::clone(&gate), Arc::new(AtomicBool::new(false)));
        let says = Arc::clone(&done);
        let joiner = started(move || {
            let target = thread::spawn(move || {
                while !opens.load(Ordering::SeqCst) {
                    thread::yield_now();
                }
                says.store(true, Ordering::SeqCst);
            });
            target.join().unwrap();
        });
        joiner.cancel();
        assert!(is_cancelled(joiner));
        gate.store(true, Ordering::SeqCst);
        while !done.load(Ordering::SeqCst) {
            thread::yield_now();
        }
    }

    fn a_scoped_thread_is_cancelled_alone() {
        let other = AtomicBool::new(false);
        thread::scope(|scope| {
            let parked = scope.spawn(thread::park);
            scope.spawn(|| {
                for _ in 0..20 {
                    thread::yield_now();
                }
                other.store(true, Ordering::SeqCst);
            });
            thread::yield_now();
            parked.cancel();
            assert!(parked.join().unwrap_err().is::<Cancelled>());
        });
        assert!(other.into_inner());
    }

    fn threads_of_other_workers_and_other_kinds_cancel() {
        let thread = Arc::new(started(thread::park));
        let theirs = Arc::clone(&thread);
        let os_thread = std::thread::spawn(move || theirs.cancel());
        sward::offload(|| os_thread.join().unwrap());
        let thread = Arc::into_inner(thread).expect("the other one is gone");
        assert!(is_cancelled(thread));
    }

    fn cancels_rain_on_sleepers() {
        let threads: Vec<_> = (0..200_u64).map(|number| thread::spawn(move || {
            for _ in 0..20 {
                thread::sleep(Duration::from_micros(number % 7 * 50));
            }
        })).collect();
        for (number, thread) in threads.iter().enumerate() {
            if number % 3 == 0 {
                thread.cancel();
            }
            if number % 5 == 0 {
                thread::yield_now();
            }
        }
        for (number, thread) in threads.into_iter().enumerate() {
            match thread.join() {
                Ok(()) => {}
                Err(payload) => assert!(number % 3 == 0 && payload.is::<Cancelled>()),
            }
        }
    }

    fn a_cancel_during_a_panic_leaves_the_panic() {
        struct Sleepy;
        impl Drop for Sleepy {
            fn drop(&mut self) {
                thread::sleep(Duration::from_millis(2));
            }
        }
        let thread = thread::spawn(|| {
            let _sleepy = Sleepy;
            let own = catch_unwind(AssertUnwindSafe(|| std::panic::resume_unwind(Box::new("first"))));
            std::panic::resume_unwind(own.unwrap_err());
        });
        thread::yield_now();
        thread.cancel();
        let payload = thread.join().map(|()| "result").unwrap_err();
        assert!(payload.is::<Cancelled>() || payload.downcast_ref() == Some(&"first"));
    }
}

#[test]
fn os_threads_are_reached_when_they_sleep_park_or_join() {
    run_outside("os_threads_are_reached", || {
        ends(|| thread::sleep(LONG));
        ends(thread::park);
        ends(|| thread::park_timeout(LONG));
        ends(|| {
            let target = thread::spawn(thread::park);
            let handle = target.thread().clone();
            let joined = catch_unwind(AssertUnwindSafe(|| target.join()));
            handle.unpark();
            std::panic::resume_unwind(joined.unwrap_err());
        });
    });
}
