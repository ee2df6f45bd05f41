//! A server that does other work while no client calls, on one OS thread.
//!
//! ```sh
//! cargo run --example other_work
//! SWARD_ENGINE=spin cargo run --example other_work   # polls, as the original does
//! ```
//!
//! What the original (a non-blocking `accept` in a loop, which does other work when it fails) gets wrong, and
//! what this program does instead:
//! - Between two pieces of work it polls the kernel, and burns a CPU even without clients or work. Here
//!   `accept` waits, and the runtime sleeps when no thread can run.
//! - A client that calls during the work must wait until it is done. Here the work yields regularly, and the
//!   server is another thread.
//! - The work must be cut into pieces that fit into the loop. Here it is a loop of its own.

use std::io::{self, BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::sync::Arc;

use sward::net::{TcpListener, TcpStream};
use sward::sync::Event;
use sward::thread;

const CLIENTS: usize = 3;

/// Answers one client after another.
fn serve(listener: &TcpListener) -> io::Result<usize> {
    let mut accepts = 0;
    for _ in 0..CLIENTS {
        let (stream, _) = listener.accept()?;
        accepts += 1;
        for line in stream.reader().lines() {
            (&stream).write_all(format!("{}\n", line?.to_uppercase()).as_bytes())?;
        }
    }
    Ok(accepts)
}

fn call(address: SocketAddr) -> io::Result<String> {
    let stream = TcpStream::connect(address)?;
    (&stream).write_all(b"hello\n")?;
    let mut reply = String::new();
    BufReader::new(&stream).read_line(&mut reply)?;
    Ok(reply.trim_end().to_owned())
}

/// Searches for prime numbers for ever, and yields after each.
fn other_work(thousand: &Event) {
    let is_prime =
        |&number: &u64| (2..).take_while(|divisor| divisor * divisor <= number).all(|d| number % d != 0);
    for (count, prime) in (1..).zip((2..).filter(is_prime)) {
        if count == 1000 {
            println!("doing other work: prime number {count} is {prime}");
            thousand.set();
        }
        thread::yield_now();
    }
}

fn program() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let thousand = Arc::new(Event::new());
    println!("starting...");
    let server = thread::spawn(move || serve(&listener));
    let worker = {
        let thousand = Arc::clone(&thousand);
        thread::spawn(move || other_work(&thousand))
    };
    thousand.wait();
    for client in 1..=CLIENTS {
        println!("client {client} says hello and hears {}", call(address)?);
    }
    println!("the other work still goes on: {}", !worker.is_finished());
    worker.cancel();
    let accepts = server.join().expect("it does not panic")?;
    println!("{CLIENTS} clients, {accepts} calls of accept");
    Ok(())
}

fn main() -> io::Result<()> {
    // One worker, so one OS thread runs all of it.
    // SAFETY: nothing here holds a scoped thread-local value across a blocking call.
    unsafe { sward::Builder::new().workers(1).run(program)? }
}
