//! Descriptors that this library knows by their number alone: those of a C library, which green threads wait for with
//! `os::fd::wait_readable` and `wait_writable`. On every engine.

use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use sward::os::fd::{wait_readable, wait_writable};
use sward::thread;
use sward_testing::{everywhere, on_every_engine, tcp_pair};

const SHORT: Duration = Duration::from_millis(2);

/// Far longer than anything takes.
const PATIENCE: Option<Duration> = Some(Duration::from_secs(30));

/// Sends until no more goes in. Gives how much that was.
fn fill(stream: &UnixStream) -> usize {
    stream.set_nonblocking(true).unwrap();
    let mut sent = 0;
    for piece in [65536, 4096, 1] {
        while let Ok(count) = (&*stream).write(&[7; 65536][..piece]) {
            sent += count;
        }
    }
    stream.set_nonblocking(false).unwrap();
    sent
}

fn take(mut stream: &UnixStream, count: usize) {
    stream.read_exact(&mut vec![0; count]).unwrap();
}

everywhere! {
    /// A C library's usual pair of threads: one waits for answers while the other waits for room for its questions.
    fn one_waits_to_read_and_one_to_write() -> io::Result<()> {
        let (near, far) = UnixStream::pair()?;
        let near = Arc::new(near);
        for round in 0..6 {
            let filled = fill(&near);
            let reads = thread::spawn({
                let near = near.clone();
                move || wait_readable(&*near, PATIENCE)
            });
            let writes = thread::spawn({
                let near = near.clone();
                move || wait_writable(&*near, PATIENCE)
            });
            // Both have begun to wait, in whichever order, or do later: nothing may depend on it.
            assert!(!wait_readable(&*near, Some(SHORT))?);
            assert!(!wait_writable(&*near, Some(SHORT))?);
            if round % 2 == 0 {
                (&far).write_all(b"x")?;
                assert!(reads.join().unwrap()?);
                take(&far, filled);
                assert!(writes.join().unwrap()?);
            } else {
                take(&far, filled);
                assert!(writes.join().unwrap()?);
                (&far).write_all(b"x")?;
                assert!(reads.join().unwrap()?);
            }
            take(&near, 1);
        }
        Ok(())
    }

    fn several_wait_to_read_and_some_of_them_not_for_long() -> io::Result<()> {
        let (near, far) = UnixStream::pair()?;
        let near = Arc::new(near);
        let waits: Vec<_> = (0..6u32).map(|number| {
            let near = near.clone();
            let timeout = if number % 2 == 0 { PATIENCE } else { Some(SHORT * number) };
            (number, thread::spawn(move || wait_readable(&*near, timeout)))
        }).collect();
        let (short, long): (Vec<_>, Vec<_>) = waits.into_iter().partition(|(number, _)| number % 2 == 1);
        for (_, wait) in short {
            assert!(!wait.join().unwrap()?);
        }
        (&far).write_all(b"x")?;
        for (_, wait) in long {
            assert!(wait.join().unwrap()?);
        }
        Ok(())
    }

    /// The stream's own threads know its identity, the others only its number.
    fn a_stream_is_waited_for_as_a_bare_descriptor_too() -> io::Result<()> {
        let (mut client, server) = tcp_pair();
        let server = Arc::new(server);
        for round in 0..10u8 {
            let reads = thread::spawn({
                let server = server.clone();
                move || {
                    let mut byte = [0];
                    (&*server).read_exact(&mut byte).map(|()| byte[0])
                }
            });
            let watch = thread::spawn({
                let server = server.clone();
                move || wait_readable(&*server, PATIENCE)
            });
            assert!(!wait_readable(&*server, Some(SHORT))?);
            assert!(wait_writable(&*server, PATIENCE)?);
            client.write_all(&[round])?;
            assert_eq!(reads.join().unwrap()?, round);
            // It may not have begun to wait before the byte was taken.
            client.write_all(b"x")?;
            assert!(watch.join().unwrap()?);
            (&*server).read_exact(&mut [0])?;
        }
        Ok(())
    }

    /// Nobody tells the engine that a C library has closed a descriptor. What it knew of the number is not true of the next.
    fn a_number_that_is_used_again_is_waited_for_anew() -> io::Result<()> {
        for _ in 0..4 {
            let (near, _far) = UnixStream::pair()?;
            let (fresh, fresh_far) = UnixStream::pair()?;
            assert!(!wait_readable(&near, Some(SHORT))?);
            // SAFETY: no memory is involved. `near` owns the number before and after.
            assert_eq!(unsafe { libc::dup2(fresh.as_raw_fd(), near.as_raw_fd()) }, near.as_raw_fd());
            assert!(!wait_readable(&near, Some(SHORT))?);
            (&fresh_far).write_all(b"x")?;
            assert!(wait_readable(&near, PATIENCE)?);
        }
        Ok(())
    }
}

on_every_engine! {
    fn a_cancel_ends_one_wait_and_not_the_others() {
        let (near, far) = UnixStream::pair().unwrap();
        let near = Arc::new(near);
        let [cancelled, stays] = [(); 2].map(|()| {
            let near = near.clone();
            thread::spawn(move || wait_readable(&*near, PATIENCE))
        });
        assert!(!wait_readable(&*near, Some(SHORT)).unwrap());
        cancelled.cancel();
        assert!(cancelled.join().is_err());
        (&far).write_all(b"x").unwrap();
        assert!(stays.join().unwrap().unwrap());
    }
}
