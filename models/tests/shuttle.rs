//! The lists of waiters, and the locks, cells, channels, queues and pools over them, in random interleavings; with cancels and deadlines
//! that come at any moment. A lost wake-up shows as a deadlock, which shuttle reports with the schedule that led to it.

#![allow(dead_code, reason = "the files are included as they are")]

#[path = "shuttle/channel.rs"]
mod channel;
#[path = "shuttle/diagnosis.rs"]
mod diagnosis;
#[path = "shuttle/primitive.rs"]
mod primitive;
#[path = "shuttle/queue.rs"]
mod queue;
#[path = "shuttle/runtime.rs"]
mod runtime;
#[path = "shuttle/sync.rs"]
mod sync;
#[path = "shuttle/thread.rs"]
mod thread;

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use queue::{Fifo, Lifo, Priority};
use sync::semaphore::Semaphore;
use sync::{
    Barrier, Condvar, Event, LazyLock, Mutex, Once, OnceLock, Pool, ReentrantMutex, RwLock, WaitGroup,
};
use thread::{Kind, spawn};

const INTERLEAVINGS: usize = 10_000;

/// How many workers there are, for those who ask whether a holder may run elsewhere.
fn worker_count() -> Option<usize> {
    Some(2)
}

fn check(model: impl Fn() + Send + Sync + 'static) {
    let model = Arc::new(model);
    let again = Arc::clone(&model);
    shuttle::check_random(move || model(), INTERLEAVINGS);
    // Priorities change at few places: finds what needs long runs of one thread.
    shuttle::check_pct(move || again(), INTERLEAVINGS, 3);
}

/// Three threads of both kinds run `body`, and one of them is cancelled at some moment: then it leaves the line, and tries again.
fn three(body: impl Fn(usize) + Send + Sync + 'static) {
    let threads = start(body);
    threads[0].cancel();
    threads.into_iter().for_each(thread::Thread::join);
}

fn start(body: impl Fn(usize) + Send + Sync + 'static) -> Vec<thread::Thread> {
    let body = Arc::new(body);
    [Kind::Green, Kind::Os, Kind::Green]
        .into_iter()
        .enumerate()
        .map(|(index, kind)| {
            let body = Arc::clone(&body);
            spawn(kind, move || body(index))
        })
        .collect()
}

#[test]
fn mutex() {
    check(|| {
        let lock = Arc::new(Mutex::new(0));
        let shared = Arc::clone(&lock);
        three(move |_| (0..2).for_each(|_| *shared.lock().unwrap() += 1));
        assert_eq!(*lock.try_lock().unwrap(), 6);
    });
}

#[test]
fn reentrant_mutex() {
    check(|| {
        let lock = Arc::new(ReentrantMutex::new(Cell::new((0, 0))));
        let shared = Arc::clone(&lock);
        three(move |_| {
            let outer = shared.lock();
            let (first, second) = outer.get();
            outer.set((first + 1, second));
            shuttle::thread::yield_now();
            let inner = shared.lock();
            inner.set((first + 1, second + 1));
            drop(outer);
            shuttle::thread::yield_now();
            assert_eq!(inner.get(), (first + 1, second + 1));
        });
        assert_eq!(lock.try_lock().unwrap().get(), (3, 3));
    });
}

#[test]
fn rwlock() {
    check(|| {
        let lock = Arc::new(RwLock::new((0, 0)));
        let shared = Arc::clone(&lock);
        three(move |index| {
            if index < 2 {
                let mut counts = shared.write().unwrap();
                counts.0 += 1;
                shuttle::thread::yield_now();
                counts.1 += 1;
            }
            let counts = shared.read().unwrap();
            assert_eq!(counts.0, counts.1);
        });
        assert_eq!(*lock.try_write().unwrap(), (2, 2));
    });
}

#[test]
fn condvar() {
    check(|| {
        let place = Arc::new((Mutex::new(1), Condvar::new()));
        let shared = Arc::clone(&place);
        three(move |_| {
            *shared.1.wait_while(shared.0.lock().unwrap(), |tokens| *tokens == 0).unwrap() -= 1;
            *shared.0.lock().unwrap() += 1;
            shared.1.notify_one();
        });
        assert_eq!(*place.0.try_lock().unwrap(), 1);
    });
}

#[test]
fn semaphore() {
    check(|| {
        let semaphore = Arc::new(Semaphore::bounded(2));
        let shared = Arc::clone(&semaphore);
        // Nobody is cancelled: where the library unwinds, this model has no way out.
        let threads = start(move |index| drop(shared.acquire(1 + index % 2)));
        threads.into_iter().for_each(thread::Thread::join);
        assert_eq!(semaphore.available_permits(), 2);
    });
}

#[test]
fn channels() {
    for capacity in [Some(0), Some(1), None] {
        check(move || {
            let (sender, receiver) = channel::channel(capacity);
            let collector = spawn(Kind::Green, move || assert_eq!(receiver.iter().count(), 6));
            collector.cancel();
            three(move |index| (0..2).for_each(|_| sender.send(index).unwrap()));
            collector.join();
        });
    }
}

