//! An engine in a vice: begins operations, waits for their completions, and checks that each comes exactly once.

use std::cell::Cell;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::ptr::{self, NonNull};
use std::time::{Duration, Instant};

use sward_engine::{Completed, Engine, EngineKind, Interest, Operation, Request, Source, Submitted};

/// After this time a completion is taken to be lost. Far longer than any of them needs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Rig {
    pub(crate) engine: Box<dyn Engine>,
    pub(crate) kind: EngineKind,
    /// The running test.
    pub(crate) name: &'static str,
}

/// An operation that was begun. It is freed once it is over, and left in peace if the test fails before.
pub(crate) struct InFlight {
    operation: NonNull<Operation>,
    over: Box<Cell<bool>>,
}

impl InFlight {
    pub(crate) fn is_over(&self) -> bool {
        self.over.get()
    }

    pub(crate) fn result(&self) -> i32 {
        assert!(self.is_over(), "the operation is still in flight");
        // SAFETY: freed in `drop` only, and the engine has handed it back.
        unsafe { self.operation.as_ref() }.result()
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        if self.is_over() {
            // SAFETY: it came out of a box, and the engine has handed it back.
            drop(unsafe { Box::from_raw(self.operation.as_ptr()) });
        } else {
            std::mem::forget(std::mem::take(&mut self.over));
        }
    }
}

impl Rig {
    /// `None` where the kernel does not have this engine; the reason is printed.
    pub(crate) fn open(kind: EngineKind, name: &'static str) -> Option<Rig> {
        match kind.open() {
            Ok(engine) => Some(Rig { engine, kind, name }),
            Err(error) if kind == EngineKind::IoUring => {
                eprintln!("skipped: {error}");
                None
            }
            Err(error) => panic!("{error}"),
        }
    }

    /// True in a process that runs this test alone. False: such a process has run, and has passed.
    ///
    /// For tests that change what belongs to the whole process.
    pub(crate) fn is_alone(&self) -> bool {
        const VARIABLE: &str = "SWARD_TEST_ALONE";
        if std::env::var_os(VARIABLE).is_some() {
            return true;
        }
        let status = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", self.name, "--nocapture", "--test-threads=1"])
            .env(VARIABLE, "1")
            .status()
            .unwrap();
        assert!(status.success(), "{} alone: {status}", self.name);
        false
    }

    /// Begins `request`, whose pointers the test keeps valid until it is over.
    pub(crate) fn begin(&mut self, request: Request) -> InFlight {
        let over = Box::new(Cell::new(false));
        let operation = Box::new(Operation::new(request, (&raw const *over).cast()));
        let operation = NonNull::from(Box::leak(operation));
        // SAFETY: the operation is freed when it is over and not before; its pointers are the test's to keep.
        if unsafe { self.engine.submit(operation) } == Submitted::Done {
            over.set(true);
        }
        InFlight { operation, over }
    }

    /// Begins `request` in the place of one that is over, at the same address.
    pub(crate) fn begin_again(&mut self, before: &mut InFlight, request: Request) {
        assert!(before.over.replace(false), "the operation is still in flight");
        let waiter = (&raw const *before.over).cast();
        // SAFETY: the engine has handed the operation back, so nobody else knows of it.
        unsafe { before.operation.write(Operation::new(request, waiter)) };
        // SAFETY: as in `begin`.
        if unsafe { self.engine.submit(before.operation) } == Submitted::Done {
            before.over.set(true);
        }
    }

    pub(crate) fn cancel(&mut self, in_flight: &InFlight) {
        if !in_flight.is_over() {
            // SAFETY: submitted by `begin`, and not handed back.
            unsafe { self.engine.cancel(in_flight.operation) };
        }
    }

    /// One wait. Marks what has completed.
    pub(crate) fn wait(&mut self, timeout: Option<Duration>) {
        let mut completed = Completed::new();
        self.engine.wait(timeout, &mut completed).unwrap();
        while let Some(operation) = completed.pop() {
            // SAFETY: handed back just now, and `InFlight` does not free it before it is marked.
            let waiter = unsafe { operation.as_ref() }.waiter();
            // SAFETY: `begin` made it from a `Cell<bool>` that lives as long as the `InFlight`.
            let over = unsafe { &*waiter.cast::<Cell<bool>>() };
            assert!(!over.replace(true), "an operation has completed twice");
        }
    }

    /// Waits until `in_flight` is over.
    pub(crate) fn finish(&mut self, in_flight: &InFlight) -> i32 {
        let begun = Instant::now();
        while !in_flight.is_over() {
            self.wait(Some(PATIENCE));
            assert!(begun.elapsed() < PATIENCE, "a completion is lost");
        }
        in_flight.result()
    }

