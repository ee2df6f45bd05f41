//! sward's costs.

use sward::{Builder, channel, thread};

use super::Costs;

pub(crate) fn measure() -> Costs {
    // SAFETY: nothing here holds a scoped thread-local value across a blocking call.
    unsafe { Builder::new().workers(1).run(|| [yields(), spawns(), ping_pong()]) }.expect("an engine opens")
}

measure_threads! {
    spawn: thread::spawn,
    yield_now: thread::yield_now,
    channel: channel::bounded(1),
    turns: 200_000,
    bursts: 50,
    trips: 100_000,
}
