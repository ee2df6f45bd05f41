//! `sward::sync::mpsc` as std documents its own.

use std::panic::{RefUnwindSafe, UnwindSafe};
use std::time::Duration;

use sward::sync::mpsc::{
    Receiver, RecvError, RecvTimeoutError, SendError, Sender, SyncSender, TryRecvError, TrySendError,
    channel, sync_channel,
};
use sward::thread;
use sward_testing::Watchdog;

use crate::places;

const SHORT: Duration = Duration::from_millis(1);
const LONG: Duration = Duration::from_secs(60);

#[test]
fn many_senders_one_receiver() {
    places::everywhere(|| {
        let (sender, receiver) = channel();
        let threads = places::spawn_mixed(10, move |index| {
            for number in 0..50 {
                sender.send(index * 50 + number).unwrap();
            }
        });
        let mut all: Vec<usize> = (&receiver).into_iter().take(250).collect();
        all.extend(receiver);
        threads.join();
        all.sort_unstable();
        assert!(all.into_iter().eq(0..500));
    });
}

#[test]
fn a_rendezvous_hands_over() {
    places::everywhere(|| {
        let (sender, receiver) = sync_channel(0);
        assert_eq!(sender.try_send(0), Err(TrySendError::Full(0)));
        let thread = thread::spawn(move || (1..=50).try_for_each(|number| sender.send(number)));
        assert!(receiver.iter().eq(1..=50));
        assert_eq!(thread.join().unwrap(), Ok(()));
        assert_eq!(receiver.recv(), Err(RecvError));
    });
}

#[test]
fn a_bound_holds_up_the_sender() {
    places::everywhere(|| {
        let (sender, receiver) = sync_channel(2);
        sender.send(1).unwrap();
        sender.send(2).unwrap();
        assert_eq!(sender.try_send(3), Err(TrySendError::Full(3)));
        let thread = thread::spawn(move || sender.send(3));
        assert!(receiver.iter().eq([1, 2, 3]));
        assert_eq!(thread.join().unwrap(), Ok(()));
    });
}

#[test]
fn a_receiver_that_goes_gives_the_message_back() {
    places::everywhere(|| {
        let (sender, receiver) = sync_channel(0);
        let thread = thread::spawn(move || sender.send(1));
        thread::yield_now();
        drop(receiver);
        assert_eq!(thread.join().unwrap(), Err(SendError(1)));
        let (sender, receiver) = channel();
        drop(receiver);
        assert_eq!(sender.send(1), Err(SendError(1)));
    });
}

#[test]
fn waits_end_with_their_time_or_their_senders() {
    places::everywhere(|| {
        let (sender, receiver) = channel::<i32>();
        assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
        assert_eq!(receiver.recv_timeout(SHORT), Err(RecvTimeoutError::Timeout));
        assert_eq!(receiver.try_iter().count(), 0);
        sender.send(1).unwrap();
        drop(sender);
        assert_eq!(receiver.recv_timeout(SHORT), Ok(1));
        assert_eq!(receiver.recv_timeout(SHORT), Err(RecvTimeoutError::Disconnected));
        assert_eq!(receiver.try_recv(), Err(TryRecvError::Disconnected));
    });
}

#[test]
fn what_may_go_between_threads_is_as_in_std() {
    fn is_send_and_sync<T: Send + Sync>() {}
    fn is_send<T: Send + UnwindSafe + RefUnwindSafe>() {}
    is_send_and_sync::<Sender<i32>>();
    is_send_and_sync::<SyncSender<i32>>();
    is_send::<Receiver<i32>>();
}

#[test]
fn two_that_spin_move_each_other_on() {
    let _watchdog = Watchdog::start("mpsc::two_that_spin_move_each_other_on");
    places::on_workers(1, || {
        let ((ping, pings), (pong, pongs)) = (sync_channel(1), channel());
        let partner = thread::spawn(move || {
            for number in 0..100 {
                while pings.try_recv() != Ok(number) {}
                pong.send(number).unwrap();
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
fn large_messages_fit_on_a_default_stack() {
    type Large = [u8; 32 * 1024];
    let sends: [fn(&SyncSender<Large>); 2] = [
        |sender| assert!(sender.send([1; 32 * 1024]).is_ok()),
        |sender| assert!(sender.try_send([1; 32 * 1024]).is_ok()),
    ];
    let receives: [fn(&Receiver<Large>); 5] = [
        |receiver| assert!(receiver.recv().is_ok()),
        |receiver| assert!(receiver.try_recv().is_ok()),
        |receiver| assert!(receiver.recv_timeout(LONG).is_ok()),
        |receiver| assert!(receiver.iter().next().is_some()),
        |receiver| assert!(receiver.try_iter().next().is_some()),
    ];
    places::on_workers(1, || {
        for receive in receives {
            for send in sends {
                let (sender, receiver) = sync_channel(1);
                thread::spawn(move || send(&sender)).join().unwrap();
                thread::spawn(move || receive(&receiver)).join().unwrap();
            }
            let (sender, receiver) = channel();
            thread::spawn(move || assert!(sender.send([1; 32 * 1024]).is_ok())).join().unwrap();
            thread::spawn(move || receive(&receiver)).join().unwrap();
        }
    });
}
