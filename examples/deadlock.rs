//! Two threads take two locks in opposite order. The deadlock is detected, reported by name, and resolved.
//! Then the same work is done with a reentrant lock.
//!
//! ```sh
//! cargo run --example deadlock
//! SWARD_DEADLOCK=total cargo run --release --example deadlock   # a release build must be told to
//! ```
//!
//! What the original (one thread calls `fun1`, which takes A and then B, while another is in `fun2`, which
//! takes B and then A) gets wrong, and what this program does instead:
//! - It hangs for ever, without a word. Here the program asks which threads wait for which. (If no thread
//!   could run any more, it would not have to ask: it would panic with this report.)
//! - Nothing can end the deadlock from inside. Here a thread that waits for a lock can be cancelled: it
//!   releases its locks, and the other thread goes on.
//! - It mentions `RLock` without showing it. A reentrant lock helps a thread that takes a lock twice. It
//!   prevents this deadlock only because one lock replaces two: two of them, in opposite order, would
//!   deadlock again.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use sward::sync::{Barrier, Mutex, ReentrantMutex};
use sward::thread::{self, Builder, JoinHandle};

const TIMEOUT: Duration = Duration::from_millis(100);

fn say(what: &str) {
    println!("I am {}, {what}", thread::current().name().unwrap_or("nameless"));
}

#[track_caller]
fn start(name: &str, f: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    Builder::new().name(name.into()).spawn(f)
}

/// Takes two locks. In between, each thread waits for the other, so that the deadlock is certain.
fn both(first: (&str, &Mutex<()>), second: (&str, &Mutex<()>), halfway: &Barrier) {
    let _first = first.1.lock().expect("nobody panics with it");
    say(&format!("got {}", first.0));
    halfway.wait();
    let _second = second.1.lock().expect("nobody panics with it");
    say(&format!("got {} as well", second.0));
}

fn two_mutexes() -> io::Result<()> {
    let locks = Arc::new((Mutex::new(()), Mutex::new(()), Barrier::new(2)));
    let (ours, theirs) = (Arc::clone(&locks), locks);
    let fun1 = start("Thread-1", move || both(("ResA", &ours.0), ("ResB", &ours.1), &ours.2))?;
    let fun2 = start("Thread-2", move || both(("ResB", &theirs.1), ("ResA", &theirs.0), &theirs.2))?;
    let (_, late) = thread::join_all_timeout([fun1, fun2], TIMEOUT);
    println!("{} of 2 threads are late", late.len());
    for deadlock in sward::deadlocks() {
        println!("{deadlock}");
    }
    // Cancel one of them.
    if let Some(victim) = late.first() {
        victim.cancel();
    }
    for thread in late {
        let name = thread.thread().name().unwrap_or_default().to_owned();
        println!("{name} {}", if thread.join().is_ok() { "is done" } else { "was cancelled" });
    }
    Ok(())
}

/// Takes the lock twice, as if it were two.
fn fun1(lock: &ReentrantMutex<()>) {
    let _a = lock.lock();
    say("got ResA");
    thread::yield_now();
    let _b = lock.lock();
    say("got ResB as well");
}

fn fun2(lock: &ReentrantMutex<()>) {
    let _b = lock.lock();
    say("got ResB");
    thread::yield_now();
    let _a = lock.lock();
    say("got ResA as well");
}

fn one_reentrant_mutex() -> io::Result<()> {
    let lock = Arc::new(ReentrantMutex::new(()));
    let (ours, theirs) = (Arc::clone(&lock), lock);
    let threads = [start("Thread-1", move || fun1(&ours))?, start("Thread-2", move || fun2(&theirs))?];
    let done = thread::join_all(threads).into_iter().filter(Result::is_ok).count();
    println!("{done} of 2 threads are done");
    Ok(())
}

fn program() -> io::Result<()> {
    println!("-- two Mutexes");
    two_mutexes()?;
    println!("-- one ReentrantMutex");
    one_reentrant_mutex()
}

fn main() -> io::Result<()> {
    // SAFETY: nothing here holds a scoped thread-local value across a blocking call.
    unsafe { sward::Builder::new().workers(1).run(program)? }
}
