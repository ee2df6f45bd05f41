//! Timeouts and cancels against bytes that arrive at the same moment. Whoever comes first, the bytes win: none is lost, doubled
//! or out of order, and the kernel writes into no frame that is gone (what it wrote there would be missing in the stream).

use std::io::{ErrorKind, Read, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sward::EngineKind;
use sward::net::{TcpListener, TcpStream};
use sward::thread::{self, Cancelled};
use sward_testing::{on_every_engine, run_on, tcp_pair};

/// Connections at once, each with its own races.
const LANES: usize = 20;

/// A random number below `limit`, from a state that is not 0.
fn random(state: &mut u64, limit: u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state % limit
}

/// The stream counts up from 0, modulo a prime that is below 256.
fn counted(from: usize, length: usize) -> Vec<u8> {
    (from..from + length).map(|place| (place % 251) as u8).collect()
}

/// Panics unless `bytes` go on counting at `from`.
fn check(bytes: &[u8], from: usize) {
    for (place, &byte) in (from..).zip(bytes) {
        assert_eq!(byte, (place % 251) as u8, "at byte {place}");
    }
}

/// Runs `lane` on every connection, with a seed each.
fn on_all_lanes(lane: fn(seed: u64)) {
    let lanes: Vec<_> =
        (1..=LANES as u64).map(|seed| thread::spawn(move || lane(seed * 0x9E37_79B9))).collect();
    lanes.into_iter().for_each(|lane| lane.join().unwrap());
}

/// Readers come and are cancelled while a writer writes, `rounds` times.
fn race_cancels(seed: u64, rounds: usize) {
    let mut state = seed;
    let (client, server) = tcp_pair();
    let (client, server) = (Arc::new(client), Arc::new(server));
    let log = Arc::new(Mutex::new(Vec::new()));
    let mut sent = 0;
    for _ in 0..rounds {
        let (stream, bytes) = (Arc::clone(&server), Arc::clone(&log));
        let reader = thread::spawn(move || {
            let mut buffer = [0; 64];
            loop {
                let length = (&*stream).read(&mut buffer).unwrap();
                assert!(length > 0, "the writer has not closed it");
                bytes.lock().unwrap().extend_from_slice(&buffer[..length]);
            }
        });
        let chunk = counted(sent, random(&mut state, 4) as usize * 9);
        sent += chunk.len();
        let stream = Arc::clone(&client);
        let writer = thread::spawn(move || (&*stream).write_all(&chunk).unwrap());
        for _ in 0..random(&mut state, 5) {
            thread::yield_now();
        }
        reader.cancel();
        writer.join().unwrap();
        let never: std::thread::Result<std::convert::Infallible> = reader.join();
        assert!(never.unwrap_err().is::<Cancelled>());
    }
    drop(client);
    (&*server).read_to_end(&mut log.lock().unwrap()).unwrap();
    let log = log.lock().unwrap();
    assert_eq!(log.len(), sent);
    check(&log, 0);
}

/// One reader whose timeout is about as long as the writer's pauses, until it has read or timed out `rounds` times.
fn race_timeouts(seed: u64, rounds: usize) {
    let mut state = seed;
    let (client, mut server) = tcp_pair();
    let (rounds_seen, stop) = (Arc::new(AtomicUsize::new(0)), rounds);
    let progress = Arc::clone(&rounds_seen);
    let writer = thread::spawn(move || {
        let (mut state, mut sent) = (seed ^ 0xABCD, 0);
        while progress.load(Ordering::Relaxed) < stop {
            let chunk = counted(sent, random(&mut state, 100) as usize);
            (&client).write_all(&chunk).unwrap();
            sent += chunk.len();
            if random(&mut state, 2) == 0 {
                thread::sleep(Duration::from_micros(random(&mut state, 200)));
            } else {
                thread::yield_now();
            }
        }
        sent
    });
    let mut received = 0;
    let mut buffer = [0; 77];
    for _ in 0..rounds {
        server.set_read_timeout(Some(Duration::from_micros(1 + random(&mut state, 200)))).unwrap();
        match server.read(&mut buffer) {
            Ok(length) => {
                check(&buffer[..length], received);
                received += length;
            }
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
        rounds_seen.fetch_add(1, Ordering::Relaxed);
    }
    server.set_read_timeout(None).unwrap();
    let mut rest = Vec::new();
    server.read_to_end(&mut rest).unwrap();
    check(&rest, received);
    assert_eq!(received + rest.len(), writer.join().unwrap());
}

#[test]
fn a_hundred_thousand_cancels_on_io_uring_lose_nothing() {
    run_on(EngineKind::IoUring, "100,000 cancels", |_| {
        on_all_lanes(|seed| race_cancels(seed, 50_000 / LANES))
    });
}

#[test]
fn a_hundred_thousand_timeouts_on_io_uring_lose_nothing() {
    run_on(EngineKind::IoUring, "100,000 timeouts", |_| {
        on_all_lanes(|seed| race_timeouts(seed, 50_000 / LANES))
    });
}

on_every_engine! {
    fn cancels_lose_nothing() {
        on_all_lanes(|seed| race_cancels(seed, 1000 / LANES));
    }

    fn timeouts_lose_nothing() {
        on_all_lanes(|seed| race_timeouts(seed, 1000 / LANES));
    }

    /// A connection that was accepted when the cancel came is handed over, or waits for the next accept.
    fn cancelled_accepts_lose_no_connection() {
        let listener = Arc::new(TcpListener::bind("127.0.0.1:0").unwrap());
        let address = listener.local_addr().unwrap();
        let accepted = Arc::new(AtomicUsize::new(0));
        let mut state = 7;
        let mut clients = Vec::new();
        for _ in 0..200 {
            let (theirs, count) = (Arc::clone(&listener), Arc::clone(&accepted));
            let server = thread::spawn(move || loop {
                theirs.accept().unwrap();
                count.fetch_add(1, Ordering::Relaxed);
            });
            let client = thread::spawn(move || TcpStream::connect(address).unwrap());
            for _ in 0..random(&mut state, 4) {
                thread::yield_now();
            }
            server.cancel();
            clients.push(client.join().unwrap());
            let never: std::thread::Result<()> = server.join();
            assert!(never.unwrap_err().is::<Cancelled>());
        }
        while accepted.load(Ordering::Relaxed) < clients.len() {
            listener.accept().unwrap();
            accepted.fetch_add(1, Ordering::Relaxed);
        }
        listener.set_nonblocking(true).unwrap();
        assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
    }
}
