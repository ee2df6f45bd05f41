//! `Select`, `select!`, `select_biased!`.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use sward::channel::{Receiver, Select, SendError, after, bounded, never, select, select_biased, unbounded};
use sward::thread;
use sward_testing::Watchdog;

use crate::places;

const SHORT: Duration = Duration::from_millis(1);
const LONG: Duration = Duration::from_secs(60);

#[test]
fn the_macro_takes_the_operation_that_can_go_on() {
    places::everywhere(|| {
        let (sender, receiver) = bounded(1);
        let (_idle_sender, idle) = bounded::<String>(0);
        let sent = select! {
            send(sender, 5) -> result => { result.unwrap(); "sent" }
            recv(idle) -> message => panic!("{message:?}"),
        };
        assert_eq!(sent, "sent");
        let received = select! {
            recv(idle) -> _ => 0,
            recv(receiver) -> message => message.unwrap(),
            default => 1,
        };
        assert_eq!(received, 5);
        assert_eq!(select! { recv(receiver) -> message => message.unwrap(), default() => 1 }, 1);
        assert_eq!(select! { recv(receiver) -> message => message.unwrap(), default(SHORT) => 2 }, 2);
        assert!(select! { recv(after(SHORT)) -> at => at.is_ok(), recv(never::<()>()) -> _ => false });
        drop(sender);
        assert!(select! { recv(receiver) -> message => message.is_err(), default(LONG) => false });
    });
}

#[test]
fn bodies_stand_where_they_stand() {
    fn first(receivers: [sward::channel::Receiver<Result<i32, String>>; 2]) -> Result<i32, String> {
        let mut sum = 0;
        loop {
            select! {
                recv(receivers[0]) -> message => match message {
                    Ok(value) => sum += value?,
                    Err(_) => return Ok(sum),
                },
                recv(receivers[1]) -> message => {
                    if message.is_err() { break Ok(-1) }
                    continue;
                }
            }
        }
    }
    let (sender, receiver) = unbounded();
    sender.send(Ok(2)).unwrap();
    sender.send(Ok(3)).unwrap();
    drop(sender);
    assert_eq!(first([receiver, never()]), Ok(5));
    let (sender, receiver) = unbounded();
    sender.send(Err("no".into())).unwrap();
    assert_eq!(first([receiver, never()]), Err("no".into()));
}

#[test]
fn biased_takes_the_first_and_the_other_takes_all() {
    let (first_sender, first) = unbounded();
    let (second_sender, second) = unbounded();
    let mut counts = [0, 0];
    for _ in 0..200 {
        first_sender.send(()).unwrap();
        second_sender.send(()).unwrap();
        select_biased! {
            recv(first) -> _ => {},
            recv(second) -> _ => unreachable!(),
        }
        first_sender.send(()).unwrap();
        select! {
            recv(first) -> _ => counts[0] += 1,
            recv(second) -> _ => counts[1] += 1,
        }
    }
    assert!(counts[0] > 20 && counts[1] > 20, "{counts:?}");
}

#[test]
fn a_select_that_waits_is_served() {
    places::everywhere(|| {
        for capacity in [0, 1] {
            let (sender, receiver) = bounded(capacity);
            let (_never_sender, idle) = bounded::<()>(capacity);
            let thread = thread::spawn(move || {
                let mut sum = 0;
                for _ in 0..100 {
                    select! {
                        recv(receiver) -> message => sum += message.unwrap(),
                        recv(idle) -> _ => unreachable!(),
                    }
                }
                sum
            });
            for number in 0..100 {
                sender.send(number).unwrap();
            }
            assert_eq!(thread.join().unwrap(), 4950);

            let (sender, receiver) = bounded(capacity);
            let thread = thread::spawn(move || {
                for number in 0..100 {
                    select! {
                        send(sender, number) -> result => result.unwrap(),
                        recv(never::<()>()) -> _ => unreachable!(),
                    }
                }
            });
            assert_eq!(receiver.iter().sum::<i32>(), 4950);
            thread.join().unwrap();
        }
    });
}

