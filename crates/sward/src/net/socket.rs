//! What every socket type shares: the identity that the engine knows, the state that clones share, and the calls that
//! wait. The types themselves are thin: options are std's own calls on the std type inside, and what waits comes here.
//!
//! A call comes here only if [`Socket::suspends`] says so (accept and connect decide for themselves). Otherwise the user
//! wants it non-blocking, or the caller holds up its OS thread; std's own call does either, with the mode and timeouts that the
//! kernel keeps for the socket. So each is set twice: in the kernel, and in [`Modes`], for the green threads.
//!
//! Order at the end: a `Socket` is dropped before the std type that owns the descriptor, so that the engine
//! forgets a descriptor while it is still open. The types declare their fields in that order.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use socket2::SockRef;
use sward_engine::{MultishotReceive, ProvidedBuffer, Request, SocketAddress, Source, abandon_receives};

use crate::runtime::wait::{self, Outcome};
use crate::runtime::worker::Worker;

/// As many parts as the kernel takes in one vectored call.
const PARTS_MAX: usize = libc::UIO_MAXIOV as usize;

/// One socket object. Its clones are others, with descriptors of their own.
pub(super) struct Socket {
    source: Source,
    modes: Arc<Modes>,
    /// How many readers there are. They borrow us, so those that are left at our end have been forgotten.
    readers: AtomicU32,
}

/// What an object shares with its clones, as the kernel keeps it with the socket and not with the descriptor.
#[derive(Default)]
struct Modes {
    /// What the user has asked for with `set_nonblocking`.
    nonblocking: AtomicBool,
    /// In nanoseconds; 0: wait without limit.
    read_timeout: AtomicU64,
    /// In nanoseconds; 0: wait without limit.
    write_timeout: AtomicU64,
}

/// The two directions that have timeouts.
#[derive(Clone, Copy)]
pub(super) enum Direction {
    Read,
    Write,
}

impl Socket {
    /// For a descriptor that has just been made: blocking, without timeouts.
    pub(super) fn new(descriptor: &impl AsRawFd) -> Socket {
        Socket::with_modes(descriptor, Arc::default())
    }

    /// For one that comes from elsewhere: with the mode and the timeouts that it has.
    pub(super) fn adopt(descriptor: &(impl AsRawFd + AsFd)) -> Socket {
        let (socket, kernels) = (Socket::new(descriptor), SockRef::from(descriptor));
        // Asking fails only if this is no open socket. Then every other call says so.
        socket.set_nonblocking(kernels.nonblocking().unwrap_or(false));
        socket.set_timeout(Direction::Read, kernels.read_timeout().unwrap_or(None));
        socket.set_timeout(Direction::Write, kernels.write_timeout().unwrap_or(None));
        socket
    }

    /// For a clone of this socket.
    pub(super) fn new_clone(&self, descriptor: &impl AsRawFd) -> Socket {
        Socket::with_modes(descriptor, Arc::clone(&self.modes))
    }

    fn with_modes(descriptor: &impl AsRawFd, modes: Arc<Modes>) -> Socket {
        Socket { source: Source::new(descriptor.as_raw_fd()), modes, readers: AtomicU32::new(0) }
    }

    /// A reader begins; it may have a multishot receive.
    pub(super) fn enter_reader(&self) {
        self.readers.fetch_add(1, Ordering::Relaxed);
    }

    /// A reader has stopped its multishot receive and ends.
    pub(super) fn leave_reader(&self) {
        self.readers.fetch_sub(1, Ordering::Relaxed);
    }

    /// Whether other objects share the modes.
    pub(super) fn has_clones(&self) -> bool {
        Arc::strong_count(&self.modes) > 1
    }

    pub(super) fn nonblocking(&self) -> bool {
        self.modes.nonblocking.load(Ordering::Relaxed)
    }

    pub(super) fn set_nonblocking(&self, nonblocking: bool) {
        self.modes.nonblocking.store(nonblocking, Ordering::Relaxed);
    }

