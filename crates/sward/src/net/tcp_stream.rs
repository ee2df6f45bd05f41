//! [`TcpStream`]: std's type inside for every option, `socket.rs` for every call that waits.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::time::Duration;

use super::socket::{Direction, Socket};
use super::std_traits::std_traits;
use super::to_socket_addrs::try_each;
use super::{Reader, ToSocketAddrs};
use crate::runtime::wait;

/// A TCP connection: [`std::net::TcpStream`].
///
/// Reading, writing and connecting are cancellation points. If a cancel or a timeout meets bytes that have arrived, the
/// bytes win: nothing is lost.
///
/// # Examples
/// ```
/// use std::io::{Read, Write};
/// use sward::{net::{TcpListener, TcpStream}, thread};
///
/// let listener = TcpListener::bind("127.0.0.1:0")?;
/// let address = listener.local_addr()?;
/// let client = thread::spawn(move || TcpStream::connect(address)?.write_all(b"hello"));
/// let mut text = String::new();
/// listener.accept()?.0.read_to_string(&mut text)?;
/// assert_eq!(text, "hello");
/// client.join().unwrap()?;
/// # std::io::Result::Ok(())
/// ```
pub struct TcpStream {
    socket: Socket,
    inner: std::net::TcpStream,
}

impl TcpStream {
    /// Connects to the first of the addresses that answers: [`std::net::TcpStream::connect`].
    ///
    /// # Errors
    /// The error of the last address that was tried; `InvalidInput` if there is no address.
    ///
    /// # Cancellation
    /// This is a [cancellation point](crate::thread::JoinHandle::cancel).
    pub fn connect<A: ToSocketAddrs>(addr: A) -> io::Result<TcpStream> {
        try_each(addr, |address| {
            if wait::is_green() {
                TcpStream::connect_green(address, None)
            } else {
                std::net::TcpStream::connect(address).map(TcpStream::from_fresh)
            }
        })
    }