#[test]
fn threads_that_offer_both_directions_meet_each_other_and_never_themselves() {
    places::everywhere(|| {
        for capacity in [0, 1] {
            let (sender, receiver) = bounded::<usize>(capacity);
            let (stop, stopped) = bounded::<()>(0);
            let counts = Arc::new([const { AtomicUsize::new(0) }; 2]);
            let threads = places::spawn_mixed(5, {
                let counts = Arc::clone(&counts);
                move |index| {
                    loop {
                        select! {
                            send(sender, index) -> result => { result.unwrap(); counts[0].fetch_add(1, Ordering::Relaxed); }
                            recv(receiver) -> message => {
                                assert!(capacity > 0 || message.unwrap() != index);
                                counts[1].fetch_add(1, Ordering::Relaxed);
                            }
                            recv(stopped) -> _ => break,
                        }
                    }
                }
            });
            while counts[1].load(Ordering::Relaxed) < 500 {
                thread::yield_now();
            }
            drop(stop);
            threads.join();
            let [sent, received] = [&counts[0], &counts[1]].map(|count| count.load(Ordering::Relaxed));
            assert!(sent >= received && sent - received <= capacity, "{sent} {received}");
        }
    });
}

#[test]
fn zero_capacity_selects_exchange_exactly() {
    places::everywhere(|| {
        let (sender, receiver) = bounded::<usize>(0);
        let (other_sender, other_receiver) = bounded::<usize>(0);
        let producers = places::spawn_mixed(4, move |_| {
            let mut next = 0;
            while next < 100 {
                select! {
                    send(sender, next) -> result => result.unwrap(),
                    send(other_sender, next) -> result => result.unwrap(),
                }
                next += 1;
            }
        });
        let (mut sum, mut open) = (0, [true, true]);
        let closed = never();
        while open != [false, false] {
            let (first, second) =
                (if open[0] { &receiver } else { &closed }, if open[1] { &other_receiver } else { &closed });
            select! {
                recv(first) -> message => message.map_or_else(|_| open[0] = false, |message| sum += message),
                recv(second) -> message => message.map_or_else(|_| open[1] = false, |message| sum += message),
            }
        }
        producers.join();
        assert_eq!(sum, 4 * 4950);
    });
}

#[test]
fn a_select_can_be_cancelled_and_leaves_no_trace() {
    places::everywhere(|| {
        let (sender, receiver) = bounded::<i32>(0);
        let (other_sender, other_receiver) = bounded::<i32>(0);
        let thread = thread::spawn({
            let (receiver, sender) = (receiver.clone(), other_sender.clone());
            move || select! { recv(receiver) -> _ => (), send(sender, 1) -> _ => () }
        });
        thread::yield_now();
        thread.cancel();
        assert!(thread.join().unwrap_err().is::<thread::Cancelled>());
        assert!(sender.try_send(1).is_err() && other_receiver.try_recv().is_err());
    });
}

#[test]
fn ready_tells_and_takes_nothing() {
    places::everywhere(|| {
        let (sender, receiver) = bounded(1);
        let mut select = Select::new();
        let (receives, sends) = (select.recv(&receiver), select.send(&sender));
        assert_eq!(select.ready(), sends);
        select.remove(sends);
        assert!(select.try_ready().is_err() && select.ready_timeout(SHORT).is_err());
        let thread = thread::spawn({
            let sender = sender.clone();
            move || sender.send(3).unwrap()
        });
        assert_eq!(select.ready_timeout(LONG), Ok(receives));
        assert_eq!(receiver.try_recv(), Ok(3));
        thread.join().unwrap();
    });
}

#[test]
fn an_unfinished_operation_panics_and_gives_everything_back() {
    let (sender, receiver) = bounded(1);
    let unfinished = |select: &mut Select<'_>| {
        assert!(catch_unwind(AssertUnwindSafe(|| drop(select.select()))).is_err());
    };
    let mut select = Select::new();
    select.send(&sender);
    unfinished(&mut select);
    sender.try_send(4).unwrap();
    let mut select = Select::new();
    select.recv(&receiver);
    unfinished(&mut select);
    assert_eq!(receiver.try_recv(), Ok(4));
}

