//! Threads wait until Redis is ready, and report while they wait.
//!
//! ```sh
//! cargo run --example wait_for_redis
//! ```
//!
//! It starts a redis-server if one is installed, and otherwise a stand-in of a few lines.
//!
//! What the original gets wrong, and what this program does instead:
//! - It never checks whether Redis is ready: it sleeps for three seconds and says so. Here the event
//!   is set after a reply to PING.
//! - If Redis never gets ready, its workers wait for ever. Here the main thread gives up after a while, and
//!   they end with it.
//! - Its workers only say that they connect. These do connect.

use std::io::{self, BufRead, BufReader, ErrorKind, Write};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use sward::net::{TcpListener, TcpStream};
use sward::sync::Event;
use sward::thread::{self, Builder};
use sward::time::timeout;

/// How long the main thread waits for Redis before it gives up.
const TIMEOUT: Duration = Duration::from_secs(20);

fn say(what: &str) {
    println!("({}) {what}", thread::current().name().unwrap_or("nameless"));
}

/// Sends a command and returns the last line of its reply: the value, if it is a string.
fn ask(address: SocketAddr, command: &str) -> io::Result<String> {
    let stream = TcpStream::connect(address)?;
    (&stream).write_all(format!("{command}\r\n").as_bytes())?;
    let mut lines = BufReader::new(&stream).lines();
    let mut line = || lines.next().unwrap_or_else(|| Err(ErrorKind::UnexpectedEof.into()));
    let first = line()?;
    // "$5" announces five bytes in the next line. Other replies are one line.
    if first.starts_with('$') { line() } else { Ok(first) }
}

fn worker(address: SocketAddr, ready: &Event) -> io::Result<()> {
    say("Waiting for redis ready...");
    while !ready.wait_timeout(Duration::from_millis(100)) {
        say("Still waiting for redis ready...");
    }
    let name = thread::current().name().unwrap_or_default().to_owned();
    let reply = ask(address, &format!("ECHO work-of-{name}"))?;
    say(&format!("redis ready, connected, and did some work: {reply}"));
    Ok(())
}

/// A redis-server, which is killed when this is dropped.
struct Server(Child);

impl Server {
    fn start(address: SocketAddr) -> io::Result<Server> {
        let mut command = Command::new("redis-server");
        let (host, port) = (address.ip().to_string(), address.port().to_string());
        command.args(["--bind", &host, "--port", &port, "--save", "", "--appendonly", "no"]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().map(Server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Fails if the server has ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Serves PING and ECHO like Redis.
fn stand_in(listener: &TcpListener) -> io::Result<()> {
    for stream in listener.incoming() {
        let stream = stream?;
        thread::spawn(move || -> io::Result<()> {
            for command in stream.reader().lines() {
                let reply = match command?.split_once(' ') {
                    Some(("ECHO", text)) => format!("${}\r\n{text}\r\n", text.len()),
                    _ => "+PONG\r\n".to_owned(),
                };
                (&stream).write_all(reply.as_bytes())?;
            }
            Ok(())
        });
    }
    Ok(())
}

fn program() -> io::Result<()> {
    // The kernel chooses a free port.
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let ready = Arc::new(Event::new());
    let start = |name: &str| {
        let ready = Arc::clone(&ready);
        Builder::new().name(name.into()).spawn(move || worker(address, &ready))
    };
    let workers = [start("t1")?, start("t2")?];
    thread::yield_now();

    say("first of all, check redis server, make sure it is OK, and then trigger the redis ready event");
    drop(listener);
    let _server = match Server::start(address) {
        Ok(server) => Some(server),
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        Err(_) => {
            say("there is no redis-server on this machine: a stand-in will do");
            let listener = TcpListener::bind(address)?;
            thread::spawn(move || stand_in(&listener));
            None
        }
    };
    timeout(TIMEOUT, || {
        while ask(address, "PING").ok().as_deref() != Some("+PONG") {
            thread::sleep(Duration::from_millis(10));
        }
    })?;
    ready.set();
    for worker in workers {
        worker.join().expect("it does not panic")?;
    }
    Ok(())
}

fn main() -> io::Result<()> {
    // SAFETY: nothing here holds a scoped thread-local value across a blocking call.
    unsafe { sward::Builder::new().workers(1).run(program)? }
}
