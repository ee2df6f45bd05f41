//! Generators and greenlets inside green threads: what blocks in a body suspends the green thread as a whole,
//! and only it.
//!
//! With one worker, at least: if a body held up its OS thread, whoever it waits for would never run, and the
//! watchdog would bark.

use std::cell::{Cell, RefCell};
use std::io::{Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use sward::EngineKind;
use sward::coroutine::{Generator, Hub, Yielder};
use sward::net::{TcpListener, TcpStream};
use sward::thread::{self, Cancelled};
use sward::time::timeout;

/// Long enough for any machine: it passes only when a test has failed.
const FAR: Duration = Duration::from_secs(20);

fn run(workers: usize, main: impl FnOnce()) {
    let name = std::thread::current().name().unwrap_or_default().to_owned();
    sward_testing::run_with(EngineKind::Epoll, workers, &name, main);
}

/// Adds one when it is dropped.
struct CountDrop(Arc<AtomicUsize>);

impl Drop for CountDrop {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

sward_testing::on_every_engine! {
    /// Reads lines of four bytes inside a generator, while another green thread writes each when it has been
    /// told that the one before came.
    fn a_body_that_reads_blocks_its_green_thread_only() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let writer = thread::spawn(move || {
            let mut stream = TcpStream::connect(address).unwrap();
            for line in [b"one.", b"two.", b"six."] {
                stream.write_all(line).unwrap();
                let mut answer = [0];
                stream.read_exact(&mut answer).unwrap();
                assert_eq!(answer[0], line[0]);
            }
        });
        let lines: Generator<String, (), u32> = Generator::new(move |yielder| {
            let (mut stream, _) = listener.accept().unwrap();
            let mut count = 0;
            let mut line = [0; 4];
            while stream.read_exact(&mut line).is_ok() {
                count += 1;
                yielder.yield_value(String::from_utf8_lossy(&line).into_owned());
                stream.write_all(&line[..1]).unwrap();
            }
            count
        });
        let text: String = lines.collect();
        assert_eq!(text, "one.two.six.");
        writer.join().unwrap();
    }
}

#[test]
fn the_others_run_while_a_body_waits_for_them() {
    run(1, || {
        let mut waiting = Generator::new(|yielder| {
            let started = thread::spawn(|| 7);
            yielder.yield_value(started.join().unwrap());
        });
        assert_eq!(waiting.next(), Some(7));
    });
}

/// Yields `depth` numbers by way of as many nested generators, each of which lets others run around every
/// yield.
fn nested(depth: u32) -> Generator<u32> {
    Generator::new(move |yielder| {
        if depth > 0 {
            for number in nested(depth - 1) {
                thread::yield_now();
                yielder.yield_value(number);
            }
            thread::sleep(Duration::from_micros(50));
            yielder.yield_value(depth);
        }
    })
}

#[test]
fn many_green_threads_stand_at_all_depths_at_once() {
    for workers in [1, 2] {
        run(workers, || {
            let threads: Vec<_> = (0..64)
                .map(|n| {
                    thread::spawn(move || (0..3).map(|more| nested(n % 7 + more).sum::<u32>()).sum::<u32>())
                })
                .collect();
            for (n, thread) in (0..).zip(threads) {
                let expected: u32 = (0..3).map(|more: u32| (1..=n % 7 + more).sum::<u32>()).sum();
                assert_eq!(thread.join().unwrap(), expected);
            }
        });
    }
}

#[test]
fn greenlets_block_as_well() {
    run(1, || {
        let order = Rc::new(RefCell::new(Vec::new()));
        let mut hub: Hub<u32> = Hub::new();
        let (ping, pong) = (hub.declare(), hub.declare());
        for (name, this, other) in [("ping", &ping, &pong), ("pong", &pong, &ping)] {
            let (order, other) = (Rc::clone(&order), other.clone());
            this.define(move |current, mut n| {
                while n > 0 {
                    let number = thread::spawn(move || n).join().unwrap();
                    order.borrow_mut().push((name, number));
                    n = current.switch(&other, number - 1);
                }
                n
            });
        }
        assert_eq!(hub.switch(&ping, 4), 0);
        assert_eq!(*order.borrow(), [("ping", 4), ("pong", 3), ("ping", 2), ("pong", 1)]);
    });
}

#[test]
fn a_cancel_unwinds_the_body_and_then_its_resumer() {
    let drops = Arc::new(AtomicUsize::new(0));
    run(1, || {
        let started = Arc::new(AtomicUsize::new(0));
        let thread = {
            let (drops, started) = (Arc::clone(&drops), Arc::clone(&started));
            thread::spawn(move || {
                let _outside = CountDrop(Arc::clone(&drops));
                let mut idle: Generator<()> = {
                    let drops = Arc::clone(&drops);
                    Generator::new(move |yielder| {
                        let _at_its_yield = CountDrop(drops);
                        yielder.yield_value(());
                    })
                };
                idle.next();
                let mut parked: Generator<()> = Generator::new(move |_| {
                    let _inside = CountDrop(drops);
                    started.store(1, Ordering::Relaxed);
                    loop {
                        thread::park();
                    }
                });
                parked.next();
            })
        };
        while started.load(Ordering::Relaxed) == 0 {
            thread::yield_now();
        }
        thread.cancel();
        assert!(thread.join().unwrap_err().is::<Cancelled>());
    });
    assert_eq!(drops.load(Ordering::Relaxed), 3);
}

#[test]
fn the_runtime_ends_what_waits_inside_a_body() {
    let drops = Arc::new(AtomicUsize::new(0));
    run(2, || {
        for _ in 0..10 {
            let drops = Arc::clone(&drops);
            thread::spawn(move || {
                let mut sleeper: Generator<()> = Generator::new(move |yielder| {
                    let _inside = CountDrop(drops);
                    yielder.yield_value(());
                    thread::sleep(FAR);
                });
                sleeper.next();
                sleeper.next();
            });
        }
        while drops_of(&drops) < 10 {
            thread::yield_now();
        }
    });
    /// How many guards there are besides the caller's.
    fn drops_of(drops: &Arc<AtomicUsize>) -> usize {
        Arc::strong_count(drops) - 1
    }
    assert_eq!(drops_of(&drops), 0);
}

/// What lies in its frames may be linked to its thread. So it neither goes on nor unwinds anywhere else.
#[test]
fn a_body_stays_on_the_green_thread_that_it_began_on() {
    thread_local! {
        static LEFT: Cell<Option<Generator<u32>>> = const { Cell::new(None) };
    }
    let drops = Arc::new(AtomicUsize::new(0));
    run(1, || {
        let inside = CountDrop(Arc::clone(&drops));
        let mut generator = Generator::new(move |yielder| {
            let _inside = inside;
            yielder.yield_from(0..10);
        });
        assert_eq!(generator.next(), Some(0));
        LEFT.set(Some(generator));
        let elsewhere = thread::spawn(|| {
            let mut generator = LEFT.take().unwrap();
            let panic = catch_unwind(AssertUnwindSafe(|| generator.next())).unwrap_err();
            assert!(panic.downcast_ref::<String>().unwrap().contains("goes on only on the thread"));
            LEFT.set(Some(generator));
        });
        elsewhere.join().unwrap();
        let mut generator = LEFT.take().unwrap();
        assert_eq!(generator.next(), Some(1), "the attempt has done nothing");
        LEFT.set(Some(generator));
        thread::spawn(|| drop(LEFT.take())).join().unwrap();
    });
    assert_eq!(drops.load(Ordering::Relaxed), 0, "dropped elsewhere, it is leaked");
}

#[test]
fn a_body_does_not_yield_in_the_middle_of_a_timeout_or_a_shield() {
    fn told(generator: &mut Generator<u32>) -> bool {
        let panic = catch_unwind(AssertUnwindSafe(|| generator.next())).unwrap_err();
        panic.downcast_ref::<&str>().unwrap().contains("inside a timeout or a shield that began in it")
    }
    fn generator(body: impl FnOnce(&Yielder<'_, u32>) + 'static) -> Generator<u32> {
        // SAFETY: the bodies hold nothing that relies on nesting across a yield.
        unsafe { Generator::new_unchecked(body) }
    }
    fn both() {
        let mut timed = generator(|yielder| {
            assert_eq!(timeout(FAR, || 1), Ok(1));
            yielder.yield_value(1);
            let _ = timeout(FAR, || yielder.yield_value(2));
        });
        assert_eq!(timed.next(), Some(1), "a timeout that is over does no harm");
        assert!(told(&mut timed));
        let mut shielded = generator(|yielder| thread::shield(|| yielder.yield_value(3)));
        assert!(told(&mut shielded));
        // Those outside the body may come and go.
        let mut plain = generator(|yielder| yielder.yield_from(0..3));
        assert_eq!(timeout(FAR, || plain.next()), Ok(Some(0)));
        assert_eq!(thread::shield(|| plain.next()), Some(1));
        assert_eq!(plain.next(), Some(2));
    }
    both();
    run(1, both);
}

#[test]
fn a_timeout_unwinds_the_body_up_to_its_frame() {
    run(1, || {
        let drops = Arc::new(AtomicUsize::new(0));
        let inside = CountDrop(Arc::clone(&drops));
        let mut parked: Generator<()> = Generator::new(move |_| {
            let _inside = inside;
            loop {
                thread::park();
            }
        });
        assert!(timeout(Duration::from_millis(1), || parked.next()).is_err());
        assert_eq!(drops.load(Ordering::Relaxed), 1);
        assert!(parked.is_finished());
        // And one inside the body, to the frame there.
        let mut patient = Generator::new(|yielder| {
            yielder.yield_value(timeout(Duration::from_millis(1), || thread::sleep(FAR)).is_err());
        });
        assert_eq!(patient.next(), Some(true));
    });
}

/// What safe code has made inside a runtime does not begin outside, where nobody has promised what `run` asks for.
#[test]
fn a_body_made_inside_does_not_begin_outside() {
    thread_local! {
        static KEPT: RefCell<Option<Generator<u32>>> = const { RefCell::new(None) };
        static HUB: RefCell<Option<Hub<()>>> = const { RefCell::new(None) };
    }
    run(1, || {
        KEPT.set(Some(Generator::new(|yielder| yielder.yield_value(1))));
        HUB.set(Some(Hub::new()));
    });
    let mut generator = KEPT.take().expect("the first worker is this OS thread");
    let refusal = catch_unwind(AssertUnwindSafe(|| generator.next())).unwrap_err();
    assert!(refusal.downcast_ref::<String>().is_some_and(|text| text.contains("new_unchecked")));
    let mut hub = HUB.take().expect("the first worker is this OS thread");
    let greenlet = hub.spawn(|_, ()| ());
    let refusal = catch_unwind(AssertUnwindSafe(|| hub.switch(&greenlet, ()))).unwrap_err();
    assert!(refusal.downcast_ref::<String>().is_some_and(|text| text.contains("new_unchecked")));
    // Inside, another green thread may begin it.
    run(1, move || assert_eq!(generator.next(), Some(1)));
}

/// A body is neither resumed nor unwound on an OS thread because that one is no green thread: threads are told apart by what they are.
#[test]
fn a_body_begun_outside_is_at_home_on_its_own_os_thread_only() {
    let drops = Arc::new(AtomicUsize::new(0));
    let count = CountDrop(Arc::clone(&drops));
    // SAFETY: the body holds nothing that relies on nesting across a yield.
    let mut generator = unsafe {
        Generator::new_unchecked(move |yielder| {
            let _count = count;
            yielder.yield_value(1);
            yielder.yield_value(2);
        })
    };
    assert_eq!(generator.next(), Some(1));
    run(1, || {
        let refusal = catch_unwind(AssertUnwindSafe(|| generator.next())).unwrap_err();
        assert!(refusal.is::<String>());
    });
    assert_eq!(generator.next(), Some(2));
    struct Smuggled(Generator<i32>);
    // SAFETY: as safe code could once do, to see that the body stands still: it is neither resumed nor unwound there.
    unsafe impl Send for Smuggled {}
    let smuggled = Smuggled(generator);
    std::thread::spawn(move || {
        let Smuggled(mut generator) = { smuggled };
        assert!(catch_unwind(AssertUnwindSafe(|| generator.next())).is_err());
        drop(generator);
    })
    .join()
    .unwrap();
    assert_eq!(drops.load(Ordering::Relaxed), 0);
}
