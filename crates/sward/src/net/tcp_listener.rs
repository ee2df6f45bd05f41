//! [`TcpListener`]. `accept(2)` knows no "do not block this time", so the socket inside is always `O_NONBLOCK`, and what the
//! user has asked for stands in the shared modes. It is put into force when the socket leaves this library.

use std::io;
use std::iter::FusedIterator;
use std::net::SocketAddr;

use super::socket::Socket;
use super::std_traits::std_traits;
use super::to_socket_addrs::try_each;
use super::{TcpStream, ToSocketAddrs};

/// Connections that the kernel completes ahead of [`TcpListener::accept`]; it makes less of it where
/// `net.core.somaxconn` says so. std asks for 128, which one burst of clients overflows before the worker has its turn.
const BACKLOG: i32 = 4096;

/// A TCP socket that accepts connections: [`std::net::TcpListener`].
///
/// Behind [`as_raw_fd`](std::os::fd::AsRawFd::as_raw_fd) is a descriptor in non-blocking mode, whatever
/// [`set_nonblocking`](TcpListener::set_nonblocking) has said. Converting into std's type or an [`OwnedFd`](std::os::fd::OwnedFd) puts the mode
/// back, unless clones of the listener still use it.
pub struct TcpListener {
    socket: Socket,
    inner: std::net::TcpListener,
}

impl TcpListener {
    /// Listens on the first of the addresses that can be had: [`std::net::TcpListener::bind`]. Port 0 is any free one.
    ///
    /// # Errors
    /// The error of the last address that was tried; `InvalidInput` if there is no address.
    ///
    /// # Examples
    /// ```
    /// let listener = sward::net::TcpListener::bind("127.0.0.1:0")?;
    /// assert_ne!(listener.local_addr()?.port(), 0);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn bind<A: ToSocketAddrs>(addr: A) -> io::Result<TcpListener> {
        let inner = try_each(addr, std::net::TcpListener::bind)?;
        socket2::SockRef::from(&inner).listen(BACKLOG)?;
        inner.set_nonblocking(true)?;
        Ok(TcpListener { socket: Socket::new(&inner), inner })
    }

    /// Returns the local address.
    ///
    /// # Errors
    /// `ENOBUFS` if the kernel has no memory left.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }

    /// Returns another handle to the same socket. Modes are shared.
    ///
    /// # Errors
    /// `EMFILE` or `ENFILE` if no descriptor is left.
    pub fn try_clone(&self) -> io::Result<TcpListener> {
        let inner = self.inner.try_clone()?;
        Ok(TcpListener { socket: self.socket.new_clone(&inner), inner })
    }

    /// Waits for a connection and takes it, with the peer's address.
    ///
    /// # Errors
    /// - `WouldBlock` in non-blocking mode, if there is no connection.
    /// - `ConnectionAborted` if the client has reset the connection already.
    /// - `EMFILE` or `ENFILE` if no descriptor is left.
    ///
    /// Most are temporary, so a server logs them and goes on.
    ///
    /// # Cancellation
    /// This is a [cancellation point](crate::thread::JoinHandle::cancel).
    pub fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        if self.socket.nonblocking() {
            let (stream, address) = self.inner.accept()?;
            return Ok((TcpStream::from_fresh(stream), address));
        }
        let (accepted, address) = self.socket.accept()?;
        Ok((TcpStream::from_fresh(accepted.into()), address))
    }

    /// [`accept`](TcpListener::accept) for ever, without the peers' addresses.
    pub fn incoming(&self) -> Incoming<'_> {
        Incoming { listener: self }
    }

    /// As [`incoming`](TcpListener::incoming), and owns the listener.
    pub fn into_incoming(self) -> IntoIncoming {
        IntoIncoming { listener: self }
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

    /// Sets whether [`accept`](TcpListener::accept) fails with `WouldBlock` instead of waiting. Shared by clones.
    ///
    /// # Errors
    /// None; std's signature has them.
    pub fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        self.socket.set_nonblocking(nonblocking);
        Ok(())
    }
}

/// The connections of a listener, for ever: [`std::net::Incoming`].
#[derive(Debug)]
#[must_use = "iterators are lazy and do nothing unless consumed"]
pub struct Incoming<'a> {
    listener: &'a TcpListener,
}

impl Iterator for Incoming<'_> {
    type Item = io::Result<TcpStream>;

    fn next(&mut self) -> Option<io::Result<TcpStream>> {
        Some(self.listener.accept().map(|(stream, _)| stream))
    }
}

impl FusedIterator for Incoming<'_> {}

/// The connections of a listener that it owns, for ever: `std::net::IntoIncoming`.
#[derive(Debug)]
#[must_use = "iterators are lazy and do nothing unless consumed"]
pub struct IntoIncoming {
    listener: TcpListener,
}

impl Iterator for IntoIncoming {
    type Item = io::Result<TcpStream>;

    fn next(&mut self) -> Option<io::Result<TcpStream>> {
        Some(self.listener.accept().map(|(stream, _)| stream))
    }
}

impl FusedIterator for IntoIncoming {}

impl From<std::net::TcpListener> for TcpListener {
    /// Keeps the mode that the socket is in. A descriptor that was cloned from a listener of this library, or inherited from
    /// another process that has one, is in non-blocking mode: then say
    /// [`set_nonblocking(false)`](TcpListener::set_nonblocking).
    fn from(inner: std::net::TcpListener) -> TcpListener {
        let socket = Socket::new(&inner);
        socket.set_nonblocking(socket2::SockRef::from(&inner).nonblocking().unwrap_or(false));
        // Fails only if this is no open descriptor. Then `accept` says so.
        let _ = inner.set_nonblocking(true);
        TcpListener { socket, inner }
    }
}

impl From<TcpListener> for std::net::TcpListener {
    fn from(listener: TcpListener) -> std::net::TcpListener {
        let TcpListener { socket, inner } = listener;
        if !socket.has_clones() {
            // Fails only if this is no open descriptor. Then `accept` says so.
            let _ = inner.set_nonblocking(socket.nonblocking());
        }
        inner
    }
}

std_traits!(TcpListener);
