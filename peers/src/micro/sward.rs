//! sward's costs.

use std::time::Instant;

use sward::{Builder, channel, thread};

use super::{Costs, THREADS, each};

pub(crate) fn measure() -> Costs {
    // SAFETY: nothing here holds a scoped thread-local value across a blocking call.
    unsafe { Builder::new().workers(1).run(|| [yields(), spawns(), ping_pong()]) }.expect("an engine opens")
}

fn yields() -> f64 {
    const TURNS: u32 = 200_000;
    let turns = || (0..TURNS).for_each(|_| thread::yield_now());
    let begin = Instant::now();
    let threads = [thread::spawn(turns), thread::spawn(turns)];
    threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
    each(begin.elapsed(), 2 * TURNS)
}

fn spawns() -> f64 {
    const TIMES: u32 = 50;
    let begin = Instant::now();
    for _ in 0..TIMES {
        let threads: Vec<_> = (0..THREADS).map(|_| thread::spawn(|| {})).collect();
        threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
    }
    each(begin.elapsed(), TIMES * THREADS)
}

fn ping_pong() -> f64 {
    const TRIPS: u32 = 100_000;
    let (ping, pings) = channel::bounded(1);
    let (pong, pongs) = channel::bounded(1);
    let answer =
        thread::spawn(move || pings.iter().for_each(|number| pong.send(number).expect("somebody listens")));
    let begin = Instant::now();
    for number in 0..TRIPS {
        ping.send(number).expect("somebody listens");
        assert_eq!(pongs.recv(), Ok(number));
    }
    let elapsed = begin.elapsed();
    drop(ping);
    answer.join().expect("no panic");
    each(elapsed, TRIPS)
}