    pub(crate) fn run(&mut self, request: Request) -> i32 {
        let in_flight = self.begin(request);
        self.finish(&in_flight)
    }

    /// Lets the engine see what has happened so far.
    pub(crate) fn look(&mut self) {
        for _ in 0..3 {
            self.wait(Some(Duration::ZERO));
        }
    }
}

pub(crate) fn receive(socket: Source, buffer: &mut [u8]) -> Request {
    Request::Receive { socket, buffer: buffer.as_mut_ptr(), length: buffer.len(), flags: 0 }
}

pub(crate) fn send(socket: Source, bytes: &[u8]) -> Request {
    Request::Send { socket, buffer: bytes.as_ptr(), length: bytes.len(), flags: 0 }
}

pub(crate) fn read(file: Source, buffer: &mut [u8]) -> Request {
    Request::Read { file, buffer: buffer.as_mut_ptr(), length: buffer.len() }
}

pub(crate) fn write(file: Source, bytes: &[u8]) -> Request {
    Request::Write { file, buffer: bytes.as_ptr(), length: bytes.len() }
}

pub(crate) fn poll(source: Source, interest: Interest) -> Request {
    Request::Poll { source, interest }
}

pub(crate) fn source(object: &impl AsRawFd) -> Source {
    Source::new(object.as_raw_fd())
}

/// A stream of either family.
pub(crate) trait Stream: Read + Write + AsRawFd + Send + Sized + 'static {
    fn pair() -> (Self, Self);
    fn shutdown(&self, how: std::net::Shutdown);
    fn set_nonblocking(&self, nonblocking: bool);
    fn clone(&self) -> Self;
}

impl Stream for TcpStream {
    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (far, _) = listener.accept().unwrap();
        near.set_nodelay(true).unwrap();
        far.set_nodelay(true).unwrap();
        (near, far)
    }
    fn shutdown(&self, how: std::net::Shutdown) {
        TcpStream::shutdown(self, how).unwrap();
    }
    fn set_nonblocking(&self, nonblocking: bool) {
        TcpStream::set_nonblocking(self, nonblocking).unwrap();
    }
    fn clone(&self) -> TcpStream {
        self.try_clone().unwrap()
    }
}

impl Stream for UnixStream {
    fn pair() -> (UnixStream, UnixStream) {
        UnixStream::pair().unwrap()
    }
    fn shutdown(&self, how: std::net::Shutdown) {
        UnixStream::shutdown(self, how).unwrap();
    }
    fn set_nonblocking(&self, nonblocking: bool) {
        UnixStream::set_nonblocking(self, nonblocking).unwrap();
    }
    fn clone(&self) -> UnixStream {
        self.try_clone().unwrap()
    }
}

/// Sets an integer option of the socket's own level.
pub(crate) fn set_option<T>(socket: &impl AsRawFd, option: i32, value: T) {
    // SAFETY: the kernel reads the value, which has the length that is given.
    let returned = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            option,
            (&raw const value).cast(),
            size_of::<T>() as libc::socklen_t,
        )
    };
    assert_eq!(returned, 0, "{}", std::io::Error::last_os_error());
}

/// Makes the close of `socket` reset the connection.
pub(crate) fn reset_on_close(socket: &impl AsRawFd) {
    set_option(socket, libc::SO_LINGER, libc::linger { l_onoff: 1, l_linger: 0 });
}

/// Fills a stream until no more goes in. Returns what was sent.
pub(crate) fn fill<S: Stream>(stream: &mut S) -> usize {
    stream.set_nonblocking(true);
    let mut sent = 0;
    // A TCP peer takes in what comes, so room appears after "would block". Small pieces find the last of it.
    for piece in [65536, 4096, 1] {
        while let Ok(count) = stream.write(&[0xf1; 65536][..piece]) {
            sent += count;
        }
    }
    stream.set_nonblocking(false);
    sent
}

/// Takes `count` bytes out of a stream.
pub(crate) fn drain<S: Stream>(stream: &mut S, count: usize) {
    let mut bytes = vec![0; count];
    stream.read_exact(&mut bytes).unwrap();
}

/// Bytes that tell where they belong.
pub(crate) fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|index| (index.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

/// A small generator of random numbers, for tests that try many orders. It prints nothing: the seed is fixed.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// No pointer.
pub(crate) const NOWHERE: *mut sward_engine::SocketAddress = ptr::null_mut();
