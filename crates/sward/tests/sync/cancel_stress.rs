//! Ten thousand green threads over one lock, channel or queue, and cancels of random ones: no wake-up
//! is lost (the test ends), and the counts are exact.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use sward::sync::{Condvar, Mutex, RwLock, Semaphore};
use sward::{channel, queue, thread};

use crate::places;

const THREADS: usize = 10_000;

/// Runs `body` on so many green threads, and cancels about a third of them meanwhile. Returns how many came to
/// their end.
fn stress(body: impl Fn(usize) + Send + Sync + 'static) -> usize {
    let body = Arc::new(body);
    let threads: Vec<_> = (0..THREADS)
        .map(|index| {
            let body = Arc::clone(&body);
            let builder = thread::Builder::new().stack_size(64 * 1024);
            builder.spawn(move || body(index)).expect("there is memory for its stack")
        })
        .collect();
    let mut random = 0x2545_F491_u32;
    for (index, thread) in threads.iter().enumerate() {
        random ^= random << 13;
        random ^= random >> 17;
        random ^= random << 5;
        if random.is_multiple_of(3) {
            thread.cancel();
        }
        if index % 16 == 0 {
            thread::yield_now();
        }
    }
    let ends = threads.into_iter().map(|thread| match thread.join() {
        Ok(()) => 1,
        Err(payload) if payload.is::<thread::Cancelled>() => 0,
        Err(payload) => std::panic::resume_unwind(payload),
    });
    ends.sum()
}

fn on_one_and_two_workers(test: impl Fn() + Sync) {
    for workers in [1, 2] {
        places::on_workers(workers, &test);
    }
}

#[test]
fn on_a_mutex() {
    on_one_and_two_workers(|| {
        let lock = Arc::new(Mutex::new((0, 0)));
        let ended = stress({
            let lock = Arc::clone(&lock);
            move |index| {
                let mut counts = lock.lock().unwrap();
                counts.0 += 1;
                if index % 4 == 0 {
                    thread::shield(thread::yield_now);
                }
                counts.1 += 1;
            }
        });
        let counts = *lock.try_lock().unwrap();
        assert_eq!(counts.0, counts.1);
        assert!(counts.0 >= ended && ended > 0);
    });
}

#[test]
fn on_an_rwlock() {
    on_one_and_two_workers(|| {
        let lock = Arc::new(RwLock::new((0, 0)));
        stress({
            let lock = Arc::clone(&lock);
            move |index| {
                if index % 3 == 0 {
                    let mut counts = lock.write().unwrap();
                    counts.0 += 1;
                    thread::shield(thread::yield_now);
                    counts.1 += 1;
                } else {
                    let counts = lock.read().unwrap();
                    thread::yield_now();
                    assert_eq!(counts.0, counts.1);
                }
            }
        });
        let counts = *lock.try_write().unwrap();
        assert_eq!(counts.0, counts.1);
    });
}

#[test]
fn on_a_condvar() {
    on_one_and_two_workers(|| {
        let place = Arc::new((Mutex::new(0), Condvar::new()));
        // Each takes a token and puts it back.
        *place.0.lock().unwrap() = 3;
        stress({
            let place = Arc::clone(&place);
            move |_| {
                struct PutBack<'a>(&'a (Mutex<i32>, Condvar));
                impl Drop for PutBack<'_> {
                    fn drop(&mut self) {
                        // Where nothing unwinds yet, waiting for the mutex is a cancellation point here, too.
                        thread::shield(|| *self.0.0.lock().unwrap() += 1);
                        self.0.1.notify_one();
                    }
                }
                *place.1.wait_while(place.0.lock().unwrap(), |tokens| *tokens == 0).unwrap() -= 1;
                let _put_back = PutBack(&place);
                thread::yield_now();
            }
        });
        assert_eq!(*place.0.lock().unwrap(), 3);
    });
}

#[test]
fn on_a_semaphore() {
    on_one_and_two_workers(|| {
        let semaphore = Arc::new(Semaphore::bounded(5));
        stress({
            let semaphore = Arc::clone(&semaphore);
            move |index| {
                let _permit = semaphore.acquire(1 + index % 3);
                thread::yield_now();
            }
        });
        assert_eq!(semaphore.available_permits(), 5);
    });
}

#[test]
fn on_channels() {
    on_one_and_two_workers(|| {
        for capacity in [Some(0), Some(4), None] {
            let (sender, receiver) = capacity.map_or_else(channel::unbounded, channel::bounded);
            let sent = Arc::new(AtomicUsize::new(0));
            let collector = thread::spawn(move || receiver.iter().count());
            stress({
                let sent = Arc::clone(&sent);
                move |_| {
                    sender.send(()).unwrap();
                    sent.fetch_add(1, Ordering::Relaxed);
                }
            });
            assert_eq!(collector.join().unwrap(), sent.load(Ordering::Relaxed), "{capacity:?}");
        }
    });
}

#[test]
fn on_selects() {
    on_one_and_two_workers(|| {
        for capacity in [0, 4] {
            let (sender, receiver) = channel::bounded(capacity);
            let received = Arc::new(AtomicUsize::new(0));
            let feeder = thread::spawn(move || (0..).find(|_| sender.send(()).is_err()).unwrap_or(0));
            stress({
                let (receiver, received, idle) =
                    (receiver.clone(), Arc::clone(&received), channel::never::<()>());
                move |_| {
                    channel::select! {
                        recv(receiver) -> message => message.unwrap(),
                        recv(idle) -> _ => unreachable!(),
                    }
                    received.fetch_add(1, Ordering::Relaxed);
                }
            });
            drop(receiver);
            let (sent, received) = (feeder.join().unwrap(), received.load(Ordering::Relaxed));
            // What was sent and not received was in the buffer when the last receiver went.
            assert!(sent >= received && sent <= received + capacity, "{capacity}: {sent} {received}");
        }
    });
}

#[test]
fn on_a_queue() {
    on_one_and_two_workers(|| {
        let jobs = Arc::new(queue::Fifo::new(4));
        let put = Arc::new(AtomicUsize::new(0));
        let worker = thread::spawn({
            let jobs = Arc::clone(&jobs);
            move || {
                let mut got = 0;
                while jobs.get().is_ok() {
                    got += 1;
                    jobs.task_done();
                }
                got
            }
        });
        stress({
            let (jobs, put) = (Arc::clone(&jobs), Arc::clone(&put));
            move |index| {
                jobs.put(index).unwrap();
                put.fetch_add(1, Ordering::Relaxed);
            }
        });
        jobs.join();
        jobs.close();
        assert_eq!(worker.join().unwrap(), put.load(Ordering::Relaxed));
    });
}

/// No wake-up is lost once in a thousand times either.
#[test]
#[ignore = "takes minutes"]
fn on_each_a_hundred_times() {
    for _ in 0..100 {
        on_a_mutex();
        on_an_rwlock();
        on_a_condvar();
        on_a_semaphore();
        on_channels();
        on_selects();
        on_a_queue();
    }
}
