//! `sward::channel` as crossbeam-channel documents its own.

use std::panic::catch_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use sward::channel::{
    Receiver, RecvError, RecvTimeoutError, Select, SendError, SendTimeoutError, Sender, TryRecvError,
    TrySendError, after, at, bounded, never, select, tick, unbounded,
};
use sward::thread;
use sward_testing::{Watchdog, is_stressed};

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
    if is_stressed() {
        // It counts on being the next.
        return;
    }
    /// Far more than a thread may do in a row.
    const MANY: usize = 100_000;
    places::on_workers(1, || {
        let (sender, receiver) = unbounded();
        type Operation = fn(&Sender<usize>, &Receiver<usize>);
        let operations: [Operation; 12] = [
            |sender, _| sender.send(1).unwrap(),
            |sender, _| sender.try_send(1).unwrap(),
            |sender, _| select! { send(sender, 1) -> result => result.unwrap() },
            |_, receiver| assert_eq!(receiver.recv(), Ok(1)),
            |_, receiver| assert!(receiver.try_recv().is_ok()),
            |_, receiver| select! { recv(receiver) -> message => assert_eq!(message, Ok(1)) },
            // And who asks in vain.
            |_, _| assert!(bounded(0).0.try_send(1).is_err()),
            |_, _| assert!(never::<()>().try_recv().is_err()),
            |_, _| assert!(after(LONG).try_recv().is_err()),
            |_, _| assert_eq!(never::<()>().try_iter().next(), None),
            |_, _| select! { recv(never::<()>()) -> _ => unreachable!(), default => {} },
            |_, _| assert!(Select::new().try_ready().is_err()),
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

#[test]
fn two_that_spin_move_each_other_on() {
    let _watchdog = Watchdog::start("channels::two_that_spin_move_each_other_on");
    places::on_workers(1, || {
        let ((ping, pings), (pong, pongs)) = (bounded(1), bounded(1));
        let partner = thread::spawn(move || {
            for number in 0..100 {
                while select! { recv(pings) -> message => message != Ok(number), default => true } {}
                while select! { send(pong, number) -> result => result.is_err(), default => true } {}
            }
        });
        for number in 0..100 {
            while ping.try_send(number).is_err() {}
            while pongs.try_iter().next() != Some(number) {}
        }
        partner.join().unwrap();
    });
}

#[test]
fn a_destructor_that_panics_leaks_the_messages_behind() {
    /// Counts how many were dropped, and panics at every one.
    struct Message(Arc<AtomicUsize>);
    impl Drop for Message {
        fn drop(&mut self) {
            let number = self.0.fetch_add(1, Ordering::Relaxed);
            panic!("drop {number}");
        }
    }
    for (sender, receiver) in [bounded(3), unbounded()] {
        let count = Arc::new(AtomicUsize::new(0));
        for _ in 0..3 {
            assert!(sender.send(Message(Arc::clone(&count))).is_ok());
        }
        let panic = catch_unwind(move || drop(receiver)).unwrap_err();
        assert_eq!(panic.downcast_ref::<String>().unwrap(), "drop 0");
        assert_eq!(count.load(Ordering::Relaxed), 1);
        drop(sender);
    }
}

#[test]
fn a_destructor_of_a_message_may_use_its_channel() {
    struct Message(Sender<Message>);
    impl Drop for Message {
        fn drop(&mut self) {
            assert!(self.0.is_empty() && !self.0.is_full());
            let mut select = Select::new();
            select.send(&self.0);
            assert_eq!(select.try_ready(), Ok(0));
        }
    }
    let _watchdog = Watchdog::start("a_destructor_of_a_message_may_use_its_channel");
    places::everywhere(|| {
        let (sender, receiver) = unbounded();
        for _ in 0..3 {
            assert!(sender.send(Message(sender.clone())).is_ok());
        }
        drop(receiver);
    });
}

/// A stack of the default size holds eight of them.
type Large = [u8; 32 * 1024];

#[test]
fn large_messages_fit_on_a_default_stack() {
    let sends: [fn(&Sender<Large>); 5] = [
        |sender| while sender.try_send([1; 32 * 1024]).is_err() {},
        |sender| assert!(sender.send([1; 32 * 1024]).is_ok()),
        |sender| assert!(sender.send_timeout([1; 32 * 1024], LONG).is_ok()),
        |sender| assert!(sender.send_deadline([1; 32 * 1024], Instant::now() + LONG).is_ok()),
        |sender| select! { send(sender, [1; 32 * 1024]) -> result => assert!(result.is_ok()) },
    ];
    let receives: [fn(&Receiver<Large>); 7] = [
        |receiver| while receiver.try_recv().is_err() {},
        |receiver| while receiver.try_iter().next().is_none() {},
        |receiver| assert!(receiver.iter().next().is_some()),
        |receiver| assert!(receiver.recv().is_ok()),
        |receiver| assert!(receiver.recv_timeout(LONG).is_ok()),
        |receiver| assert!(receiver.recv_deadline(Instant::now() + LONG).is_ok()),
        |receiver| select! { recv(receiver) -> message => assert!(message.is_ok()) },
    ];
    let _watchdog = Watchdog::start("channels::large_messages_fit_on_a_default_stack");
    let pass = |capacity: Option<usize>, send: fn(&Sender<Large>), receive: fn(&Receiver<Large>)| {
        let (sender, receiver) = capacity.map_or_else(unbounded, bounded);
        let sends = thread::spawn(move || send(&sender));
        thread::spawn(move || receive(&receiver)).join().unwrap();
        sends.join().unwrap();
    };
    places::on_workers(1, || {
        for (number, send) in sends.into_iter().enumerate() {
            for receive in receives {
                pass(Some(1), send, receive);
                pass(None, send, receive);
            }
            // Without a buffer, two that only try do not meet.
            for receive in &receives[if number == 0 { 2 } else { 0 }..] {
                pass(Some(0), send, *receive);
            }
        }
    });
}
