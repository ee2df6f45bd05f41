//! What the library calls of the user's (formatters, comparisons, destructors, factories, initializers) may use the very
//! thing that calls it: no lock of the library's is held meanwhile. And it may block.

use std::cell::Cell;
use std::cmp;
use std::fmt::{self, Write};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};

use sward::queue::{Closed, Fifo, Priority};
use sward::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use sward::sync::{
    Arc, Barrier, Condvar, Event, LazyLock, Mutex, Once, OnceLock, Pool, ReentrantMutex, RwLock, Semaphore,
    WaitGroup,
};
use sward::thread;
use sward_testing::Watchdog;

use crate::places;

/// Calls the closure with each piece of what is written, and yields.
struct Writer<F>(F);

impl<F: FnMut(&str)> Write for Writer<F> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0(text);
        thread::yield_now();
        Ok(())
    }
}

/// Formats `value` into something that calls `meanwhile` with each piece.
fn format_into(value: &dyn fmt::Debug, mut meanwhile: impl FnMut()) {
    write!(Writer(|_: &str| meanwhile()), "{value:?}").unwrap();
}

#[test]
fn who_formats_may_use_what_is_formatted() {
    let _watchdog = Watchdog::start("callbacks::who_formats_may_use_what_is_formatted");
    places::everywhere(|| {
        let (fifo, priority) = (Fifo::new(0), Priority::new(0));
        format_into(&fifo, || fifo.put(1).unwrap());
        format_into(&priority, || priority.put(1).unwrap());
        assert!(fifo.len() > 3 && priority.len() > 3);
        let pool = Pool::new(1, || io::Result::Ok(1));
        format_into(&pool, || drop(pool.get().unwrap()));
        let semaphore = Semaphore::new(1);
        format_into(&semaphore, || drop(semaphore.acquire(1)));
        let event = Event::new();
        format_into(&event, || event.set());
        let (barrier, condvar, once) = (Barrier::new(1), Condvar::new(), Once::new());
        format_into(&barrier, || assert!(barrier.wait().is_leader()));
        format_into(&condvar, || condvar.notify_all());
        format_into(&once, || once.call_once(|| ()));
        let group = WaitGroup::new();
        format_into(&group, || drop(group.clone()));
        let (cell, lazy) = (OnceLock::new(), LazyLock::new(|| 1));
        format_into(&cell, || assert_eq!(cell.get_or_init(|| 1), &1));
        format_into(&lazy, || assert_eq!(*lazy, 1));
        let reentrant = ReentrantMutex::new(1);
        format_into(&reentrant, || assert_eq!(*reentrant.lock(), 1));
        // These hold the user's own lock while they show what it protects, as in std.
        let (mutex, rwlock) = (Mutex::new(1), RwLock::new(1));
        let mut was_shown = false;
        format_into(&mutex, || was_shown |= mutex.try_lock().is_err());
        format_into(&rwlock, || assert!(rwlock.try_read().is_ok()));
        assert!(was_shown);
    });
}

/// Compared by its number, and meanwhile something is done.
struct Item<'a> {
    number: u32,
    meanwhile: &'a (dyn Fn() + Sync),
}

impl PartialEq for Item<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Item<'_> {}

impl PartialOrd for Item<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Item<'_> {
    fn cmp(&self, other: &Self) -> cmp::Ordering {
        (self.meanwhile)();
        self.number.cmp(&other.number)
    }
}

#[test]
fn who_compares_may_block() {
    let _watchdog = Watchdog::start("callbacks::who_compares_may_block");
    places::everywhere(|| {
        let lock = Mutex::new(0);
        let queue = Priority::new(0);
        let meanwhile = || {
            let mut count = lock.lock().unwrap();
            thread::yield_now();
            *count += 1;
            // The item that is being put or got may count, or not.
            assert!(queue.len() <= 20 && !format!("{queue:?}").is_empty());
        };
        let item = |number| Item { number, meanwhile: &meanwhile };
        thread::scope(|scope| {
            for first in 0..4 {
                let (queue, item) = (&queue, &item);
                scope.spawn(move || (0..5).for_each(|step| queue.put(item(first + 4 * step)).unwrap()));
            }
        });
        assert!(queue.len() == 20 && *lock.lock().unwrap() > 0);
        let got = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    // What one thread gets comes in order, whatever others get in between.
                    let mut last = 0;
                    for _ in 0..4 {
                        let number = queue.get().unwrap().number;
                        assert!(number >= last);
                        last = number;
                        got.fetch_add(1, Ordering::Relaxed);
                        queue.task_done();
                    }
                });
            }
        });
        assert_eq!((got.load(Ordering::Relaxed), queue.len()), (16, 4));
        let left: Vec<_> = queue.close_now().iter().map(|item| item.number).collect();
        assert_eq!(left, [16, 17, 18, 19]);
        queue.join();
    });
}

