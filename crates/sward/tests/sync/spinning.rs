//! Loops over calls that never wait: who spins until another thread moves does not keep that one from its turn, though they
//! share a worker.

use std::io;
use std::time::Duration;

use sward::queue::{Fifo, Lifo, Priority};
use sward::sync::atomic::{AtomicUsize, Ordering};
use sward::sync::mpsc::{channel, sync_channel};
use sward::sync::{Condvar, Event, Mutex, Pool, ReentrantMutex, RwLock, Semaphore};
use sward::thread;
use sward_testing::Watchdog;

use crate::places;

/// Spins over `attempt`, on a thread of its own, until `help`, on the calling thread, has made it succeed.
fn spin(mut attempt: impl FnMut() -> bool + Send, help: impl FnOnce()) {
    let failures = AtomicUsize::new(0);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !attempt() {
                failures.fetch_add(1, Ordering::Relaxed);
            }
        });
        // It fails before it is helped.
        while failures.load(Ordering::Relaxed) == 0 {
            thread::yield_now();
        }
        help();
    });
}

/// A test that runs everywhere, and is not over after a minute if a thread spins for ever.
macro_rules! spinning {
    ($($name:ident $body:block)*) => {
        $(
            #[test]
            fn $name() {
                let _watchdog = Watchdog::start(concat!("spinning::", stringify!($name)));
                places::everywhere(|| $body);
            }
        )*
    };
}

spinning! {
    mutex {
        let lock = Mutex::new(());
        let held = lock.lock().unwrap();
        spin(|| lock.try_lock().is_ok(), || drop(held));
    }

    rwlock_to_read {
        let lock = RwLock::new(());
        let held = lock.write().unwrap();
        spin(|| lock.try_read().is_ok(), || drop(held));
    }

    rwlock_to_write {
        let lock = RwLock::new(());
        let held = lock.read().unwrap();
        spin(|| lock.try_write().is_ok(), || drop(held));
    }

    reentrant_mutex {
        let lock = ReentrantMutex::new(());
        let held = lock.lock();
        spin(|| lock.try_lock().is_some(), || drop(held));
    }

    semaphore {
        let semaphore = Semaphore::new(1);
        let held = semaphore.acquire(1);
        spin(|| semaphore.try_acquire(1).is_some(), || drop(held));
    }

    semaphore_for_no_time {
        let semaphore = Semaphore::new(1);
        let held = semaphore.acquire(1);
        spin(|| semaphore.acquire_timeout(1, Duration::ZERO).is_some(), || drop(held));
    }

    pool {
        let pool = Pool::new(1, || io::Result::Ok(()));
        let held = pool.get().unwrap();
        spin(|| pool.try_get().is_ok(), || drop(held));
    }

    queues_to_get {
        let (fifo, lifo, priority) = (Fifo::new(1), Lifo::new(1), Priority::new(1));
        spin(|| fifo.try_get().is_ok(), || fifo.put(1).unwrap());
        spin(|| lifo.try_get().is_ok(), || lifo.put(1).unwrap());
        spin(|| priority.try_get().is_ok(), || priority.put(1).unwrap());
    }

    queues_to_put {
        let (fifo, lifo, priority) = (Fifo::new(1), Lifo::new(1), Priority::new(1));
        fifo.put(1).unwrap();
        lifo.put(1).unwrap();
        priority.put(1).unwrap();
        spin(|| fifo.try_put(2).is_ok(), || assert_eq!(fifo.get(), Ok(1)));
        spin(|| lifo.try_put(2).is_ok(), || assert_eq!(lifo.get(), Ok(1)));
        spin(|| priority.try_put(2).is_ok(), || assert_eq!(priority.get(), Ok(1)));
    }

    queue_for_no_time {
        let queue = Fifo::new(1);
        spin(|| queue.get_timeout(Duration::ZERO).is_ok(), || queue.put(1).unwrap());
        spin(|| queue.join_timeout(Duration::ZERO), || queue.task_done());
    }

    mpsc {
        let (sender, receiver) = channel();
        spin(move || receiver.try_recv().is_ok(), || sender.send(1).unwrap());
        let (sender, receiver) = sync_channel(1);
        sender.send(1).unwrap();
        spin(move || sender.try_send(2).is_ok(), || assert_eq!(receiver.recv(), Ok(1)));
        let (sender, receiver) = channel();
        spin(move || receiver.try_iter().count() > 0, || sender.send(1).unwrap());
        let (sender, receiver) = channel();
        spin(move || receiver.recv_timeout(Duration::ZERO).is_ok(), || sender.send(1).unwrap());
    }

    event_for_no_time {
        let event = Event::new();
        spin(|| event.wait_timeout(Duration::ZERO), || event.set());
    }

    condvar_for_no_time {
        let (lock, condvar) = (Mutex::new(false), Condvar::new());
        let is_set = || {
            let (guard, _) = condvar.wait_timeout(lock.lock().unwrap(), Duration::ZERO).unwrap();
            *guard
        };
        spin(is_set, || *lock.lock().unwrap() = true);
    }

    is_finished {
        let go = Event::new();
        thread::scope(|scope| {
            let waits = scope.spawn(|| go.wait());
            spin(|| waits.is_finished(), || go.set());
        });
        let thread = thread::spawn(thread::park);
        spin(|| thread.is_finished(), || thread.thread().unpark());
    }

    both {
        // Neither of them ever waits.
        let queues = [Fifo::new(1), Fifo::new(1)];
        thread::scope(|scope| {
            for side in 0..2 {
                let queues = &queues;
                scope.spawn(move || {
                    for number in 0..100 {
                        while queues[side].try_put(number).is_err() {}
                        while queues[1 - side].try_get() != Ok(number) {}
                    }
                });
            }
        });
    }
}
