//! Where a test runs: outside a runtime, on one worker, on two. And threads of both kinds for it.

use std::sync::Arc;

use sward::{EngineKind, thread};

/// Runs `test` outside a runtime, then on green threads of one worker, then of two.
pub(crate) fn everywhere(test: impl Fn() + Sync) {
    test();
    for workers in [1, 2] {
        on_workers(workers, &test);
    }
}

/// Runs `test` as the main green thread of a runtime with so many workers.
pub(crate) fn on_workers<T: Send>(workers: usize, test: impl FnOnce() -> T + Send) -> T {
    // SAFETY: the tests hold no scoped thread-local value across a blocking call.
    unsafe { sward::Builder::new().workers(workers).engine(EngineKind::Epoll).run(test) }
        .expect("epoll is everywhere")
}

/// Threads of both kinds.
pub(crate) struct Mixed {
    ours: Vec<thread::JoinHandle<()>>,
    native: Vec<std::thread::JoinHandle<()>>,
}

/// Starts `count` threads that call `body` with their number: OS threads and, inside a runtime, green threads
/// by turns.
pub(crate) fn spawn_mixed(count: usize, body: impl Fn(usize) + Send + Sync + 'static) -> Mixed {
    let body = Arc::new(body);
    let mut mixed = Mixed { ours: Vec::new(), native: Vec::new() };
    for index in 0..count {
        let body = Arc::clone(&body);
        if index % 2 == 0 {
            mixed.ours.push(thread::spawn(move || body(index)));
        } else {
            mixed.native.push(std::thread::spawn(move || body(index)));
        }
    }
    mixed
}

impl Mixed {
    /// Waits for all of them, and lets other green threads run meanwhile.
    pub(crate) fn join(self) {
        for thread in self.ours {
            thread.join().unwrap();
        }
        sward::offload(|| {
            for thread in self.native {
                thread.join().unwrap();
            }
        });
    }
}
