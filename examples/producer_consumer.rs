//! A shop that sells baozi: a producer, three consumers, and a counter between them with room for four.
//!
//! ```sh
//! cargo run --example producer_consumer
//! ```
//!
//! What the original gets wrong, and this mends:
//! - Its consumer comes by ten times and goes home, whatever it has got: it says "no baozi any more" while
//!   they are being made, and leaves some lying. Here a consumer waits for the next one, and goes when the
//!   shop has closed and all are sold.
//! - It asks `empty()` and then calls `get()`: with a second consumer, the last baozi may be gone in between,
//!   and `get` waits for ever. Here taking one and finding that there is none are one step.
//! - Its queue has no limit, so a producer that is quicker than its customers fills the memory. Here it waits
//!   until there is room.

use std::io;
use std::time::Duration;

use sward::queue::Fifo;
use sward::thread;

/// What was a second in the original.
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

/// Gives how many it has eaten.
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
