//! The costs of OS threads that share a core, with crossbeam's channels.

use std::thread;

use super::Costs;

pub(crate) fn measure() -> Costs {
    [yields(), spawns(), ping_pong()]
}

measure_threads! {
    spawn: thread::spawn,
    yield_now: thread::yield_now,
    channel: crossbeam_channel::bounded(1),
    turns: 20_000,
    bursts: 1,
    trips: 10_000,
}
