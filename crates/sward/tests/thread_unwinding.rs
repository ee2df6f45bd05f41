//! Blocking while a thread unwinds: a destructor suspends its green thread as any other code, neighbours go on and do not notice,
//! and what was asked of the thread meanwhile comes in its time. On every engine.

use std::io::{Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use sward::sync::{Event, Mutex};
use sward::thread::{self, Cancelled, JoinHandle, shield};
use sward::time::timeout;
use sward::{channel, net};
use sward_testing::{everywhere, on_every_engine, tcp_pair};

const LONG: Duration = Duration::from_secs(500);
const SHORT: Duration = Duration::from_millis(5);

/// Calls a closure when it is dropped.
struct AtDrop<F: FnOnce()>(Option<F>);

impl<F: FnOnce()> Drop for AtDrop<F> {
    fn drop(&mut self) {
        (self.0.take().unwrap())();
    }
}

fn at_drop<F: FnOnce()>(f: F) -> AtDrop<F> {
    AtDrop(Some(f))
}

/// Lets every other thread of the worker have some turns.
fn let_others_run() {
    (0..10).for_each(|_| thread::yield_now());
}

/// Waits, without blocking the worker, until `flag` is set.
fn until(flag: &AtomicBool) {
    while !flag.load(Ordering::SeqCst) {
        thread::yield_now();
    }
}

fn set(flag: &AtomicBool) {
    flag.store(true, Ordering::SeqCst);
}

fn flag() -> Arc<AtomicBool> {
    Arc::default()
}

fn is_cancelled<T>(thread: JoinHandle<T>) -> bool {
    thread.join().is_err_and(|payload| payload.is::<Cancelled>())
}

/// A thread of the calling thread's worker. It has begun, and had many turns: it blocks by now.
fn neighbour<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    let begun = flag();
    let says = Arc::clone(&begun);
    let body = move || {
        set(&says);
        f()
    };
    let thread = thread::Builder::new().worker(sward::worker_index().unwrap_or(0)).spawn(body).unwrap();
    until(&begun);
    let_others_run();
    thread
}

everywhere! {
    fn a_guard_joins_its_child_under_a_timeout() {
        let ended = flag();
        let theirs = Arc::clone(&ended);
        let result = timeout(Duration::from_millis(50), move || {
            let says = Arc::clone(&theirs);
            let child = neighbour(move || {
                thread::sleep(Duration::from_millis(100));
                set(&says);
            });
            let _guard = at_drop(move || child.join().unwrap());
            thread::sleep(LONG);
        });
        assert!(result.is_err());
        assert!(ended.load(Ordering::SeqCst), "the guard waited for its child");
    }

    fn a_guard_joins_its_child_while_a_panic_unwinds() {
        let result = catch_unwind(|| {
            let child = neighbour(|| thread::sleep(SHORT));
            let _guard = at_drop(move || child.join().unwrap());
            resume_unwind(Box::new("lost"));
        });
        assert_eq!(*result.unwrap_err().downcast::<&str>().unwrap(), "lost");
    }

    fn a_timeout_inside_a_destructor_ends_what_it_holds() {
        let ended = flag();
        let theirs = Arc::clone(&ended);
        let outer = timeout(SHORT, || {
            let _guard = at_drop(move || {
                assert!(timeout(SHORT, || thread::sleep(LONG)).is_err());
                // The outer deadline has passed long ago, and does not unwind a destructor.
                thread::sleep(SHORT);
                set(&theirs);
            });
            thread::sleep(LONG);
        });
        assert!(outer.is_err());
        assert!(ended.load(Ordering::SeqCst));
    }

    fn a_timeout_inside_a_shield_ends_what_it_holds() {
        let outer = timeout(SHORT, || {
            shield(|| {
                assert!(timeout(Duration::from_millis(20), || thread::sleep(LONG)).is_err());
                assert!(timeout(Duration::from_millis(1), thread::park).is_err());
                thread::sleep(SHORT);
            });
            thread::sleep(LONG);
        });
        assert!(outer.is_err(), "the outer one comes after the shield");
    }

    fn a_timeout_inside_a_delayed_call_and_an_initializer_fires() {
        let call = sward::time::call_later(Duration::ZERO, || timeout(SHORT, thread::park).is_err());
        assert_eq!(call.unwrap().join().unwrap(), Some(true));
        let lazy = sward::sync::LazyLock::new(|| timeout(SHORT, thread::park).is_err());
        assert!(*lazy);
    }

    fn a_cancel_does_not_pass_a_shield_with_a_timeout_in_it() {
        let (begun, ended) = (flag(), flag());
        let (says, says_end) = (Arc::clone(&begun), Arc::clone(&ended));
        let thread = thread::spawn(move || {
            shield(|| {
                let result = timeout(Duration::from_millis(30), || {
                    set(&says);
                    thread::sleep(LONG);
                });
                assert!(result.is_err());
                set(&says_end);
            });
            thread::park();
        });
        until(&begun);
        thread.cancel();
        assert!(is_cancelled(thread));
        assert!(ended.load(Ordering::SeqCst));
    }
}

