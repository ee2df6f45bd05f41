//! The library inside one process: what a program that embeds a server relies on, under every model that needs no second process, on
//! every engine. (`sward-cli` has the load tests, with the real binary, and the model `processes`.)

use std::collections::HashSet;
use std::fmt;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::{Arc, Mutex, OnceLock, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use sward::{EngineKind, Handle};
use sward_server::{Connection, Model, Server, StopHandle, Summary, service};
use sward_testing::await_that;

/// How long anything here may take before it counts as lost.
const PATIENCE: Duration = Duration::from_secs(30);

struct Running {
    address: SocketAddr,
    stop: StopHandle,
    thread: JoinHandle<io::Result<Summary>>,
}

fn start<H>(server: Server, handler: H) -> Running
where
    H: Fn(Connection) -> io::Result<()> + Send + Sync + 'static,
{
    let bound = server.address("127.0.0.1:0").bind().unwrap();
    let (address, stop) = (bound.local_addr(), bound.stop_handle());
    // SAFETY: no handler in this file holds a scoped thread-local value across a blocking call.
    let thread = std::thread::spawn(move || unsafe { bound.serve(handler) });
    Running { address, stop, thread }
}

impl Running {
    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    fn finish(self) -> Summary {
        self.stop.stop();
        self.thread.join().unwrap().unwrap()
    }
}

fn ask(stream: &mut TcpStream, question: &[u8]) -> Vec<u8> {
    stream.write_all(question).unwrap();
    let mut answer = vec![0; question.len()];
    stream.read_exact(&mut answer).unwrap();
    answer
}

fn a_client_is_served_and_counted(server: Server) {
    let running = start(server, service::upper);
    let mut client = running.connect();
    assert_eq!(ask(&mut client, b"abc"), b"ABC");
    assert_eq!(ask(&mut client, b"\x80\xffz"), b"\x80\xffZ");
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(client.read(&mut [0; 1]).unwrap(), 0);
    let summary = running.finish();
    assert_eq!((summary.connections, summary.messages), (1, 2));
    assert_eq!((summary.bytes_in, summary.bytes_out), (6, 6));
    assert_eq!((summary.failed, summary.cut_off, summary.left_over), (0, 0, 0));
}

/// The stop alone ends a server: no client has to come along to wake an accept loop.
fn stop_wakes_what_accepts(server: Server) {
    let summary = start(server, service::upper).finish();
    assert_eq!(summary, Summary::default());
}

fn a_panic_ends_its_connection_only(server: Server) {
    let running = start(server, |mut connection| {
        let mut byte = [0];
        connection.read_exact(&mut byte)?;
        assert_ne!(byte, *b"!", "told to panic");
        connection.write_all(&byte)
    });
    let mut client = running.connect();
    client.write_all(b"!").unwrap();
    assert_eq!(client.read(&mut [0; 1]).unwrap(), 0);
    assert_eq!(ask(&mut running.connect(), b"x"), b"x");
    let summary = running.finish();
    assert_eq!((summary.connections, summary.panicked), (2, 1));
}

fn the_deadline_cuts_off_who_stays(server: Server) {
    let running = start(server.drain(Duration::from_millis(1)), service::upper);
    let mut client = running.connect();
    assert_eq!(ask(&mut client, b"a"), b"A");
    let summary = running.finish();
    assert_eq!(client.read(&mut [0; 1]).unwrap(), 0);
    assert_eq!((summary.cut_off, summary.left_over), (1, 0));
}

fn who_talks_is_served_while_draining(server: Server) {
    let running = start(server, service::upper);
    let mut client = running.connect();
    assert_eq!(ask(&mut client, b"a"), b"A");
    running.stop.stop();
    await_that("the listener is gone", || TcpStream::connect(running.address).is_err());
    assert_eq!(ask(&mut client, b"b"), b"B");
    drop(client);
    let summary = running.finish();
    assert_eq!((summary.messages, summary.cut_off), (2, 0));
}

fn times_may_be_endless(server: Server) {
    who_talks_is_served_while_draining(server.drain(Duration::MAX).idle_timeout(Duration::MAX));
}

/// An error whose text panics, and a panic whose payload panics when it is dropped.
fn a_handler_ends_as_badly_as_it_can(server: Server) {
    #[derive(Debug)]
    struct Grudge;
    impl fmt::Display for Grudge {
        fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
            panic!("told to panic in a formatter");
        }
    }
    impl std::error::Error for Grudge {}
    struct Trap;
    impl Drop for Trap {
        fn drop(&mut self) {
            panic!("told to panic in a destructor");
        }
    }
    let running = start(server, |mut connection| {
        let mut byte = [0];
        connection.read_exact(&mut byte)?;
        match &byte {
            b"e" => Err(io::Error::other(Grudge)),
            b"p" => std::panic::panic_any(Trap),
            _ => connection.write_all(&byte),
        }
    });
    for _ in 0..4 {
        for end in [b"e", b"p"] {
            let mut client = running.connect();
            client.write_all(end).unwrap();
            assert_eq!(client.read(&mut [0; 1]).unwrap(), 0);
        }
    }
    assert_eq!(ask(&mut running.connect(), b"x"), b"x");
    let summary = running.finish();
    assert_eq!((summary.connections, summary.panicked), (9, 8));
}

