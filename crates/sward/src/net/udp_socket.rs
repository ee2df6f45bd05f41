//! [`UdpSocket`]: std's type inside for every option, `socket.rs` for every call that waits.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use super::ToSocketAddrs;
use super::socket::{Direction, Socket};
use super::std_traits::std_traits;
use super::to_socket_addrs::try_each;

/// A UDP socket: [`std::net::UdpSocket`]. Receiving and sending are cancellation points.
///
/// # Examples
/// ```
/// use sward::net::UdpSocket;
///
/// let here = UdpSocket::bind("127.0.0.1:0")?;
/// let there = UdpSocket::bind("127.0.0.1:0")?;
/// here.send_to(b"ping", there.local_addr()?)?;
/// let mut buffer = [0; 16];
/// let (length, from) = there.recv_from(&mut buffer)?;
/// assert_eq!((&buffer[..length], from), (&b"ping"[..], here.local_addr()?));
/// # std::io::Result::Ok(())
/// ```
pub struct UdpSocket {
    socket: Socket,
    inner: std::net::UdpSocket,
}

/// An option that std's type sets and gets: nothing waits, so the call goes straight to it.
macro_rules! options {
    ($($(#[$documentation:meta])* $set:ident, $get:ident: $type:ty;)*) => {
        impl UdpSocket {
            $(
                $(#[$documentation])*
                ///
                /// # Errors
                /// `InvalidInput` if the value is out of range, `ENOPROTOOPT` if it is an IPv6 option of an IPv4 socket.
                pub fn $set(&self, value: $type) -> io::Result<()> {
                    self.inner.$set(value)
                }

                #[doc = concat!("Returns what [`", stringify!($set), "`](UdpSocket::", stringify!($set), ") has set.")]
                ///
                /// # Errors
                /// `EOPNOTSUPP` if it is an IPv6 option of an IPv4 socket.
                pub fn $get(&self) -> io::Result<$type> {
                    self.inner.$get()
                }
            )*
        }
    };
}

options! {
    /// Allows sending to broadcast addresses: `SO_BROADCAST`.
    set_broadcast, broadcast: bool;
    /// Sets whether what it sends to a group comes back to this machine: `IP_MULTICAST_LOOP`.
    set_multicast_loop_v4, multicast_loop_v4: bool;
    /// Sets how far what it sends to a group goes, in hops: `IP_MULTICAST_TTL`.
    set_multicast_ttl_v4, multicast_ttl_v4: u32;
    /// Sets whether what it sends to a group comes back to this machine: `IPV6_MULTICAST_LOOP`.
    set_multicast_loop_v6, multicast_loop_v6: bool;
    /// Sets how far what it sends goes, in hops: `IP_TTL`.
    set_ttl, ttl: u32;
}

impl UdpSocket {
    /// Takes the first of the addresses that can be had: [`std::net::UdpSocket::bind`]. Port 0 is any free one.
    ///
    /// # Errors
    /// The error of the last address that was tried; `InvalidInput` if there is no address.
    pub fn bind<A: ToSocketAddrs>(addr: A) -> io::Result<UdpSocket> {
        let inner = try_each(addr, std::net::UdpSocket::bind)?;
        Ok(UdpSocket { socket: Socket::new(&inner), inner })
    }

    /// Receives a datagram, and returns its length and its sender. What does not fit the buffer is lost.
    ///
    /// # Errors
    /// `WouldBlock` if the read timeout is over, or in non-blocking mode if no datagram is there; `ConnectionRefused` if an
    /// earlier datagram reached the connected host and nobody listens there.
    ///
    /// # Cancellation
    /// This is a [cancellation point](crate::thread::JoinHandle::cancel).
    pub fn recv_from(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        if self.socket.suspends() { self.socket.receive_from(buf, 0) } else { self.inner.recv_from(buf) }
    }

    /// Receives a datagram as [`recv_from`](UdpSocket::recv_from) does, without consuming it.
    ///
    /// # Errors
    /// As [`recv_from`](UdpSocket::recv_from).
    pub fn peek_from(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        if self.socket.suspends() {
            self.socket.receive_from(buf, libc::MSG_PEEK)
        } else {
            self.inner.peek_from(buf)
        }
    }

    /// Sends a datagram to the first of the addresses.
    ///
    /// # Errors
    /// - `InvalidInput` if there is no address.
    /// - `WouldBlock` if the write timeout is over, or in non-blocking mode if there is no room.
    /// - `EMSGSIZE` if the datagram is too long.
    /// - `NetworkUnreachable` or `HostUnreachable` if no route leads there.
    /// - `PermissionDenied` if it is a broadcast address and [`set_broadcast`](UdpSocket::set_broadcast) is off.
    ///
    /// # Cancellation
    /// This is a [cancellation point](crate::thread::JoinHandle::cancel).
    pub fn send_to<A: ToSocketAddrs>(&self, buf: &[u8], addr: A) -> io::Result<usize> {
        let Some(address) = addr.to_socket_addrs()?.next() else {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "no addresses to send data to"));
        };
        if self.socket.suspends() {
            self.socket.send_to(buf, address)
        } else {
            self.inner.send_to(buf, address)
        }
    }

    /// Returns the address that the socket is [connected](UdpSocket::connect) to.
    ///
    /// # Errors
    /// `NotConnected` if the socket has no peer, or no longer.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.inner.peer_addr()
    }

    /// Returns the local address.
    ///
    /// # Errors
    /// `ENOBUFS` if the kernel has no memory left.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }

    /// Returns another handle to the same socket. Timeouts and modes are shared.
    ///
    /// # Errors
    /// `EMFILE` or `ENFILE` if no descriptor is left.
    pub fn try_clone(&self) -> io::Result<UdpSocket> {
        let inner = self.inner.try_clone()?;
        Ok(UdpSocket { socket: self.socket.new_clone(&inner), inner })
    }

    /// Sets how long receiving waits before it fails with `WouldBlock`; `None` means without limit. Shared by clones.
    ///
    /// # Errors
    /// `InvalidInput` if it is zero.
    pub fn set_read_timeout(&self, dur: Option<Duration>) -> io::Result<()> {
        self.inner.set_read_timeout(dur)?;
        self.socket.set_timeout(Direction::Read, dur);
        Ok(())
    }

    /// Sets how long sending waits before it fails with `WouldBlock`; `None` means without limit. Shared by clones.
    ///
    /// # Errors
    /// `InvalidInput` if it is zero.
    pub fn set_write_timeout(&self, dur: Option<Duration>) -> io::Result<()> {
        self.inner.set_write_timeout(dur)?;
        self.socket.set_timeout(Direction::Write, dur);
        Ok(())
    }

    /// Returns the [read timeout](UdpSocket::set_read_timeout), as the kernel has rounded it.
    ///
    /// # Errors
    /// Errors of `getsockopt(2)`; none are expected of an open socket.
    pub fn read_timeout(&self) -> io::Result<Option<Duration>> {
        self.inner.read_timeout()
    }

    /// Returns the [write timeout](UdpSocket::set_write_timeout), as the kernel has rounded it.
    ///
    /// # Errors
    /// Errors of `getsockopt(2)`; none are expected of an open socket.
    pub fn write_timeout(&self) -> io::Result<Option<Duration>> {
        self.inner.write_timeout()
    }

    /// Joins a group, on the interface with this address (the unspecified one: any).
    ///
    /// # Errors
    /// `InvalidInput` if it is no multicast address, `ENODEV` if there is no such interface, `AddrInUse` if the socket is
    /// in the group already.
    pub fn join_multicast_v4(&self, multiaddr: &Ipv4Addr, interface: &Ipv4Addr) -> io::Result<()> {
        self.inner.join_multicast_v4(multiaddr, interface)
    }

    /// Joins a group, on the interface with this index (0: any).
    ///
    /// # Errors
    /// `InvalidInput` if it is no multicast address, `ENODEV` if there is no such interface, `AddrInUse` if the socket is
    /// in the group already.
    pub fn join_multicast_v6(&self, multiaddr: &Ipv6Addr, interface: u32) -> io::Result<()> {
        self.inner.join_multicast_v6(multiaddr, interface)
    }

    /// Leaves a group: see [`join_multicast_v4`](UdpSocket::join_multicast_v4).
    ///
    /// # Errors
    /// `AddrNotAvailable` if the socket is not in the group on this interface.
    pub fn leave_multicast_v4(&self, multiaddr: &Ipv4Addr, interface: &Ipv4Addr) -> io::Result<()> {
        self.inner.leave_multicast_v4(multiaddr, interface)
    }

    /// Leaves a group: see [`join_multicast_v6`](UdpSocket::join_multicast_v6).
    ///
    /// # Errors
    /// `AddrNotAvailable` if the socket is not in the group on this interface.
    pub fn leave_multicast_v6(&self, multiaddr: &Ipv6Addr, interface: u32) -> io::Result<()> {
        self.inner.leave_multicast_v6(multiaddr, interface)
    }

    /// Returns the pending error of the socket, and clears it.
    ///
    /// # Errors
    /// Errors of `getsockopt(2)`; none are expected of an open socket.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.inner.take_error()
    }

    /// Sets whom [`send`](UdpSocket::send) sends to and [`recv`](UdpSocket::recv) receives from: the first of the addresses
    /// that can be had.
    ///
    /// # Errors
    /// The error of the last address that was tried; `InvalidInput` if there is no address.
    pub fn connect<A: ToSocketAddrs>(&self, addr: A) -> io::Result<()> {
        try_each(addr, |address| self.inner.connect(address))
    }

    /// Sends a datagram to the connected address.
    ///
    /// # Errors
    /// `EDESTADDRREQ` if the socket is not connected, otherwise as [`send_to`](UdpSocket::send_to).
    ///
    /// # Cancellation
    /// This is a [cancellation point](crate::thread::JoinHandle::cancel).
    pub fn send(&self, buf: &[u8]) -> io::Result<usize> {
        if self.socket.suspends() { self.socket.send(buf) } else { self.inner.send(buf) }
    }

    /// Receives a datagram from the connected address. What does not fit the buffer is lost.
    ///
    /// # Errors
    /// `WouldBlock` if the read timeout is over, or in non-blocking mode if no datagram is there; `ConnectionRefused` if an
    /// earlier datagram reached the connected host and nobody listens there.
    ///
    /// # Cancellation
    /// This is a [cancellation point](crate::thread::JoinHandle::cancel).
    pub fn recv(&self, buf: &mut [u8]) -> io::Result<usize> {
        if self.socket.suspends() { self.socket.receive(buf, 0) } else { self.inner.recv(buf) }
    }

    /// Receives a datagram as [`recv`](UdpSocket::recv) does, without consuming it.
    ///
    /// # Errors
    /// As [`recv`](UdpSocket::recv).
    pub fn peek(&self, buf: &mut [u8]) -> io::Result<usize> {
        if self.socket.suspends() { self.socket.receive(buf, libc::MSG_PEEK) } else { self.inner.peek(buf) }
    }

    /// Sets whether receiving and sending fail with `WouldBlock` instead of waiting. Shared by clones.
    ///
    /// # Errors
    /// Errors of `ioctl(2)`; none are expected of an open socket.
    pub fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        self.inner.set_nonblocking(nonblocking)?;
        self.socket.set_nonblocking(nonblocking);
        Ok(())
    }
}

impl From<std::net::UdpSocket> for UdpSocket {
    /// Keeps the mode and the timeouts that the socket has.
    fn from(inner: std::net::UdpSocket) -> UdpSocket {
        UdpSocket { socket: Socket::adopt(&inner), inner }
    }
}

impl From<UdpSocket> for std::net::UdpSocket {
    fn from(socket: UdpSocket) -> std::net::UdpSocket {
        socket.inner
    }
}

std_traits!(UdpSocket);
