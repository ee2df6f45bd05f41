//! A connection as its handler sees it: `Read + Write`, by value or by reference, with counters and the idle timeout.

use std::fmt;
use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use sward::net::TcpStream;

use crate::running::Running;

/// A client's connection. Dropping it closes it.
///
/// `&Connection` reads and writes, too, so that two threads can share a connection, one for each direction.
pub struct Connection {
    stream: Arc<TcpStream>,
    peer: SocketAddr,
    messages: AtomicU64,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    /// Whether a read or write has timed out.
    idle: AtomicBool,
    /// Released after the socket is closed: fields are dropped in order.
    permit: Arc<Permit>,
}

/// A permit for one open connection. It is held until the connection is closed *and* its handler's outcome is counted,
/// so the counters are complete when the last permit is released.
pub(crate) struct Permit {
    id: u64,
    running: Arc<Running>,
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.running.connections.release(self.id);
    }
}

impl Connection {
    /// Acquires a permit for a new client, and waits for one if need be. Returns `None` if the server is stopping.
    pub(crate) fn open(running: &Arc<Running>, stream: TcpStream, peer: SocketAddr) -> Option<Connection> {
        if running.idle_timeout().is_some() {
            // Both fail only for a zero duration, which the builder rejects.
            let _ = stream.set_read_timeout(running.idle_timeout());
            let _ = stream.set_write_timeout(running.idle_timeout());
        }
        let stream = Arc::new(stream);
        let id = running.connections.acquire(&stream)?;
        running.counters.connections.fetch_add(1, Ordering::Relaxed);
        Some(Connection {
            stream,
            peer,
            messages: AtomicU64::new(0),
            bytes_in: AtomicU64::new(0),
            bytes_out: AtomicU64::new(0),
            idle: AtomicBool::new(false),
            permit: Arc::new(Permit { id, running: Arc::clone(running) }),
        })
    }

    /// Returns a share of its permit, to be held until the handler's outcome is counted.
    pub(crate) fn permit(&self) -> Arc<Permit> {
        Arc::clone(&self.permit)
    }

    /// Returns the client's address.
    pub fn peer_addr(&self) -> SocketAddr {
        self.peer
    }

    /// Returns the socket, for its options and [`shutdown`](TcpStream::shutdown). Direct reads and writes are not counted.
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    fn has_read(&self, result: io::Result<usize>) -> io::Result<usize> {
        let length = result.map_err(|error| self.explain(error))?;
        if length > 0 {
            self.messages.fetch_add(1, Ordering::Relaxed);
            self.bytes_in.fetch_add(length as u64, Ordering::Relaxed);
        }
        Ok(length)
    }

    fn has_written(&self, result: io::Result<usize>) -> io::Result<usize> {
        let length = result.map_err(|error| self.explain(error))?;
        self.bytes_out.fetch_add(length as u64, Ordering::Relaxed);
        Ok(length)
    }

    /// Turns a socket's time-out, which has the kind `WouldBlock`, into the error of the idle timeout.
    fn explain(&self, error: io::Error) -> io::Error {
        match (error.kind(), self.permit.running.idle_timeout()) {
            (ErrorKind::WouldBlock | ErrorKind::TimedOut, Some(timeout)) => {
                self.idle.store(true, Ordering::Relaxed);
                io::Error::new(ErrorKind::TimedOut, format!("nothing moved for {timeout:?}"))
            }
            _ => error,
        }
    }
}

impl Read for &Connection {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.has_read((&*self.stream).read(buffer))
    }

    fn read_vectored(&mut self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        self.has_read((&*self.stream).read_vectored(buffers))
    }
}

impl Write for &Connection {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.has_written((&*self.stream).write(buffer))
    }

    fn write_vectored(&mut self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        self.has_written((&*self.stream).write_vectored(buffers))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for Connection {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        (&*self).read(buffer)
    }

    fn read_vectored(&mut self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        (&*self).read_vectored(buffers)
    }
}

impl Write for Connection {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        (&*self).write(buffer)
    }

    fn write_vectored(&mut self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        (&*self).write_vectored(buffers)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let Permit { id, ref running } = *self.permit;
        let counters = &running.counters;
        counters.messages.fetch_add(*self.messages.get_mut(), Ordering::Relaxed);
        counters.bytes_in.fetch_add(*self.bytes_in.get_mut(), Ordering::Relaxed);
        counters.bytes_out.fetch_add(*self.bytes_out.get_mut(), Ordering::Relaxed);
        counters.idle.fetch_add(u64::from(*self.idle.get_mut()), Ordering::Relaxed);
        running.connections.close(id);
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Connection").field("peer", &self.peer).finish_non_exhaustive()
    }
}
