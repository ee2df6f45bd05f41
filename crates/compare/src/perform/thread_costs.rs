//! Starts threads up to a number or the system's limit, and measures what each costs. The same code runs on green threads inside a
//! runtime and on OS threads outside.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use sward::thread::{self, Builder, JoinHandle, Thread};
use sward::time::Instant;
use sward_measure::process::memory_bytes;

use super::green::on_green_threads;
use crate::error::Result;
use crate::step::{ThreadCosts, ThreadKind};

/// How often each of two threads hands over to the other.
const HANDOVERS: u32 = 20_000;

/// Starts the threads, and returns their costs as JSON.
pub(crate) fn run(kind: ThreadKind, count: u32) -> Result<String> {
    let costs = match kind {
        ThreadKind::Green => on_green_threads(|| measure(count))?,
        ThreadKind::Os => measure(count),
    };
    Ok(serde_json::to_string(&costs)? + "\n")
}

fn measure(count: u32) -> ThreadCosts {
    let switch_ns = switch_ns();
    let crowd = Crowd::new();
    let (memory_before, begun) = (memory_bytes(std::process::id()), Instant::now());
    let mut threads = Vec::with_capacity(count as usize);
    let mut limit = None;
    while threads.len() < count as usize {
        let crowd = Arc::clone(&crowd);
        match Builder::new().spawn(move || crowd.wait()) {
            Ok(thread) => threads.push(thread),
            Err(error) => {
                limit = Some(error.to_string());
                break;
            }
        }
    }
    crowd.await_arrivals(threads.len() as u32);
    let spawned = begun.elapsed();
    let memory = memory_bytes(std::process::id()).saturating_sub(memory_before);
    let alive = threads.len() as u32;
    crowd.release(threads);
    let each = f64::from(alive.max(1));
    ThreadCosts {
        alive,
        limit,
        spawn_ns: spawned.as_nanos() as f64 / each,
        memory_bytes: memory as f64 / each,
        switch_ns,
    }
}

/// Threads that have started and wait to be released.
struct Crowd {
    arrived: AtomicU32,
    expected: AtomicU32,
    go: AtomicBool,
    watcher: Thread,
}

impl Crowd {
    fn new() -> Arc<Crowd> {
        Arc::new(Crowd {
            arrived: AtomicU32::new(0),
            expected: AtomicU32::new(u32::MAX),
            go: AtomicBool::new(false),
            watcher: thread::current(),
        })
    }

    fn wait(&self) {
        // Each side writes one count and reads the other, so at least one side sees both final values.
        if self.arrived.fetch_add(1, Ordering::SeqCst) + 1 == self.expected.load(Ordering::SeqCst) {
            self.watcher.unpark();
        }
        while !self.go.load(Ordering::Acquire) {
            thread::park();
        }
    }

    fn await_arrivals(&self, count: u32) {
        self.expected.store(count, Ordering::SeqCst);
        while self.arrived.load(Ordering::SeqCst) < count {
            thread::park();
        }
    }

    fn release(&self, threads: Vec<JoinHandle<()>>) {
        self.go.store(true, Ordering::Release);
        for thread in &threads {
            thread.thread().unpark();
        }
        for thread in threads {
            thread.join().expect("it only waits");
        }
    }
}

/// Measures a switch from one thread to another, in nanoseconds.
fn switch_ns() -> f64 {
    let turn = Arc::new(AtomicU32::new(0));
    let (main, theirs) = (thread::current(), Arc::clone(&turn));
    let partner = thread::spawn(move || {
        for round in 0..HANDOVERS {
            await_turn(&theirs, 2 * round + 1);
            theirs.store(2 * round + 2, Ordering::Release);
            main.unpark();
        }
    });
    let begun = Instant::now();
    for round in 0..HANDOVERS {
        turn.store(2 * round + 1, Ordering::Release);
        partner.thread().unpark();
        await_turn(&turn, 2 * round + 2);
    }
    let took = begun.elapsed();
    partner.join().expect("it only takes turns");
    took.as_nanos() as f64 / f64::from(2 * HANDOVERS)
}

fn await_turn(turn: &AtomicU32, number: u32) {
    while turn.load(Ordering::Acquire) < number {
        thread::park();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_do_the_same() {
        let (green, os) = (on_green_threads(|| measure(100)).unwrap(), measure(10));
        assert_eq!((green.alive, os.alive), (100, 10));
        assert!(green.limit.is_none() && os.limit.is_none());
        assert!(green.switch_ns > 0.0 && os.switch_ns > 0.0 && green.spawn_ns > 0.0);
    }
}
