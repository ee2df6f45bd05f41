//! A small server of plain threads, which behaves as badly as a test wants.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use socket2::SockRef;

/// What a server does with each connection.
#[derive(Clone, Copy)]
pub(crate) enum Manner {
    /// Upper case, as it should be.
    Upper,
    /// Back as it came.
    Echo,
    /// Upper case, but for one byte of the stream of each connection.
    WrongAt(usize),
    /// Upper case; the first so many bytes are sent twice.
    Twice(usize),
    /// Upper case; says something before it is asked.
    Greet,
    /// Upper case; the first so many bytes are swallowed.
    Swallow(usize),
    /// Throws the connection away after so many bytes.
    ResetAfter(usize),
    /// Closes after so many bytes.
    CloseAfter(usize),
    /// Reads and says nothing.
    Silent,
    /// Upper case; does nothing for so long when so many bytes of a connection have come.
    StallAt(usize, Duration),
}

/// Serves until the test process ends.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    accepted: AtomicUsize,
    resets: AtomicUsize,
    open: AtomicUsize,
}

impl Server {
    pub(crate) fn start(manner: Manner) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        // std's backlog is 128.
        SockRef::from(&listener).listen(4096).unwrap();
        let address = listener.local_addr().unwrap();
        let counts = Arc::new(Counts::default());
        let theirs = Arc::clone(&counts);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, counts) = (stream.unwrap(), Arc::clone(&theirs));
                counts.accepted.fetch_add(1, Ordering::SeqCst);
                counts.open.fetch_add(1, Ordering::SeqCst);
                std::thread::spawn(move || {
                    if serve(&stream, manner).is_err() {
                        counts.resets.fetch_add(1, Ordering::SeqCst);
                    }
                    counts.open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Server { address, counts }
    }

    /// Connections so far.
    pub(crate) fn accepted(&self) -> usize {
        self.counts.accepted.load(Ordering::SeqCst)
    }

    /// Connections that the client did not end properly, once all have ended.
    pub(crate) fn resets(&self) -> usize {
        while self.counts.open.load(Ordering::SeqCst) > 0 {
            std::thread::yield_now();
        }
        self.counts.resets.load(Ordering::SeqCst)
    }
}

fn serve(mut stream: &TcpStream, manner: Manner) -> std::io::Result<()> {
    let mut buffer = [0; 4096];
    let mut total = 0;
    if matches!(manner, Manner::Greet) {
        stream.write_all(b"hello")?;
    }
    loop {
        let length = stream.read(&mut buffer)?;
        if length == 0 {
            return Ok(());
        }
        let (before, bytes) = (total, &mut buffer[..length]);
        total += length;
        if !matches!(manner, Manner::Echo) {
            bytes.make_ascii_uppercase();
        }
        match manner {
            Manner::Upper | Manner::Greet | Manner::Echo => stream.write_all(bytes)?,
            Manner::WrongAt(place) => {
                if (before..total).contains(&place) {
                    bytes[place - before] ^= 1;
                }
                stream.write_all(bytes)?;
            }
            Manner::Twice(first) => {
                stream.write_all(bytes)?;
                if before < first {
                    stream.write_all(&bytes[..length.min(first - before)])?;
                }
            }
            Manner::Swallow(first) => stream.write_all(&bytes[first.saturating_sub(before).min(length)..])?,
            Manner::ResetAfter(limit) if total >= limit => {
                return SockRef::from(stream).set_linger(Some(Duration::ZERO));
            }
            Manner::CloseAfter(limit) if total >= limit => return stream.shutdown(Shutdown::Both),
            Manner::ResetAfter(_) | Manner::CloseAfter(_) => stream.write_all(bytes)?,
            Manner::Silent => {}
            Manner::StallAt(place, time) => {
                if (before..total).contains(&place) {
                    // Waits for nothing: the stall is what the generator is to notice.
                    std::thread::sleep(time);
                }
                stream.write_all(bytes)?;
            }
        }
    }
}
