//! Green threads and OS threads on the same sockets, several workers on the same sockets, I/O beside threads that never wait, and I/O
//! in destructors.

use std::io::{self, Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sward::net::{SocketAddr, TcpListener, TcpStream};
use sward::thread;
use sward_testing::{on_every_engine, tcp_pair};

fn echo(mut stream: &TcpStream) -> io::Result<()> {
    let mut buffer = [0; 1000];
    loop {
        match stream.read(&mut buffer)? {
            0 => return Ok(()),
            length => stream.write_all(&buffer[..length])?,
        }
    }
}

/// Sends and receives `rounds` messages.
fn converse(mut stream: impl Read + Write, rounds: u32) -> io::Result<()> {
    for round in 0..rounds {
        stream.write_all(&round.to_be_bytes())?;
        let mut back = [0; 4];
        stream.read_exact(&mut back)?;
        assert_eq!(u32::from_be_bytes(back), round);
    }
    Ok(())
}

/// Begins to read as if by a panic in mid-service: what a connection object with a farewell does.
struct Farewell(TcpStream);

impl Drop for Farewell {
    fn drop(&mut self) {
        self.0.write_all(b"bye").unwrap();
        let mut answer = [0; 3];
        self.0.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"bye");
    }
}

/// An OS thread that gives back the farewell of whoever connects to it, and its address.
fn hears_a_farewell() -> io::Result<(SocketAddr, std::thread::JoinHandle<io::Result<()>>)> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let peer = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept()?;
        let mut farewell = [0; 3];
        stream.read_exact(&mut farewell)?;
        stream.write_all(&farewell)
    });
    Ok((address, peer))
}

