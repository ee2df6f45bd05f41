//! `sward::sync`'s locks as std documents its own: on green threads of one worker, of two, mixed with OS
//! threads, and outside a runtime.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use sward::queue::{Fifo, Lifo, Priority};
use sward::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use sward::sync::{
    Arc, Barrier, Condvar, Event, LazyLock, Mutex, Once, OnceLock, PoisonError, ReentrantMutex, RwLock,
    RwLockWriteGuard, Semaphore, TryLockError,
};
use sward::thread;

use crate::places;

/// So short that a wait of this length ends soon, and nothing depends on when.
const SHORT: Duration = Duration::from_millis(1);

/// So long that the test has failed if it passes.
const LONG: Duration = Duration::from_secs(60);

#[test]
fn sizes_are_small() {
    assert!(size_of::<Mutex<()>>() <= 16, "{}", size_of::<Mutex<()>>());
    assert!(size_of::<RwLock<()>>() <= 16);
    assert!(size_of::<Condvar>() <= 16);
    assert!(size_of::<Once>() <= 8);
}

#[test]
fn constructors_are_const() {
    static MUTEX: Mutex<u32> = Mutex::new(1);
    static LOCK: RwLock<u32> = RwLock::new(2);
    static CONDVAR: Condvar = Condvar::new();
    static ONCE: Once = Once::new();
    static CELL: OnceLock<u32> = OnceLock::new();
    static LAZY: LazyLock<u32> = LazyLock::new(|| 3);
    static BARRIER: Barrier = Barrier::new(1);
    static EVENT: Event = Event::new();
    static SEMAPHORE: Semaphore = Semaphore::bounded(1);
    static REENTRANT: ReentrantMutex<u32> = ReentrantMutex::new(5);
    static QUEUES: (Fifo<u32>, Lifo<u32>, Priority<u32>) = (Fifo::new(1), Lifo::new(1), Priority::new(1));
    EVENT.set();
    assert!(SEMAPHORE.try_acquire(1).is_some() && *REENTRANT.lock() == 5);
    assert!(QUEUES.0.is_empty() && QUEUES.1.is_empty() && QUEUES.2.is_empty());
    CONDVAR.notify_one();
    ONCE.call_once(|| ());
    assert!(BARRIER.wait().is_leader());
    let sum = *MUTEX.lock().unwrap() + *LOCK.read().unwrap() + *LAZY + CELL.get_or_init(|| 4);
    assert_eq!(sum, 10);
}

#[test]
fn mutex_excludes() {
    places::everywhere(|| {
        let count = Arc::new(Mutex::new(0));
        let threads = places::spawn_mixed(20, {
            let count = Arc::clone(&count);
            move |_| {
                for round in 0..50 {
                    let mut guard = count.lock().unwrap();
                    let seen = *guard;
                    if round % 5 == 0 {
                        thread::yield_now();
                    }
                    *guard = seen + 1;
                }
            }
        });
        threads.join();
        assert_eq!(*count.lock().unwrap(), 1000);
    });
}

#[test]
fn a_thread_that_holds_the_mutex_whenever_it_yields_starves_nobody() {
    places::everywhere(|| {
        let lock = Arc::new(Mutex::new(()));
        let done = Arc::new(AtomicBool::new(false));
        let greedy = thread::spawn({
            let (lock, done) = (Arc::clone(&lock), Arc::clone(&done));
            move || {
                while !done.load(Ordering::Relaxed) {
                    let _guard = lock.lock().unwrap();
                    thread::yield_now();
                }
            }
        });
        for _ in 0..20 {
            drop(lock.lock().unwrap());
            thread::yield_now();
        }
        done.store(true, Ordering::Relaxed);
        greedy.join().unwrap();
    });
}

#[test]
fn try_lock_never_waits() {
    places::everywhere(|| {
        let lock = Mutex::new(1);
        let guard = lock.lock().unwrap();
        assert!(matches!(lock.try_lock(), Err(TryLockError::WouldBlock)));
        assert!(format!("{lock:?}").contains("<locked>"));
        drop(guard);
        *lock.try_lock().unwrap() += 1;
        assert_eq!(lock.into_inner().unwrap(), 2);
    });
}

