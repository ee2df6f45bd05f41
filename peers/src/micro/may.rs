//! may's costs, with one worker.

use std::time::Instant;

use may::coroutine::{self, JoinHandle};
use may::sync::mpsc;

use super::{Costs, THREADS, each};

pub(crate) fn measure() -> Costs {
    may::config().set_workers(1);
    spawn(|| [yields(), spawns(), ping_pong()]).join().expect("no panic")
}

fn spawn<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    // SAFETY: what is spawned here uses no thread-local values, and little stack.
    unsafe { coroutine::spawn(f) }
}

fn yields() -> f64 {
    const TURNS: u32 = 200_000;
    let turns = || (0..TURNS).for_each(|_| coroutine::yield_now());
    let begin = Instant::now();
    let threads = [spawn(turns), spawn(turns)];
    threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
    each(begin.elapsed(), 2 * TURNS)
}

fn spawns() -> f64 {
    const TIMES: u32 = 50;
    let begin = Instant::now();
    for _ in 0..TIMES {
        let threads: Vec<_> = (0..THREADS).map(|_| spawn(|| {})).collect();
        threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
    }
    each(begin.elapsed(), TIMES * THREADS)
}

/// It has no channel with room for one message.
fn ping_pong() -> f64 {
    const TRIPS: u32 = 100_000;
    let (ping, pings) = mpsc::channel();
    let (pong, pongs) = mpsc::channel();
    let answer = spawn(move || pings.iter().for_each(|number| pong.send(number).expect("somebody listens")));
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
