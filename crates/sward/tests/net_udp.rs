//! UDP as std documents it, on every engine and outside a runtime.

use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::time::Duration;

use sward::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use sward::thread;
use sward_testing::everywhere;

const SHORT: Duration = Duration::from_millis(20);

fn socket() -> (UdpSocket, SocketAddr) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

/// Two sockets that are connected to each other.
fn pair() -> (UdpSocket, UdpSocket) {
    let ((one, one_address), (other, other_address)) = (socket(), socket());
    one.connect(other_address).unwrap();
    other.connect(one_address).unwrap();
    (one, other)
}

everywhere! {
    fn a_datagram_arrives_whole_and_says_whose_it_is() -> io::Result<()> {
        let ((sender, from), (receiver, address)) = (socket(), socket());
        let waiter = thread::spawn(move || {
            let mut buffer = [0; 16];
            let (length, peer) = receiver.recv_from(&mut buffer).unwrap();
            assert_eq!((&buffer[..length], peer), (&b"ping"[..], from));
            receiver
        });
        thread::yield_now();
        assert_eq!(sender.send_to(b"ping", address)?, 4);
        let receiver = waiter.join().unwrap();
        // One at a time, also an empty one; and what does not fit is lost.
        for datagram in [&b"one"[..], b"", b"three"] {
            sender.send_to(datagram, address)?;
        }
        let mut buffer = [0; 3];
        assert_eq!(receiver.recv_from(&mut buffer)?, (3, from));
        assert_eq!(receiver.recv_from(&mut buffer)?, (0, from));
        assert_eq!(receiver.recv_from(&mut buffer)?, (3, from));
        assert_eq!(&buffer, b"thr");
        Ok(())
    }

    fn connected_sockets_hear_each_other_alone() -> io::Result<()> {
        let (one, other) = pair();
        assert_eq!(one.peer_addr()?, other.local_addr()?);
        let (stranger, _) = socket();
        stranger.send_to(b"psst", other.local_addr()?)?;
        assert_eq!(one.send(b"hello")?, 5);
        let mut buffer = [0; 16];
        assert_eq!(other.recv(&mut buffer)?, 5);
        assert_eq!(&buffer[..5], b"hello");
        assert_eq!(stranger.peer_addr().unwrap_err().kind(), ErrorKind::NotConnected);
        assert_eq!(stranger.send(b"x").unwrap_err().raw_os_error(), Some(libc::EDESTADDRREQ));
        Ok(())
    }

    fn peek_leaves_the_datagram() -> io::Result<()> {
        let (one, other) = pair();
        one.send(b"hello")?;
        let mut buffer = [0; 16];
        assert_eq!(other.peek(&mut buffer)?, 5);
        assert_eq!(other.peek_from(&mut buffer)?, (5, one.local_addr()?));
        assert_eq!(other.recv(&mut buffer)?, 5);
        other.set_read_timeout(Some(SHORT))?;
        assert_eq!(other.peek(&mut buffer).unwrap_err().kind(), ErrorKind::WouldBlock);
        Ok(())
    }

    fn receiving_ends_with_its_timeout() -> io::Result<()> {
        let (_one, other) = pair();
        let clone = other.try_clone()?;
        other.set_read_timeout(Some(SHORT))?;
        other.set_write_timeout(Some(SHORT))?;
        assert_eq!((clone.read_timeout()?, clone.write_timeout()?), (other.read_timeout()?, other.write_timeout()?));
        let mut buffer = [0; 16];
        assert_eq!(clone.recv(&mut buffer).unwrap_err().kind(), ErrorKind::WouldBlock);
        assert_eq!(clone.recv_from(&mut buffer).unwrap_err().kind(), ErrorKind::WouldBlock);
        assert_eq!(clone.peek_from(&mut buffer).unwrap_err().kind(), ErrorKind::WouldBlock);
        assert_eq!(other.set_read_timeout(Some(Duration::ZERO)).unwrap_err().kind(), ErrorKind::InvalidInput);
        assert_eq!(other.set_write_timeout(Some(Duration::ZERO)).unwrap_err().kind(), ErrorKind::InvalidInput);
        Ok(())
    }

    fn nonblocking_means_would_block() -> io::Result<()> {
        let (one, other) = pair();
        let clone = other.try_clone()?;
        other.set_nonblocking(true)?;
        assert_eq!(clone.recv(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
        let clone = UdpSocket::from(OwnedFd::from(std::net::UdpSocket::from(clone)));
        assert_eq!(clone.recv(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
        other.set_nonblocking(false)?;
        let reader = thread::spawn(move || other.recv(&mut [0; 8]));
        thread::yield_now();
        one.send(b"x")?;
        assert_eq!(reader.join().unwrap()?, 1);
        Ok(())
    }

    fn a_refusal_comes_back_as_an_error() -> io::Result<()> {
        let (one, other) = pair();
        drop(other);
        one.send(b"anybody?")?;
        assert_eq!(one.recv(&mut [0; 8]).unwrap_err().kind(), ErrorKind::ConnectionRefused);
        Ok(())
    }

    fn addresses_are_needed() {
        let (socket, _) = socket();
        let none: &[SocketAddr] = &[];
        assert_eq!(socket.send_to(b"x", none).unwrap_err().kind(), ErrorKind::InvalidInput);
        assert_eq!(socket.connect(none).unwrap_err().kind(), ErrorKind::InvalidInput);
        assert_eq!(UdpSocket::bind(none).unwrap_err().kind(), ErrorKind::InvalidInput);
    }

    fn options_are_kept() -> io::Result<()> {
        let (socket, _) = socket();
        socket.set_broadcast(true)?;
        assert!(socket.broadcast()?);
        socket.set_ttl(42)?;
        assert_eq!(socket.ttl()?, 42);
        socket.set_multicast_loop_v4(false)?;
        assert!(!socket.multicast_loop_v4()?);
        socket.set_multicast_ttl_v4(3)?;
        assert_eq!(socket.multicast_ttl_v4()?, 3);
        assert!(socket.take_error()?.is_none());
        let (group, here) = (Ipv4Addr::new(239, 1, 2, 3), Ipv4Addr::LOCALHOST);
        socket.join_multicast_v4(&group, &here)?;
        socket.leave_multicast_v4(&group, &here)?;
        assert!(socket.leave_multicast_v4(&group, &here).is_err());
        // What std's type says to an IPv4 socket, ours says, too.
        let std_socket = std::net::UdpSocket::bind("127.0.0.1:0")?;
        let group = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 1, 2);
        let kinds = |ours: io::Result<()>, theirs: io::Result<()>| {
            assert_eq!(ours.map_err(|error| error.kind()), theirs.map_err(|error| error.kind()));
        };
        kinds(socket.join_multicast_v6(&group, 0), std_socket.join_multicast_v6(&group, 0));
        kinds(socket.leave_multicast_v6(&group, 0), std_socket.leave_multicast_v6(&group, 0));
        kinds(socket.set_multicast_loop_v6(true), std_socket.set_multicast_loop_v6(true));
        let shown = format!("{socket:?}");
        assert_eq!(shown, format!("{:?}", std::net::UdpSocket::from(socket)));
        Ok(())
    }
}
