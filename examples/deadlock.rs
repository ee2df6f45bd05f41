//! Two threads take two locks in opposite order: found, reported by name, and ended; and then done with a
//! lock that cannot do that.
//!
//! ```sh
//! cargo run --example deadlock
//! SWARD_DEADLOCK=total cargo run --release --example deadlock   # a release build must be told to
//! ```
//!
//! What the original (one thread calls `fun1`, which takes A and then B, while another is in `fun2`, which
//! takes B and then A) gets wrong, and this mends:
//! - It hangs, silently, for ever, and only somebody who knows the text knows why. Here one can ask who waits
//!   for whom. (If nothing at all could run any more, the program would not have to ask: it would panic with
//!   this report.)
//! - Nobody can end it from inside. Here a thread that waits for a lock can be cancelled: it gives back what
//!   it holds, and the other goes on.
//! - Its `RLock` is named, and not shown. It cures a thread that stands in its own way, and only because one
//!   lock now does the work of two: with two of them, in opposite order, there would be a deadlock again.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use sward::sync::{Barrier, Mutex, ReentrantMutex};
use sward::thread::{self, Builder, JoinHandle};

const PATIENCE: Duration = Duration::from_millis(100);

fn say(what: &str) {
    println!("I am {}, {what}", thread::current().name().unwrap_or("nameless"));
}

#[track_caller]
fn start(name: &str, f: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    Builder::new().name(name.into()).spawn(f)
}

/// Takes two locks. Between them, everyone waits for the other, so that it goes wrong for certain.
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
    let late: Vec<_> =
        thread::join_all([fun1, fun2], Some(PATIENCE)).into_iter().filter_map(Result::err).collect();
    println!("{} of 2 threads are late", late.len());
    for deadlock in sward::deadlocks() {
        println!("{deadlock}");
    }
    // One of them has to give way.
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
    let done =
        thread::join_all(threads, None).into_iter().filter(|thread| matches!(thread, Ok(Ok(())))).count();
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
