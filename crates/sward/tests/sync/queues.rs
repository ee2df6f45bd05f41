//! `sward::queue`.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use sward::queue::{Closed, Fifo, GetError, Lifo, Priority, PutError};
use sward::thread;

use crate::places;

const SHORT: Duration = Duration::from_millis(1);

#[test]
fn each_order_is_kept() {
    let (fifo, lifo, priority) = (Fifo::new(0), Lifo::new(0), Priority::new(0));
    for item in [2, 3, 1] {
        fifo.put(item).unwrap();
        lifo.put(item).unwrap();
        priority.put(item).unwrap();
    }
    assert_eq!(fifo.close_now(), [2, 3, 1]);
    assert_eq!(lifo.close_now(), [1, 3, 2]);
    assert_eq!(priority.close_now(), [1, 2, 3]);
}

#[test]
fn a_full_queue_gives_the_item_back() {
    places::everywhere(|| {
        let queue = Fifo::new(1);
        assert!(queue.is_empty() && !queue.is_full() && queue.maxsize() == 1);
        queue.put(1).unwrap();
        assert!(queue.is_full() && queue.len() == 1);
        assert_eq!(queue.try_put(2), Err(PutError::Full(2)));
        assert_eq!(queue.put_timeout(2, SHORT), Err(PutError::Full(2)));
        assert_eq!(queue.try_get(), Ok(1));
        assert_eq!(queue.try_get(), Err(GetError::Empty));
        assert_eq!(queue.get_timeout(SHORT), Err(GetError::Empty));
    });
}

#[test]
fn every_item_is_got_once_and_join_waits_for_the_work() {
    places::everywhere(|| {
        let queue = Arc::new(Fifo::new(3));
        let sum = Arc::new(AtomicUsize::new(0));
        let workers = places::spawn_mixed(4, {
            let (queue, sum) = (Arc::clone(&queue), Arc::clone(&sum));
            move |_| {
                while let Ok(item) = queue.get() {
                    thread::yield_now();
                    sum.fetch_add(item, Ordering::Relaxed);
                    queue.task_done();
                }
            }
        });
        let producers = places::spawn_mixed(4, {
            let queue = Arc::clone(&queue);
            move |_| (0..100).for_each(|item| queue.put(item).unwrap())
        });
        producers.join();
        queue.join();
        assert_eq!(sum.load(Ordering::Relaxed), 4 * 4950);
        queue.close();
        workers.join();
    });
}

#[test]
fn join_can_be_given_up() {
    let queue = Lifo::new(0);
    assert!(queue.join_timeout(SHORT));
    queue.put(1).unwrap();
    assert!(!queue.join_timeout(SHORT));
    queue.task_done();
    queue.join();
    assert!(catch_unwind(AssertUnwindSafe(|| queue.task_done())).is_err());
}

#[test]
fn a_closed_queue_is_drained_first() {
    let queue = Fifo::new(0);
    queue.put(1).unwrap();
    queue.close();
    assert!(queue.is_closed());
    assert_eq!(queue.put(2), Err(Closed(2)));
    assert_eq!(queue.try_put(2), Err(PutError::Closed(2)));
    assert_eq!(queue.get(), Ok(1));
    assert_eq!(queue.get(), Err(Closed(())));
    assert_eq!(queue.try_get(), Err(GetError::Closed));
}

#[test]
fn close_wakes_all_who_wait() {
    places::everywhere(|| {
        let (empty, full) = (Arc::new(Fifo::<i32>::new(1)), Arc::new(Fifo::new(1)));
        full.put(1).unwrap();
        let getter = thread::spawn({
            let empty = Arc::clone(&empty);
            move || empty.get()
        });
        let putter = thread::spawn({
            let full = Arc::clone(&full);
            move || full.put(2)
        });
        let joiner = thread::spawn({
            let full = Arc::clone(&full);
            move || full.join()
        });
        thread::yield_now();
        empty.close();
        assert_eq!(full.close_now(), [1]);
        assert_eq!(getter.join().unwrap(), Err(Closed(())));
        assert_eq!(putter.join().unwrap(), Err(Closed(2)));
        joiner.join().unwrap();
    });
}

#[test]
fn who_waits_to_put_is_not_overtaken() {
    places::everywhere(|| {
        let queue = Arc::new(Fifo::new(1));
        queue.put(0).unwrap();
        let putter = thread::spawn({
            let queue = Arc::clone(&queue);
            move || queue.put(1)
        });
        let waited = Arc::clone(&queue);
        thread::yield_now();
        assert_eq!((waited.get(), queue.get()), (Ok(0), Ok(1)));
        assert_eq!(putter.join().unwrap(), Ok(()));
    });
}

#[test]
fn every_order_hands_over_each_item_once() {
    places::everywhere(|| {
        let (lifo, priority) = (Arc::new(Lifo::new(2)), Arc::new(Priority::new(2)));
        let sum = Arc::new(AtomicUsize::new(0));
        let threads = places::spawn_mixed(8, {
            let sum = Arc::clone(&sum);
            move |index| {
                for item in 1..=50 {
                    if index < 4 {
                        lifo.put(item).unwrap();
                        priority.put(item).unwrap();
                    } else {
                        sum.fetch_add(lifo.get().unwrap() + priority.get().unwrap(), Ordering::Relaxed);
                        lifo.task_done();
                        priority.task_done();
                    }
                }
                lifo.join();
                priority.join();
            }
        });
        threads.join();
        assert_eq!(sum.load(Ordering::Relaxed), 2 * 4 * 1275);
    });
}