    /// Remembers a timeout that the kernel has been told.
    pub(super) fn set_timeout(&self, direction: Direction, timeout: Option<Duration>) {
        let limit = timeout.map_or(0, |timeout| u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX));
        self.modes.timeout(direction).store(limit, Ordering::Relaxed);
    }

    fn timeout(&self, direction: Direction) -> Option<Duration> {
        match self.modes.timeout(direction).load(Ordering::Relaxed) {
            0 => None,
            limit => Some(Duration::from_nanos(limit)),
        }
    }

    /// Whether a call that cannot go on shall suspend a green thread. If not, std's own call is the right one.
    #[inline]
    pub(super) fn suspends(&self) -> bool {
        !self.nonblocking() && wait::is_green()
    }

    /// `recv(2)`.
    #[inline]
    pub(super) fn receive(&self, buffer: &mut [u8], flags: i32) -> io::Result<usize> {
        let (buffer, length) = (buffer.as_mut_ptr(), buffer.len());
        let request = Request::Receive { socket: self.source, buffer, length, flags };
        // SAFETY: the buffer is borrowed, and our owner keeps the descriptor open, for as long as this frame is there.
        count(unsafe { wait::perform(request, self.timeout(Direction::Read)) })
    }

    /// `recv(2)` into a buffer of the engine's, which goes back with [`Worker::return_buffer`]. `None`: the end.
    ///
    /// # Errors
    /// `ENOBUFS`: no buffer can be provided; the caller brings one.
    #[inline]
    pub(super) fn receive_provided(
        &self,
        multishot: &MultishotReceive,
    ) -> io::Result<Option<ProvidedBuffer>> {
        let request = Request::ReceiveProvided { socket: self.source, multishot };
        // SAFETY: the multishot receive is borrowed, and our owner keeps the descriptor open, for as long as this frame is there.
        count(unsafe { wait::perform(request, self.timeout(Direction::Read)) })?;
        Ok(multishot.take())
    }

    /// `send(2)`.
    #[inline]
    pub(super) fn send(&self, buffer: &[u8]) -> io::Result<usize> {
        let (buffer, length) = (buffer.as_ptr(), buffer.len());
        let request = Request::Send { socket: self.source, buffer, length, flags: 0 };
        // SAFETY: the buffer is borrowed, and our owner keeps the descriptor open, for as long as this frame is there.
        count(unsafe { wait::perform(request, self.timeout(Direction::Write)) })
    }

    /// `readv(2)`.
    pub(super) fn receive_vectored(&self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        if buffers.iter().all(|buffer| buffer.is_empty()) {
            return Ok(0);
        }
        // std promises that an `IoSliceMut` is an `iovec`.
        let mut message = message(buffers.as_mut_ptr().cast(), buffers.len());
        // SAFETY: the buffers are borrowed for as long as this frame is there.
        unsafe { self.receive_message(&mut message, 0) }
    }

    /// `writev(2)`.
    pub(super) fn send_vectored(&self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        if buffers.iter().all(|buffer| buffer.is_empty()) {
            return Ok(0);
        }
        // std promises that an `IoSlice` is an `iovec`. To send, the kernel only reads it.
        let message = message(buffers.as_ptr().cast_mut().cast(), buffers.len());
        // SAFETY: the buffers are borrowed for as long as this frame is there.
        unsafe { self.send_message(&message) }
    }

    /// `recvfrom(2)`.
    pub(super) fn receive_from(&self, buffer: &mut [u8], flags: i32) -> io::Result<(usize, SocketAddr)> {
        let mut address = SocketAddress::empty();
        let mut part = IoSliceMut::new(buffer);
        let mut message = message((&raw mut part).cast(), 1);
        message.msg_name = (&raw mut address.storage).cast();
        message.msg_namelen = address.length;
        // SAFETY: the part and the address are in this frame, and the buffer is borrowed for as long.
        let count = unsafe { self.receive_message(&mut message, flags) }?;
        address.length = message.msg_namelen;
        Ok((count, inet(&address)?))
    }

    /// `sendto(2)`.
    pub(super) fn send_to(&self, buffer: &[u8], address: SocketAddr) -> io::Result<usize> {
        let mut address = SocketAddress::from(address);
        let part = IoSlice::new(buffer);
        let mut message = message((&raw const part).cast_mut().cast(), 1);
        message.msg_name = (&raw mut address.storage).cast();
        message.msg_namelen = address.length;
        // SAFETY: the part and the address are in this frame, and the buffer is borrowed for as long.
        unsafe { self.send_message(&message) }
    }

    /// `recvmsg(2)`.
    ///
    /// # Safety
    /// The message's parts, what they point to and its address are valid until this returns.
    unsafe fn receive_message(&self, message: &mut libc::msghdr, flags: i32) -> io::Result<usize> {
        let request = Request::ReceiveMessage { socket: self.source, message, flags };
        // SAFETY: the message is borrowed, what it points to is valid, and our owner keeps the descriptor open, until this returns.
        count(unsafe { wait::perform(request, self.timeout(Direction::Read)) })
    }

    /// `sendmsg(2)`.
    ///
    /// # Safety
    /// As for [`Socket::receive_message`].
    unsafe fn send_message(&self, message: &libc::msghdr) -> io::Result<usize> {
        let request = Request::SendMessage { socket: self.source, message, flags: 0 };
        // SAFETY: the message is borrowed, what it points to is valid, and our owner keeps the descriptor open, until this returns.
        count(unsafe { wait::perform(request, self.timeout(Direction::Write)) })
    }

    /// `accept4(2)`, on a listener that is `O_NONBLOCK`. Waits on every kind of thread.
    pub(super) fn accept(&self) -> io::Result<(OwnedFd, SocketAddr)> {
        let mut address = SocketAddress::empty();
        let request = Request::Accept { listener: self.source, address: &raw mut address };
        // SAFETY: the address is in this frame; our owner keeps the descriptor open.
        let descriptor = result(unsafe { wait::perform(request, None) })?;
        // SAFETY: the kernel has just opened it for us.
        let accepted = unsafe { OwnedFd::from_raw_fd(descriptor) };
        Ok((accepted, inet(&address)?))
    }

    /// `connect(2)`. Waits on every kind of thread.
    pub(super) fn connect(&self, address: SocketAddr, timeout: Option<Duration>) -> io::Result<()> {
        let address = SocketAddress::from(address);
        let request = Request::Connect { socket: self.source, address: &raw const address };
        // SAFETY: the address is in this frame; our owner keeps the descriptor open.
        match unsafe { wait::perform(request, timeout) } {
            Outcome::TimedOut => Err(io::Error::new(io::ErrorKind::TimedOut, "connection timed out")),
            outcome => result(outcome).map(drop),
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if *self.readers.get_mut() > 0 {
            abandon_receives(self.source);
        }
        Worker::forget(self.source);
    }
}