    /// Connects to one address, in `timeout` at most.
    ///
    /// # Errors
    /// `TimedOut` if the time is over, `InvalidInput` if it is zero, `ConnectionRefused` if nobody listens there,
    /// `NetworkUnreachable` or `HostUnreachable` if no route leads there.
    ///
    /// # Cancellation
    /// This is a [cancellation point](crate::thread::JoinHandle::cancel).
    pub fn connect_timeout(addr: &SocketAddr, timeout: Duration) -> io::Result<TcpStream> {
        if !wait::is_green() {
            return std::net::TcpStream::connect_timeout(addr, timeout).map(TcpStream::from_fresh);
        }
        if timeout.is_zero() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "cannot set a 0 duration timeout"));
        }
        TcpStream::connect_green(*addr, Some(timeout))
    }

    fn connect_green(address: SocketAddr, timeout: Option<Duration>) -> io::Result<TcpStream> {
        let socket =
            socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, None)?;
        let stream = TcpStream::from_fresh(socket.into());
        stream.socket.connect(address, timeout)?;
        Ok(stream)
    }

    /// Takes over a socket that has just been made: blocking, without timeouts.
    pub(super) fn from_fresh(inner: std::net::TcpStream) -> TcpStream {
        TcpStream { socket: Socket::new(&inner), inner }
    }

    /// Returns the address of the peer.
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

    /// Ends one direction or both, for all clones. Threads that wait for it go on.
    ///
    /// # Errors
    /// `NotConnected` if the connection is not there, or no longer.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.inner.shutdown(how)
    }

    /// Returns another handle to the same connection. Timeouts and modes are shared.
    ///
    /// # Errors
    /// `EMFILE` or `ENFILE` if no descriptor is left.
    pub fn try_clone(&self) -> io::Result<TcpStream> {
        let inner = self.inner.try_clone()?;
        Ok(TcpStream { socket: self.socket.new_clone(&inner), inner })
    }

    /// Sets how long a read waits before it fails with `WouldBlock`; `None` means without limit. Shared by clones.
    ///
    /// # Errors
    /// `InvalidInput` if it is zero.
    pub fn set_read_timeout(&self, dur: Option<Duration>) -> io::Result<()> {
        self.inner.set_read_timeout(dur)?;
        self.socket.set_timeout(Direction::Read, dur);
        Ok(())
    }

    /// Sets how long a write waits before it fails with `WouldBlock`; `None` means without limit. Shared by clones.
    ///
    /// # Errors
    /// `InvalidInput` if it is zero.
    pub fn set_write_timeout(&self, dur: Option<Duration>) -> io::Result<()> {
        self.inner.set_write_timeout(dur)?;
        self.socket.set_timeout(Direction::Write, dur);
        Ok(())
    }

    /// Returns the [read timeout](TcpStream::set_read_timeout), as the kernel has rounded it.
    ///
    /// # Errors
    /// Errors of `getsockopt(2)`; none are expected of an open socket.
    pub fn read_timeout(&self) -> io::Result<Option<Duration>> {
        self.inner.read_timeout()
    }

    /// Returns the [write timeout](TcpStream::set_write_timeout), as the kernel has rounded it.
    ///
    /// # Errors
    /// Errors of `getsockopt(2)`; none are expected of an open socket.
    pub fn write_timeout(&self) -> io::Result<Option<Duration>> {
        self.inner.write_timeout()
    }

    /// Receives data without consuming it: the next read returns it again. Waits until there is some.
    ///
    /// # Errors
    /// The same as `read`'s: `WouldBlock` if the read timeout is over, `ConnectionReset` if the peer has reset the connection.
    ///
    /// # Cancellation
    /// This is a [cancellation point](crate::thread::JoinHandle::cancel).
    pub fn peek(&self, buf: &mut [u8]) -> io::Result<usize> {
        if self.socket.suspends() { self.socket.receive(buf, libc::MSG_PEEK) } else { self.inner.peek(buf) }
    }

    /// A buffered reader that holds no buffer while it waits: see [`Reader`]. What it has buffered is lost with it.
    pub fn reader(&self) -> Reader<'_> {
        Reader::new(self)
    }

    pub(super) fn socket(&self) -> &Socket {
        &self.socket
    }

    /// Sets `TCP_NODELAY`: small writes leave at once.
    ///
    /// # Errors
    /// Errors of `setsockopt(2)`; none are expected of an open socket.
    pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        self.inner.set_nodelay(nodelay)
    }

    /// Returns `TCP_NODELAY`.
    ///
    /// # Errors
    /// Errors of `getsockopt(2)`; none are expected of an open socket.
    pub fn nodelay(&self) -> io::Result<bool> {
        self.inner.nodelay()
    }

    /// Sets `IP_TTL`, in hops.
    ///
    /// # Errors
    /// `InvalidInput` if `ttl` is not in 1..=255.
    pub fn set_ttl(&self, ttl: u32) -> io::Result<()> {
        self.inner.set_ttl(ttl)
    }

    /// Returns `IP_TTL`, in hops.
    ///
    /// # Errors
    /// Errors of `getsockopt(2)`; none are expected of an open socket.
    pub fn ttl(&self) -> io::Result<u32> {
        self.inner.ttl()
    }

    /// Returns the pending error of the socket, and clears it.
    ///
    /// # Errors
    /// Errors of `getsockopt(2)`; none are expected of an open socket.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.inner.take_error()
    }

    /// Sets whether reads and writes fail with `WouldBlock` instead of waiting. Shared by clones.
    ///
    /// # Errors
    /// Errors of `ioctl(2)`; none are expected of an open socket.
    pub fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        self.inner.set_nonblocking(nonblocking)?;
        self.socket.set_nonblocking(nonblocking);
        Ok(())
    }
}

impl Read for &TcpStream {
    #[inline]
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.socket.suspends() { self.socket.receive(buf, 0) } else { (&self.inner).read(buf) }
    }

    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        if self.socket.suspends() {
            self.socket.receive_vectored(bufs)
        } else {
            (&self.inner).read_vectored(bufs)
        }
    }
}

impl Write for &TcpStream {
    #[inline]
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        if self.socket.suspends() { self.socket.send(buf) } else { (&self.inner).write(buf) }
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        if self.socket.suspends() {
            self.socket.send_vectored(bufs)
        } else {
            (&self.inner).write_vectored(bufs)
        }
    }

    /// Nothing is kept back, so there is nothing to do.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for TcpStream {
    #[inline]
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        (&*self).read(buf)
    }

    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        (&*self).read_vectored(bufs)
    }
}

impl Write for TcpStream {
    #[inline]
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        (&*self).write(buf)
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        (&*self).write_vectored(bufs)
    }

    /// Nothing is kept back, so there is nothing to do.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl From<std::net::TcpStream> for TcpStream {
    /// Keeps the mode and the timeouts that the socket has.
    fn from(inner: std::net::TcpStream) -> TcpStream {
        TcpStream { socket: Socket::adopt(&inner), inner }
    }
}

impl From<TcpStream> for std::net::TcpStream {
    fn from(stream: TcpStream) -> std::net::TcpStream {
        stream.inner
    }
}

std_traits!(TcpStream);
