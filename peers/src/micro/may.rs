//! may's costs, with one worker.

use may::coroutine::{self, JoinHandle};
use may::sync::mpsc;

use super::Costs;

pub(crate) fn measure() -> Costs {
    may::config().set_workers(1);
    spawn(|| [yields(), spawns(), ping_pong()]).join().expect("no panic")
}

fn spawn<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    // SAFETY: what is spawned here uses no thread-local values, and little stack.
    unsafe { coroutine::spawn(f) }
}

// It has no channel with room for one message.
measure_threads! {
    spawn: spawn,
    yield_now: coroutine::yield_now,
    channel: mpsc::channel(),
    turns: 200_000,
    bursts: 50,
    trips: 100_000,
}