#[test]
fn a_panic_poisons_a_mutex() {
    places::everywhere(|| {
        let lock = Arc::new(Mutex::new(1));
        let thread = thread::spawn({
            let lock = Arc::clone(&lock);
            move || {
                let _guard = lock.lock().unwrap();
                std::panic::resume_unwind(Box::new("on purpose"));
            }
        });
        assert!(thread.join().is_err());
        assert!(lock.is_poisoned());
        assert_eq!(*lock.lock().unwrap_err().into_inner(), 1);
        assert!(matches!(lock.try_lock(), Err(TryLockError::Poisoned(_))));
        lock.clear_poison();
        assert!(lock.lock().is_ok());
    });
}

#[test]
fn a_guard_taken_while_unwinding_does_not_poison() {
    struct Locks<'a>(&'a Mutex<u32>);
    impl Drop for Locks<'_> {
        fn drop(&mut self) {
            *self.0.lock().unwrap() += 1;
        }
    }
    places::everywhere(|| {
        let lock = Mutex::new(0);
        let _panicked = catch_unwind(AssertUnwindSafe(|| {
            let _locks = Locks(&lock);
            std::panic::resume_unwind(Box::new("on purpose"));
        }));
        assert_eq!(*lock.lock().unwrap(), 1);
    });
}

#[test]
fn a_cancel_does_not_poison() {
    places::everywhere(|| {
        let lock = Arc::new((Mutex::new(0), RwLock::new(0)));
        let held = Arc::new(Event::new());
        let thread = thread::spawn({
            let (lock, held) = (Arc::clone(&lock), Arc::clone(&held));
            move || {
                let _guards = (lock.0.lock().unwrap(), lock.1.write().unwrap());
                held.set();
                thread::park();
            }
        });
        held.wait();
        thread.cancel();
        assert!(thread.join().unwrap_err().is::<thread::Cancelled>());
        assert!(lock.0.lock().is_ok());
        assert!(lock.1.read().is_ok());
    });
}

#[test]
fn a_panic_poisons_though_a_cancel_was_swallowed_before() {
    places::everywhere(|| {
        let locks = Arc::new((Mutex::new(0), Mutex::new(0), Mutex::new(0)));
        let started = Arc::new(Event::new());
        let thread = thread::spawn({
            let (locks, started) = (Arc::clone(&locks), Arc::clone(&started));
            move || {
                let _held_before = locks.0.lock().unwrap();
                started.set();
                let swallowed = catch_unwind(AssertUnwindSafe(|| {
                    let _held_meanwhile = locks.1.lock().unwrap();
                    thread::park();
                }));
                assert!(swallowed.unwrap_err().is::<thread::Cancelled>());
                let _held_after = locks.2.lock().unwrap();
                std::panic::resume_unwind(Box::new("on purpose"));
            }
        });
        started.wait();
        thread.cancel();
        thread.join().unwrap_err();
        assert_eq!([&locks.0, &locks.1, &locks.2].map(Mutex::is_poisoned), [true, false, true]);
    });
}

#[test]
fn who_waits_for_a_lock_can_be_cancelled() {
    places::everywhere(|| {
        let lock = Arc::new((Mutex::new(0), RwLock::new(0)));
        let guards = (lock.0.lock().unwrap(), lock.1.write().unwrap());
        let waiters = [
            thread::spawn({
                let lock = Arc::clone(&lock);
                move || *lock.0.lock().unwrap() += 1
            }),
            thread::spawn({
                let lock = Arc::clone(&lock);
                move || *lock.1.write().unwrap() += 1
            }),
            thread::spawn({
                let lock = Arc::clone(&lock);
                move || assert_eq!(*lock.1.read().unwrap(), 1)
            }),
        ];
        thread::yield_now();
        for waiter in waiters {
            waiter.cancel();
            assert!(waiter.join().unwrap_err().is::<thread::Cancelled>());
        }
        drop(guards);
        assert_eq!((*lock.0.lock().unwrap(), *lock.1.write().unwrap()), (0, 0));
    });
}

