//! A buffered reader that has a buffer only while there is something in it.

use std::fmt;
use std::io::{self, BufRead, Read};

use sward_engine::{MultishotReceive, ProvidedBuffer};

use super::TcpStream;
use crate::runtime::worker::Worker;

/// The size of the buffer that a reader falls back to, in bytes.
const OWN_BYTES: usize = 16 * 1024;

/// Reads a [`TcpStream`] through buffers that its worker's engine provides: made by [`TcpStream::reader`].
///
/// It implements [`BufRead`]. While it waits for data it holds no buffer, so a server with very many idle connections keeps
/// one page of stack for each, and no more. When data comes, the engine provides a buffer of 16 KiB, and the reader returns it as soon as
/// everything in it has been [consumed](BufRead::consume). Where no buffer can be provided (on an OS thread, or when the engine has
/// none left) the reader makes a buffer of its own.
///
/// On io_uring the kernel itself picks the buffer, and goes on receiving by itself from one call to the next: a message costs no
/// request. So, like any buffered reader, it may have taken more than has been read
/// from it: as long as it lives, a thread that reads the stream past it may find nothing, and what it still holds when it is dropped is lost. It
/// is never more than 128 KiB ahead of the thread that reads from it, or what arrives in one pass of the event loop. A reader that is forgotten
/// ([`mem::forget`](std::mem::forget)) goes on taking until then, or until the stream is dropped.
///
/// # Examples
/// ```
/// use std::io::{BufRead, Write};
/// use sward::{net::{TcpListener, TcpStream}, thread};
///
/// let listener = TcpListener::bind("127.0.0.1:0")?;
/// let mut client = TcpStream::connect(listener.local_addr()?)?;
/// client.write_all(b"one\ntwo\n")?;
/// drop(client);
/// let (stream, _) = listener.accept()?;
/// let lines = stream.reader().lines().collect::<Result<Vec<_>, _>>()?;
/// assert_eq!(lines, ["one", "two"]);
/// # std::io::Result::Ok(())
/// ```
pub struct Reader<'a> {
    stream: &'a TcpStream,
    /// What has arrived and is not held yet.
    multishot: MultishotReceive,
    held: Held,
    /// How much of what is held has been consumed.
    start: usize,
}

/// Where the bytes are that have been received and not consumed.
enum Held {
    Nothing,
    Provided(ProvidedBuffer),
    /// The first `usize` bytes of it.
    Own(Box<[u8]>, usize),
}

impl Held {
    fn bytes(&self) -> &[u8] {
        match self {
            Held::Nothing => &[],
            Held::Provided(buffer) => buffer,
            Held::Own(buffer, length) => &buffer[..*length],
        }
    }
}

impl<'a> Reader<'a> {
    pub(super) fn new(stream: &'a TcpStream) -> Reader<'a> {
        stream.socket().enter_reader();
        Reader { stream, multishot: MultishotReceive::new(), held: Held::Nothing, start: 0 }
    }

    /// The stream that it reads.
    pub fn stream(&self) -> &'a TcpStream {
        self.stream
    }

    /// What has been received and not consumed, without waiting.
    pub fn buffer(&self) -> &[u8] {
        &self.held.bytes()[self.start..]
    }

    fn let_go(&mut self) {
        self.start = 0;
        if let Held::Provided(buffer) = std::mem::replace(&mut self.held, Held::Nothing) {
            Worker::return_buffer(buffer);
        }
    }

    fn fill(&mut self) -> io::Result<()> {
        if self.stream.socket().suspends() {
            match self.stream.socket().receive_provided(&self.multishot) {
                Ok(buffer) => {
                    self.held = buffer.map_or(Held::Nothing, Held::Provided);
                    return Ok(());
                }
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {}
                Err(error) => return Err(error),
            }
        }
        self.fill_own()
    }

    /// Reads without the engine, but first what the engine has for us.
    fn fill_own(&mut self) -> io::Result<()> {
        Worker::stop_multishot(&self.multishot);
        if let Some(buffer) = self.multishot.take() {
            self.held = Held::Provided(buffer);
            return Ok(());
        }
        match self.multishot.take_end() {
            None => {}
            Some(0) => return Ok(()),
            Some(error) => return Err(io::Error::from_raw_os_error(-error)),
        }
        let mut buffer = vec![0; OWN_BYTES].into_boxed_slice();
        let mut stream = self.stream;
        let length = stream.read(&mut buffer)?;
        self.held = Held::Own(buffer, length);
        Ok(())
    }
}

impl BufRead for Reader<'_> {
    /// Waits until there is something, or the end. This is a [cancellation point](crate::thread::JoinHandle::cancel).
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.buffer().is_empty() {
            self.let_go();
            self.fill()?;
        }
        Ok(self.buffer())
    }

    fn consume(&mut self, amount: usize) {
        self.start = (self.start + amount).min(self.held.bytes().len());
        if self.buffer().is_empty() {
            self.let_go();
        }
    }
}

impl Read for Reader<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        // What is large goes straight to where it is wanted.
        if self.buffer().is_empty() && self.multishot.is_idle() && buf.len() >= OWN_BYTES {
            let mut stream = self.stream;
            return stream.read(buf);
        }
        let count = self.fill_buf()?.read(buf)?;
        self.consume(count);
        Ok(count)
    }
}

impl Drop for Reader<'_> {
    fn drop(&mut self) {
        self.let_go();
        Worker::stop_multishot(&self.multishot);
        while let Some(buffer) = self.multishot.take() {
            Worker::return_buffer(buffer);
        }
        self.stream.socket().leave_reader();
    }
}

impl fmt::Debug for Reader<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Reader")
            .field("stream", self.stream)
            .field("buffered", &self.buffer().len())
            .finish()
    }
}
