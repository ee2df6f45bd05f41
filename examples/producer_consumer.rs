//! A shop that sells baozi: a producer, three consumers, and a counter between them that holds four.
//!
//! ```sh
//! cargo run --example producer_consumer
//! ```
//!
//! What the original gets wrong, and what this program does instead:
//! - Its consumer tries ten times and leaves, whatever it has got: it says "no baozi any more" while more
//!   are being made, and leaves some behind. Here a consumer waits for the next one, and leaves when the
//!   shop has closed and all are sold.
//! - It checks `empty()` and then calls `get()`: another consumer may take the last baozi in between,
//!   and `get` waits for ever. Here `get` does both in one step.
//! - Its queue has no limit, so a fast producer can fill the memory. Here the producer waits
//!   until there is room.

use std::io;
use std::time::Duration;

use sward::queue::Fifo;
use sward::thread;

/// Stands for a second of the original.
const SECOND: Duration = Duration::from_millis(5);

fn producer(name: &str, counter: &Fifo<u32>) {
    for baozi in 1..=10 {
        println!("{name} is making baozi {baozi}...");
        thread::sleep(SECOND);
        counter.put(baozi).expect("the shop is open");
    }
    println!("{name} has made enough; the shop closes");
    counter.close();
}

/// Returns how many it has eaten.
fn consumer(name: &str, counter: &Fifo<u32>) -> u32 {
    let mut eaten = 0;
    while let Ok(baozi) = counter.get() {
        println!("\x1b[32;1m{name} eats baozi {baozi}\x1b[0m");
        thread::sleep(4 * SECOND);
        counter.task_done();
        eaten += 1;
    }
    println!("{name} goes home");
    eaten
}

fn program() {
    let counter = Fifo::new(4);
    let eaten: u32 = thread::scope(|scope| {
        let counter = &counter;
        scope.spawn(|| producer("A", counter));
        let consumers = ["B", "C", "D"].map(|name| scope.spawn(move || consumer(name, counter)));
        consumers.into_iter().map(|consumer| consumer.join().expect("it only eats")).sum()
    });
    println!("{eaten} baozi were eaten, {} are left", counter.len());
}

fn main() -> io::Result<()> {
    // SAFETY: nothing here holds a scoped thread-local value across a blocking call.
    unsafe { sward::Builder::new().workers(1).run(program) }
}