#[test]
#[should_panic(expected = "a receiver that wasn't selected")]
fn finishing_with_another_channel_panics() {
    let ((sender, _receiver), (_other_sender, other)) = (bounded::<i32>(1), bounded::<i32>(1));
    let mut select = Select::new();
    select.send(&sender);
    let _ = select.select().recv(&other);
}

#[test]
fn a_message_that_waits_beside_a_reserved_place_is_received() {
    places::everywhere(|| {
        let (sender, receiver) = bounded(1);
        let mut select = Select::new();
        select.send(&sender);
        // The one place in the buffer is kept for us now.
        let operation = select.select();
        let other = thread::spawn({
            let sender = sender.clone();
            move || sender.send("other").unwrap()
        });
        assert_eq!(receiver.recv_timeout(LONG), Ok("other"));
        operation.send(&sender, "own").unwrap();
        assert_eq!(receiver.recv_timeout(LONG), Ok("own"));
        other.join().unwrap();
    });
}

#[test]
fn what_is_temporary_lives_until_the_end() {
    fn numbered<T>(order: &mut Vec<i32>, number: i32, channel: T) -> T {
        order.push(number);
        channel
    }
    let (sender, receiver) = bounded::<i32>(1);
    let none: &[Receiver<i32>] = &[];
    for round in 0..2 {
        let mut order = Vec::new();
        let found = select! {
            recv(none.first().unwrap_or(&never())) -> _ => -1,
            recv(numbered(&mut order, 1, receiver.clone())) -> message => message.unwrap(),
            recv(numbered(&mut order, 2, Some(never::<()>())).unwrap_or(never())) -> _ => -2,
            send(numbered(&mut order, 3, sender.clone()), 7) -> result => result.map_or(-3, |()| 0),
            default(LONG) => -4,
        };
        assert_eq!((found, order), ([0, 7][round], vec![1, 2, 3]));
    }
}

#[test]
fn a_select_goes_where_it_is_sent() {
    fn may_go_and_be_shared<T: Send + Sync + Clone>(_: &T) {}
    let (sender, receiver) = bounded(1);
    let mut select = Select::new();
    let index = select.recv(&receiver);
    may_go_and_be_shared(&select);
    // Also if messages may not: nobody else can finish it.
    let (_bound_sender, bound) = bounded::<std::rc::Rc<()>>(1);
    select.recv(&bound);
    let mut clone = select.clone();
    thread::scope(|scope| {
        let waiting = scope.spawn(move || (select.ready(), select.try_ready()));
        sender.send(1).unwrap();
        assert_eq!(waiting.join().unwrap(), (index, Ok(index)));
    });
    assert_eq!(clone.select().recv(&receiver), Ok(1));
}