on_every_engine! {
    fn clients_on_os_threads_are_served_by_green_threads() -> io::Result<()> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let clients: Vec<_> = (0..8).map(|number| std::thread::spawn(move || {
            // Half of them with std's type, half with ours.
            if number % 2 == 0 {
                converse(std::net::TcpStream::connect(address).unwrap(), 50)
            } else {
                converse(TcpStream::connect(address).unwrap(), 50)
            }
        })).collect();
        let servers: Vec<_> = listener.incoming().take(8).map(|stream| {
            let stream = stream.unwrap();
            thread::spawn(move || echo(&stream))
        }).collect();
        servers.into_iter().try_for_each(|server| server.join().unwrap())?;
        clients.into_iter().try_for_each(|client| client.join().unwrap())
    }

    fn green_clients_are_served_by_os_threads() -> io::Result<()> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let server = std::thread::spawn(move || -> io::Result<()> {
            let streams: Vec<_> = listener.incoming().take(8).collect::<io::Result<_>>()?;
            std::thread::scope(|scope| {
                let echoes: Vec<_> = streams.iter().map(|stream| scope.spawn(move || echo(stream))).collect();
                echoes.into_iter().try_for_each(|echo| echo.join().unwrap())
            })
        });
        let clients: Vec<_> =
            (0..8).map(|_| thread::spawn(move || converse(TcpStream::connect(address)?, 50))).collect();
        clients.into_iter().try_for_each(|client| client.join().unwrap())?;
        server.join().unwrap()
    }

    fn a_clone_is_read_on_another_kind_of_thread() -> io::Result<()> {
        let (client, mut server) = tcp_pair();
        let mut clone = server.try_clone()?;
        let mut client = client;
        client.write_all(b"a")?;
        assert_eq!(server.read(&mut [0])?, 1);
        let reader = std::thread::spawn(move || clone.read(&mut [0; 8]).map(|length| (length, clone)));
        client.write_all(b"bc")?;
        let (length, _clone) = sward::offload(|| reader.join().unwrap())?;
        assert!(length > 0);
        client.write_all(b"d")?;
        assert!(server.read(&mut [0; 8])? > 0);
        Ok(())
    }

    /// Each worker's engine learns of the socket, and none may believe what another one has read.
    fn a_stream_is_used_by_one_worker_after_the_other() -> io::Result<()> {
        let workers = sward::worker_count().expect("inside");
        let (client, server) = tcp_pair();
        let (client, server) = (Arc::new(client), Arc::new(server));
        let echo_server = Arc::clone(&server);
        let echo = thread::spawn(move || echo(&echo_server));
        for round in 0..100 {
            let client = Arc::clone(&client);
            let hop = thread::Builder::new().worker(round % workers);
            hop.spawn(move || converse(&*client, 3))?.join().unwrap()?;
        }
        client.shutdown(sward::net::Shutdown::Write)?;
        echo.join().unwrap()
    }

    fn readers_on_different_workers_share_a_stream() -> io::Result<()> {
        const BYTES: usize = 100_000;
        let workers = sward::worker_count().expect("inside");
        let (mut client, server) = tcp_pair();
        let server = Arc::new(server);
        let read_all = |server: Arc<TcpStream>| move || {
            let (mut total, mut sum) = (0, 0_u64);
            let mut buffer = [0; 700];
            loop {
                match (&*server).read(&mut buffer).unwrap() {
                    0 => return (total, sum),
                    length => {
                        total += length;
                        sum += buffer[..length].iter().map(|&byte| u64::from(byte)).sum::<u64>();
                    }
                }
            }
        };
        let readers: Vec<_> = (0..4).map(|number| {
            let builder = thread::Builder::new().worker(number % workers);
            builder.spawn(read_all(Arc::clone(&server))).unwrap()
        }).collect();
        let bytes: Vec<u8> = (0..BYTES).map(|place| (place % 251) as u8).collect();
        for chunk in bytes.chunks(333) {
            client.write_all(chunk)?;
            thread::yield_now();
        }
        drop(client);
        let (total, sum) = readers.into_iter().map(|reader| reader.join().unwrap())
            .fold((0, 0), |all, one| (all.0 + one.0, all.1 + one.1));
        assert_eq!((total, sum), (BYTES, bytes.iter().map(|&byte| u64::from(byte)).sum()));
        Ok(())
    }

    fn a_thread_that_always_yields_does_not_starve_io() -> io::Result<()> {
        let done = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&done);
        let spinner = thread::spawn(move || while !seen.load(Ordering::Relaxed) { thread::yield_now() });
        let (client, server) = tcp_pair();
        let echo = thread::spawn(move || echo(&server));
        converse(&client, 50)?;
        drop(client);
        done.store(true, Ordering::Relaxed);
        spinner.join().unwrap();
        echo.join().unwrap()
    }

    /// Its data is always there, so its reads never have to wait; the others get their turn all the same.
    fn a_thread_whose_io_never_waits_does_not_starve_others() -> io::Result<()> {
        let (mut client, server) = tcp_pair();
        client.write_all(b"x")?;
        let done = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&done);
        let greedy = thread::spawn(move || {
            while !seen.load(Ordering::Relaxed) {
                server.peek(&mut [0]).unwrap();
            }
        });
        for _ in 0..3 {
            thread::sleep(Duration::from_millis(1));
            thread::spawn(thread::yield_now).join().unwrap();
        }
        done.store(true, Ordering::Relaxed);
        greedy.join().unwrap();
        Ok(())
    }

    /// Nothing may switch while it unwinds, so the worker waits in the call: the other end must not need it.
    fn a_destructor_does_io_while_its_thread_panics() -> io::Result<()> {
        let (address, peer) = hears_a_farewell()?;
        let thread = thread::spawn(move || {
            let _farewell = Farewell(TcpStream::connect(address).unwrap());
            std::panic::resume_unwind(Box::new("on purpose"));
        });
        assert_eq!(*thread.join().unwrap_err().downcast_ref::<&str>().unwrap(), "on purpose");
        sward::offload(|| peer.join().unwrap())
    }

    fn a_destructor_does_io_while_its_thread_is_cancelled() -> io::Result<()> {
        let (address, peer) = hears_a_farewell()?;
        let connected = Arc::new(AtomicBool::new(false));
        let says = Arc::clone(&connected);
        let thread = thread::spawn(move || {
            let mut farewell = Farewell(TcpStream::connect(address).unwrap());
            says.store(true, Ordering::Relaxed);
            farewell.0.read(&mut [0])
        });
        while !connected.load(Ordering::Relaxed) {
            thread::yield_now();
        }
        thread.cancel();
        match thread.join() {
            Err(payload) => {
                assert!(payload.is::<thread::Cancelled>());
                sward::offload(|| peer.join().unwrap())
            }
            Ok(read) => panic!("it was cancelled, and read {read:?}"),
        }
    }

    fn a_caught_panic_leaves_the_stream_usable() -> io::Result<()> {
        let (client, server) = tcp_pair();
        let echo = thread::spawn(move || echo(&server));
        let caught = catch_unwind(AssertUnwindSafe(|| {
            converse(&client, 3).unwrap();
            std::panic::resume_unwind(Box::new(()));
        }));
        assert!(caught.is_err());
        converse(&client, 3)?;
        drop(client);
        echo.join().unwrap()
    }
}