#[test]
fn readers_share_and_writers_do_not() {
    places::everywhere(|| {
        let lock = Arc::new(RwLock::new(0));
        let readers = Arc::new(Barrier::new(4));
        let threads = places::spawn_mixed(4, {
            let lock = Arc::clone(&lock);
            move |_| {
                let guard = lock.read().unwrap();
                // Comes through only if four read at once.
                readers.wait();
                assert_eq!(*guard, 0);
            }
        });
        threads.join();
        let writer = lock.write().unwrap();
        assert!(lock.try_read().is_err() && lock.try_write().is_err());
        drop(writer);
        let reader = lock.read().unwrap();
        assert!(lock.try_read().is_ok() && lock.try_write().is_err());
        drop(reader);
        assert!(lock.try_write().is_ok());
    });
}

#[test]
fn rwlock_excludes() {
    places::everywhere(|| {
        let lock = Arc::new(RwLock::new((0, 0)));
        let threads = places::spawn_mixed(20, {
            let lock = Arc::clone(&lock);
            move |index| {
                for round in 0..40 {
                    if (index + round) % 3 == 0 {
                        let mut pair = lock.write().unwrap();
                        pair.0 += 1;
                        thread::yield_now();
                        pair.1 += 1;
                    } else {
                        let pair = lock.read().unwrap();
                        let first = pair.0;
                        thread::yield_now();
                        assert_eq!(first, pair.1);
                    }
                }
            }
        });
        threads.join();
        let expected =
            (0..20).flat_map(|index| (0..40).map(move |round| index + round)).filter(|n| n % 3 == 0).count();
        assert_eq!(*lock.read().unwrap(), (expected, expected));
    });
}

#[test]
fn neither_readers_nor_writers_starve() {
    places::everywhere(|| {
        let lock = Arc::new(RwLock::new(()));
        let done = Arc::new(AtomicBool::new(false));
        let greedy: Vec<_> = (0..4)
            .map(|index| {
                let (lock, done) = (Arc::clone(&lock), Arc::clone(&done));
                thread::spawn(move || {
                    while !done.load(Ordering::Relaxed) {
                        if index < 2 {
                            let _guard = lock.read().unwrap();
                            thread::yield_now();
                        } else {
                            let _guard = lock.write().unwrap();
                            thread::yield_now();
                        }
                    }
                })
            })
            .collect();
        for _ in 0..10 {
            drop(lock.read().unwrap());
            thread::yield_now();
            drop(lock.write().unwrap());
            thread::yield_now();
        }
        done.store(true, Ordering::Relaxed);
        for thread in greedy {
            thread.join().unwrap();
        }
    });
}

#[test]
fn readers_behind_a_cancelled_writer_go_on() {
    places::everywhere(|| {
        let lock = Arc::new(RwLock::new(7));
        let reading = lock.read().unwrap();
        let writer = thread::spawn({
            let lock = Arc::clone(&lock);
            move || *lock.write().unwrap() = 0
        });
        // A writer that waits keeps new readers out: that is how one sees that it waits.
        while lock.try_read().is_ok() {
            thread::yield_now();
        }
        let reader = thread::spawn({
            let lock = Arc::clone(&lock);
            move || *lock.read().unwrap()
        });
        thread::yield_now();
        writer.cancel();
        assert!(writer.join().is_err());
        assert_eq!(reader.join().unwrap(), 7);
        drop(reading);
    });
}

#[test]
fn only_writers_poison_an_rwlock() {
    places::everywhere(|| {
        let lock = Arc::new(RwLock::new(1));
        let panic_with = |write: bool| {
            let lock = Arc::clone(&lock);
            let thread = thread::spawn(move || {
                let _guards = if write { (Some(lock.write()), None) } else { (None, Some(lock.read())) };
                std::panic::resume_unwind(Box::new("on purpose"));
            });
            assert!(thread.join().is_err());
        };
        panic_with(false);
        assert!(!lock.is_poisoned());
        panic_with(true);
        assert!(lock.is_poisoned() && lock.read().is_err());
        assert_eq!(*lock.write().unwrap_or_else(PoisonError::into_inner), 1);
    });
}

