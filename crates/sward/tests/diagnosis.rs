//! The snapshot, dumps, deadlocks found on demand, and metrics, on every engine.

use std::collections::HashMap;
use std::time::Instant;

use sward::EngineKind;
use sward::sync::{Arc, Barrier, Condvar, Event, Mutex, RwLock, Semaphore};
use sward::thread::{self, JoinHandle, Snapshot, State};
use sward::time::Duration;
use sward_testing::{alone, is_stressed, on_every_engine};

#[track_caller]
fn named<T: Send + 'static>(name: &str, body: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    thread::Builder::new().name(name.into()).spawn(body).expect("a green thread")
}

fn state_of(all: &[Snapshot], name: &str) -> String {
    let seen = all.iter().find(|seen| seen.thread().name() == Some(name));
    seen.map_or_else(|| format!("{name} is not there: {all:?}"), |seen| seen.state().to_string())
}

/// Looks again and again until thread `name` does what is expected; fails by the watchdog.
fn wait_until(name: &str, expected: &str) {
    while !state_of(&thread::all(), name).contains(expected) {
        thread::yield_now();
    }
}

fn end<T>(thread: JoinHandle<T>) {
    thread.cancel();
    let _ = thread.join();
}

on_every_engine! {
    fn all_says_who_lives_and_what_they_do() {
        assert_eq!(thread::count(), 1);
        let sleeper = named("sleeper", || thread::sleep(Duration::from_secs(1000)));
        let parker = named("parker", thread::park);
        let listener = sward::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let acceptor = named("acceptor", move || listener.accept().map(drop));
        wait_until("sleeper", "sleeps");
        wait_until("parker", "is parked");
        wait_until("acceptor", "is in accept on descriptor");
        let all = thread::all();
        assert_eq!((all.len(), thread::count()), (4, 4));
        let main = all.iter().find(|seen| seen.thread().name() == Some("main")).unwrap();
        assert!(matches!(main.state(), State::Running), "{main}");
        let parked = all.iter().find(|seen| seen.thread().name() == Some("parker")).unwrap();
        assert_eq!(parked.thread().spawned_at().file(), file!());
        assert!(parked.worker() < sward::worker_count().unwrap());
        end(sleeper);
        end(parker);
        end(acceptor);
        assert_eq!(thread::all().len(), 1);
    }

    fn every_wait_says_what_for() {
        let mutex = Arc::new(Mutex::new(()));
        let rwlock = Arc::new(RwLock::new(()));
        let (held, written) = (mutex.lock().unwrap(), rwlock.write().unwrap());
        let (locks, reads, writes) = (Arc::clone(&mutex), Arc::clone(&rwlock), Arc::clone(&rwlock));
        let (room, full) = sward::channel::bounded(1);
        room.send(()).unwrap();
        let (sender, receiver) = sward::channel::unbounded::<()>();
        let parker = named("parker", thread::park);
        let waiting = [
            ("the Mutex at", named("locks", move || drop(locks.lock()))),
            ("the RwLock (to read) at", named("reads", move || drop(reads.read()))),
            ("the RwLock (to write) at", named("writes", move || drop(writes.write()))),
            ("the Condvar at", named("listens", || {
                let mutex = Mutex::new(());
                drop(Condvar::new().wait(mutex.lock().unwrap()));
            })),
            ("the Semaphore at", named("acquires", || Semaphore::new(0).acquire(1).forget())),
            ("the Event at", named("expects", || Event::new().wait())),
            ("the Barrier at", named("meets", || assert!(!Barrier::new(2).wait().is_leader()))),
            ("a message from the channel at", named("receives", move || assert!(receiver.recv().is_ok()))),
            ("room in the channel at", named("sends", move || assert!(room.send(()).is_ok()))),
            ("the end of thread", named("joins", move || drop(parker.join()))),
            ("the end of 1 threads", named("scopes", || thread::scope(|scope| drop(scope.spawn(thread::park))))),
        ];
        for (what, thread) in &waiting {
            let name = thread.thread().name().unwrap();
            if name == "scopes" {
                wait_until(name, "the end of thread");
                continue;
            }
            wait_until(name, what);
            let state = state_of(&thread::all(), name);
            assert!(state.contains(&format!(", at {}:", file!())), "{state}");
        }
        drop((held, written, sender, full));
        waiting.into_iter().for_each(|(_, thread)| end(thread));
    }

    fn a_dump_shows_states_spawn_sites_and_stacks() {
        if is_stressed() {
            // Stacks of threads that do the same differ by where each gives way.
            return;
        }
        let threads: Vec<_> = (0..3).map(|_| named("deep", outermost)).collect();
        let other = named("other", thread::park);
        wait_until("deep", "is parked");
        wait_until("other", "is parked");
        while thread::all().iter().filter(|seen| matches!(seen.state(), State::Parked)).count() < 4 {
            thread::yield_now();
        }
        let dump = sward::Dump::take().to_string();
        assert!(dump.contains("sward: green threads: 5"), "{dump}");
        assert_eq!(dump.matches("\"deep\", spawned at").count(), 3, "{dump}");
        assert!(dump.contains("is parked for"), "{dump}");
        assert!(dump.contains("\"main\"") && dump.contains("waits for an offloaded call, at"), "{dump}");
        let frames: Vec<_> = ["innermost", "outermost"].iter().map(|name| dump.find(name)).collect();
        assert!(frames[0].is_some() && frames[0] < frames[1], "{dump}");
        // Once for each worker, since threads with the same stack stand together.
        assert!(dump.matches("::innermost").count() <= sward::worker_count().unwrap(), "{dump}");
        for room in ["sward::runtime", "sward/src/runtime", "corosensei", "catch_unwind"] {
            assert!(!dump.contains(room), "the engine room is left out: {dump}");
        }
        // Their waits are as they were.
        for thread in threads {
            thread.thread().unpark();
            assert_eq!(thread.join().unwrap(), 7);
        }
        end(other);
    }

    fn looking_does_not_disturb() {
        let threads: Vec<_> = (0..2000).map(|number| thread::spawn(move || {
            for _ in 0..5 {
                thread::sleep(Duration::from_millis(1));
                thread::yield_now();
            }
            number
        })).collect();
        for _ in 0..3 {
            drop(sward::Dump::take());
        }
        let sum: usize = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
        assert_eq!(sum, 2000 * 1999 / 2);
    }

    fn a_dump_while_unwinding_does_not_wait_for_itself() {
        struct Dumps;
        impl Drop for Dumps {
            fn drop(&mut self) {
                assert!(sward::Dump::take().to_string().contains("\"falls\""));
            }
        }
        let parked = named("parked", thread::park);
        wait_until("parked", "is parked");
        let falls = named("falls", || {
            let _dumps = Dumps;
            std::panic::resume_unwind(Box::new("fallen"));
        });
        assert_eq!(falls.join().unwrap_err().downcast_ref(), Some(&"fallen"));
        end(parked);
    }

    fn threads_that_wait_for_each_other_are_found() {
        let (sender, receiver) = sward::channel::unbounded::<JoinHandle<()>>();
        let (other_sender, other_receiver) = sward::channel::unbounded::<JoinHandle<()>>();
        let egg = named("egg", move || drop(receiver.recv().unwrap().join()));
        let hen = named("hen", move || drop(other_receiver.recv().unwrap().join()));
        let tasks = [egg.thread().clone(), hen.thread().clone()];
        let waits_for_them = named("farmer", thread::park);
        assert!(sward::deadlocks().is_empty());
        other_sender.send(egg).unwrap();
        sender.send(hen).unwrap();
        wait_until("egg", "\"hen\"");
        wait_until("hen", "\"egg\"");
        let found = sward::deadlocks();
        assert_eq!(found.len(), 1, "{found:?}");
        let mut ids: Vec<_> = found[0].threads().iter().map(thread::Thread::id).collect();
        ids.sort_by_key(|id| format!("{id:?}"));
        let mut expected = tasks.map(|task| task.id());
        expected.sort_by_key(|id| format!("{id:?}"));
        assert_eq!(ids, expected);
        let report = found[0].to_string();
        assert!(report.contains("waits for the end of thread") && report.contains(file!()), "{report}");
        end(waits_for_them);
        // The runtime's end cancels the others.
    }

    fn what_waits_under_a_deadline_is_in_no_circle() {
        const LONG: Duration = Duration::from_secs(1000);
        let joins: [fn(JoinHandle<()>); 2] = [
            |other| drop(other.join_timeout(LONG)),
            |other| drop(sward::time::timeout(LONG, || other.join())),
        ];
        for join in joins {
            let (sender, receiver) = sward::channel::unbounded::<JoinHandle<()>>();
            let (other_sender, other_receiver) = sward::channel::unbounded::<JoinHandle<()>>();
            let patient = named("patient", move || drop(receiver.recv().unwrap().join()));
            let hasty = named("hasty", move || join(other_receiver.recv().unwrap()));
            other_sender.send(patient).unwrap();
            sender.send(hasty).unwrap();
            wait_until("patient", "\"hasty\"");
            wait_until("hasty", "\"patient\"");
            assert_eq!(sward::deadlocks().len(), 0);
        }
    }

    fn metrics_add_up() {
        let before = sward::metrics();
        assert_eq!((before.workers, before.live), (sward::worker_count().unwrap(), 1));
        assert_eq!(Some(before.engine), sward::engine_name());
        let threads: Vec<_> = (0..10).map(|_| thread::spawn(|| {
            thread::yield_now();
            thread::sleep(Duration::from_micros(1));
        })).collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        let one = sward::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        one.send_to(b"x", one.local_addr().unwrap()).unwrap();
        assert_eq!(one.recv(&mut [0]).unwrap(), 1);
        // The threads may all be over before main joins them, so this is the one park that is certain.
        thread::park_timeout(Duration::from_micros(1));
        let after = sward::metrics();
        assert_eq!((after.spawned - before.spawned, after.timers - before.timers), (10, 11));
        assert!(after.switches - before.switches >= 30, "start, yield, sleep: {before:?} {after:?}");
        assert!(after.operations - before.operations >= 2, "{before:?} {after:?}");
        assert!(after.parks > before.parks, "main has parked");
        assert!(after.resident_stack_bytes > 0 && after.mapped_stack_bytes > after.resident_stack_bytes);
    }
}

