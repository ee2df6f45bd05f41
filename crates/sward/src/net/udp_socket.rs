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
                /// The kernel's.
                pub fn $set(&self, value: $type) -> io::Result<()> {
                    self.inner.$set(value)
                }

                #[doc = concat!("What [`", stringify!($set), "`](UdpSocket::", stringify!($set), ") has set.")]
                ///
                /// # Errors
                /// The kernel's.
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
    /// Whether what it sends to a group comes back to this machine: `IP_MULTICAST_LOOP`.
    set_multicast_loop_v4, multicast_loop_v4: bool;
    /// How far what it sends to a group goes, in hops: `IP_MULTICAST_TTL`.
    set_multicast_ttl_v4, multicast_ttl_v4: u32;
    /// Whether what it sends to a group comes back to this machine: `IPV6_MULTICAST_LOOP`.
    set_multicast_loop_v6, multicast_loop_v6: bool;
    /// How far what it sends goes, in hops: `IP_TTL`.
    set_ttl, ttl: u32;
}

impl UdpSocket {
    /// Takes the first of the addresses that can be had: [`std::net::UdpSocket::bind`]. Port 0 is any free one.
    ///
    /// # Errors
    /// The last address's error; `InvalidInput` if there is none.
    pub fn bind<A: ToSocketAddrs>(addr: A) -> io::Result<UdpSocket> {
        let inner = try_each(addr, std::net::UdpSocket::bind)?;
        Ok(UdpSocket { socket: Socket::new(&inner), inner })
    }

    /// Receives a datagram and says whose it is. What does not fit the buffer is lost. A cancellation point.
    ///
    /// # Errors
    /// `WouldBlock` if the read timeout is over, otherwise the kernel's.
    pub fn recv_from(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        if self.socket.suspends() { self.socket.receive_from(buf, 0) } else { self.inner.recv_from(buf) }
    }

    /// As [`recv_from`](UdpSocket::recv_from), and leaves the datagram for the next call.
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

    /// Sends a datagram to the first of the addresses. A cancellation point.
    ///
    /// # Errors
    /// `InvalidInput` if there is no address, `WouldBlock` if the write timeout is over, otherwise the kernel's.
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

    /// The address that it was [connected](UdpSocket::connect) to.
    ///
    /// # Errors
    /// `NotConnected`, or the kernel's.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.inner.peer_addr()
    }

    /// Its own address.
    ///
    /// # Errors
    /// The kernel's.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }

    /// Another handle to the same socket. Timeouts and modes are shared.
    ///
    /// # Errors
    /// No descriptor is left.
    pub fn try_clone(&self) -> io::Result<UdpSocket> {
        let inner = self.inner.try_clone()?;
        Ok(UdpSocket { socket: self.socket.new_clone(&inner), inner })
    }

    /// How long receiving waits at most, before it gives `WouldBlock`; `None`: without limit. Shared by clones.
    ///
    /// # Errors
    /// `InvalidInput` if it is zero.
    pub fn set_read_timeout(&self, dur: Option<Duration>) -> io::Result<()> {
        self.inner.set_read_timeout(dur)?;
        self.socket.set_timeout(Direction::Read, dur);
        Ok(())
    }

    /// How long sending waits at most, before it gives `WouldBlock`; `None`: without limit. Shared by clones.
    ///
    /// # Errors
    /// `InvalidInput` if it is zero.
    pub fn set_write_timeout(&self, dur: Option<Duration>) -> io::Result<()> {
        self.inner.set_write_timeout(dur)?;
        self.socket.set_timeout(Direction::Write, dur);
        Ok(())
    }

    /// See [`set_read_timeout`](UdpSocket::set_read_timeout). In the kernel's rounding.
    ///
    /// # Errors
    /// The kernel's.
    pub fn read_timeout(&self) -> io::Result<Option<Duration>> {
        self.inner.read_timeout()
    }

    /// See [`set_write_timeout`](UdpSocket::set_write_timeout). In the kernel's rounding.
    ///
    /// # Errors
    /// The kernel's.
    pub fn write_timeout(&self) -> io::Result<Option<Duration>> {
        self.inner.write_timeout()
    }

    /// Joins a group, on the interface with this address (the unspecified one: any).
    ///
    /// # Errors
    /// The kernel's.
    pub fn join_multicast_v4(&self, multiaddr: &Ipv4Addr, interface: &Ipv4Addr) -> io::Result<()> {
        self.inner.join_multicast_v4(multiaddr, interface)
    }

    /// Joins a group, on the interface with this index (0: any).
    ///
    /// # Errors
    /// The kernel's.
    pub fn join_multicast_v6(&self, multiaddr: &Ipv6Addr, interface: u32) -> io::Result<()> {
        self.inner.join_multicast_v6(multiaddr, interface)
    }

    /// Leaves a group: see [`join_multicast_v4`](UdpSocket::join_multicast_v4).
    ///
    /// # Errors
    /// The kernel's.
    pub fn leave_multicast_v4(&self, multiaddr: &Ipv4Addr, interface: &Ipv4Addr) -> io::Result<()> {
        self.inner.leave_multicast_v4(multiaddr, interface)
    }

    /// Leaves a group: see [`join_multicast_v6`](UdpSocket::join_multicast_v6).
    ///
    /// # Errors
    /// The kernel's.
    pub fn leave_multicast_v6(&self, multiaddr: &Ipv6Addr, interface: u32) -> io::Result<()> {
        self.inner.leave_multicast_v6(multiaddr, interface)
    }

    /// The pending error of the socket, and takes it away.
    ///
    /// # Errors
    /// The kernel's, of asking.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.inner.take_error()
    }

    /// Sets whom [`send`](UdpSocket::send) sends to and [`recv`](UdpSocket::recv) receives from: the first of the addresses
    /// that can be had.
    ///
    /// # Errors
    /// The last address's error; `InvalidInput` if there is none.
    pub fn connect<A: ToSocketAddrs>(&self, addr: A) -> io::Result<()> {
        try_each(addr, |address| self.inner.connect(address))
    }

    /// Sends a datagram to the connected address. A cancellation point.
    ///
    /// # Errors
    /// `WouldBlock` if the write timeout is over, otherwise the kernel's.
    pub fn send(&self, buf: &[u8]) -> io::Result<usize> {
        if self.socket.suspends() { self.socket.send(buf) } else { self.inner.send(buf) }
    }

    /// Receives a datagram from the connected address. What does not fit the buffer is lost. A cancellation point.
    ///
    /// # Errors
    /// `WouldBlock` if the read timeout is over, otherwise the kernel's.
    pub fn recv(&self, buf: &mut [u8]) -> io::Result<usize> {
        if self.socket.suspends() { self.socket.receive(buf, 0) } else { self.inner.recv(buf) }
    }

    /// As [`recv`](UdpSocket::recv), and leaves the datagram for the next call.
    ///
    /// # Errors
    /// As [`recv`](UdpSocket::recv).
    pub fn peek(&self, buf: &mut [u8]) -> io::Result<usize> {
        if self.socket.suspends() { self.socket.receive(buf, libc::MSG_PEEK) } else { self.inner.peek(buf) }
    }

    /// Whether receiving and sending give `WouldBlock` instead of waiting. Shared by clones.
    ///
    /// # Errors
    /// The kernel's.
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