#[test]
fn a_downgraded_writer_lets_readers_in() {
    places::everywhere(|| {
        let lock = Arc::new(RwLock::new(0));
        let mut writing = lock.write().unwrap();
        let reader = thread::spawn({
            let lock = Arc::clone(&lock);
            move || *lock.read().unwrap()
        });
        thread::yield_now();
        *writing = 5;
        let reading = RwLockWriteGuard::downgrade(writing);
        assert_eq!(reader.join().unwrap(), 5);
        assert!(lock.try_write().is_err());
        drop(reading);
    });
}

#[test]
fn condvar_hands_over() {
    places::everywhere(|| {
        let pair = Arc::new((Mutex::new(0), Condvar::new()));
        let thread = thread::spawn({
            let pair = Arc::clone(&pair);
            move || {
                for turn in 0..100 {
                    let mut state =
                        pair.1.wait_while(pair.0.lock().unwrap(), |state| *state != 2 * turn + 1).unwrap();
                    *state += 1;
                    pair.1.notify_one();
                }
            }
        });
        for turn in 0..100 {
            let mut state = pair.1.wait_while(pair.0.lock().unwrap(), |state| *state != 2 * turn).unwrap();
            *state += 1;
            pair.1.notify_one();
        }
        thread.join().unwrap();
        assert_eq!(*pair.0.lock().unwrap(), 200);
    });
}

#[test]
fn notify_all_wakes_all() {
    places::everywhere(|| {
        let pair = Arc::new((Mutex::new((0, false)), Condvar::new()));
        let threads = places::spawn_mixed(10, {
            let pair = Arc::clone(&pair);
            move |_| {
                let mut state = pair.0.lock().unwrap();
                state.0 += 1;
                pair.1.notify_all();
                drop(pair.1.wait_while(state, |state| !state.1).unwrap());
            }
        });
        let mut state = pair.1.wait_while(pair.0.lock().unwrap(), |state| state.0 < 10).unwrap();
        state.1 = true;
        drop(state);
        pair.1.notify_all();
        threads.join();
    });
}

#[test]
fn condvar_times_out() {
    places::everywhere(|| {
        let pair = (Mutex::new(0), Condvar::new());
        let (guard, result) =
            pair.1.wait_timeout_while(pair.0.lock().unwrap(), SHORT, |value| *value == 0).unwrap();
        assert!(result.timed_out());
        let (guard, result) = pair.1.wait_timeout_while(guard, LONG, |value| *value == 1).unwrap();
        assert!(!result.timed_out());
        assert!(pair.1.wait_timeout(guard, SHORT).unwrap().1.timed_out());
        // The mutex is free again, and the one who timed out is gone from the line.
        pair.1.notify_one();
        assert!(pair.0.try_lock().is_ok());
    });
}

#[test]
fn a_notification_reaches_another_if_the_notified_is_cancelled() {
    places::everywhere(|| {
        for _ in 0..50 {
            let pair = Arc::new((Mutex::new((0, 0)), Condvar::new()));
            let wait = |pair: Arc<(Mutex<(i32, i32)>, Condvar)>| {
                thread::spawn(move || {
                    let mut state = pair.0.lock().unwrap();
                    state.0 += 1;
                    let mut state = pair.1.wait_while(state, |state| state.1 == 0).unwrap();
                    state.1 -= 1;
                })
            };
            let (first, second) = (wait(Arc::clone(&pair)), wait(Arc::clone(&pair)));
            while pair.0.lock().unwrap().0 < 2 {
                thread::yield_now();
            }
            let mut state = pair.0.lock().unwrap();
            state.1 = 1;
            pair.1.notify_one();
            first.cancel();
            drop(state);
            if first.join().is_ok() {
                // It was not the one notified, or had the mutex already: then the other goes on waiting.
                pair.0.lock().unwrap().1 = 1;
                pair.1.notify_one();
            }
            second.join().unwrap();
        }
    });
}