#[inline(never)]
fn outermost() -> i32 {
    std::hint::black_box(innermost()) + 1
}

#[inline(never)]
fn innermost() -> i32 {
    thread::park();
    std::hint::black_box(6)
}

/// Alone, since an OS thread sees all runtimes of the process.
#[test]
fn metrics_do_not_mix_runtimes() {
    if let Some(output) = alone("metrics_do_not_mix_runtimes", &[]) {
        assert!(output.status.success(), "{output:?}");
        return;
    }
    assert_eq!((sward::metrics().engine, sward::metrics().workers), ("", 0));
    let run = |engine, workers| sward::Builder::new().engine(engine).workers(workers);
    let (ready, is_ready) = std::sync::mpsc::channel();
    let (end, ends) = sward::sync::mpsc::channel::<()>();
    let crowd = move || {
        let threads: Vec<_> = (0..5).map(|_| thread::spawn(thread::park)).collect();
        while sward::metrics().parks < 5 {
            thread::yield_now();
        }
        ready.send(sward::metrics()).unwrap();
        ends.recv().unwrap_err();
        threads.into_iter().for_each(|thread| {
            thread.thread().unpark();
            thread.join().unwrap();
        });
    };
    // SAFETY: neither runtime's code holds a scoped thread-local value across a blocking call.
    let other = std::thread::spawn(move || unsafe { run(EngineKind::Poll, 2).run(crowd) });
    let theirs = is_ready.recv().unwrap();
    assert_eq!((theirs.engine, theirs.workers, theirs.spawned, theirs.live), ("poll", 2, 6, 6));
    let one = sward::metrics();
    assert_eq!((one.engine, one.workers, one.live), ("poll", 2, 6), "the only one there is");
    // SAFETY: neither runtime's code holds a scoped thread-local value across a blocking call.
    let (own, all) =
        unsafe { run(EngineKind::Epoll, 1).run(|| (sward::metrics(), sward::offload(sward::metrics))) }
            .unwrap();
    assert_eq!((own.engine, own.workers, own.spawned, own.live), ("epoll", 1, 1, 1));
    assert_eq!((all.engine, all.workers, all.spawned, all.live), ("several", 3, 7, 7));
    drop(end);
    other.join().unwrap().unwrap();
}

