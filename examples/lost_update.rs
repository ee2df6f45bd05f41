//! A hundred threads decrement the same number: without a lock, all updates but one are lost.
//!
//! ```sh
//! cargo run --example lost_update
//! ```
//!
//! What the original gets wrong, and what this program does instead:
//! - It reads the number, sleeps, and writes the old value minus one: after 100 threads, 99 is left. The
//!   lock that it shows afterwards is not tied to any data (`R.acquire() ... R.release()`), so it is easy to
//!   forget, or to leave locked. Here the number is inside the lock: it cannot be reached without locking,
//!   and dropping the guard unlocks.
//! - In the original, only the sleep makes updates collide. Here every thread yields at the worst moment, so
//!   the loss is certain. (Sharing a plain variable does not compile. The loss below uses an atomic, so it is
//!   a bug, but not undefined behaviour.)

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
    // One worker, so all threads read before the first one writes.
    // SAFETY: nothing here holds a scoped thread-local value across a blocking call.
    unsafe { sward::Builder::new().workers(1).run(program) }
}