#[test]
fn barrier_lets_all_go_together_and_has_one_leader() {
    places::everywhere(|| {
        let barrier = Arc::new(Barrier::new(8));
        let (arrived, leaders) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let threads = places::spawn_mixed(8, {
            let leaders = Arc::clone(&leaders);
            move |_| {
                for round in 1..=10 {
                    arrived.fetch_add(1, Ordering::Relaxed);
                    leaders.fetch_add(usize::from(barrier.wait().is_leader()), Ordering::Relaxed);
                    assert!(arrived.load(Ordering::Relaxed) >= 8 * round);
                }
            }
        });
        threads.join();
        assert_eq!(leaders.load(Ordering::Relaxed), 10);
    });
}

#[test]
fn once_runs_once() {
    places::everywhere(|| {
        let once = Arc::new(Once::new());
        let runs = Arc::new(AtomicUsize::new(0));
        let threads = places::spawn_mixed(10, {
            let (once, runs) = (Arc::clone(&once), Arc::clone(&runs));
            move |_| {
                once.call_once(|| {
                    thread::yield_now();
                    runs.fetch_add(1, Ordering::Relaxed);
                });
                assert_eq!(runs.load(Ordering::Relaxed), 1);
            }
        });
        once.wait();
        threads.join();
        assert!(once.is_completed());
    });
}

#[test]
fn a_panic_poisons_once_and_force_mends_it() {
    places::everywhere(|| {
        let once = Once::new();
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            once.call_once(|| std::panic::resume_unwind(Box::new("on purpose")));
        }));
        assert!(panicked.is_err());
        once.call_once_force(|state| assert!(state.is_poisoned()));
        once.call_once(|| unreachable!());
    });
}

#[test]
fn a_cancelled_initialization_is_done_by_the_next() {
    places::everywhere(|| {
        let cell = Arc::new(OnceLock::new());
        let running = Arc::new(Event::new());
        let first = thread::spawn({
            let (cell, running) = (Arc::clone(&cell), Arc::clone(&running));
            move || {
                cell.get_or_init(|| {
                    running.set();
                    thread::park();
                    1
                });
            }
        });
        running.wait();
        let second = thread::spawn({
            let cell = Arc::clone(&cell);
            move || *cell.get_or_init(|| 2)
        });
        first.cancel();
        assert!(first.join().is_err());
        assert_eq!(second.join().unwrap(), 2);
        assert_eq!(*cell.wait(), 2);
    });
}

#[test]
fn once_lock_keeps_the_first_value() {
    let mut cell = OnceLock::new();
    assert_eq!(cell.get(), None);
    assert_eq!(cell.set(String::from("a")), Ok(()));
    assert_eq!(cell.set(String::from("b")), Err(String::from("b")));
    assert_eq!(cell, OnceLock::from(String::from("a")));
    assert_eq!(cell.clone().into_inner().as_deref(), Some("a"));
    assert_eq!(cell.take().as_deref(), Some("a"));
    assert_eq!(cell.get_or_init(|| String::from("c")), "c");
    assert_eq!(format!("{cell:?}"), "OnceLock(\"c\")");
}

#[test]
fn lazy_lock_panics_for_good_when_its_closure_has() {
    let lazy: LazyLock<u32> = LazyLock::new(|| std::panic::resume_unwind(Box::new("on purpose")));
    assert!(catch_unwind(AssertUnwindSafe(|| *lazy)).is_err());
    let again = catch_unwind(AssertUnwindSafe(|| *lazy)).unwrap_err();
    assert!(again.downcast_ref::<&str>().unwrap().contains("poisoned"));
}

#[test]
fn a_lazy_value_is_made_once() {
    places::everywhere(|| {
        let made = Arc::new(AtomicUsize::new(0));
        let lazy = Arc::new(LazyLock::new({
            let made = Arc::clone(&made);
            move || {
                thread::yield_now();
                made.fetch_add(1, Ordering::Relaxed)
            }
        }));
        places::spawn_mixed(10, move |_| assert_eq!(**lazy, 0)).join();
        assert_eq!(made.load(Ordering::Relaxed), 1);
    });
}
