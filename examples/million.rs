//! A million threads, all alive at once.
//!
//! ```sh
//! cargo run --release --example million   # or another number: -- 100000
//! ```
//!
//! The original's text says that one CPU can hold tens of thousands of coroutines, and shows two. This
//! program starts a million on one CPU, waits until all have started, prints what they cost, and lets them
//! all sleep for a second, wake and end. The original joins only its last thread. Here all are joined, and
//! their results are checked.

use std::env;
use std::fs;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sward::sync::{Event, WaitGroup};
use sward::thread;

/// Address space of a thread's stack. Its pages take memory only when they are first used.
const STACK_BYTES: usize = 64 * 1024;

/// Returns the physical memory of this process.
fn resident_bytes() -> io::Result<usize> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim_end_matches("kB").trim().parse::<usize>().ok());
    kib.map(|kib| kib * 1024).ok_or_else(|| io::Error::other("/proc/self/status has no VmRSS"))
}

fn program(count: usize) -> io::Result<()> {
    let before = resident_bytes()?;
    let started = Instant::now();
    let (here, go) = (WaitGroup::new(), Arc::new(Event::new()));
    let threads: Vec<_> = (0..count)
        .map(|number| {
            let (here, go) = (here.clone(), Arc::clone(&go));
            thread::spawn(move || {
                drop(here);
                go.wait();
                thread::sleep(Duration::from_secs(1));
                number
            })
        })
        .collect();
    here.wait();
    let resident = resident_bytes()? - before;
    println!("{count} threads are alive");
    println!("{} resident bytes each", resident / count);
    println!("{:.2?} to start them", started.elapsed());

    let woken = Instant::now();
    go.set();
    let sum: usize = threads.into_iter().map(|thread| thread.join().expect("it only sleeps")).sum();
    println!("{:.2?} for all to sleep one second and end", woken.elapsed());
    println!("all have ended: {}", sum == count * (count - 1) / 2);
    Ok(())
}

fn main() -> io::Result<()> {
    let count = env::args().nth(1).map_or(Ok(1_000_000), |number| number.parse());
    let count = count.ok().filter(|&count| count > 0);
    let count = count.ok_or_else(|| io::Error::other("the argument is the number of threads"))?;
    // SAFETY: nothing here holds a scoped thread-local value across a blocking call.
    unsafe { sward::Builder::new().workers(1).stack_size(STACK_BYTES).run(|| program(count))? }
}
