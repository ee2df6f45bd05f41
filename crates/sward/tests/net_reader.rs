//! `TcpStream::reader()`: what it reads is what was sent, whoever reads before, between and after. On every engine and outside a
//! runtime.

use std::io::{self, BufRead, ErrorKind, Read, Write};
use std::time::Duration;

use socket2::SockRef;
use sward::net::TcpStream;
use sward::os::fd::wait_readable;
use sward::thread;
use sward_testing::{everywhere, on_every_engine, tcp_pair};

const SHORT: Duration = Duration::from_millis(20);

/// Far longer than anything takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// Bytes that show where they belong.
fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at % 251) as u8).collect()
}

/// One byte by a reader, so that it has begun to receive.
fn first_byte(reader: &mut impl Read) -> io::Result<u8> {
    let mut byte = [0];
    reader.read_exact(&mut byte)?;
    Ok(byte[0])
}

everywhere! {
    fn lines_come_whole_however_they_were_cut() -> io::Result<()> {
        let (mut client, server) = tcp_pair();
        let text: String = (0..500).map(|number| format!("{:1$}\n", number, number % 97)).collect();
        let sent = text.clone();
        let writer = thread::spawn(move || {
            for piece in sent.as_bytes().chunks(7) {
                client.write_all(piece)?;
                thread::yield_now();
            }
            io::Result::Ok(())
        });
        let lines = server.reader().lines().collect::<io::Result<Vec<_>>>()?;
        writer.join().unwrap()?;
        assert_eq!(lines, text.lines().collect::<Vec<_>>());
        Ok(())
    }

    fn much_comes_in_order_through_small_and_large_reads() -> io::Result<()> {
        const LENGTH: usize = 4 << 20;
        let (mut client, server) = tcp_pair();
        let writer = thread::spawn(move || client.write_all(&pattern(LENGTH)));
        let mut reader = server.reader();
        let mut got = Vec::new();
        for size in [1, 100, 5_000, 16_384, 70_000, 3, 400_000].into_iter().cycle() {
            let mut buffer = vec![0; size];
            let count = reader.read(&mut buffer)?;
            got.extend_from_slice(&buffer[..count]);
            let part = reader.fill_buf()?;
            let count = part.len().min(size);
            got.extend_from_slice(&part[..count]);
            reader.consume(count);
            if count == 0 {
                break;
            }
            thread::yield_now();
        }
        writer.join().unwrap()?;
        assert!(got == pattern(LENGTH), "{} of {LENGTH} bytes", got.len());
        Ok(())
    }

    fn a_read_timeout_ends_the_wait_and_loses_nothing() -> io::Result<()> {
        let (mut client, server) = tcp_pair();
        let mut reader = server.reader();
        client.write_all(b"a")?;
        assert_eq!(first_byte(&mut reader)?, b'a');
        server.set_read_timeout(Some(SHORT))?;
        assert_eq!(reader.fill_buf().unwrap_err().kind(), ErrorKind::WouldBlock);
        client.write_all(b"b")?;
        server.set_read_timeout(None)?;
        assert_eq!(first_byte(&mut reader)?, b'b');
        Ok(())
    }

    fn what_comes_when_the_reader_is_gone_is_for_others() -> io::Result<()> {
        let (mut client, mut server) = tcp_pair();
        for round in 0..50 {
            client.write_all(&[round])?;
            assert_eq!(first_byte(&mut server.reader())?, round);
            client.write_all(&[round + 100])?;
            assert_eq!(first_byte(&mut server)?, round + 100);
            client.write_all(&[round + 200])?;
            assert_eq!(first_byte(&mut server.try_clone()?)?, round + 200);
        }
        Ok(())
    }

    fn it_goes_on_without_waiting_and_with_waiting_again() -> io::Result<()> {
        let (mut client, server) = tcp_pair();
        let mut reader = server.reader();
        for round in 0..20 {
            client.write_all(&[round])?;
            assert_eq!(first_byte(&mut reader)?, round);
            server.set_nonblocking(true)?;
            assert_eq!(reader.fill_buf().unwrap_err().kind(), ErrorKind::WouldBlock);
            client.write_all(&[round + 100])?;
            wait_readable(&server, None)?;
            assert_eq!(first_byte(&mut reader)?, round + 100);
            server.set_nonblocking(false)?;
        }
        // What has come before is taken first.
        client.write_all(b"ab")?;
        assert_eq!(first_byte(&mut reader)?, b'a');
        client.write_all(b"c")?;
        server.set_nonblocking(true)?;
        assert_eq!(first_byte(&mut reader)?, b'b');
        Ok(())
    }

    fn the_end_and_a_reset_are_told_after_the_data() -> io::Result<()> {
        let (mut client, server) = tcp_pair();
        client.write_all(b"last")?;
        drop(client);
        let mut reader = server.reader();
        let mut got = Vec::new();
        reader.read_to_end(&mut got)?;
        assert_eq!(got, b"last");
        assert!(reader.fill_buf()?.is_empty());

        let (mut client, server) = tcp_pair();
        let mut reader = server.reader();
        client.write_all(b"x")?;
        assert_eq!(first_byte(&mut reader)?, b'x');
        SockRef::from(&client).set_linger(Some(Duration::ZERO))?;
        drop(client);
        assert_eq!(reader.fill_buf().unwrap_err().kind(), ErrorKind::ConnectionReset);
        assert!(reader.fill_buf()?.is_empty());
        Ok(())
    }
}

