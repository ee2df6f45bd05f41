//! `Semaphore`, `Event`, `ReentrantMutex`, `WaitGroup`, `Pool`.

use std::cell::Cell;
use std::io;
use std::time::Duration;

use sward::sync::atomic::{AtomicUsize, Ordering};
use sward::sync::{Arc, Event, Pool, PoolError, ReentrantMutex, Semaphore, WaitGroup};
use sward::thread;

use crate::places;

const SHORT: Duration = Duration::from_millis(1);

#[test]
fn a_semaphore_lets_in_as_many_as_it_has_permits() {
    places::everywhere(|| {
        let semaphore = Arc::new(Semaphore::new(3));
        let inside = Arc::new(AtomicUsize::new(0));
        let threads = places::spawn_mixed(20, {
            let semaphore = Arc::clone(&semaphore);
            move |_| {
                for _ in 0..20 {
                    let _permit = semaphore.acquire(1);
                    assert!(inside.fetch_add(1, Ordering::SeqCst) < 3);
                    thread::yield_now();
                    inside.fetch_sub(1, Ordering::SeqCst);
                }
            }
        });
        threads.join();
        assert_eq!(semaphore.available_permits(), 3);
    });
}

#[test]
fn who_wants_many_permits_is_not_overtaken() {
    places::everywhere(|| {
        let semaphore = Arc::new(Semaphore::new(2));
        let first = semaphore.acquire(1);
        let many = thread::spawn({
            let semaphore = Arc::clone(&semaphore);
            move || assert_eq!(semaphore.acquire(2).count(), 2)
        });
        // One permit is left, but not for those who come later.
        while semaphore.try_acquire(1).is_some() {
            thread::yield_now();
        }
        assert!(semaphore.acquire_timeout(1, SHORT).is_none());
        drop(first);
        many.join().unwrap();
        assert_eq!(semaphore.available_permits(), 2);
    });
}

#[test]
fn those_behind_one_who_leaves_the_line_go_on() {
    places::everywhere(|| {
        let semaphore = Arc::new(Semaphore::new(1));
        let many = thread::spawn({
            let semaphore = Arc::clone(&semaphore);
            move || drop(semaphore.acquire(2))
        });
        while semaphore.try_acquire(1).is_some() {
            thread::yield_now();
        }
        let one = thread::spawn({
            let semaphore = Arc::clone(&semaphore);
            move || drop(semaphore.acquire(1))
        });
        thread::yield_now();
        many.cancel();
        assert!(many.join().is_err());
        one.join().unwrap();
    });
}

#[test]
fn a_bounded_semaphore_refuses_what_was_not_taken() {
    let semaphore = Semaphore::bounded(2);
    let error = semaphore.add_permits(1).unwrap_err();
    assert!(error.to_string().contains("bound of 2"), "{error}");
    semaphore.acquire(1).forget();
    assert_eq!(semaphore.available_permits(), 1);
    assert_eq!(semaphore.add_permits(1), Ok(()));
    assert!(Semaphore::new(2).add_permits(5).is_ok());
}

#[test]
fn an_event_wakes_all_and_those_who_come_later() {
    places::everywhere(|| {
        let event = Arc::new(Event::new());
        assert!(!event.wait_timeout(SHORT));
        let threads = places::spawn_mixed(10, {
            let event = Arc::clone(&event);
            move |_| event.wait()
        });
        event.set();
        threads.join();
        event.wait();
        assert!(event.is_set() && event.wait_timeout(SHORT));
        event.clear();
        assert!(!event.is_set() && !event.wait_timeout(SHORT));
    });
}

#[test]
fn a_reentrant_mutex_belongs_to_a_thread() {
    places::everywhere(|| {
        let mutex = Arc::new(ReentrantMutex::new(Cell::new(0)));
        let (first, second) = (mutex.lock(), mutex.try_lock().unwrap());
        // Another green thread of the same worker is another thread.
        let tried = Arc::new(Event::new());
        let other = thread::spawn({
            let (mutex, tried) = (Arc::clone(&mutex), Arc::clone(&tried));
            move || {
                assert!(mutex.try_lock().is_none());
                tried.set();
                mutex.lock().set(2);
            }
        });
        tried.wait();
        drop(second);
        thread::yield_now();
        assert_eq!(first.get(), 0);
        drop(first);
        other.join().unwrap();
        assert_eq!(mutex.lock().get(), 2);
    });
}

