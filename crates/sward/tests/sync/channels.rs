//! `sward::channel` as crossbeam-channel documents its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use sward::channel::{
    Receiver, RecvError, RecvTimeoutError, SendError, SendTimeoutError, Sender, TryRecvError, TrySendError,
    after, at, bounded, never, tick, unbounded,
};
use sward::thread;

use crate::places;

const SHORT: Duration = Duration::from_millis(1);
const LONG: Duration = Duration::from_secs(60);

#[test]
fn messages_come_in_order_whatever_the_capacity() {
    places::everywhere(|| {
        for capacity in [Some(0), Some(1), Some(7), None] {
            let (sender, receiver) = capacity.map_or_else(unbounded, bounded);
            let thread = thread::spawn(move || {
                for number in 0..200 {
                    sender.send(number).unwrap();
                }
            });
            assert!(receiver.iter().eq(0..200), "{capacity:?}");
            assert_eq!(receiver.recv(), Err(RecvError));
            thread.join().unwrap();
        }
    });
}

#[test]
fn every_message_reaches_exactly_one_receiver() {
    places::everywhere(|| {
        for capacity in [Some(0), Some(3), None] {
            let (sender, receiver) = capacity.map_or_else(unbounded, bounded);
            let sum = Arc::new(AtomicUsize::new(0));
            let receivers = places::spawn_mixed(4, {
                let (receiver, sum) = (receiver.clone(), Arc::clone(&sum));
                move |_| {
                    for number in &receiver {
                        sum.fetch_add(number, Ordering::Relaxed);
                    }
                }
            });
            let senders =
                places::spawn_mixed(4, move |_| (0..100).for_each(|number| sender.send(number).unwrap()));
            senders.join();
            receivers.join();
            assert_eq!(sum.load(Ordering::Relaxed), 4 * 99 * 100 / 2);
            drop(receiver);
        }
    });
}

#[test]
fn a_buffer_holds_its_capacity() {
    let (sender, receiver) = bounded(2);
    assert!(sender.is_empty() && !sender.is_full() && sender.capacity() == Some(2));
    sender.try_send(1).unwrap();
    sender.send(2).unwrap();
    assert_eq!(sender.try_send(3), Err(TrySendError::Full(3)));
    assert_eq!(sender.send_timeout(3, SHORT), Err(SendTimeoutError::Timeout(3)));
    assert!(receiver.is_full() && receiver.len() == 2 && sender.len() == 2);
    assert!(receiver.try_iter().eq([1, 2]));
    assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
    assert_eq!(receiver.recv_timeout(SHORT), Err(RecvTimeoutError::Timeout));
    assert_eq!(receiver.recv_deadline(Instant::now()), Err(RecvTimeoutError::Timeout));
    assert_eq!(unbounded::<i32>().0.capacity(), None);
}

#[test]
fn zero_capacity_needs_both_sides_at_once() {
    places::everywhere(|| {
        let (sender, receiver) = bounded(0);
        assert!(sender.is_empty() && sender.is_full() && receiver.capacity() == Some(0));
        assert_eq!(sender.try_send(1), Err(TrySendError::Full(1)));
        assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
        assert_eq!(sender.send_timeout(1, SHORT), Err(SendTimeoutError::Timeout(1)));
        assert_eq!(receiver.recv_timeout(SHORT), Err(RecvTimeoutError::Timeout));
        let thread = thread::spawn(move || sender.send(2));
        assert_eq!(receiver.recv_timeout(LONG), Ok(2));
        assert_eq!(thread.join().unwrap(), Ok(()));
    });
}

#[test]
fn disconnection_is_seen_on_both_sides() {
    let (sender, receiver) = unbounded();
    let second = sender.clone();
    sender.send(1).unwrap();
    drop(sender);
    second.send(2).unwrap();
    drop(second);
    assert_eq!((receiver.recv(), receiver.recv()), (Ok(1), Ok(2)));
    assert_eq!(receiver.try_recv(), Err(TryRecvError::Disconnected));
    assert_eq!(receiver.recv_timeout(LONG), Err(RecvTimeoutError::Disconnected));

    let (sender, receiver) = bounded(1);
    drop((receiver.clone(), receiver));
    assert_eq!(sender.send(1), Err(SendError(1)));
    assert_eq!(sender.try_send(1), Err(TrySendError::Disconnected(1)));
    assert_eq!(sender.send_timeout(1, LONG), Err(SendTimeoutError::Disconnected(1)));
}

