//! tokio's costs, on one thread.

use std::time::Instant;

use tokio::runtime::Builder;
use tokio::sync::mpsc;
use tokio::task;

use super::{Costs, THREADS, each};

pub(crate) fn measure() -> Costs {
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime starts");
    let all = async { [yields().await, spawns().await, ping_pong().await] };
    runtime.block_on(async { tokio::spawn(all).await.expect("no panic") })
}

async fn yields() -> f64 {
    const TURNS: u32 = 200_000;
    let turns = || async {
        for _ in 0..TURNS {
            task::yield_now().await;
        }
    };
    let begin = Instant::now();
    for task in [tokio::spawn(turns()), tokio::spawn(turns())] {
        task.await.expect("no panic");
    }
    each(begin.elapsed(), 2 * TURNS)
}

async fn spawns() -> f64 {
    const TIMES: u32 = 50;
    let begin = Instant::now();
    for _ in 0..TIMES {
        let tasks: Vec<_> = (0..THREADS).map(|_| tokio::spawn(async {})).collect();
        for task in tasks {
            task.await.expect("no panic");
        }
    }
    each(begin.elapsed(), TIMES * THREADS)
}

async fn ping_pong() -> f64 {
    const TRIPS: u32 = 100_000;
    let (ping, mut pings) = mpsc::channel(1);
    let (pong, mut pongs) = mpsc::channel(1);
    let answer = tokio::spawn(async move {
        while let Some(number) = pings.recv().await {
            pong.send(number).await.expect("somebody listens");
        }
    });
    let begin = Instant::now();
    for number in 0..TRIPS {
        ping.send(number).await.expect("somebody listens");
        assert_eq!(pongs.recv().await, Some(number));
    }
    let elapsed = begin.elapsed();
    drop(ping);
    answer.await.expect("no panic");
    each(elapsed, TRIPS)
}
