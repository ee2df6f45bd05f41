//! The lists of waiters, and the locks and channels over them, in random interleavings; with cancels and deadlines
//! that come at any moment. A lost wake-up shows as a deadlock, which shuttle reports with the schedule that led to it.

#![allow(dead_code, reason = "the files are included as they are")]

#[path = "shuttle/channel.rs"]
mod channel;
#[path = "shuttle/diagnosis.rs"]
mod diagnosis;
#[path = "shuttle/primitive.rs"]
mod primitive;
#[path = "shuttle/runtime.rs"]
mod runtime;
#[path = "shuttle/sync.rs"]
mod sync;
#[path = "shuttle/thread.rs"]
mod thread;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use sync::semaphore::Semaphore;
use sync::{Condvar, Mutex, RwLock};
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
