//! `foo` and `bar` take turns while they sleep. `baz` never returns, and is cancelled.
//!
//! ```sh
//! cargo run --example foo_bar
//! SWARD_ENGINE=epoll cargo run --example foo_bar   # as LIBEV_FLAGS chooses gevent's loop
//! ```
//!
//! What the original (two greenlets and `gevent.joinall`) gets wrong, and what this program does instead:
//! - `joinall` without a timeout waits for ever for a greenlet that hangs. Here `join_all_timeout` returns
//!   the handles of late threads, which are then cancelled: their destructors run.
//! - It loses the results of its greenlets, and the exception of one that fails (it is printed, and the
//!   program goes on). Here a join returns every result, and the payload of a panic.
//! - It must patch the standard library at run time. Here `sward::thread::sleep` is simply another function
//!   than `std::thread::sleep`.

use std::io;
use std::time::{Duration, Instant};

use sward::thread::{self, Cancelled};
use sward::time::timeout;

fn foo() -> &'static str {
    println!("running in foo");
    thread::sleep(Duration::from_millis(20));
    println!("switch to foo again");
    "foo's value"
}

fn bar() -> &'static str {
    println!("switch to bar");
    thread::sleep(Duration::from_millis(50));
    println!("switch to bar again");
    "bar's value"
}

fn baz() -> &'static str {
    struct Resource;
    impl Drop for Resource {
        fn drop(&mut self) {
            println!("baz's resource is released");
        }
    }
    let _resource = Resource;
    println!("switch to baz");
    thread::sleep(Duration::from_secs(1000));
    "never said"
}

fn program() {
    let started = Instant::now();
    let jobs: [fn() -> &'static str; 3] = [foo, bar, baz];
    let threads: Vec<_> = jobs.into_iter().map(thread::spawn).collect();
    let (results, late) = thread::join_all_timeout(threads, Duration::from_millis(500));
    for result in results {
        match result {
            Ok(value) => println!("joined: {value}"),
            Err(_panic) => println!("joined: it has panicked"),
        }
    }
    for thread in late {
        println!("not joined in time: cancelled");
        thread.cancel();
        println!("joined: cancelled, {}", thread.join().is_err_and(|payload| payload.is::<Cancelled>()));
    }
    // The same for code that needs no thread of its own.
    println!("{:?}", timeout(Duration::from_millis(10), baz));
    println!("{:.2?}", started.elapsed());
}

fn main() -> io::Result<()> {
    // SAFETY: nothing here holds a scoped thread-local value across a blocking call.
    unsafe { sward::Builder::new().workers(1).run(program) }
}