fn idle_connections_are_closed(server: Server) {
    let running = start(server.idle_timeout(Duration::from_millis(20)), service::upper);
    let mut client = running.connect();
    assert_eq!(client.read(&mut [0; 1]).unwrap(), 0);
    let summary = running.finish();
    assert_eq!((summary.idle, summary.failed), (1, 0));
}

/// A connection takes reads and writes from two threads at once, by reference.
fn two_threads_share_a_connection(server: Server) {
    let running = start(server, |connection| {
        sward::thread::scope(|scope| {
            scope.spawn(|| (&connection).write_all(b"hello").unwrap());
            let mut byte = [0];
            (&connection).read_exact(&mut byte).unwrap();
            assert_eq!(&byte, b"?");
        });
        Ok(())
    });
    let mut client = running.connect();
    let mut greeting = [0; 5];
    client.read_exact(&mut greeting).unwrap();
    client.write_all(b"?").unwrap();
    assert_eq!(client.read(&mut [0; 1]).unwrap(), 0);
    assert_eq!(running.finish().panicked, 0);
}

/// Tests that every model passes, on every engine that it has.
macro_rules! for_each_model {
    ($($test:ident),* $(,)?) => {
        model_tests!(blocking, Server::new().model(Model::Blocking), $($test)*);
        model_tests!(threads, Server::new().model(Model::Threads), $($test)*);
        mod green {
            use super::*;
            sward_testing::for_each_engine!(green_tests, $($test)*);
        }
    };
}

macro_rules! green_tests {
    ($tests:tt $($(#[$documentation:meta])* $engine:ident $kind:ident $description:literal;)*) => {
        $(green_tests! { @engine $engine $kind $tests })*
    };
    (@engine $engine:ident $kind:ident ($($test:ident)*)) => {
        model_tests!($engine, green(EngineKind::$kind), $($test)*);
    };
}

macro_rules! model_tests {
    ($model:ident, $server:expr, $($test:ident)*) => {
        mod $model {
            use super::*;
            $(
                #[test]
                fn $test() {
                    crate::$test($server)
                }
            )*
        }
    };
}

for_each_model!(
    a_client_is_served_and_counted,
    stop_wakes_what_accepts,
    a_panic_ends_its_connection_only,
    the_deadline_cuts_off_who_stays,
    who_talks_is_served_while_draining,
    times_may_be_endless,
    a_handler_ends_as_badly_as_it_can,
    idle_connections_are_closed,
    two_threads_share_a_connection,
);

fn green(engine: EngineKind) -> Server {
    Server::new().model(Model::Green).engine(engine).workers(2)
}

/// The runtime's own count, after clients of every kind have gone.
fn no_green_thread_is_left_over(engine: EngineKind) {
    let runtime: Arc<OnceLock<Handle>> = Arc::default();
    let seen = Arc::clone(&runtime);
    let running = start(green(engine), move |connection| {
        seen.get_or_init(|| Handle::current().expect("handlers are green"));
        service::upper(connection)
    });
    let mut silent: Vec<TcpStream> = (0..50).map(|_| running.connect()).collect();
    for _ in 0..50 {
        assert_eq!(ask(&mut running.connect(), b"x"), b"X");
    }
    let runtime = runtime.get().unwrap();
    // The main thread, two accept loops, and the silent ones.
    await_that("the silent ones are served", || runtime.live_threads() == 3 + 50);
    for client in silent.drain(..25) {
        client.shutdown(Shutdown::Write).unwrap();
    }
    drop(silent);
    await_that("all have left", || runtime.live_threads() == 3);
    assert_eq!(running.finish().connections, 100);
}

#[test]
fn no_green_thread_is_left_over_on_any_engine() {
    for engine in EngineKind::ALL {
        no_green_thread_is_left_over(engine);
    }
}

/// With one worker, the limit is exact: the next client waits until one has left.
#[test]
fn the_limit_lets_others_wait() {
    for server in [green(EngineKind::Epoll).workers(1), Server::new().model(Model::Threads)] {
        let (entered, entries) = mpsc::channel();
        let entered = Mutex::new(entered);
        let running = start(server.max_connections(2), move |connection| {
            entered.lock().unwrap().send(connection.peer_addr()).unwrap();
            service::upper(connection)
        });
        let mut clients: Vec<TcpStream> = (0..3).map(|_| running.connect()).collect();
        let name = |stream: &TcpStream| stream.local_addr().unwrap();
        let first: HashSet<SocketAddr> = (0..2).map(|_| entries.recv_timeout(PATIENCE).unwrap()).collect();
        assert_eq!(first, HashSet::from([name(&clients[0]), name(&clients[1])]));
        for _ in 0..100 {
            assert_eq!(ask(&mut clients[0], b"x"), b"X");
        }
        assert!(entries.try_recv().is_err(), "the third came in while two were there");
        drop(clients.remove(0));
        assert_eq!(entries.recv_timeout(PATIENCE).unwrap(), name(&clients[1]));
        drop(clients);
        assert_eq!(running.finish().connections, 3);
    }
}

#[test]
fn an_unknown_model_is_told_the_names() {
    let error = "fibers".parse::<Model>().unwrap_err().to_string();
    assert!(Model::ALL.iter().all(|model| error.contains(model.name())), "{error}");
}