#[test]
fn deadlines() {
    check(|| {
        let (sender, receiver) = channel::channel(Some(0));
        let received = Arc::new(AtomicUsize::new(0));
        let (sent, count) = (Arc::new(AtomicUsize::new(0)), Arc::clone(&received));
        let now = Instant::now();
        let collector = spawn(Kind::Os, move || {
            while receiver.recv().is_ok() {
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
        let shared = Arc::clone(&sent);
        three(move |_| {
            if sender.send_deadline((), now).is_ok() {
                shared.fetch_add(1, Ordering::Relaxed);
            }
        });
        collector.join();
        assert_eq!(sent.load(Ordering::Relaxed), received.load(Ordering::Relaxed));
    });
}

/// Three threads put, two get, and one waits until the work is done; in each order, with room for one item and for any number. One of
/// each side is cancelled at some moment. Then the queue is closed, which those who get learn.
macro_rules! queue {
    ($name:ident, $queue:ident) => {
        #[test]
        fn $name() {
            for maxsize in [0, 1] {
                check(move || {
                    let queue = Arc::new($queue::new(maxsize));
                    let sum = Arc::new(AtomicUsize::new(0));
                    let getters = [Kind::Green, Kind::Os].map(|kind| {
                        let (queue, sum) = (Arc::clone(&queue), Arc::clone(&sum));
                        spawn(kind, move || {
                            while let Ok(item) = queue.get() {
                                sum.fetch_add(item, Ordering::Relaxed);
                                queue.task_done();
                            }
                        })
                    });
                    getters[0].cancel();
                    let shared = Arc::clone(&queue);
                    three(move |index| [1, 10].iter().for_each(|item| shared.put(item << index).unwrap()));
                    queue.join();
                    assert_eq!(sum.load(Ordering::Relaxed), 7 * 11);
                    queue.close();
                    getters.into_iter().for_each(thread::Thread::join);
                    assert!(queue.put(1).is_err() && queue.is_empty());
                });
            }
        }
    };
}

queue!(fifo_queue, Fifo);
queue!(lifo_queue, Lifo);
queue!(priority_queue, Priority);

/// A queue is closed while threads wait at both ends: each item is got, or taken out by who closes, or given back.
#[test]
fn a_queue_that_is_closed() {
    check(|| {
        let queue = Arc::new(Fifo::new(1));
        let (got, given_back) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (shared, count, back) = (Arc::clone(&queue), Arc::clone(&got), Arc::clone(&given_back));
        let threads = start(move |index| {
            if index == 2 {
                if shared.get().is_ok() {
                    count.fetch_add(1, Ordering::Relaxed);
                    shared.task_done();
                }
                return shared.join();
            }
            back.fetch_add(usize::from(shared.put(index).is_err()), Ordering::Relaxed);
        });
        let taken_out = queue.close_now().len();
        threads.into_iter().for_each(thread::Thread::join);
        assert_eq!(got.load(Ordering::Relaxed) + given_back.load(Ordering::Relaxed) + taken_out, 2);
    });
}

#[test]
fn once() {
    check(|| {
        let once = Arc::new(Once::new());
        let runs = Arc::new(AtomicUsize::new(0));
        let (shared, count) = (Arc::clone(&once), Arc::clone(&runs));
        three(move |index| {
            if index == 1 {
                shared.wait();
            } else {
                shared.call_once(|| {
                    shuttle::thread::yield_now();
                    count.fetch_add(1, Ordering::Relaxed);
                });
            }
            assert_eq!(count.load(Ordering::Relaxed), 1);
        });
        assert!(once.is_completed());
    });
}

/// All get the value that one of them makes, or that the main thread sets. (That a closure panics is left out: shuttle does not switch
/// while a thread unwinds.)
#[test]
fn once_lock() {
    check(|| {
        let cell = Arc::new(OnceLock::new());
        let made = Arc::new(AtomicUsize::new(0));
        let (shared, count) = (Arc::clone(&cell), Arc::clone(&made));
        let threads = start(move |index| {
            let value = if index == 1 {
                shared.wait()
            } else {
                shared.get_or_init(|| {
                    shuttle::thread::yield_now();
                    count.fetch_add(1, Ordering::Relaxed);
                    Box::new(index)
                })
            };
            assert_eq!(Some(value), shared.get());
        });
        threads[0].cancel();
        let set = cell.set(Box::new(9));
        assert_eq!(cell.get().is_some_and(|value| **value == 9), set.is_ok());
        threads.into_iter().for_each(thread::Thread::join);
        assert_eq!(made.load(Ordering::Relaxed), usize::from(set.is_err()));
    });
}

#[test]
fn lazy_lock() {
    check(|| {
        let made = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&made);
        let lazy = Arc::new(LazyLock::new(move || {
            shuttle::thread::yield_now();
            count.fetch_add(1, Ordering::Relaxed)
        }));
        three(move |index| {
            assert!(index != 1 || LazyLock::get(&lazy).is_none_or(|value| *value == 0));
            assert_eq!(**lazy, 0);
            assert_eq!(LazyLock::get(&lazy), Some(&0));
        });
        assert_eq!(made.load(Ordering::Relaxed), 1);
    });
}

#[test]
fn wait_group() {
    check(|| {
        let group = WaitGroup::new();
        let done = Arc::new(AtomicUsize::new(0));
        let members: Vec<_> = [Kind::Green, Kind::Os]
            .into_iter()
            .map(|kind| {
                let (member, done) = (group.clone(), Arc::clone(&done));
                spawn(kind, move || {
                    let another = member.clone();
                    drop(member);
                    done.fetch_add(1, Ordering::Relaxed);
                    drop(another);
                })
            })
            .collect();
        // One waits for its own clone as well, which is gone when it waits.
        let (other, count) = (group.clone(), Arc::clone(&done));
        let waits = spawn(Kind::Green, move || {
            other.wait();
            assert_eq!(count.load(Ordering::Relaxed), 2);
        });
        if group.wait_timeout(Duration::ZERO) {
            assert_eq!(done.load(Ordering::Relaxed), 2);
        }
        waits.join();
        members.into_iter().for_each(thread::Thread::join);
    });
}

/// Two things at most are there at a time, whether lent, idle, or being made or dropped.
#[test]
fn pool() {
    struct Thing(Arc<AtomicUsize>);
    impl Drop for Thing {
        fn drop(&mut self) {
            shuttle::thread::yield_now();
            self.0.fetch_sub(1, Ordering::Relaxed);
        }
    }
    check(|| {
        let there = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&there);
        let pool = Arc::new(Pool::new(2, move || {
            assert!(count.fetch_add(1, Ordering::Relaxed) < 2);
            shuttle::thread::yield_now();
            Ok::<_, ()>(Thing(Arc::clone(&count)))
        }));
        let shared = Arc::clone(&pool);
        let threads = start(move |index| {
            drop(shared.get());
            let thing = if index == 2 { shared.get_timeout(Duration::ZERO).ok() } else { shared.get().ok() };
            shuttle::thread::yield_now();
            match thing {
                Some(thing) if index == 0 => thing.discard(),
                thing => drop(thing),
            }
            assert!(shared.lent() <= 2);
        });
        threads.into_iter().for_each(thread::Thread::join);
        assert_eq!((pool.lent(), pool.idle()), (0, there.load(Ordering::Relaxed)));
        pool.clear();
        assert_eq!((pool.idle(), there.load(Ordering::Relaxed)), (0, 0));
        drop((pool.get(), pool.get()));
        assert_eq!(pool.idle(), 2);
    });
}

#[test]
fn event() {
    check(|| {
        let (event, go) = (Arc::new(Event::new()), Arc::new(Event::new()));
        let (theirs, gone) = (Arc::clone(&event), Arc::clone(&go));
        let threads = start(move |_| {
            theirs.wait();
            gone.wait();
        });
        event.set();
        // Whoever comes now waits until the next time; whoever waits has been told.
        event.clear();
        go.set();
        event.set();
        threads.into_iter().for_each(thread::Thread::join);
    });
}

#[test]
fn barrier() {
    check(|| {
        let barrier = Arc::new(Barrier::new(3));
        let (arrived, leaders) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let count = Arc::clone(&leaders);
        let threads = start(move |_| {
            for round in 1..=2 {
                arrived.fetch_add(1, Ordering::Relaxed);
                count.fetch_add(usize::from(barrier.wait().is_leader()), Ordering::Relaxed);
                assert!(arrived.load(Ordering::Relaxed) >= 3 * round);
            }
        });
        threads.into_iter().for_each(thread::Thread::join);
        assert_eq!(leaders.load(Ordering::Relaxed), 2);
    });
}

/// Selects and plain operations at both ends.
#[test]
fn selects() {
    for capacity in [Some(0), Some(1)] {
        check(move || {
            let (sender, receiver) = channel::channel(capacity);
            let received = Arc::new(AtomicUsize::new(0));
            let (plain, plainly) = (receiver.clone(), Arc::clone(&received));
            let collectors = [
                spawn(Kind::Os, move || {
                    plainly.fetch_add(plain.iter().count(), Ordering::Relaxed);
                }),
                spawn(Kind::Green, {
                    let received = Arc::clone(&received);
                    move || {
                        let (_quiet, idle) = channel::channel::<()>(Some(0));
                        while select_recv(&idle, &receiver) {
                            received.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                }),
            ];
            collectors[1].cancel();
            three(move |index| {
                if index == 1 {
                    return sender.send(index).unwrap();
                }
                let mut select = channel::select::Select::new();
                select.send(&sender);
                select.select().send(&sender, index).unwrap();
            });
            collectors.into_iter().for_each(thread::Thread::join);
            assert_eq!(received.load(Ordering::Relaxed), 3);
        });
    }
}

/// Receives from the second of two channels; false if it is disconnected.
fn select_recv(idle: &channel::Receiver<()>, receiver: &channel::Receiver<usize>) -> bool {
    let mut select = channel::select::Select::new();
    select.recv(idle);
    let index = select.recv(receiver);
    let operation = select.select();
    assert_eq!(operation.index(), index);
    operation.recv(receiver).is_ok()
}
