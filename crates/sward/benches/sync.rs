//! What locks and channels cost between green threads of one worker, beside std's and crossbeam's where nobody waits.
//!
//! ```text
//! cargo bench -p sward --bench sync
//! ```

use std::hint::black_box;

use criterion::Criterion;
use sward::{Builder, channel, sync, thread};

fn main() {
    // SAFETY: nothing here holds a scoped thread-local value across a blocking call.
    unsafe { Builder::new().workers(1).run(measure) }.expect("an engine opens");
}

fn measure() {
    let mut criterion = Criterion::default().configure_from_args();
    locks(&mut criterion);
    channels(&mut criterion);
    criterion.final_summary();
}

fn locks(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("lock and unlock");
    let (ours, theirs) = (sync::Mutex::new(0_u64), std::sync::Mutex::new(0_u64));
    group.bench_function("Mutex, sward", |bench| bench.iter(|| *black_box(&ours).lock().unwrap() += 1));
    group.bench_function("Mutex, std", |bench| bench.iter(|| *black_box(&theirs).lock().unwrap() += 1));
    let (ours, theirs) = (sync::RwLock::new(0_u64), std::sync::RwLock::new(0_u64));
    group.bench_function("RwLock read, sward", |bench| bench.iter(|| *black_box(&ours).read().unwrap()));
    group.bench_function("RwLock read, std", |bench| bench.iter(|| *black_box(&theirs).read().unwrap()));
    group.finish();
}

fn channels(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("send and receive, nobody waits");
    let (sender, receiver) = channel::bounded(1);
    group.bench_function("sward", |bench| bench.iter(|| (sender.send(black_box(1)), receiver.recv())));
    let (sender, receiver) = crossbeam_channel::bounded(1);
    group.bench_function("crossbeam", |bench| bench.iter(|| (sender.send(black_box(1)), receiver.recv())));
    group.finish();

    let mut group = criterion.benchmark_group("ping-pong, round trip");
    for capacity in [0, 1] {
        let (ping, pings) = channel::bounded(capacity);
        let (pong, pongs) = channel::bounded(capacity);
        let partner = thread::spawn(move || pings.iter().for_each(|number: i32| pong.send(number).unwrap()));
        group.bench_function(format!("channel, room for {capacity}"), |bench| {
            bench.iter(|| {
                ping.send(black_box(1)).unwrap();
                pongs.recv().unwrap()
            });
        });
        drop(ping);
        partner.join().unwrap();
    }
    group.finish();
}