on_every_engine! {
    fn neighbours_go_on_while_a_farewell_waits() {
        let (client, mut server) = tcp_pair();
        let refused = Arc::new(Mutex::new(None));
        let (failed, unwinding) = (Arc::clone(&refused), flag());
        let begun = Arc::clone(&unwinding);
        let thread = neighbour(move || {
            let _farewell = at_drop(|| {
                set(&begun);
                // More than the kernel's buffers hold, to a peer that does not read.
                *failed.lock().unwrap() = server.write_all(&vec![b'!'; 8 << 20]).err().map(|error| error.raw_os_error());
            });
            thread::park();
        });
        thread.cancel();
        until(&unwinding);
        // Other threads of the worker do not notice: they talk, wait, sleep, and their locks are not poisoned.
        let (mut left, mut right) = tcp_pair();
        let echo = neighbour(move || {
            let mut buffer = [0; 8];
            right.read_exact(&mut buffer).unwrap();
            right.write_all(&buffer).unwrap();
        });
        left.write_all(b"12345678").unwrap();
        left.read_exact(&mut [0; 8]).unwrap();
        echo.join().unwrap();
        let lock = Arc::new(Mutex::new(0));
        let theirs = Arc::clone(&lock);
        neighbour(move || {
            let mut guard = theirs.lock().unwrap();
            thread::sleep(SHORT);
            *guard += 1;
        }).join().unwrap();
        assert!(!lock.is_poisoned());
        assert!(!thread.is_finished());
        // Cancelled once more, it does not wait any longer.
        thread.cancel();
        assert!(is_cancelled(thread));
        assert_eq!(*refused.lock().unwrap(), Some(Some(libc::ECANCELED)));
        drop(client);
    }

    fn a_lock_of_a_neighbour_is_waited_for() {
        let lock = Arc::new(Mutex::new(0));
        let guard = lock.lock().unwrap();
        let (begun, theirs) = (flag(), Arc::clone(&lock));
        let says = Arc::clone(&begun);
        let thread = neighbour(move || {
            let _guard = at_drop(|| {
                set(&says);
                *theirs.lock().unwrap() += 1;
            });
            thread::park();
        });
        thread.cancel();
        until(&begun);
        let_others_run();
        drop(guard);
        assert!(is_cancelled(thread));
        assert_eq!(*lock.lock().unwrap(), 1);
    }

    fn a_full_channel_is_waited_for() {
        let (sender, receiver) = channel::bounded(1);
        sender.send(1).unwrap();
        let thread = neighbour(move || {
            let _guard = at_drop(|| sender.send(2).unwrap());
            thread::park();
        });
        thread.cancel();
        let_others_run();
        assert_eq!((receiver.recv(), receiver.recv()), (Ok(1), Ok(2)));
        assert!(is_cancelled(thread));
    }

    fn many_unwind_at_once() {
        let (begun, done) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let threads: Vec<_> = (0..50).map(|n: u64| {
            let (begun, done) = (Arc::clone(&begun), Arc::clone(&done));
            thread::spawn(move || {
                begun.fetch_add(1, Ordering::SeqCst);
                let _outer = at_drop(|| {
                    thread::sleep(Duration::from_millis(n % 7));
                    done.fetch_add(1, Ordering::SeqCst);
                });
                let _inner = at_drop(|| {
                    let caught = catch_unwind(|| {
                        let _sleeps = at_drop(|| thread::sleep(Duration::from_millis(n % 3)));
                        resume_unwind(Box::new(n));
                    });
                    assert_eq!(*caught.unwrap_err().downcast::<u64>().unwrap(), n);
                });
                match n % 3 {
                    0 => resume_unwind(Box::new(n)),
                    1 => timeout(SHORT, thread::park).unwrap(),
                    _ => thread::park(),
                }
            })
        }).collect();
        while begun.load(Ordering::SeqCst) < 50 {
            thread::yield_now();
        }
        threads.iter().for_each(JoinHandle::cancel);
        for thread in threads {
            assert!(thread.join().is_err());
        }
        assert_eq!(done.load(Ordering::SeqCst), 50);
        assert!(!std::thread::panicking());
    }

    fn a_panic_beside_one_that_unwinds_poisons_what_it_held() {
        let held = Arc::new(Event::new());
        let (theirs, begun) = (Arc::clone(&held), flag());
        let says = Arc::clone(&begun);
        let unwinds = neighbour(move || {
            let _guard = at_drop(|| {
                set(&says);
                theirs.wait();
            });
            thread::park();
        });
        unwinds.cancel();
        until(&begun);
        let lock = Arc::new(Mutex::new(()));
        let theirs = Arc::clone(&lock);
        let panics = neighbour(move || {
            let _guard = theirs.lock().unwrap();
            let_others_run();
            panic!("expected: while it holds a lock");
        });
        assert!(panics.join().is_err());
        assert!(lock.is_poisoned());
        held.set();
        assert!(is_cancelled(unwinds));
    }

    fn the_runtimes_end_does_not_wait_for_farewells(engine: sward::EngineKind) {
        // In a runtime of its own, whose end is the point.
        sward::offload(move || {
            let (client, server) = (|| {
                let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
                let client = std::net::TcpStream::connect(listener.local_addr()?)?;
                Ok::<_, std::io::Error>((client, listener.accept()?.0))
            })().unwrap();
            let errors = Arc::new(std::sync::Mutex::new(Vec::new()));
            let theirs = Arc::clone(&errors);
            let main = move || {
                let mut server = net::TcpStream::from(server);
                thread::spawn(move || {
                    let _farewell = at_drop(|| {
                        thread::sleep(LONG);
                        let error = server.write_all(&vec![b'!'; 8 << 20]).unwrap_err();
                        theirs.lock().unwrap().push(error);
                    });
                    thread::park();
                });
                let_others_run();
            };
            // SAFETY: nothing here holds a scoped thread-local value across a blocking call.
            unsafe { sward::Builder::new().workers(1).engine(engine).run(main) }.unwrap();
            assert_eq!(errors.lock().unwrap()[0].raw_os_error(), Some(libc::ECANCELED));
            drop(client);
        });
    }

    fn a_cancel_while_a_timeout_unwinds_comes_afterwards() {
        let (begun, ended) = (flag(), flag());
        let (says, says_end) = (Arc::clone(&begun), Arc::clone(&ended));
        let thread = neighbour(move || {
            let result = timeout(SHORT, || {
                let _guard = at_drop(|| {
                    set(&says);
                    thread::sleep(Duration::from_millis(50));
                });
                thread::park();
            });
            assert!(result.is_err());
            set(&says_end);
            thread::park();
        });
        until(&begun);
        thread.cancel();
        assert!(is_cancelled(thread));
        assert!(ended.load(Ordering::SeqCst), "the timeout had come first");
    }

    fn a_timeout_of_a_scopes_wait_is_not_swallowed() {
        let result = catch_unwind(AssertUnwindSafe(|| {
            timeout(SHORT, || thread::scope(|scope| { scope.spawn(thread::park); }))
        }));
        assert!(result.unwrap().is_err());
        assert!(timeout(LONG, || thread::scope(|scope| { scope.spawn(|| ()); })).is_ok());
    }
}