#[test]
fn a_comparison_that_panics_leaves_a_queue_that_works() {
    let _watchdog = Watchdog::start("callbacks::a_comparison_that_panics_leaves_a_queue_that_works");
    places::everywhere(|| {
        let panics = AtomicBool::new(false);
        let meanwhile = || {
            if panics.load(Ordering::Relaxed) {
                std::panic::resume_unwind(Box::new("on purpose"));
            }
        };
        let item = |number| Item { number, meanwhile: &meanwhile };
        let queue = Priority::new(3);
        let unwinds = |action: &dyn Fn()| {
            panics.store(true, Ordering::Relaxed);
            let unwound = catch_unwind(AssertUnwindSafe(action)).is_err();
            panics.store(false, Ordering::Relaxed);
            unwound
        };
        queue.put(item(2)).unwrap();
        // It is in the queue, and it counts.
        assert!(unwinds(&|| queue.put(item(1)).unwrap()));
        for _ in 0..2 {
            queue.get().unwrap();
            queue.task_done();
        }
        queue.join();
        (1..=3).for_each(|number| queue.put(item(number)).unwrap());
        thread::scope(|scope| {
            let putter = scope.spawn(|| queue.put(item(4)).is_ok());
            thread::yield_now();
            // What was to be got is lost, and maybe what came in for it: nobody waits for its work, and nobody is left waiting.
            assert!(unwinds(&|| drop(queue.get())));
            let mut left = 0;
            while !putter.is_finished() || !queue.is_empty() {
                if queue.try_get().is_ok() {
                    queue.task_done();
                    left += 1;
                }
            }
            assert!(putter.join().unwrap() && (2..=3).contains(&left), "{left}");
        });
        queue.join();
        queue.close();
        assert!(queue.get().is_err_and(|error| error == Closed(())));
    });
}

#[test]
fn a_factory_and_what_it_makes_may_use_the_pool() {
    struct Thing(Arc<Pool<Thing>>);
    impl Drop for Thing {
        fn drop(&mut self) {
            // Whatever drops it, the pool can be asked, and lends another.
            assert!(self.0.idle() <= 2 && self.0.lent() <= 3);
            assert!(!format!("{:?}", self.0).is_empty());
        }
    }
    let _watchdog = Watchdog::start("callbacks::a_factory_and_what_it_makes_may_use_the_pool");
    places::everywhere(|| {
        let place: Arc<OnceLock<Arc<Pool<Thing>>>> = Arc::new(OnceLock::new());
        let theirs = Arc::clone(&place);
        let pool = Arc::new(Pool::new(3, move || {
            let pool = theirs.get().unwrap();
            thread::yield_now();
            assert!(pool.lent() > 0 && pool.idle() == 0);
            Ok(Thing(Arc::clone(pool)))
        }));
        assert!(place.set(Arc::clone(&pool)).is_ok());
        drop((pool.get().unwrap(), pool.get().unwrap()));
        assert_eq!(pool.idle(), 2);
        pool.get().unwrap().discard();
        pool.clear();
        assert_eq!((pool.idle(), pool.lent()), (0, 0));
        drop(pool.get().unwrap());
        let _ = catch_unwind(AssertUnwindSafe(|| {
            let _thing = pool.get().unwrap();
            std::panic::resume_unwind(Box::new("on purpose"));
        }));
        assert_eq!((pool.idle(), pool.lent()), (0, 0));
    });
}

#[test]
fn what_is_dropped_may_use_what_dropped_it() {
    struct Thing<'a>(&'a dyn Fn());
    impl Drop for Thing<'_> {
        fn drop(&mut self) {
            (self.0)();
        }
    }
    let _watchdog = Watchdog::start("callbacks::what_is_dropped_may_use_what_dropped_it");
    places::everywhere(|| {
        let numbers = Arc::new(Fifo::new(0));
        let dropped = || {
            thread::yield_now();
            numbers.put(1).unwrap();
        };
        let things = Fifo::new(1);
        things.put(Thing(&dropped)).unwrap();
        drop(things.try_put(Thing(&dropped)));
        drop(things.close_now());
        drop(things.put(Thing(&dropped)));
        let cell = OnceLock::new();
        assert!(cell.set(Thing(&dropped)).is_ok());
        drop(cell.set(Thing(&dropped)));
        drop(cell);
        assert_eq!(numbers.len(), 5);
    });
}

#[test]
fn a_local_value_that_nobody_keeps_may_ask_for_others() {
    static MADE: sward::thread::Local<Cell<usize>> = sward::thread::Local::new(|| Cell::new(0));
    static VALUE: sward::thread::Local<Recursive> = sward::thread::Local::new(|| {
        let number = MADE.with(|made| made.replace(made.get() + 1));
        if number == 0 {
            assert_eq!(VALUE.with(|value| value.0), 1);
        }
        Recursive(number)
    });
    macro_rules! others {
        ($($name:ident)*) => {
            $(static $name: sward::thread::Local<u8> = sward::thread::Local::new(|| 1);)*
            fn ask_for_others() {
                $(assert_eq!($name.with(|value| *value), 1);)*
            }
        };
    }
    others!(A B C D E F G H I J K L M N O P);
    struct Recursive(usize);
    impl Drop for Recursive {
        fn drop(&mut self) {
            if self.0 == 0 {
                // So many that the table of values moves.
                ask_for_others();
                assert_eq!(VALUE.with(|value| value.0), 1);
            }
        }
    }
    let _watchdog = Watchdog::start("callbacks::a_local_value_that_nobody_keeps_may_ask_for_others");
    let test = || assert_eq!(VALUE.with(|value| value.0), 1);
    std::thread::spawn(test).join().unwrap();
    places::on_workers(1, move || thread::spawn(test).join().unwrap());
}
