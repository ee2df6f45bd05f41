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
    /// Connects to the first of the addresses that answers: [`std::net::TcpStream::connect`]. A cancellation point.
    ///
    /// # Errors
    /// The last address's error; `InvalidInput` if there is none.
    pub fn connect<A: ToSocketAddrs>(addr: A) -> io::Result<TcpStream> {
        try_each(addr, |address| {
            if wait::is_green() {
                TcpStream::connect_green(address, None)
            } else {
                std::net::TcpStream::connect(address).map(TcpStream::from_fresh)
            }
        })
    }

    /// Connects to one address, in `timeout` at most. A cancellation point.
    ///
    /// # Errors
    /// `TimedOut` if the time is over, `InvalidInput` if it is zero, otherwise the kernel's.
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

    /// The other end's address.
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

    /// Ends one direction or both, for all clones. Whoever waits for it goes on.
    ///
    /// # Errors
    /// `NotConnected`, or the kernel's.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.inner.shutdown(how)
    }

    /// Another handle to the same connection. Timeouts and modes are shared.
    ///
    /// # Errors
    /// No descriptor is left.
    pub fn try_clone(&self) -> io::Result<TcpStream> {
        let inner = self.inner.try_clone()?;
        Ok(TcpStream { socket: self.socket.new_clone(&inner), inner })
    }

    /// How long a read waits at most, before it gives `WouldBlock`; `None`: without limit. Shared by clones.
    ///
    /// # Errors
    /// `InvalidInput` if it is zero.
    pub fn set_read_timeout(&self, dur: Option<Duration>) -> io::Result<()> {
        self.inner.set_read_timeout(dur)?;
        self.socket.set_timeout(Direction::Read, dur);
        Ok(())
    }

    /// How long a write waits at most, before it gives `WouldBlock`; `None`: without limit. Shared by clones.
    ///
    /// # Errors
    /// `InvalidInput` if it is zero.
    pub fn set_write_timeout(&self, dur: Option<Duration>) -> io::Result<()> {
        self.inner.set_write_timeout(dur)?;
        self.socket.set_timeout(Direction::Write, dur);
        Ok(())
    }

    /// See [`set_read_timeout`](TcpStream::set_read_timeout). In the kernel's rounding.
    ///
    /// # Errors
    /// The kernel's.
    pub fn read_timeout(&self) -> io::Result<Option<Duration>> {
        self.inner.read_timeout()
    }

    /// See [`set_write_timeout`](TcpStream::set_write_timeout). In the kernel's rounding.
    ///
    /// # Errors
    /// The kernel's.
    pub fn write_timeout(&self) -> io::Result<Option<Duration>> {
        self.inner.write_timeout()
    }

    /// Reads what the next read will read again. Waits for it. A cancellation point.
    ///
    /// # Errors
    /// As a read's.
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
    /// The kernel's.
    pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        self.inner.set_nodelay(nodelay)
    }

    /// `TCP_NODELAY`.
    ///
    /// # Errors
    /// The kernel's.
    pub fn nodelay(&self) -> io::Result<bool> {
        self.inner.nodelay()
    }

    /// Sets `IP_TTL`, in hops.
    ///
    /// # Errors
    /// The kernel's.
    pub fn set_ttl(&self, ttl: u32) -> io::Result<()> {
        self.inner.set_ttl(ttl)
    }

    /// `IP_TTL`, in hops.
    ///
    /// # Errors
    /// The kernel's.
    pub fn ttl(&self) -> io::Result<u32> {
        self.inner.ttl()
    }

    /// The pending error of the socket, and takes it away.
    ///
    /// # Errors
    /// The kernel's, of asking.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.inner.take_error()
    }

    /// Whether reads and writes give `WouldBlock` instead of waiting. Shared by clones.
    ///
    /// # Errors
    /// The kernel's.
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