impl Modes {
    fn timeout(&self, direction: Direction) -> &AtomicU64 {
        match direction {
            Direction::Read => &self.read_timeout,
            Direction::Write => &self.write_timeout,
        }
    }
}

/// A message of these parts, without address or ancillary data.
fn message(parts: *mut libc::iovec, count: usize) -> libc::msghdr {
    // SAFETY: null pointers, lengths of 0 and, on some libcs, padding: all zeroes is a value of it.
    let mut message: libc::msghdr = unsafe { mem::zeroed() };
    message.msg_iov = parts;
    message.msg_iovlen = count.min(PARTS_MAX) as _;
    message
}

/// The result of a system call as std gives it. Its timeouts are the kernel's, and those say `EAGAIN`.
#[inline]
fn result(outcome: Outcome) -> io::Result<i32> {
    match outcome {
        Outcome::Done(result) if result >= 0 => Ok(result),
        Outcome::Done(error) => Err(io::Error::from_raw_os_error(-error)),
        Outcome::TimedOut => Err(io::Error::from_raw_os_error(libc::EAGAIN)),
    }
}

#[inline]
fn count(outcome: Outcome) -> io::Result<usize> {
    result(outcome).map(|count| count as usize)
}

/// The address that the kernel has filled in. It has another family only if the descriptor was never that of an internet
/// socket.
fn inet(address: &SocketAddress) -> io::Result<SocketAddr> {
    address.to_inet().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "invalid argument"))
}
