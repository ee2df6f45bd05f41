//! The life of a runtime: what it does when its main closure returns or panics, several of them at once, and the ways in from
//! outside.

use std::io::{Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use sward::net::{TcpListener, TcpStream};
use sward::sync::Barrier;
use sward::thread::{self, Cancelled};
use sward::{Builder, EngineKind, Handle};
use sward_testing::{Watchdog, on_every_engine, run_outside};

/// Counts how often it is dropped.
struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// A runtime with this many workers, on `engine`.
fn run<T>(engine: EngineKind, workers: usize, main: impl FnOnce() -> T) -> T {
    // SAFETY: the tests hold no scoped thread-local value across a blocking call.
    unsafe { Builder::new().workers(workers).engine(engine).run(main) }.unwrap()
}

/// For each engine, with one worker and two, outside any runtime.
fn for_each_runtime(name: &str, test: impl Fn(EngineKind, usize)) {
    for engine in EngineKind::ALL {
        for workers in [1, 2] {
            run_outside(&format!("{name} on {engine}, workers: {workers}"), || test(engine, workers));
        }
    }
}

#[test]
fn run_gives_what_main_returns_and_main_may_borrow() {
    for_each_runtime("run_gives", |engine, workers| {
        let mut text = String::from("borrowed");
        let not_send = std::rc::Rc::new(5);
        let number = run(engine, workers, || {
            text.push_str(" and changed");
            thread::yield_now();
            *not_send
        });
        assert_eq!((number, text.as_str()), (5, "borrowed and changed"));
    });
}

#[test]
fn what_runs_when_main_returns_is_cancelled_and_its_destructors_run() {
    for_each_runtime("what_runs_when_main_returns", |engine, workers| {
        let (drops, begun) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        run(engine, workers, || {
            let spawn = |body: fn()| {
                let (counted, begun) = (Counted(Arc::clone(&drops)), Arc::clone(&begun));
                thread::spawn(move || {
                    let _counted = counted;
                    begun.fetch_add(1, Ordering::SeqCst);
                    body();
                })
            };
            let waiting = [
                spawn(thread::park),
                spawn(|| thread::sleep(Duration::MAX)),
                spawn(|| {
                    loop {
                        thread::yield_now()
                    }
                }),
                spawn(|| drop(TcpListener::bind("127.0.0.1:0").unwrap().accept())),
                spawn(|| thread::spawn(thread::park).join().unwrap()),
                spawn(|| {
                    thread::scope(|scope| {
                        scope.spawn(thread::park);
                    })
                }),
                spawn(|| while catch_unwind(thread::park).is_ok() {}),
            ];
            while begun.load(Ordering::SeqCst) < waiting.len() {
                thread::yield_now();
            }
            // Never gets a turn with one worker.
            let _unstarted = spawn(thread::park);
        });
        assert_eq!(drops.load(Ordering::SeqCst), 8);
    });
}

#[test]
fn shielded_work_is_waited_for() {
    for_each_runtime("shielded_work_is_waited_for", |engine, workers| {
        let done = Arc::new(AtomicBool::new(false));
        let (says, begun) = (Arc::clone(&done), Arc::new(AtomicBool::new(false)));
        run(engine, workers, || {
            let begins = Arc::clone(&begun);
            thread::spawn(move || {
                thread::shield(|| {
                    begins.store(true, Ordering::SeqCst);
                    thread::sleep(Duration::from_millis(5));
                    says.store(true, Ordering::SeqCst);
                })
            });
            while !begun.load(Ordering::SeqCst) {
                thread::yield_now();
            }
        });
        assert!(done.load(Ordering::SeqCst));
    });
}

#[test]
fn what_a_destructor_spawns_at_the_end_is_ended_too() {
    struct Spawns;
    impl Drop for Spawns {
        fn drop(&mut self) {
            thread::spawn(thread::park);
        }
    }
    for_each_runtime("what_a_destructor_spawns", |engine, workers| {
        run(engine, workers, || {
            let begun = Arc::new(AtomicBool::new(false));
            let begins = Arc::clone(&begun);
            thread::spawn(move || {
                let _spawns = Spawns;
                begins.store(true, Ordering::SeqCst);
                thread::park();
            });
            while !begun.load(Ordering::SeqCst) {
                thread::yield_now();
            }
        })
    });
}

#[test]
fn a_panic_of_main_comes_out_of_run_when_the_rest_has_ended() {
    for_each_runtime("a_panic_of_main", |engine, workers| {
        let drops = Arc::new(AtomicUsize::new(0));
        let result = catch_unwind(AssertUnwindSafe(|| {
            run(engine, workers, || {
                let counted = Counted(Arc::clone(&drops));
                thread::spawn(move || {
                    let _counted = counted;
                    thread::park();
                });
                thread::yield_now();
                resume_unwind(Box::new("main"));
            })
        }));
        let result: std::thread::Result<()> = result;
        assert_eq!(result.unwrap_err().downcast_ref(), Some(&"main"));
        assert_eq!(drops.load(Ordering::SeqCst), 1);
    });
}

#[test]
fn a_runtime_inside_a_green_thread_is_refused() {
    for_each_runtime("a_runtime_inside", |engine, workers| {
        run(engine, workers, || {
            let refused = thread::spawn(move || run(engine, 1, || ())).join().unwrap_err();
            let message = refused.downcast_ref::<&str>().unwrap();
            assert!(message.contains("sward::run was called inside a green thread"), "{message}");
            // On an OS thread of its own it may be.
            let inner = std::thread::spawn(move || run(engine, 1, || thread::spawn(|| 5).join().unwrap()));
            assert_eq!(sward::offload(|| inner.join().unwrap()), 5);
        })
    });
}

#[test]
fn runtimes_follow_each_other_on_one_os_thread() {
    for_each_runtime("runtimes_follow_each_other", |engine, workers| {
        for round in 0..5 {
            assert_eq!(run(engine, workers, || thread::spawn(move || round).join().unwrap()), round);
        }
        assert_eq!(sward::worker_index(), None);
    });
}

#[test]
fn runtimes_of_all_engines_talk_to_each_other() {
    let _watchdog = Watchdog::start("runtimes_of_all_engines_talk_to_each_other");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let servers = EngineKind::ALL.map(|engine| {
        let listener = TcpListener::from(listener.try_clone().unwrap());
        // Its clones in the other runtimes have put the socket into the mode that all of them need.
        listener.set_nonblocking(false).unwrap();
        std::thread::spawn(move || {
            run(engine, 2, || {
                for _ in 0..3 {
                    let (mut stream, _) = listener.accept().unwrap();
                    thread::spawn(move || {
                        let mut byte = [0];
                        while stream.read(&mut byte).unwrap() > 0 {
                            stream.write_all(&byte).unwrap();
                        }
                    })
                    .join()
                    .unwrap();
                }
            })
        })
    });
    // The runtimes race for the clients, so there are as many as all of them together serve.
    let clients = EngineKind::ALL.map(|engine| {
        std::thread::spawn(move || {
            run(engine, 1, || {
                for _ in 0..3 {
                    let mut stream = TcpStream::connect(address).unwrap();
                    for byte in 0..50 {
                        stream.write_all(&[byte]).unwrap();
                        let mut back = [0];
                        stream.read_exact(&mut back).unwrap();
                        assert_eq!(back, [byte]);
                    }
                }
            })
        })
    });
    clients.into_iter().chain(servers).for_each(|runtime| runtime.join().unwrap());
}

#[test]
fn a_handle_outlives_its_runtime() {
    for_each_runtime("a_handle_outlives", |engine, workers| {
        let handle = run(engine, workers, || Handle::current().expect("inside"));
        let thread = handle.spawn(|| 5);
        assert!(thread.join().unwrap_err().is::<Cancelled>());
        assert!(Handle::current().is_none());
    });
}

on_every_engine! {
    fn os_threads_spawn_into_the_runtime() {
        let handle = Handle::current().expect("inside");
        let spawners: Vec<_> = (0..4_usize).map(|number| {
            let handle = handle.clone();
            std::thread::spawn(move || {
                let threads: Vec<_> = (0..50).map(|count| handle.spawn(move || {
                    assert!(sward::worker_index().is_some());
                    thread::yield_now();
                    number + count
                })).collect();
                threads.into_iter().map(|thread| thread.join().unwrap()).sum::<usize>()
            })
        }).collect();
        let total: usize = spawners.into_iter().map(|spawner| sward::offload(|| spawner.join().unwrap())).sum();
        assert_eq!(total, (0..4).map(|number| number * 50 + 49 * 25).sum());
    }

    fn offloaded_work_holds_up_nobody() {
        let (sender, receiver) = std::sync::mpsc::channel();
        let blocked = thread::spawn(move || sward::offload(move || receiver.recv().unwrap()));
        for _ in 0..5 {
            thread::spawn(thread::yield_now).join().unwrap();
        }
        sender.send(5).unwrap();
        assert_eq!(blocked.join().unwrap(), 5);
        let panicked = thread::spawn(|| sward::offload(|| resume_unwind(Box::new(7))));
        let result: thread::Result<()> = panicked.join();
        assert_eq!(result.unwrap_err().downcast_ref(), Some(&7));
    }

    fn the_main_thread_is_called_main() {
        assert_eq!(thread::current().name(), Some("main"));
        assert!(sward::worker_index() == Some(0) && sward::engine_name().is_some());
    }

    fn live_threads_are_counted() {
        let handle = Handle::current().expect("inside");
        let threads: Vec<_> = (0..10).map(|_| thread::spawn(thread::park)).collect();
        while handle.live_threads() < 11 {
            thread::yield_now();
        }
        threads.iter().for_each(|thread| thread.thread().unpark());
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        while handle.live_threads() > 1 {
            thread::yield_now();
        }
    }
}

/// A thread that outlives its runtime's end, being shielded, spawns one on a worker that is gone by then.
#[test]
fn a_thread_for_a_worker_that_has_ended_never_starts_and_joining_it_says_so() {
    for engine in EngineKind::ALL {
        run_outside(&format!("a thread for an ended worker on {engine}"), || {
            let (sender, receiver) = std::sync::mpsc::channel();
            let drops = Arc::new(AtomicUsize::new(0));
            let counted = Counted(Arc::clone(&drops));
            run(engine, 2, move || {
                let on = |worker| thread::Builder::new().worker(worker);
                let os_thread = on(1).spawn(|| std::fs::read_link("/proc/thread-self").unwrap());
                let os_thread = Path::new("/proc").join(os_thread.unwrap().join().unwrap());
                let begun = Arc::new(Barrier::new(2));
                let has_begun = Arc::clone(&begun);
                let outlives = move || {
                    has_begun.wait();
                    while os_thread.exists() {
                        thread::yield_now();
                    }
                    let late = on(1).spawn(move || drop(counted)).unwrap();
                    sender.send(late.join().unwrap_err().is::<Cancelled>()).unwrap();
                };
                on(0).spawn(|| thread::shield(outlives)).unwrap();
                begun.wait();
            });
            assert_eq!(receiver.try_recv(), Ok(true));
            assert_eq!(drops.load(Ordering::SeqCst), 1, "what it owned has been dropped");
        });
    }
}

/// What starts on a worker stays there, so it matters where it starts: one that starts everything (an accept loop, say) must not keep
/// it all while others sleep.
#[test]
fn threads_that_stay_are_spread_over_the_workers() {
    for workers in [2, 4] {
        let main = move || {
            let mut threads = Vec::new();
            loop {
                threads.push(thread::spawn(thread::park));
                thread::yield_now();
                let mut counts = vec![0; workers];
                thread::all().iter().for_each(|seen| counts[seen.worker()] += 1);
                let (fewest, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
                if threads.len() >= 64 && *most <= fewest + fewest / 8 + 8 {
                    break;
                }
                assert!(threads.len() < 10_000, "{counts:?}");
            }
            for waiting in threads {
                waiting.thread().unpark();
                waiting.join().unwrap();
            }
        };
        // SAFETY: nothing here holds a scoped thread-local value across a blocking call.
        unsafe { sward::Builder::new().workers(workers).run(main) }.unwrap();
    }
}
