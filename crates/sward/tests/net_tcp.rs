//! TCP as std documents it, on every engine and outside a runtime: bytes arrive, in order, once; ends, errors and
//! addresses are std's.

use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Read, Write};

use sward::net::{Shutdown, SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use sward::thread;
use sward_testing::{everywhere, tcp_listener, tcp_pair};

/// Bytes that differ from place to place, so that what is lost, doubled or swapped shows.
fn pattern(length: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..length).map(|_| next()).collect()
}

fn echo(mut stream: TcpStream) -> io::Result<()> {
    let mut buffer = [0; 1000];
    loop {
        match stream.read(&mut buffer)? {
            0 => return Ok(()),
            length => stream.write_all(&buffer[..length])?,
        }
    }
}

/// A port on which nobody listens.
fn deserted() -> SocketAddr {
    tcp_listener().1
}

everywhere! {
    fn what_is_written_is_read_until_the_end() -> io::Result<()> {
        let (mut client, mut server) = tcp_pair();
        let writer = thread::spawn(move || client.write_all(b"hello"));
        let mut text = String::new();
        server.read_to_string(&mut text)?;
        assert_eq!(text, "hello");
        writer.join().unwrap()
    }

    fn accept_waits_for_a_connection() -> io::Result<()> {
        let (listener, address) = tcp_listener();
        let server = thread::spawn(move || listener.accept());
        thread::yield_now();
        let client = TcpStream::connect(address)?;
        let (stream, peer) = server.join().unwrap()?;
        assert_eq!(peer, client.local_addr()?);
        assert_eq!(stream.peer_addr()?, client.local_addr()?);
        assert_eq!(stream.local_addr()?, client.peer_addr()?);
        assert_eq!(client.peer_addr()?, address);
        Ok(())
    }

    fn a_hundred_clients_each_get_their_own_bytes_back() -> io::Result<()> {
        let (listener, address) = tcp_listener();
        let server = thread::spawn(move || {
            let streams = listener.incoming().take(100).collect::<io::Result<Vec<_>>>().unwrap();
            let echoes: Vec<_> = streams.into_iter().map(|stream| thread::spawn(|| echo(stream))).collect();
            echoes.into_iter().for_each(|echo| echo.join().unwrap().unwrap());
        });
        let clients = (0..100_usize).map(|number| thread::spawn(move || -> io::Result<()> {
            let mut stream = TcpStream::connect(address)?;
            let bytes = pattern(5000 + number);
            for chunk in bytes.chunks(1 + number * 37) {
                stream.write_all(chunk)?;
                let mut back = vec![0; chunk.len()];
                stream.read_exact(&mut back)?;
                assert_eq!(back, chunk);
            }
            Ok(())
        }));
        let clients: Vec<_> = clients.collect();
        clients.into_iter().try_for_each(|client| client.join().unwrap())?;
        server.join().unwrap();
        Ok(())
    }

    fn megabytes_pass_a_slow_reader_in_order() -> io::Result<()> {
        let (client, mut server) = tcp_pair();
        let bytes = pattern(4 << 20);
        let expected = bytes.clone();
        let writer = thread::spawn(move || (&client).write_all(&bytes));
        let mut received = Vec::new();
        let mut buffer = vec![0; 10_007];
        loop {
            match server.read(&mut buffer)? {
                0 => break,
                length => received.extend_from_slice(&buffer[..length]),
            }
            thread::yield_now();
        }
        writer.join().unwrap()?;
        assert!(received == expected, "{} bytes of {}", received.len(), expected.len());
        Ok(())
    }

    fn a_listener_can_be_given_away_to_its_iterator() -> io::Result<()> {
        let (listener, address) = tcp_listener();
        let client = TcpStream::connect(address)?;
        let server = listener.into_incoming().next().expect("it has no end")?;
        assert_eq!(server.peer_addr()?, client.local_addr()?);
        Ok(())
    }

    fn three_hundred_connections_may_wait_to_be_accepted() -> io::Result<()> {
        let (listener, address) = tcp_listener();
        let limit = std::time::Duration::from_secs(30);
        let clients = (0..300).map(|_| TcpStream::connect_timeout(&address, limit)).collect::<io::Result<Vec<_>>>()?;
        for _ in &clients {
            listener.accept()?;
        }
        Ok(())
    }

    fn nobody_listens() {
        assert_eq!(TcpStream::connect(deserted()).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    }

    fn the_first_address_that_answers_is_taken() -> io::Result<()> {
        let (_listener, address) = tcp_listener();
        let stream = TcpStream::connect(&[deserted(), deserted(), address][..])?;
        assert_eq!(stream.peer_addr()?, address);
        let none: &[SocketAddr] = &[];
        let error = TcpStream::connect(none).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert_eq!(error.to_string(), std::net::TcpStream::connect(none).unwrap_err().to_string());
        assert_eq!(TcpListener::bind(none).unwrap_err().kind(), ErrorKind::InvalidInput);
        Ok(())
    }

    fn names_and_texts_are_addresses() -> io::Result<()> {
        let (_listener, address) = tcp_listener();
        let port = address.port();
        TcpStream::connect(format!("localhost:{port}"))?;
        TcpStream::connect(("localhost", port))?;
        TcpStream::connect((String::from("127.0.0.1"), port))?;
        TcpStream::connect(format!("127.0.0.1:{port}").as_str())?;
        for text in ["", "localhost", "localhost:x", "localhost:70000", "127.0.0.1:-1"] {
            let here = text.to_socket_addrs().unwrap_err();
            let there = std::net::ToSocketAddrs::to_socket_addrs(text).unwrap_err();
            assert_eq!((here.kind(), here.to_string()), (there.kind(), there.to_string()));
        }
        let here: Vec<_> = ("::1", 7).to_socket_addrs()?.collect();
        assert_eq!(here, std::net::ToSocketAddrs::to_socket_addrs(&("::1", 7))?.collect::<Vec<_>>());
        Ok(())
    }

    fn a_port_is_taken_once() {
        let (_listener, address) = tcp_listener();
        assert_eq!(TcpListener::bind(address).unwrap_err().kind(), ErrorKind::AddrInUse);
    }

    fn peek_leaves_what_it_shows() -> io::Result<()> {
        let (mut client, mut server) = tcp_pair();
        let writer = thread::spawn(move || client.write_all(b"abc").map(|()| client));
        let mut large = [0; 16];
        assert_eq!(server.peek(&mut large[..1])?, 1);
        let client = writer.join().unwrap()?;
        // A peek that is shorter than its buffer does not mean that there is nothing to read.
        while server.peek(&mut large)? < 3 {}
        assert_eq!(&large[..3], b"abc");
        server.read_exact(&mut large[3..6])?;
        assert_eq!(&large[3..6], b"abc");
        drop(client);
        assert_eq!(server.peek(&mut large)?, 0);
        Ok(())
    }

    fn several_buffers_at_once() -> io::Result<()> {
        let (mut client, mut server) = tcp_pair();
        assert_eq!(client.write_vectored(&[])?, 0);
        let mut parts = &mut [IoSlice::new(b"one"), IoSlice::new(b""), IoSlice::new(b"two")][..];
        while !parts.is_empty() {
            let length = client.write_vectored(parts)?;
            IoSlice::advance_slices(&mut parts, length);
        }
        let (mut first, mut second) = ([0; 4], [0; 9]);
        assert_eq!(server.read_vectored(&mut [])?, 0);
        let mut parts = &mut [IoSliceMut::new(&mut first), IoSliceMut::new(&mut second)][..];
        let mut left = 6;
        while left > 0 {
            let length = server.read_vectored(parts)?;
            IoSliceMut::advance_slices(&mut parts, length);
            left -= length;
        }
        assert_eq!((&first, &second[..2]), (b"onet", &b"wo"[..]));
        // More than the kernel takes: it is a short write, and no error.
        let many = vec![IoSlice::new(b"x"); 3000];
        let length = client.write_vectored(&many)?;
        assert!(length > 0 && length <= 3000, "{length}");
        server.read_exact(&mut vec![0; length])?;
        Ok(())
    }

    fn shutdown_of_a_clone_wakes_a_blocked_reader() -> io::Result<()> {
        let (_client, server) = tcp_pair();
        let clone = server.try_clone()?;
        let reader = thread::spawn(move || (&server).read(&mut [0; 8]));
        thread::yield_now();
        clone.shutdown(Shutdown::Read)?;
        assert_eq!(reader.join().unwrap()?, 0);
        Ok(())
    }

    fn shutdown_of_one_direction_leaves_the_other() -> io::Result<()> {
        let (mut client, mut server) = tcp_pair();
        client.shutdown(Shutdown::Write)?;
        assert_eq!(server.read(&mut [0; 8])?, 0);
        server.write_all(b"late")?;
        drop(server);
        let mut text = String::new();
        client.read_to_string(&mut text)?;
        assert_eq!(text, "late");
        assert_eq!(client.write(b"x").unwrap_err().kind(), ErrorKind::BrokenPipe);
        Ok(())
    }

    fn a_reset_is_an_error() -> io::Result<()> {
        let (client, mut server) = tcp_pair();
        socket2::SockRef::from(&client).set_linger(Some(std::time::Duration::ZERO))?;
        let reader = thread::spawn(move || (server.read(&mut [0; 8]), server));
        thread::yield_now();
        drop(client);
        let (result, mut server) = reader.join().unwrap();
        assert_eq!(result.unwrap_err().kind(), ErrorKind::ConnectionReset);
        assert_eq!(server.write(b"x").unwrap_err().kind(), ErrorKind::BrokenPipe);
        Ok(())
    }

    fn a_connection_may_be_gone_before_it_is_accepted() -> io::Result<()> {
        let (listener, address) = tcp_listener();
        let client = TcpStream::connect(address)?;
        socket2::SockRef::from(&client).set_linger(Some(std::time::Duration::ZERO))?;
        drop(client);
        // Linux hands it out all the same, and the read says what became of it.
        let (mut gone, _) = listener.accept()?;
        assert_eq!(gone.read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::ConnectionReset);
        let _client = TcpStream::connect(address)?;
        listener.accept()?;
        Ok(())
    }

    fn two_accepts_on_clones_take_one_connection_each() -> io::Result<()> {
        let (listener, address) = tcp_listener();
        let clone = listener.try_clone()?;
        let first = thread::spawn(move || listener.accept().unwrap().1);
        let second = thread::spawn(move || clone.accept().unwrap().1);
        thread::yield_now();
        let clients = [TcpStream::connect(address)?, TcpStream::connect(address)?];
        let mut accepted = [first.join().unwrap(), second.join().unwrap()];
        let mut expected = [clients[0].local_addr()?, clients[1].local_addr()?];
        accepted.sort();
        expected.sort();
        assert_eq!(accepted, expected);
        Ok(())
    }

    fn two_accepts_on_one_listener_take_one_connection_each() -> io::Result<()> {
        let (listener, address) = tcp_listener();
        thread::scope(|scope| {
            let accepts = [scope.spawn(|| listener.accept()), scope.spawn(|| listener.accept())];
            thread::yield_now();
            let _clients = [TcpStream::connect(address)?, TcpStream::connect(address)?];
            accepts.into_iter().try_for_each(|accept| accept.join().unwrap().map(drop))
        })
    }

    fn two_clones_read_in_the_same_direction() -> io::Result<()> {
        let (mut client, server) = tcp_pair();
        let clone = server.try_clone()?;
        let read = |mut stream: TcpStream| thread::spawn(move || {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            byte[0]
        });
        let readers = [read(server), read(clone)];
        thread::yield_now();
        client.write_all(&[3])?;
        client.write_all(&[4])?;
        let bytes = readers.map(|reader| reader.join().unwrap());
        assert!(bytes == [3, 4] || bytes == [4, 3], "{bytes:?}");
        Ok(())
    }

    fn one_stream_is_read_and_written_at_once() -> io::Result<()> {
        let (client, server) = tcp_pair();
        let bytes = pattern(2 << 20);
        let echo = thread::spawn(move || echo(server));
        thread::scope(|scope| {
            let writer = scope.spawn(|| {
                (&client).write_all(&bytes)?;
                client.shutdown(Shutdown::Write)
            });
            let mut back = Vec::new();
            (&client).read_to_end(&mut back)?;
            assert!(back == bytes, "{} bytes of {}", back.len(), bytes.len());
            writer.join().unwrap()
        })?;
        echo.join().unwrap()
    }

    /// The descriptor's number comes back at once; what was known of the old socket must not.
    fn a_reused_number_is_another_socket() -> io::Result<()> {
        let (listener, address) = tcp_listener();
        for round in 0..200_u8 {
            let mut client = TcpStream::connect(address)?;
            let (server, _) = listener.accept()?;
            let clone = (round % 3 == 0).then(|| server.try_clone()).transpose()?;
            let reader = thread::spawn(move || (&server).read(&mut [0; 2]).map(|_| server));
            thread::yield_now();
            client.write_all(&[round])?;
            let server = reader.join().unwrap()?;
            if round % 2 == 0 {
                // Left unread.
                client.write_all(&[round, round])?;
            }
            drop((server, clone));
        }
        Ok(())
    }

    fn options_are_kept() -> io::Result<()> {
        let (client, _server) = tcp_pair();
        for nodelay in [true, false] {
            client.set_nodelay(nodelay)?;
            assert_eq!(client.nodelay()?, nodelay);
        }
        client.set_ttl(42)?;
        assert_eq!(client.ttl()?, 42);
        assert!(client.take_error()?.is_none());
        let (listener, _) = tcp_listener();
        listener.set_ttl(43)?;
        assert_eq!(listener.ttl()?, 43);
        assert!(listener.take_error()?.is_none());
        Ok(())
    }

    fn it_is_shown_as_std_shows_it() -> io::Result<()> {
        let (client, _server) = tcp_pair();
        let shown = format!("{client:?}");
        assert_eq!(shown, format!("{:?}", std::net::TcpStream::from(client)));
        let (listener, _) = tcp_listener();
        let shown = format!("{listener:?}");
        assert_eq!(shown, format!("{:?}", std::net::TcpListener::from(listener)));
        Ok(())
    }
}