/// Two threads that wait for each other in their destructors can never end. The runtime does, all the same.
#[test]
fn the_runtimes_end_leaves_behind_what_nothing_can_end() {
    for workers in [1, 2] {
        let main = || {
            let (left, right) = (Arc::new(Event::new()), Arc::new(Event::new()));
            for (mine, theirs, worker) in [(&left, &right, 0), (&right, &left, workers - 1)] {
                let (mine, theirs) = (Arc::clone(mine), Arc::clone(theirs));
                let begun = flag();
                let says = Arc::clone(&begun);
                let body = move || {
                    let _guard = at_drop(|| {
                        theirs.wait();
                        mine.set();
                    });
                    set(&says);
                    thread::park();
                };
                thread::Builder::new().worker(worker).spawn(body).unwrap();
                until(&begun);
            }
            5
        };
        let _watchdog = sward_testing::Watchdog::start("the_runtimes_end_leaves_behind_what_nothing_can_end");
        // SAFETY: nothing here holds a scoped thread-local value across a blocking call.
        let result = unsafe { sward::Builder::new().workers(workers).run(main) };
        assert_eq!(result.unwrap(), 5);
    }
}

/// An offloaded call will end, however long it takes, and whoever waits for it is not left behind.
#[test]
fn the_runtimes_end_waits_for_an_offloaded_call() {
    let ended = flag();
    let theirs = Arc::clone(&ended);
    let main = move || {
        thread::spawn(move || {
            // Longer than a runtime waits for what nothing can end.
            sward::offload(|| std::thread::sleep(Duration::from_secs(6)));
            set(&theirs);
        });
        let_others_run();
    };
    let _watchdog = sward_testing::Watchdog::start("the_runtimes_end_waits_for_an_offloaded_call");
    // SAFETY: nothing here holds a scoped thread-local value across a blocking call.
    unsafe { sward::Builder::new().workers(1).run(main) }.unwrap();
    assert!(ended.load(Ordering::SeqCst));
}
