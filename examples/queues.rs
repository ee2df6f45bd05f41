//! The three queues: what they do when full or empty, and how to wait until all work is done.
//!
//! ```sh
//! cargo run --example queues
//! ```
//!
//! What the original gets wrong, and what this program does instead:
//! - It takes items in a `while 1`, so it hangs after the last one. Here the queue is closed, and `get`
//!   returns an error when it is empty.
//! - It says that `join` waits until the queue is empty. In fact it waits until the *work* is done: an item
//!   that a thread is working on is no longer in the queue, and not done either.
//! - It puts dictionaries into the priority queue, which fails at the first two items of equal priority,
//!   because dictionaries cannot be compared. Here such a queue does not compile.
//! - `Full` loses the item. Here the error contains it.

use std::time::Duration;

use sward::queue::{Fifo, Lifo, Priority};
use sward::sync::Event;
use sward::thread;

const MOMENT: Duration = Duration::from_millis(10);

fn fifo() -> Result<(), Box<dyn std::error::Error>> {
    let queue = Fifo::new(2);
    queue.put(10)?;
    queue.put(20)?;
    println!("fifo: {} items of at most {}, full: {}", queue.len(), queue.maxsize(), queue.is_full());
    if let Err(error) = queue.try_put(30) {
        println!("fifo: {error}, and {} is still mine", error.into_inner());
    }
    println!("fifo: after a moment {}", queue.put_timeout(30, MOMENT).expect_err("nobody takes anything"));
    println!("fifo: {}, {}", queue.get()?, queue.get()?);
    println!("fifo: {}", queue.try_get().expect_err("nothing is left"));
    println!("fifo: after a moment {}", queue.get_timeout(MOMENT).expect_err("nobody puts anything"));
    Ok(())
}

fn lifo() -> Result<(), Box<dyn std::error::Error>> {
    let queue = Lifo::new(0);
    for item in [34, 56, 12] {
        queue.put(item)?;
    }
    queue.close();
    while let Ok(item) = queue.get() {
        println!("lifo: {item}");
    }
    println!("lifo: {}", queue.get().expect_err("it is closed"));
    Ok(())
}

fn priority() -> Result<(), Box<dyn std::error::Error>> {
    let queue = Priority::new(0);
    for item in [(5, "a hundred"), (7, "two hundred"), (3, "hello"), (4, "alex")] {
        queue.put(item)?;
    }
    queue.close();
    while let Ok((priority, what)) = queue.get() {
        println!("priority: {priority} {what}");
    }
    Ok(())
}

/// One thread works, the other waits until all work is done.
fn join() -> Result<(), Box<dyn std::error::Error>> {
    let (queue, may_finish) = (Fifo::new(0), Event::new());
    queue.put("a job")?;
    thread::scope(|scope| {
        scope.spawn(|| {
            while let Ok(job) = queue.get() {
                println!("join: working on {job}");
                may_finish.wait();
                queue.task_done();
            }
        });
        let done = queue.join_timeout(MOMENT);
        println!("join: the queue is empty: {}, the work is done: {done}", queue.is_empty());
        may_finish.set();
        queue.join();
        println!("join: the work is done");
        queue.close();
    });
    Ok(())
}

fn program() -> Result<(), Box<dyn std::error::Error>> {
    fifo()?;
    lifo()?;
    priority()?;
    join()
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // SAFETY: nothing here holds a scoped thread-local value across a blocking call.
    unsafe { sward::Builder::new().workers(1).run(program)? }
}
