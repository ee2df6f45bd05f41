//! How many threads fit, and what one costs. The same code runs twice: on green threads inside a runtime, and on OS threads
//! outside of one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use sward::thread::{self, Builder, JoinHandle, Thread};
use sward::time::Instant;

use super::super::machine;
use crate::output;

/// How often two threads hand over to each other.
const HANDOVERS: u32 = 20_000;

#[derive(clap::Args)]
pub(super) struct Tasks {
    #[arg(long, value_enum)]
    world: World,
    #[arg(long)]
    count: u32,
}

/// Which threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(in super::super) enum World {
    /// Of this library, on one worker
    Green,
    /// Of the operating system
    Os,
}

/// What was found.
#[derive(Debug, Serialize, Deserialize)]
pub(in super::super) struct Report {
    /// How many ran at once.
    pub(in super::super) alive: u32,
    /// Why there are no more of them, if there are fewer than asked for.
    pub(in super::super) limit: Option<String>,
    /// From the first spawn until all have run and wait, per thread.
    pub(in super::super) spawn_ns: f64,
    /// Resident memory and page tables, per thread.
    pub(in super::super) memory_bytes: f64,
    /// From one thread to another, by unpark and park.
    pub(in super::super) switch_ns: f64,
}

impl Tasks {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let report = match self.world {
            World::Green => super::on_green_threads(|| measure(self.count))?,
            World::Os => measure(self.count),
        };
        output::print(&(serde_json::to_string(&report)? + "\n"))
    }
}

fn measure(count: u32) -> Report {
    let switch_ns = switch_ns();
    let crowd = Crowd::new();
    let (memory_before, begun) = (machine::memory_bytes(std::process::id()), Instant::now());
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
    let memory = machine::memory_bytes(std::process::id()).saturating_sub(memory_before);
    let alive = threads.len() as u32;
    crowd.disperse(threads);
    let each = f64::from(alive.max(1));
    Report {
        alive,
        limit,
        spawn_ns: spawned.as_nanos() as f64 / each,
        memory_bytes: memory as f64 / each,
        switch_ns,
    }
}

/// Threads that have begun and wait to be let go.
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
        // Both sides write one of the two counts and read the other, so one of them sees both at their end.
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

    fn disperse(&self, threads: Vec<JoinHandle<()>>) {
        self.go.store(true, Ordering::Release);
        for thread in &threads {
            thread.thread().unpark();
        }
        for thread in threads {
            thread.join().expect("it only waits");
        }
    }
}

/// What it takes from one thread to another, in nanoseconds.
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
    fn both_worlds_do_the_same() {
        let (green, os) = (super::super::on_green_threads(|| measure(100)).unwrap(), measure(10));
        assert_eq!((green.alive, os.alive), (100, 10));
        assert!(green.limit.is_none() && os.limit.is_none());
        assert!(green.switch_ns > 0.0 && os.switch_ns > 0.0 && green.spawn_ns > 0.0);
    }
}
