//! What threads cost on one worker: switching, starting and joining, waking one another, and the clock.
//!
//! ```text
//! cargo bench -p sward --bench threads
//! ```

use std::hint::black_box;
use std::time::Duration;

use criterion::Criterion;
use sward::{Builder, thread, time};

fn main() {
    // SAFETY: nothing here holds a scoped thread-local value across a blocking call.
    unsafe { Builder::new().workers(1).run(measure) }.expect("an engine opens");
}

fn measure() {
    let mut criterion = Criterion::default().configure_from_args();
    switches(&mut criterion);
    spawns(&mut criterion);
    hand_over(&mut criterion);
    clock(&mut criterion);
    criterion.final_summary();
}

fn switches(criterion: &mut Criterion) {
    criterion.bench_function("yield, alone", |bench| bench.iter(thread::yield_now));
    let partner = thread::spawn(|| {
        loop {
            thread::yield_now();
        }
    });
    criterion.bench_function("yield, to another and back", |bench| bench.iter(thread::yield_now));
    partner.cancel();
    // It says that it was cancelled.
    let _ = partner.join();
}

fn spawns(criterion: &mut Criterion) {
    criterion.bench_function("spawn + join", |bench| {
        bench.iter(|| thread::spawn(|| black_box(1)).join().expect("no panic"));
    });
    criterion.bench_function("spawn + join, 1000 at once", |bench| {
        bench.iter(|| {
            let threads: Vec<_> = (0..1000).map(|_| thread::spawn(|| black_box(1))).collect();
            threads.into_iter().map(|thread| thread.join().expect("no panic")).sum::<i32>()
        });
    });
}

fn hand_over(criterion: &mut Criterion) {
    let main = thread::current();
    let partner = thread::spawn(move || {
        loop {
            thread::park();
            main.unpark();
        }
    });
    criterion.bench_function("park + unpark, round trip", |bench| {
        bench.iter(|| {
            partner.thread().unpark();
            thread::park();
        });
    });
    partner.cancel();
    let _ = partner.join();
}

fn clock(criterion: &mut Criterion) {
    criterion.bench_function("timer, started and stopped", |bench| {
        bench.iter(|| time::timeout(Duration::from_secs(1), || black_box(1)));
    });
    let sleepers: Vec<_> =
        (0..10_000).map(|_| thread::spawn(|| thread::sleep(Duration::from_secs(3600)))).collect();
    thread::yield_now();
    criterion.bench_function("timer, started and stopped among 10,000", |bench| {
        bench.iter(|| time::timeout(Duration::from_secs(1), || black_box(1)));
    });
    for sleeper in sleepers {
        sleeper.cancel();
        let _ = sleeper.join();
    }
    criterion
        .bench_function("sleep for 1 ms", |bench| bench.iter(|| thread::sleep(Duration::from_millis(1))));
}