#[test]
fn a_reentrant_mutex_excludes() {
    places::everywhere(|| {
        let mutex = Arc::new(ReentrantMutex::new(Cell::new(0)));
        let threads = places::spawn_mixed(10, {
            let mutex = Arc::clone(&mutex);
            move |_| {
                for _ in 0..50 {
                    let outer = mutex.lock();
                    let seen = outer.get();
                    thread::yield_now();
                    mutex.lock().set(seen + 1);
                }
            }
        });
        threads.join();
        assert_eq!(mutex.lock().get(), 500);
    });
}

#[test]
fn a_wait_group_waits_for_its_members() {
    places::everywhere(|| {
        let group = WaitGroup::new();
        let done = Arc::new(AtomicUsize::new(0));
        let threads: Vec<_> = (0..10)
            .map(|_| {
                let (member, done) = (group.clone(), Arc::clone(&done));
                thread::spawn(move || {
                    thread::yield_now();
                    done.fetch_add(1, Ordering::Relaxed);
                    drop(member);
                })
            })
            .collect();
        group.wait();
        assert_eq!(done.load(Ordering::Relaxed), 10);
        for thread in threads {
            thread.join().unwrap();
        }
        let group = WaitGroup::new();
        let _member = group.clone();
        assert!(!group.wait_timeout(SHORT));
    });
}

#[test]
fn a_pool_lends_no_more_than_its_limit_and_makes_no_more_than_it_needs() {
    places::everywhere(|| {
        let made = Arc::new(AtomicUsize::new(0));
        let pool = Arc::new(Pool::new(2, {
            let made = Arc::clone(&made);
            move || io::Result::Ok(made.fetch_add(1, Ordering::Relaxed))
        }));
        drop(pool.get().unwrap());
        drop(pool.get().unwrap());
        assert_eq!((made.load(Ordering::Relaxed), pool.idle(), pool.lent()), (1, 1, 0));
        let (first, second) = (pool.get().unwrap(), pool.get().unwrap());
        assert_eq!((*first, *second, pool.lent()), (0, 1, 2));
        assert!(matches!(pool.try_get(), Err(PoolError::Empty)));
        assert!(matches!(pool.get_timeout(SHORT), Err(PoolError::TimedOut)));
        let waiter = thread::spawn({
            let pool = Arc::clone(&pool);
            move || *pool.get().unwrap()
        });
        thread::yield_now();
        second.discard();
        assert_eq!(waiter.join().unwrap(), 2);
        assert_eq!(first.detach(), 0);
        assert_eq!((pool.idle(), pool.lent()), (1, 0));
        pool.clear();
        assert_eq!(*pool.get().unwrap(), 3);
    });
}

#[test]
fn a_pool_takes_back_nothing_from_one_who_unwinds_and_no_place_is_lost() {
    places::everywhere(|| {
        let pool = Arc::new(Pool::new(1, || io::Result::Ok(1)));
        let lent = Arc::new(Event::new());
        let thread = thread::spawn({
            let (pool, lent) = (Arc::clone(&pool), Arc::clone(&lent));
            move || {
                let _item = pool.get().unwrap();
                lent.set();
                thread::park();
            }
        });
        lent.wait();
        thread.cancel();
        assert!(thread.join().is_err());
        assert_eq!((pool.idle(), pool.lent()), (0, 0));
        let broken = Pool::<u32>::new(1, || Err(io::ErrorKind::ConnectionRefused.into()));
        assert!(broken.get().is_err());
        assert!(matches!(broken.try_get(), Err(PoolError::Factory(_))));
    });
}

#[test]
fn groups_and_pools_serve_threads_of_both_kinds() {
    places::everywhere(|| {
        let pool = Arc::new(Pool::new(2, || io::Result::Ok(Cell::new(0))));
        let group = WaitGroup::new();
        let threads = places::spawn_mixed(10, {
            // Each takes one of the members with it.
            let members = std::sync::Mutex::new((0..10).map(|_| group.clone()).collect::<Vec<_>>());
            let pool = Arc::clone(&pool);
            move |_| {
                let member = members.lock().unwrap().pop();
                for _ in 0..20 {
                    let item = pool.get().unwrap();
                    let seen = item.get();
                    thread::yield_now();
                    item.set(seen + 1);
                }
                drop(member);
            }
        });
        group.wait();
        let (first, second) = (pool.get().unwrap(), pool.get().unwrap());
        assert_eq!(first.get() + second.get(), 200);
        drop((first, second));
        threads.join();
    });
}