on_every_engine! {
    fn a_cancelled_thread_lets_go_of_reader_and_connection() {
        let (mut client, server) = tcp_pair();
        let (begun, begins) = sward::sync::mpsc::channel();
        let waits = thread::spawn(move || {
            let mut reader = server.reader();
            begun.send(first_byte(&mut reader).unwrap()).unwrap();
            first_byte(&mut reader)
        });
        client.write_all(b"x").unwrap();
        assert_eq!(begins.recv().unwrap(), b'x');
        waits.cancel();
        assert_eq!(client.read(&mut [0]).unwrap(), 0, "the connection is closed");
        assert!(waits.join().is_err());
    }

    fn a_deadline_ends_the_wait_and_loses_nothing() {
        let (mut client, server) = tcp_pair();
        let mut reader = server.reader();
        for round in 0..10 {
            assert!(sward::time::timeout(SHORT / 10, || first_byte(&mut reader)).is_err());
            client.write_all(&[round]).unwrap();
            assert_eq!(first_byte(&mut reader).unwrap(), round);
        }
    }

    /// While one reader goes, the engine takes in what has come for others, whose time may be over just then.
    fn readers_come_and_go_while_others_time_out() {
        const CONNECTIONS: usize = 16;
        let mut threads = Vec::new();
        for _ in 0..CONNECTIONS {
            let (client, server) = tcp_pair();
            client.set_nodelay(true).unwrap();
            threads.push(thread::spawn(move || {
                for round in 0..100u8 {
                    let mut reader = server.reader();
                    let asked = loop {
                        if let Ok(byte) = sward::time::timeout(SHORT / 200, || first_byte(&mut reader)) {
                            break byte;
                        }
                    };
                    assert_eq!(asked.unwrap(), round);
                    drop(reader);
                    (&server).write_all(&[round]).unwrap();
                }
            }));
            threads.push(thread::spawn(move || {
                for round in 0..100 {
                    (&client).write_all(&[round]).unwrap();
                    assert_eq!(first_byte(&mut &client).unwrap(), round);
                }
            }));
        }
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    }

    /// One reader goes, and the engine takes in what has come for another, who is cancelled before that is handed over. Such a cancel
    /// is not sent to the kernel again and again.
    fn a_cancel_that_comes_behind_an_answer_is_over(engine: sward::EngineKind) {
        for _ in 0..5 {
            let (mut client, server) = tcp_pair();
            let (mut other_client, other) = tcp_pair();
            let mut reader = other.reader();
            other_client.write_all(b"x").unwrap();
            assert_eq!(first_byte(&mut reader).unwrap(), b'x');
            let waits = thread::spawn(move || first_byte(&mut server.reader()));
            thread::yield_now();
            client.write_all(b"y").unwrap();
            drop(reader);
            waits.cancel();
            let _ = waits.join();
        }
        let before = sward::metrics().system_calls;
        thread::sleep(5 * SHORT);
        let calls = sward::metrics().system_calls - before;
        assert!(calls < 2_000 || engine == sward::EngineKind::Spin, "{calls} calls while nothing happened");
    }

    /// A forgotten reader holds its connection no longer than the stream that it has read, whichever thread drops that.
    fn a_forgotten_reader_ends_with_its_stream() {
        for round in 0..4 {
            let (mut client, server) = tcp_pair();
            let (mut kept_client, kept) = tcp_pair();
            let mut reader = server.reader();
            client.write_all(b"x").unwrap();
            assert_eq!(first_byte(&mut reader).unwrap(), b'x');
            std::mem::forget(reader);
            let mut reader = kept.reader();
            kept_client.write_all(b"y").unwrap();
            assert_eq!(first_byte(&mut reader).unwrap(), b'y');
            match round {
                0 => drop(server),
                1 => drop(std::net::TcpStream::from(server)),
                2 => thread::spawn(move || drop(server)).join().unwrap(),
                _ => std::thread::spawn(move || drop(server)).join().unwrap(),
            }
            client.set_read_timeout(Some(PATIENCE)).unwrap();
            assert_eq!(client.read(&mut [0]).unwrap(), 0, "round {round}: the end comes");
            kept_client.write_all(b"z").unwrap();
            assert_eq!(first_byte(&mut reader).unwrap(), b'z', "no other feed is stopped for it");
        }
    }

    /// A clone is a socket of its own: it stays open, and from then on everything is its.
    fn a_forgotten_reader_ends_with_its_stream_and_not_with_a_clone() {
        let (mut client, server) = tcp_pair();
        let mut clone = server.try_clone().unwrap();
        let mut reader = server.reader();
        client.write_all(b"x").unwrap();
        assert_eq!(first_byte(&mut reader).unwrap(), b'x');
        std::mem::forget(reader);
        drop(server);
        // The feed stops when its worker has come round, and takes until then.
        clone.set_read_timeout(Some(SHORT)).unwrap();
        client.write_all(b"?").unwrap();
        while clone.read(&mut [0]).is_err() {
            client.write_all(b"?").unwrap();
        }
        clone.set_read_timeout(Some(PATIENCE)).unwrap();
        client.write_all(b"?yz").unwrap();
        while first_byte(&mut clone).unwrap() == b'?' {}
        assert_eq!(first_byte(&mut clone).unwrap(), b'z');
    }

    /// Whoever of them is read is not held up by those who are not.
    fn many_readers_share_the_buffers() {
        const READERS: usize = 200;
        let pairs: Vec<_> = (0..READERS).map(|_| tcp_pair()).collect();
        let (clients, servers): (Vec<TcpStream>, Vec<TcpStream>) = pairs.into_iter().unzip();
        let echoes: Vec<_> = servers.into_iter().map(|server| thread::spawn(move || {
            let mut reader = server.reader();
            loop {
                let bytes = reader.fill_buf()?;
                if bytes.is_empty() {
                    return io::Result::Ok(());
                }
                let count = bytes.len();
                (&server).write_all(bytes)?;
                reader.consume(count);
            }
        })).collect();
        for round in 0..5u8 {
            for (number, mut client) in clients.iter().enumerate() {
                client.write_all(&[round, number as u8]).unwrap();
            }
            for (number, mut client) in clients.iter().enumerate().rev() {
                let mut answer = [0; 2];
                client.read_exact(&mut answer).unwrap();
                assert_eq!(answer, [round, number as u8]);
            }
        }
        drop(clients);
        echoes.into_iter().for_each(|echo| echo.join().unwrap().unwrap());
    }
}
