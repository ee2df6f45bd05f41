//! How a socket is told not to wait, or not for ever; and what of that survives on the way into and out of std's types. On
//! every engine and outside a runtime.

use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd};
use std::time::{Duration, Instant};

use socket2::SockRef;
use sward::net::{TcpListener, TcpStream, UdpSocket};
use sward::os::fd::{wait_readable, wait_writable};
use sward::thread;
use sward_testing::{everywhere, tcp_listener, tcp_pair};

const SHORT: Duration = Duration::from_millis(20);
const LONG: Duration = Duration::from_secs(50);

/// Whether `read` gives `WouldBlock`, and not before `SHORT`.
fn times_out<T: std::fmt::Debug>(read: impl FnOnce() -> io::Result<T>) {
    let begin = Instant::now();
    assert_eq!(read().unwrap_err().kind(), ErrorKind::WouldBlock);
    // The kernel counts SO_RCVTIMEO in its own ticks, which may begin a moment earlier than ours.
    assert!(begin.elapsed() >= SHORT / 2, "{:?}", begin.elapsed());
}

fn is_nonblocking(socket: &impl std::os::fd::AsFd) -> bool {
    SockRef::from(socket).nonblocking().unwrap()
}

everywhere! {
    fn a_read_timeout_ends_the_wait_and_loses_nothing() -> io::Result<()> {
        let (mut client, mut server) = tcp_pair();
        server.set_read_timeout(Some(SHORT))?;
        let mut buffer = [0; 8];
        times_out(|| server.read(&mut buffer));
        times_out(|| server.peek(&mut buffer));
        times_out(|| server.read_vectored(&mut [io::IoSliceMut::new(&mut buffer)]));
        client.write_all(b"a")?;
        server.set_read_timeout(Some(LONG))?;
        assert_eq!(server.read(&mut buffer)?, 1);
        server.set_read_timeout(None)?;
        let reader = thread::spawn(move || server.read(&mut buffer));
        thread::sleep(SHORT * 2);
        client.write_all(b"b")?;
        assert_eq!(reader.join().unwrap()?, 1);
        Ok(())
    }

    fn a_write_timeout_ends_the_wait_and_tells_what_was_written() -> io::Result<()> {
        let (mut client, mut server) = tcp_pair();
        client.set_write_timeout(Some(SHORT))?;
        let chunk = [7; 64 * 1024];
        let mut written = 0;
        let error = loop {
            match client.write(&chunk) {
                Ok(length) => written += length,
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        drop(client);
        let mut received = Vec::new();
        server.read_to_end(&mut received)?;
        assert_eq!(received.len(), written);
        Ok(())
    }

    fn timeouts_are_shared_with_clones_and_can_be_asked() -> io::Result<()> {
        let (_client, server) = tcp_pair();
        let mut clone = server.try_clone()?;
        assert_eq!((server.read_timeout()?, server.write_timeout()?), (None, None));
        server.set_read_timeout(Some(SHORT))?;
        clone.set_write_timeout(Some(LONG))?;
        assert_eq!((server.read_timeout()?, server.write_timeout()?), (clone.read_timeout()?, clone.write_timeout()?));
        assert_eq!(server.write_timeout()?, Some(LONG));
        times_out(|| clone.read(&mut [0]));
        server.set_read_timeout(None)?;
        assert_eq!(clone.read_timeout()?, None);
        Ok(())
    }

    fn a_timeout_of_zero_is_refused_and_changes_nothing() -> io::Result<()> {
        let (client, _server) = tcp_pair();
        client.set_read_timeout(Some(LONG))?;
        let zero = Some(Duration::ZERO);
        assert_eq!(client.set_read_timeout(zero).unwrap_err().kind(), ErrorKind::InvalidInput);
        assert_eq!(client.set_write_timeout(zero).unwrap_err().kind(), ErrorKind::InvalidInput);
        assert_eq!((client.read_timeout()?, client.write_timeout()?), (Some(LONG), None));
        let error = TcpStream::connect_timeout(&client.peer_addr()?, Duration::ZERO).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        Ok(())
    }

    fn a_tiny_and_a_huge_timeout_are_timeouts() -> io::Result<()> {
        let (mut client, mut server) = tcp_pair();
        server.set_read_timeout(Some(Duration::from_nanos(1)))?;
        assert_eq!(server.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
        server.set_read_timeout(Some(Duration::MAX))?;
        let client = thread::spawn(move || {
            thread::sleep(SHORT);
            client.write_all(b"x").map(|()| client)
        });
        assert_eq!(server.read(&mut [0])?, 1);
        drop(client.join().expect("it does not panic")?);
        Ok(())
    }

    fn connect_timeout_connects_in_time() -> io::Result<()> {
        let (listener, address) = tcp_listener();
        let client = TcpStream::connect_timeout(&address, LONG)?;
        assert_eq!(listener.accept()?.1, client.local_addr()?);
        // It was for the connect alone.
        assert_eq!((client.read_timeout()?, is_nonblocking(&client)), (None, false));
        drop(listener);
        let error = TcpStream::connect_timeout(&address, LONG).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        Ok(())
    }

    fn connect_timeout_ends_when_nobody_answers() -> io::Result<()> {
        // The kernel drops what asks to connect to a listener whose queue is full.
        let (listener, address) = tcp_listener();
        SockRef::from(&listener).listen(0)?;
        let results: Vec<_> = (0..4).map(|_| TcpStream::connect_timeout(&address, SHORT)).collect();
        let error = results.into_iter().find_map(Result::err).expect("four do not fit a queue of one");
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        Ok(())
    }

    fn nonblocking_means_would_block() -> io::Result<()> {
        let (listener, address) = tcp_listener();
        listener.set_nonblocking(true)?;
        let clone = listener.try_clone()?;
        assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
        assert_eq!(clone.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
        let mut client = TcpStream::connect(address)?;
        assert!(wait_readable(&listener, Some(LONG))?);
        let (mut server, _) = listener.accept()?;
        // It is the listener's mode, not that of what it accepts.
        assert!(!is_nonblocking(&server));
        let mut twin = server.try_clone()?;
        server.set_nonblocking(true)?;
        for stream in [&mut server, &mut twin] {
            assert_eq!(stream.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
            assert_eq!(stream.peek(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
        }
        twin.set_nonblocking(false)?;
        let reader = thread::spawn(move || server.read(&mut [0]));
        thread::yield_now();
        client.write_all(b"x")?;
        assert_eq!(reader.join().unwrap()?, 1);
        clone.set_nonblocking(false)?;
        let accept = thread::spawn(move || listener.accept());
        thread::yield_now();
        TcpStream::connect(address)?;
        accept.join().unwrap()?;
        Ok(())
    }

    fn a_streams_modes_survive_conversions() -> io::Result<()> {
        let (client, mut server) = tcp_pair();
        let client = std::net::TcpStream::from(client);
        client.set_read_timeout(Some(SHORT))?;
        let mut client = TcpStream::from(client);
        times_out(|| client.read(&mut [0]));
        client.set_read_timeout(None)?;
        client.set_nonblocking(true)?;
        let mut client = TcpStream::from(OwnedFd::from(client));
        assert_eq!(client.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
        client.set_nonblocking(false)?;
        let number = client.as_raw_fd();
        let raw = client.into_raw_fd();
        assert_eq!(raw, number);
        // SAFETY: it has just been given up.
        let mut client = unsafe { TcpStream::from_raw_fd(raw) };
        let reader = thread::spawn(move || client.read(&mut [0]));
        thread::yield_now();
        server.write_all(b"x")?;
        assert_eq!(reader.join().unwrap()?, 1);
        Ok(())
    }

    fn a_listeners_mode_survives_conversions() -> io::Result<()> {
        let (listener, address) = tcp_listener();
        let listener = std::net::TcpListener::from(listener);
        assert!(!is_nonblocking(&listener));
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from(listener);
        assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
        let listener = OwnedFd::from(listener);
        assert!(is_nonblocking(&listener));
        let listener = TcpListener::from(listener);
        listener.set_nonblocking(false)?;
        // SAFETY: it has just been given up.
        let listener = unsafe { TcpListener::from_raw_fd(listener.into_raw_fd()) };
        let accept = thread::spawn(move || listener.accept());
        thread::yield_now();
        TcpStream::connect(address)?;
        accept.join().unwrap()?;
        Ok(())
    }

    fn foreign_descriptors_can_be_waited_for() -> io::Result<()> {
        let (mut reader, mut writer) = io::pipe()?;
        assert!(!wait_readable(&reader, Some(Duration::ZERO))?);
        assert!(!wait_readable(&reader, Some(SHORT))?);
        assert!(wait_writable(&writer, None)?);
        let waiter = thread::spawn(move || {
            assert!(wait_readable(&reader, Some(LONG)).unwrap());
            reader.read(&mut [0; 8]).map(|length| (length, reader))
        });
        thread::yield_now();
        writer.write_all(b"x")?;
        let (length, reader) = waiter.join().unwrap()?;
        assert_eq!(length, 1);
        drop(writer);
        // The end is something to read, too.
        assert!(wait_readable(&reader, None)?);
        assert!(wait_readable(std::fs::File::open("/proc/self/comm")?, None)?);
        Ok(())
    }

    /// The engine must keep nothing of a descriptor that it has seen in passing.
    fn foreign_descriptors_may_be_closed_and_reused() -> io::Result<()> {
        for _ in 0..100 {
            let (reader, mut writer) = io::pipe()?;
            let twin = reader.try_clone()?;
            let waiter = thread::spawn(move || wait_readable(&reader, Some(LONG)).map(|ready| (ready, reader)));
            thread::yield_now();
            writer.write_all(b"x")?;
            let (ready, reader) = waiter.join().unwrap()?;
            assert!(ready);
            drop(reader);
            let socket = UdpSocket::bind("127.0.0.1:0")?;
            assert!(!wait_readable(&socket, Some(Duration::ZERO))?);
            assert!(wait_readable(&twin, None)?);
        }
        Ok(())
    }
}
