//! Twenty threads share five connections.
//!
//! ```sh
//! cargo run --example connection_pool
//! ```
//!
//! What the original (`Semaphore(5)`, and the words "application: a connection pool" below it) gets wrong,
//! and what this program does instead:
//! - A thread that fails between `acquire` and `release` never releases its permit; after five failures,
//!   none is left. Here a permit or a connection is released when its guard is dropped, whatever happens.
//! - It can release more permits than it has acquired. Here the semaphore is bounded, and so is the pool.
//! - Its permits only count. Here the pool lends the connection itself; a broken one is discarded and
//!   replaced.

use std::io::{self, BufRead, BufReader, ErrorKind, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use sward::net::{TcpListener, TcpStream};
use sward::sync::{Pool, Semaphore};
use sward::thread;

const THREADS: usize = 20;
const CONNECTIONS: usize = 5;

/// The original's program: five at once. Every fourth thread fails.
fn semaphore() {
    let (permits, most) = (Semaphore::bounded(CONNECTIONS), AtomicUsize::new(0));
    thread::scope(|scope| {
        for number in 1..=THREADS {
            let (permits, most) = (&permits, &most);
            scope.spawn(move || {
                let _permit = permits.acquire(1);
                most.fetch_max(CONNECTIONS - permits.available_permits(), Ordering::Relaxed);
                thread::yield_now();
                if number % 4 == 0 { Err("no luck") } else { Ok(()) }
            });
        }
    });
    println!(
        "semaphore: {} at once, {} places free at the end",
        most.into_inner(),
        permits.available_permits()
    );
    let error = permits.add_permits(1).expect_err("all are free");
    println!("semaphore: {error}");
}

/// A stand-in for a database: answers every line, and closes the connection at "crash".
fn database(listener: &TcpListener, connections: &AtomicUsize) -> io::Result<()> {
    for stream in listener.incoming() {
        let stream = stream?;
        connections.fetch_add(1, Ordering::Relaxed);
        thread::spawn(move || -> io::Result<()> {
            for query in stream.reader().lines() {
                let query = query?;
                if query == "crash" {
                    break;
                }
                (&stream).write_all(format!("answer to {query}\n").as_bytes())?;
            }
            Ok(())
        });
    }
    Ok(())
}

struct Connection(BufReader<TcpStream>);

impl Connection {
    fn open(address: SocketAddr) -> io::Result<Connection> {
        TcpStream::connect(address).map(BufReader::new).map(Connection)
    }

    fn ask(&mut self, query: &str) -> io::Result<String> {
        self.0.get_mut().write_all(format!("{query}\n").as_bytes())?;
        let mut answer = String::new();
        match self.0.read_line(&mut answer)? {
            0 => Err(io::Error::new(ErrorKind::UnexpectedEof, "the database hung up")),
            _ => Ok(answer.trim_end().to_owned()),
        }
    }
}

/// What each of the twenty threads does.
fn work(number: usize, pool: &Pool<Connection>, most: &AtomicUsize) -> io::Result<String> {
    let mut connection = pool.get()?;
    most.fetch_max(pool.lent(), Ordering::Relaxed);
    let query = if number == 7 { "crash".into() } else { format!("query {number}") };
    let answer = connection.ask(&query);
    if answer.is_err() {
        connection.discard();
    }
    answer
}

fn program() -> io::Result<()> {
    semaphore();

    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let connections = Arc::new(AtomicUsize::new(0));
    thread::spawn({
        let connections = Arc::clone(&connections);
        move || database(&listener, &connections)
    });
    let (pool, most) = (Pool::new(CONNECTIONS, move || Connection::open(address)), AtomicUsize::new(0));
    thread::scope(|scope| {
        let (pool, most) = (&pool, &most);
        let threads: Vec<_> =
            (1..=THREADS).map(|number| scope.spawn(move || work(number, pool, most))).collect();
        for (number, thread) in (1..).zip(threads) {
            match thread.join().expect("it does not panic") {
                Ok(answer) => println!("thread {number}: {answer}"),
                Err(error) => println!("thread {number}: {error}"),
            }
        }
    });
    let connections = connections.load(Ordering::Relaxed);
    println!("pool: {} lent at once, {} idle at the end", most.into_inner(), pool.idle());
    println!("pool: {connections} connections made, one of them for the one that broke");
    Ok(())
}

fn main() -> io::Result<()> {
    // SAFETY: nothing here holds a scoped thread-local value across a blocking call.
    unsafe { sward::Builder::new().workers(1).run(program)? }
}
