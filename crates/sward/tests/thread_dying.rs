//! OS threads that end: destructors of their thread-locals wait at locks, join, park and spawn as any other code, and the values of
//! `thread::Local` die on the thread that made them.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use sward::sync::{Condvar, Mutex};
use sward::thread::{self, Local, Thread};
use sward_testing::run_outside;

/// Calls a closure when it is dropped.
struct AtDrop(Option<Box<dyn FnOnce()>>);

impl Drop for AtDrop {
    fn drop(&mut self) {
        (self.0.take().unwrap())();
    }
}

thread_local! {
    static AT_EXIT: RefCell<Option<AtDrop>> = const { RefCell::new(None) };
}

/// Runs `f` in the destructor of a thread-local of an OS thread, which is registered before sward's own (so dropped after them) or
/// after; and in one of a thread that has not used sward before.
fn in_a_destructor(f: impl Fn() + Clone + Send + 'static) {
    let register =
        |f: Box<dyn FnOnce()>| AT_EXIT.with(|at_exit| *at_exit.borrow_mut() = Some(AtDrop(Some(f))));
    for order in 0..3 {
        let f = f.clone();
        let body = move || match order {
            0 => {
                register(Box::new(f));
                let _ = thread::current();
            }
            1 => {
                let _ = thread::current();
                register(Box::new(f));
            }
            _ => register(Box::new(f)),
        };
        std::thread::spawn(body).join().unwrap();
    }
}

/// Returns when OS threads have had some time to come to where they wait. No test relies on it: each holds whichever is first.
fn let_others_run() {
    (0..100).for_each(|_| std::thread::yield_now());
}

#[test]
fn a_contended_lock_is_waited_for() {
    run_outside("a_contended_lock_is_waited_for", || {
        in_a_destructor(|| {
            let lock = Arc::new((Mutex::new(0), Condvar::new()));
            for round in 0..100 {
                let guard = lock.0.lock().unwrap();
                let theirs = Arc::clone(&lock);
                let other = std::thread::spawn(move || {
                    let mut count = theirs.0.lock().unwrap();
                    *count += 1;
                    theirs.1.notify_all();
                });
                let_others_run();
                let count = lock.1.wait_while(guard, |count| *count <= round).unwrap();
                assert_eq!(*count, round + 1);
                drop(count);
                let (theirs, (hold, held)) = (Arc::clone(&lock), mpsc::channel());
                let holder = std::thread::spawn(move || {
                    let _guard = theirs.0.lock().unwrap();
                    hold.send(()).unwrap();
                    let_others_run();
                });
                held.recv().unwrap();
                assert_eq!(*lock.0.lock().unwrap(), round + 1);
                other.join().unwrap();
                holder.join().unwrap();
            }
        });
    });
}

#[test]
fn joins_scopes_parks_and_sleeps_end() {
    run_outside("joins_scopes_parks_and_sleeps_end", || {
        in_a_destructor(|| {
            let id = thread::current().id();
            assert_eq!(thread::current().id(), id, "a thread has one identity");
            assert_eq!(thread::spawn(|| 5).join().unwrap(), 5);
            let slow = thread::spawn(let_others_run);
            slow.join().unwrap();
            let mut numbers = [1, 2, 3];
            thread::scope(|scope| {
                for number in &mut numbers {
                    scope.spawn(move || {
                        let_others_run();
                        *number += 1;
                    });
                }
            });
            assert_eq!(numbers, [2, 3, 4]);
            let here: Thread = thread::current();
            let other = std::thread::spawn(move || {
                let_others_run();
                here.unpark();
            });
            thread::park();
            other.join().unwrap();
            thread::sleep(Duration::from_millis(1));
            assert!(sward::time::timeout(Duration::from_millis(1), thread::park).is_err());
            assert_eq!(thread::current().id(), id);
        });
    });
}

/// Says on which thread it was made, and counts its drops there.
struct Homesick {
    home: std::thread::ThreadId,
    drops: Arc<AtomicUsize>,
    _not_send: Rc<()>,
}

impl Homesick {
    fn new() -> Homesick {
        Homesick { home: std::thread::current().id(), drops: Arc::default(), _not_send: Rc::new(()) }
    }
}

impl Drop for Homesick {
    fn drop(&mut self) {
        assert_eq!(std::thread::current().id(), self.home, "dropped on another thread");
        self.drops.fetch_add(1, Ordering::SeqCst);
    }
}

static VALUE: Local<Homesick> = Local::new(Homesick::new);
static OTHER: Local<RefCell<Option<AtDrop>>> = Local::new(|| RefCell::new(None));

#[test]
fn a_local_value_is_dropped_by_its_thread_whoever_has_a_handle() {
    let body = || (VALUE.with(|value| Arc::clone(&value.drops)), thread::current());
    let (drops, handle) = std::thread::spawn(body).join().unwrap();
    assert_eq!(drops.load(Ordering::SeqCst), 1, "at the thread's end, not at that of its last handle");
    drop(handle);
    assert_eq!(drops.load(Ordering::SeqCst), 1);
}

#[test]
fn a_local_value_made_while_the_thread_ends_is_dropped_too() {
    let (send, drops) = mpsc::channel();
    let body = move || {
        AT_EXIT.with(|at_exit| {
            let last = move || send.send(VALUE.with(|value| Arc::clone(&value.drops))).unwrap();
            *at_exit.borrow_mut() = Some(AtDrop(Some(Box::new(last))));
        });
        // Dropped earlier, and makes it, too.
        OTHER.with(|other| *other.borrow_mut() = Some(AtDrop(Some(Box::new(|| VALUE.with(|_| ()))))));
    };
    std::thread::spawn(body).join().unwrap();
    assert_eq!(drops.recv().unwrap().load(Ordering::SeqCst), 1);
}

#[test]
fn a_local_value_of_a_thread_that_sward_started_is_dropped_before_it_can_be_joined() {
    let drops = thread::spawn(|| VALUE.with(|value| Arc::clone(&value.drops))).join().unwrap();
    assert_eq!(drops.load(Ordering::SeqCst), 1);
}
