//! Consumer and producer as two coroutines: no locks, no queue, one thread.
//!
//! ```sh
//! cargo run --example generator
//! ```
//!
//! What the original gets wrong, and what this program does instead:
//! - Its consumer calls `time.sleep`, which blocks the OS thread, so nothing else can run. Here the sleep
//!   suspends the green thread, from inside the generator; another green thread goes on.
//! - Its consumer ends at the first false item, such as 0, and the producer then fails with
//!   `StopIteration`. Here all values are items, and `send` returns `None` after the consumer has ended.
//! - It closes the consumer only if nothing fails before. Here dropping it closes it, whatever happens.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sward::coroutine::Generator;
use sward::thread;

/// How long it takes to consume an item. (The original takes a second.)
const CONSUMING: Duration = Duration::from_millis(20);

/// Receives items, and yields the outcome of the last one.
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