#[test]
fn those_who_wait_learn_of_the_disconnection() {
    places::everywhere(|| {
        let (sender, receiver) = bounded::<i32>(0);
        let waiting = thread::spawn(move || receiver.recv());
        thread::yield_now();
        drop(sender);
        assert_eq!(waiting.join().unwrap(), Err(RecvError));

        let (sender, receiver) = bounded(1);
        sender.send(1).unwrap();
        let waiting = thread::spawn(move || sender.send(2));
        thread::yield_now();
        drop(receiver);
        assert_eq!(waiting.join().unwrap(), Err(SendError(2)));
    });
}

#[test]
fn messages_are_dropped_with_the_last_receiver() {
    let message = Arc::new(());
    let (sender, receiver) = unbounded();
    sender.send(Arc::clone(&message)).unwrap();
    let second = receiver.clone();
    drop(receiver);
    assert_eq!(Arc::strong_count(&message), 2);
    drop(second);
    assert_eq!(Arc::strong_count(&message), 1);
    drop(sender);
}

#[test]
fn a_cancel_loses_no_message() {
    places::everywhere(|| {
        for _ in 0..50 {
            let (sender, receiver) = bounded(0);
            let (received, results) = unbounded();
            let threads: Vec<_> = (0..2)
                .map(|_| {
                    let (receiver, received) = (receiver.clone(), received.clone());
                    thread::spawn(move || {
                        let message: i32 = receiver.recv().unwrap();
                        received.send(message).unwrap();
                    })
                })
                .collect();
            drop((receiver, received));
            threads[0].cancel();
            // Whoever takes it, has it.
            assert_eq!(sender.send_timeout(1, LONG), Ok(()));
            threads[1].cancel();
            assert_eq!(results.iter().collect::<Vec<_>>(), [1]);
        }
    });
}

#[test]
fn clocks_deliver() {
    places::everywhere(|| {
        let start = Instant::now();
        let once = after(SHORT);
        assert!(once.capacity() == Some(1));
        assert_eq!(once.recv().map(|at| at >= start + SHORT), Ok(true));
        assert_eq!(once.try_recv(), Err(TryRecvError::Empty));
        assert_eq!(once.recv_timeout(SHORT), Err(RecvTimeoutError::Timeout));
        let when = start + 2 * SHORT;
        assert_eq!(at(when).recv(), Ok(when));
        let ticks = tick(SHORT);
        let two: Vec<_> = ticks.iter().take(2).collect();
        assert!(two[1] >= two[0] + SHORT);
        assert_eq!(never::<()>().recv_timeout(SHORT), Err(RecvTimeoutError::Timeout));
        assert!(
            never::<()>().same_channel(&never())
                && !once.same_channel(&ticks)
                && once.same_channel(&once.clone())
        );
    });
}

#[test]
fn same_channel_means_the_same_channel() {
    let (sender, receiver) = unbounded::<()>();
    let (other_sender, other_receiver) = unbounded();
    assert!(sender.same_channel(&sender.clone()) && receiver.same_channel(&receiver.clone()));
    assert!(!sender.same_channel(&other_sender) && !receiver.same_channel(&other_receiver));
}

#[test]
fn who_never_waits_lets_others_run() {
    /// Far more than a thread may do in a row.
    const MANY: usize = 100_000;
    places::on_workers(1, || {
        let (sender, receiver) = unbounded();
        type Operation = fn(&Sender<usize>, &Receiver<usize>);
        let operations: [Operation; 4] = [
            |sender, _| sender.send(1).unwrap(),
            |sender, _| sender.try_send(1).unwrap(),
            |_, receiver| assert_eq!(receiver.recv(), Ok(1)),
            |_, receiver| assert!(receiver.try_recv().is_ok()),
        ];
        for operation in operations {
            let has_run = Arc::new(AtomicBool::new(false));
            let other = thread::spawn({
                let has_run = Arc::clone(&has_run);
                move || has_run.store(true, Ordering::Relaxed)
            });
            let alone = (0..MANY).take_while(|_| {
                operation(&sender, &receiver);
                !has_run.load(Ordering::Relaxed)
            });
            assert!(alone.count() < MANY);
            other.join().unwrap();
        }
    });
}
