//! Consumer and producer as two coroutines: no locks, no queue, one thread.
//!
//! ```sh
//! cargo run --example generator
//! ```
//!
//! What the original gets wrong, and this mends:
//! - Its consumer sleeps with `time.sleep`, which holds up the whole thread, so nothing else could be served
//!   meanwhile. Here the sleep suspends the green thread, from inside the generator; another green thread
//!   works on.
//! - Its consumer ends at the first item that is false, such as 0, and the producer then dies of
//!   `StopIteration`. Here every item is one, and a consumer that has ended is a `None` that the producer
//!   sees.
//! - It closes the consumer only if nothing fails before. Here the drop closes it, whatever happens.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sward::coroutine::Generator;
use sward::thread;

/// How long it takes to consume an item. (The original takes a second.)
const CONSUMING: Duration = Duration::from_millis(20);

/// Is sent items, and yields what has become of the last one.
fn consumer() -> Generator<&'static str, u32> {
    Generator::new(|yielder| {
        let mut reply = "";
        loop {
            let item = yielder.yield_value(reply);
            println!("[CONSUMER] ←← Consuming {item}...");
            thread::sleep(CONSUMING);
            reply = "200 OK";
        }
    })
}

fn produce(mut consumer: Generator<&'static str, u32>) {
    consumer.start();
    for item in 1..=5 {
        println!("[PRODUCER] →→ Producing {item}...");
        let Some(reply) = consumer.send(item) else {
            return println!("[PRODUCER] The consumer has gone");
        };
        println!("[PRODUCER] Consumer return: {reply}");
    }
}

fn program() {
    let done = Arc::new(AtomicBool::new(false));
    let other_work = thread::spawn({
        let done = Arc::clone(&done);
        move || {
            let mut turns = 0u64;
            while !done.load(Ordering::Relaxed) {
                turns += 1;
                thread::yield_now();
            }
            turns
        }
    });
    produce(consumer());
    done.store(true, Ordering::Relaxed);
    let turns = other_work.join().expect("it only counts");
    println!("[OTHER] Worked on while the consumer slept: {}", turns > 0);
}

fn main() -> std::io::Result<()> {
    // One worker, so one OS thread runs all of it.
    // SAFETY: nothing here holds a scoped thread-local value across a blocking call or a yield.
    unsafe { sward::Builder::new().workers(1).run(program) }
}