#[test]
fn outside_a_runtime_there_is_nobody() {
    // Other tests of this file have runtimes of their own at the same time, so only this thread's view is known.
    assert_eq!(thread::count(), 0);
    assert_eq!(thread::spawn(thread::count).join().unwrap(), 0);
}

/// Run with `cargo test --release --test diagnosis -- --ignored --nocapture`.
#[test]
#[ignore = "takes seconds, and is about time"]
fn a_hundred_thousand() {
    const THREADS: usize = 100_000;
    let run = || {
        let threads: Vec<_> = (0..THREADS).map(|_| thread::spawn(outermost)).collect();
        while thread::count() < THREADS + 1 {
            thread::yield_now();
        }
        let service = named("service", || {
            let (mut worst, mut turns) = (Duration::ZERO, 0);
            while !thread::is_cancelled() {
                let start = Instant::now();
                thread::shield(|| thread::sleep(Duration::from_millis(1)));
                worst = worst.max(start.elapsed());
                turns += 1;
            }
            (worst, turns)
        });
        let memory = sward::metrics().resident_stack_bytes;
        let start = Instant::now();
        let dump = sward::Dump::take().to_string();
        let taken = start.elapsed();
        service.cancel();
        println!(
            "{THREADS} threads dumped in {taken:?}, {} bytes, service: {:?}",
            dump.len(),
            service.join()
        );
        println!("resident stacks {memory} before, {} after", sward::metrics().resident_stack_bytes);
        let mut names = HashMap::new();
        dump.lines().for_each(|line| *names.entry(line.starts_with("thread ")).or_insert(0) += 1);
        assert_eq!(names[&true], THREADS + 2);
        for thread in threads {
            thread.thread().unpark();
            thread.join().unwrap();
        }
    };
    for workers in [1, 2] {
        // SAFETY: nothing here holds a scoped thread-local value across a blocking call.
        unsafe { sward::Builder::new().workers(workers).run(run) }.unwrap();
    }
}