#[test]
fn among_operations_on_one_channel_all_are_selected_alike() {
    const ROUNDS: usize = 900;
    /// How often each of three operations was chosen, a third of the rounds if all is even.
    fn assert_even(counts: [usize; 3]) {
        assert!(counts.iter().all(|count| (200..400).contains(count)), "{counts:?}");
    }
    places::everywhere(|| {
        let (idle_sender, idle) = bounded::<()>(0);
        for capacity in [0, 1] {
            let (sender, receiver) = bounded(capacity);
            let received = thread::scope(|scope| {
                let receiving = scope.spawn(|| {
                    let mut counts = [0; 3];
                    for _ in 0..ROUNDS {
                        select! {
                            recv(receiver) -> _ => counts[0] += 1,
                            recv(receiver) -> _ => counts[1] += 1,
                            recv(idle) -> _ => unreachable!(),
                            recv(receiver) -> _ => counts[2] += 1,
                        }
                    }
                    counts
                });
                (0..ROUNDS).for_each(|number| sender.send(number).unwrap());
                receiving.join().unwrap()
            });
            assert_even(received);
            let sent = thread::scope(|scope| {
                let sending = scope.spawn(|| {
                    let mut counts = [0; 3];
                    for _ in 0..ROUNDS {
                        select! {
                            send(sender, 1) -> _ => counts[0] += 1,
                            send(sender, 2) -> _ => counts[1] += 1,
                            send(idle_sender, ()) -> _ => unreachable!(),
                            send(sender, 3) -> _ => counts[2] += 1,
                        }
                    }
                    counts
                });
                (0..ROUNDS).for_each(|_| assert!(receiver.recv().is_ok()));
                sending.join().unwrap()
            });
            assert_even(sent);
        }
        let (sender, receiver) = bounded(1);
        sender.send(()).unwrap();
        let mut select = Select::new();
        let indices =
            [select.recv(&receiver), select.recv(&receiver), select.send(&sender), select.recv(&receiver)];
        let mut counts = [0; 4];
        for _ in 0..ROUNDS {
            counts[select.ready()] += 1;
            assert_eq!(select.try_ready().map(|index| index == indices[2]), Ok(false));
        }
        assert_even([counts[0], counts[1], counts[3]]);
    });
}

#[test]
fn a_forgotten_operation_holds_up_nobody_who_is_cancelled() {
    let _watchdog = Watchdog::start("selects::a_forgotten_operation_holds_up_nobody_who_is_cancelled");
    places::everywhere(|| {
        let (sender, receiver) = bounded::<i32>(0);
        let receives: [fn(&Receiver<i32>) -> bool; 3] = [
            |receiver| receiver.recv().is_ok(),
            |receiver| receiver.recv_timeout(LONG).is_ok(),
            |receiver| select! { recv(receiver) -> message => message.is_ok(), recv(never::<()>()) -> _ => false },
        ];
        for receive in receives {
            let waiting = thread::spawn({
                let receiver = receiver.clone();
                move || receive(&receiver)
            });
            let mut select = Select::new();
            select.send(&sender);
            // There is one who waits, and it is promised a message that does not come.
            std::mem::forget(select.select());
            waiting.cancel();
            assert!(waiting.join().unwrap_err().is::<thread::Cancelled>());
        }
    });
    // And neither does it keep the runtime from ending.
    places::on_workers(1, || {
        let (sender, receiver) = bounded::<i32>(0);
        thread::spawn(move || receiver.recv());
        let mut select = Select::new();
        select.send(&sender);
        std::mem::forget(select.select());
    });
}

#[test]
fn a_message_whose_receiver_was_cancelled_goes_to_another() {
    let _watchdog = Watchdog::start("selects::a_message_whose_receiver_was_cancelled_goes_to_another");
    places::everywhere(|| {
        let (sender, receiver) = bounded(0);
        let mut select = Select::new();
        select.send(&sender);
        let receive = || {
            let receiver = receiver.clone();
            thread::spawn(move || receiver.recv())
        };
        let cancelled = receive();
        let operation = select.select();
        cancelled.cancel();
        assert!(cancelled.join().unwrap_err().is::<thread::Cancelled>());
        let other = receive();
        assert_eq!(operation.send(&sender, 5), Ok(()));
        assert_eq!(other.join().unwrap(), Ok(5));

        let cancelled = receive();
        let operation = select.select();
        cancelled.cancel();
        assert!(cancelled.join().unwrap_err().is::<thread::Cancelled>());
        drop(receiver);
        assert_eq!(operation.send(&sender, 6), Err(SendError(6)));
    });
}

