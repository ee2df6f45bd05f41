//! Micro-benchmarks of parts that do no I/O, on one core.
//!
//! | cost | what it is |
//! |---|---|
//! | yield | two threads yield to each other |
//! | spawn + join | a thousand threads that do nothing are started, then joined |
//! | ping-pong | a round trip between two threads over two channels of capacity 1 |
//!
//! For comparison, Go's costs, by a program with the same loops (Go 1.27.3, GOMAXPROCS=1, 2026-11-22, one core of a shared virtual machine, median of
//! five): yield 117, spawn + join 739 (100,000 at once), ping-pong 427.

/// Defines the three measurements for a library of threads in direct style, so that all run the same loops.
macro_rules! measure_threads {
    (
        spawn: $spawn:path,
        yield_now: $yield_now:path,
        channel: $channel:expr,
        turns: $turns:literal,
        bursts: $bursts:literal,
        trips: $trips:literal $(,)?
    ) => {
        fn yields() -> f64 {
            let turns = || (0..$turns).for_each(|_| $yield_now());
            let begin = std::time::Instant::now();
            let threads = [$spawn(turns), $spawn(turns)];
            threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
            super::each(begin.elapsed(), 2 * $turns)
        }

        fn spawns() -> f64 {
            let begin = std::time::Instant::now();
            for _ in 0..$bursts {
                let threads: Vec<_> = (0..super::THREADS).map(|_| $spawn(|| {})).collect();
                threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
            }
            super::each(begin.elapsed(), $bursts * super::THREADS)
        }

        fn ping_pong() -> f64 {
            let (ping, pings) = $channel;
            let (pong, pongs) = $channel;
            let answer =
                $spawn(move || pings.iter().for_each(|number| pong.send(number).expect("somebody listens")));
            let begin = std::time::Instant::now();
            for number in 0..$trips {
                ping.send(number).expect("somebody listens");
                assert_eq!(pongs.recv(), Ok(number));
            }
            let elapsed = begin.elapsed();
            drop(ping);
            answer.join().expect("no panic");
            super::each(elapsed, $trips)
        }
    };
}

pub(crate) mod may;
pub(crate) mod os_threads;
pub(crate) mod sward;
pub(crate) mod tokio;

use std::time::Duration;

use crate::machine;
use crate::table::median;

/// The names of the costs, in the order of [`Costs`].
pub(crate) const COSTS: [&str; 3] = ["yield", "spawn + join", "ping-pong"];

/// Nanoseconds per operation, in the order of [`COSTS`].
pub(crate) type Costs = [f64; 3];

/// Measures a runtime's costs once.
pub(crate) type Measure = fn() -> Costs;

/// Threads that are alive at once in spawn + join.
const THREADS: u32 = 1000;

/// Runs a micro-benchmark's process: prints the median of five measurements.
pub(crate) fn run(measure: Measure) {
    machine::pin(machine::SERVER_CORE).expect("the core is there");
    let measured: Vec<Costs> = (0..5).map(|_| measure()).collect();
    for (index, cost) in COSTS.iter().enumerate() {
        println!("{cost}\t{:.2}", median(measured.iter().map(|costs| costs[index]).collect()));
    }
}

/// Returns the nanoseconds for each of `count`.
fn each(elapsed: Duration, count: u32) -> f64 {
    elapsed.as_nanos() as f64 / f64::from(count)
}
