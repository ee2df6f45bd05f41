//! What ends a wait besides completions: its time, and the waker.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use crate::rig::Rig;

pub(crate) fn a_wait_ends_when_its_time_is_over(rig: &mut Rig) {
    for timeout in [0, 1, 1_000, 1_500_000, 10_000_000] {
        rig.wait(Some(Duration::from_nanos(timeout)));
    }
}

pub(crate) fn a_wake_before_the_wait_ends_it(rig: &mut Rig) {
    let waker = rig.engine.waker();
    for _ in 0..10 {
        waker.wake();
        rig.engine.waker().wake();
        rig.wait(None);
    }
}

pub(crate) fn no_wake_of_another_thread_is_lost(rig: &mut Rig) {
    const THREADS: usize = 3;
    const WAKES: usize = 1000;
    let arrived = Arc::new(AtomicUsize::new(0));
    let seen = Arc::new(AtomicUsize::new(0));
    let threads: Vec<_> = (0..THREADS)
        .map(|_| {
            let (waker, arrived, seen) = (rig.engine.waker(), arrived.clone(), seen.clone());
            thread::spawn(move || {
                for _ in 0..WAKES {
                    let mine = arrived.fetch_add(1, Ordering::SeqCst) + 1;
                    waker.wake();
                    // The next wake comes only after this one was noticed, so each of them counts.
                    while seen.load(Ordering::SeqCst) < mine {
                        thread::yield_now();
                    }
                }
            })
        })
        .collect();
    while seen.load(Ordering::SeqCst) < THREADS * WAKES {
        // A lost wake leaves this waiting for ever.
        rig.wait(None);
        seen.store(arrived.load(Ordering::SeqCst), Ordering::SeqCst);
    }
    for thread in threads {
        thread.join().unwrap();
    }
}

pub(crate) fn a_wake_after_the_end_does_no_harm(rig: &mut Rig) {
    let kind = rig.kind;
    let waker = thread::spawn(move || {
        let mut other = Rig::open(kind, "").unwrap();
        let waker = other.engine.waker();
        waker.wake();
        other.wait(Some(Duration::ZERO));
        waker
    })
    .join()
    .unwrap();
    waker.wake();
    waker.clone().wake();
    rig.look();
}