#[test]
fn types_are_what_they_are_in_crossbeam() {
    macro_rules! assert_types {
        ($($world:ident)*) => {
            $({
                use std::error::Error;
                use std::fmt::Debug;
                use std::iter::FusedIterator;
                use std::panic::{RefUnwindSafe, UnwindSafe};
                use std::rc::Rc;
                use $world::{
                    IntoIter, Iter, ReadyTimeoutError, Receiver, RecvError, RecvTimeoutError, Select,
                    SelectTimeoutError, SelectedOperation, SendError, SendTimeoutError, Sender, TryIter,
                    TryReadyError, TryRecvError, TrySelectError, TrySendError, never,
                };
                fn goes_anywhere<T: Send + Sync + UnwindSafe + RefUnwindSafe + Unpin + Clone + Debug>() {}
                fn goes_and_is_shared<T: Send + Sync + Unpin + Debug>() {}
                fn is_error<T: Error + Send + Sync + Copy + Eq>() {}
                fn is_error_with_message<T: Error + Copy + Eq>() {}
                fn is_debug<T: Debug>() {}
                fn is_fused<T: FusedIterator>() {}
                goes_anywhere::<(Sender<u8>, Receiver<u8>)>();
                goes_and_is_shared::<(Select<'_>, Iter<'_, u8>, TryIter<'_, u8>, IntoIter<u8>)>();
                is_error::<RecvError>();
                is_error::<RecvTimeoutError>();
                is_error::<TryRecvError>();
                is_error::<TrySelectError>();
                is_error::<SelectTimeoutError>();
                is_debug::<TryReadyError>();
                is_debug::<ReadyTimeoutError>();
                is_error_with_message::<SendError<u8>>();
                is_error_with_message::<TrySendError<u8>>();
                is_error_with_message::<SendTimeoutError<u8>>();
                is_debug::<(SelectedOperation<'_>, Receiver<Rc<u8>>, Select<'_>)>();
                is_fused::<Iter<'_, u8>>();
                is_fused::<IntoIter<u8>>();
                let receiver = never::<Rc<u8>>();
                let texts = [
                    format!("{receiver:?}"),
                    format!("{:?}", Select::new()),
                    format!("{:?}", receiver.iter()),
                    format!("{:?}", receiver.try_iter()),
                    format!("{:?}", receiver.into_iter()),
                ];
                assert_eq!(texts, ["Receiver { .. }", "Select { .. }", "Iter { .. }", "TryIter { .. }", "IntoIter { .. }"]);
            })*
        };
    }
    use crossbeam_channel as crossbeam;
    use sward::channel as ours;
    assert_types!(crossbeam ours);
}

#[test]
fn a_select_that_does_not_wait_misses_no_message() {
    const ROUNDS: usize = 300;
    let _watchdog = Watchdog::start("selects::a_select_that_does_not_wait_misses_no_message");
    let ((first_sender, first), (second_sender, second)) = (bounded(1), bounded(1));
    let (end, ended) = bounded(0);
    let round = AtomicUsize::new(0);
    let other = || {
        for number in 1..=ROUNDS {
            while round.load(Ordering::Acquire) < number {
                std::thread::yield_now();
            }
            // There is a message in one of the two all the time.
            second_sender.send(()).unwrap();
            let _ = first.try_recv();
            end.send(()).unwrap();
        }
    };
    // OS threads, which interrupt each other anywhere.
    std::thread::scope(|scope| {
        scope.spawn(other);
        let idle = never::<()>();
        let mut select = Select::new_biased();
        select.recv(&second);
        // Time for the other thread to fill the one and to empty the other.
        (0..20_000).for_each(|_| _ = select.recv(&idle));
        let last = select.recv(&first);
        let mut missed = 0;
        for number in 1..=ROUNDS {
            first_sender.send(()).unwrap();
            round.store(number, Ordering::Release);
            let selected = match number % 3 {
                0 => select.try_select().ok(),
                1 => select.select_timeout(Duration::ZERO).ok(),
                _ => {
                    missed += usize::from(select.try_ready().is_err());
                    None
                }
            };
            missed += usize::from(selected.is_none() && number % 3 < 2);
            if let Some(operation) = selected {
                let receiver = if operation.index() == last { &first } else { &second };
                assert_eq!(operation.recv(receiver), Ok(()));
            }
            ended.recv().unwrap();
            let _ = (first.try_recv(), second.try_recv());
        }
        assert_eq!(missed, 0);
    });
}
