//! A hundred threads take one away from the same number: without a lock the work of all but one is lost.
//!
//! ```sh
//! cargo run --example lost_update
//! ```
//!
//! What the original gets wrong, and this mends:
//! - It reads the number, sleeps, and writes what it has read, less one: 100 threads, and 99 is left. The
//!   lock that it shows afterwards protects nothing in particular (`R.acquire() ... R.release()`), so one may
//!   forget it, as the program did, or forget to release it. Here the number is inside the lock: who does not
//!   lock cannot reach it, and a guard's end releases it.
//! - Whether anything is lost at all depends on its sleep. Here everyone gives way at the worst moment, so it
//!   is certain. (A plain variable that threads share does not even compile. The loss below takes an atomic
//!   one, so it is a mistake, but not undefined.)

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

use sward::sync::Mutex;
use sward::thread;

const THREADS: i32 = 100;

/// Runs `action` on a hundred threads, and waits for them.
fn on_all_threads(action: impl Fn() + Send + Sync + 'static) {
    let action = Arc::new(action);
    let threads: Vec<_> = (0..THREADS)
        .map(|_| {
            let action = Arc::clone(&action);
            thread::spawn(move || action())
        })
        .collect();
    for thread in threads {
        thread.join().expect("it only counts");
    }
}

fn program() {
    let number = Arc::new(AtomicI32::new(THREADS));
    on_all_threads({
        let number = Arc::clone(&number);
        move || {
            let before = number.load(Ordering::Relaxed);
            thread::yield_now();
            number.store(before - 1, Ordering::Relaxed);
        }
    });
    println!("without a lock: {}", number.load(Ordering::Relaxed));

    let number = Arc::new(Mutex::new(THREADS));
    on_all_threads({
        let number = Arc::clone(&number);
        move || {
            let mut number = number.lock().expect("nobody panics with the lock");
            let before = *number;
            thread::yield_now();
            *number = before - 1;
        }
    });
    println!("with a lock: {}", number.lock().expect("nobody panics with the lock"));
}

fn main() -> io::Result<()> {
    // One worker: then all have read before one writes.
    // SAFETY: nothing here holds a scoped thread-local value across a blocking call.
    unsafe { sward::Builder::new().workers(1).run(program) }
}
