//! What locks and channels cost between green threads of one worker, beside std's, and crossbeam's between OS threads.
//!
//! ```text
//! taskset -c 0 cargo bench -p sward --bench sync      one core, for OS threads as well
//! ```
//!
//! tokio and may would double the tree of dependencies; they stand beside sward in `peers/`, which prints the same ping-pong for all of
//! them. Go has been measured by a program of its own, with the same loops, on 2026-11-22 on a shared virtual machine (Intel Xeon,
//! Linux 6.18, one core, each the median of five in one process; ns). In the same series:
//!
//! | | yield | spawn + join | ping-pong, room for 1 | room for 0 |
//! |---|--:|--:|--:|--:|
//! | Go 1.27.3, GOMAXPROCS=1 | 117 | 739 | 427 | 429 |
//! | tokio 1.54.1, current thread | 182 | 351 | 331 | has none |
//! | may 0.3.51, 1 worker | 70 | 1050 (1000 at once) | 478 (mpsc), 163 (spsc); no bound | has none |
//! | OS threads, crossbeam-channel 0.5.17 | 643 | 31264 | 5105 | |

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
    uncontended_channels(criterion);
    ping_pong(criterion);
}

fn uncontended_channels(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("send and receive, nobody waits");
    let (sender, receiver) = channel::bounded(1);
    group.bench_function("sward", |bench| bench.iter(|| (sender.send(black_box(1)), receiver.recv())));
    let (sender, receiver) = crossbeam_channel::bounded(1);
    group.bench_function("crossbeam", |bench| bench.iter(|| (sender.send(black_box(1)), receiver.recv())));
    group.finish();
}

fn ping_pong(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("ping-pong, round trip");
    for capacity in [0, 1] {
        let (ping, pings) = channel::bounded(capacity);
        let (pong, pongs) = channel::bounded(capacity);
        let partner = thread::spawn(move || pings.iter().for_each(|number: i32| pong.send(number).unwrap()));
        group.bench_function(format!("sward, room for {capacity}"), |bench| {
            bench.iter(|| {
                ping.send(black_box(1)).unwrap();
                pongs.recv().unwrap()
            });
        });
        drop(ping);
        partner.join().unwrap();

        let (ping, pings) = crossbeam_channel::bounded(capacity);
        let (pong, pongs) = crossbeam_channel::bounded(capacity);
        let partner =
            std::thread::spawn(move || pings.iter().for_each(|number: i32| pong.send(number).unwrap()));
        group.bench_function(format!("crossbeam and OS threads, room for {capacity}"), |bench| {
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
