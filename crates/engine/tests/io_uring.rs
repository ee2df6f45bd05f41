//! What only io_uring can get wrong: full rings, buffers that the kernel holds, descriptors that refuse to be waited for,
//! and the system calls that it is there to save. What all engines do is tested in `behaviour.rs`.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use sward_engine::{Completed, Engine, EngineKind, Interest, Operation, Request, Source, Submitted};

/// More than the completion ring has room for.
const MANY: usize = 20_000;

fn open() -> Box<dyn Engine> {
    EngineKind::IoUring.open().unwrap_or_else(|error| panic!("{error}"))
}

/// One operation with its buffer, at addresses that do not change until it is over.
struct InFlight {
    operation: Box<Operation>,
    buffer: Box<[u8]>,
    over: bool,
}

impl InFlight {
    fn new(length: usize, request: impl FnOnce(*mut u8, usize) -> Request) -> InFlight {
        let mut buffer = vec![0; length].into_boxed_slice();
        let request = request(buffer.as_mut_ptr(), length);
        InFlight { operation: Box::new(Operation::new(request, ptr::null())), buffer, over: false }
    }

    fn receive(socket: Source, length: usize) -> InFlight {
        InFlight::new(length, |buffer, length| Request::Receive { socket, buffer, length, flags: 0 })
    }

    fn read(file: Source, length: usize) -> InFlight {
        InFlight::new(length, |buffer, length| Request::Read { file, buffer, length })
    }

    fn submit(&mut self, engine: &mut dyn Engine) -> NonNull<Operation> {
        let operation = NonNull::from(&mut *self.operation);
        // SAFETY: both boxes stay until the operation is over, else `drop` below aborts the test.
        self.over = unsafe { engine.submit(operation) } == Submitted::Done;
        operation
    }

    fn cancel(&mut self, engine: &mut dyn Engine) {
        // SAFETY: it is in flight, since only `finish` takes completions.
        unsafe { engine.cancel(NonNull::from(&mut *self.operation)) };
    }

    /// Waits for the one operation that is in flight, if it was not over at once, and returns its result.
    fn finish(&mut self, engine: &mut dyn Engine) -> i32 {
        if self.over {
            return self.operation.result();
        }
        let mut completed = Completed::new();
        while completed.is_empty() {
            engine.wait(None, &mut completed).unwrap();
        }
        assert_eq!(completed.pop(), Some(NonNull::from(&mut *self.operation)));
        assert!(completed.is_empty());
        self.over = true;
        self.operation.result()
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        assert!(self.over || thread::panicking());
        if !self.over {
            // A failed test leaves the buffer with the kernel.
            std::process::abort();
        }
    }
}

fn source(descriptor: &impl AsRawFd) -> Source {
    Source::new(descriptor.as_raw_fd())
}

fn set_nonblocking(descriptor: &impl AsRawFd) {
    // SAFETY: no pointers are passed.
    unsafe { assert_eq!(libc::fcntl(descriptor.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK), 0) };
}

/// An eventfd as a file.
fn event() -> File {
    // SAFETY: the descriptor is new, so the file owns it alone.
    unsafe { File::from_raw_fd(libc::eventfd(0, libc::EFD_CLOEXEC)) }
}

/// Polls of `source`, submitted.
fn polls(engine: &mut dyn Engine, source: Source, count: usize) -> Vec<Operation> {
    let request = Request::Poll { source, interest: Interest::READ };
    let mut operations: Vec<_> = (0..count).map(|_| Operation::new(request, ptr::null())).collect();
    for operation in &mut operations {
        // SAFETY: the vector is not touched until all have completed.
        assert_eq!(unsafe { engine.submit(NonNull::from(operation)) }, Submitted::Pending);
    }
    operations
}

/// Waits for `count` completions, each once, and returns their results.
fn collect(engine: &mut dyn Engine, count: usize) -> Vec<i32> {
    let mut seen = HashSet::new();
    let mut results = Vec::new();
    while results.len() < count {
        let mut completed = Completed::new();
        engine.wait(None, &mut completed).unwrap();
        while let Some(operation) = completed.pop() {
            assert!(seen.insert(operation), "completed twice");
            // SAFETY: the operations live in the caller's vector.
            results.push(unsafe { operation.as_ref() }.result());
        }
    }
    let mut more = Completed::new();
    engine.wait(Some(Duration::ZERO), &mut more).unwrap();
    assert!(more.is_empty());
    results
}

#[test]
fn more_requests_and_completions_than_the_rings_hold() {
    let mut engine = open();
    let mut event = event();
    let operations = polls(&mut *engine, source(&event), MANY);
    event.write_all(&1_u64.to_ne_bytes()).unwrap();
    let results = collect(&mut *engine, MANY);
    assert!(results.iter().all(|&result| result == i32::from(libc::POLLIN)));
    drop(operations);
}

/// What finds no room waits for the next wait.
#[test]
fn a_submission_does_not_enter_the_kernel() {
    let mut engine = open();
    let event = event();
    let calls = engine.system_calls();
    let operations = polls(&mut *engine, source(&event), MANY);
    for operation in &operations {
        // SAFETY: it was submitted, and no wait has handed it back.
        unsafe { engine.cancel(NonNull::from(operation)) };
    }
    let entered = engine.system_calls() - calls;
    assert_eq!(collect(&mut *engine, MANY).len(), MANY);
    assert_eq!(entered, 0);
    drop(operations);
}

#[test]
fn more_cancels_than_the_rings_hold() {
    let mut engine = open();
    let event = event();
    let operations = polls(&mut *engine, source(&event), MANY);
    for operation in &operations {
        for _ in 0..2 {
            // SAFETY: it was submitted, and no wait has handed it back.
            unsafe { engine.cancel(NonNull::from(operation)) };
        }
    }
    let results = collect(&mut *engine, MANY);
    assert!(results.iter().all(|&result| result == -libc::ECANCELED));
}

/// Submits a read that has to wait, ends its wait, and returns what was read.
fn waited_for(engine: &mut dyn Engine, mut read: InFlight, end_the_wait: impl FnOnce()) -> Vec<u8> {
    read.submit(engine);
    nothing_completes(engine);
    end_the_wait();
    let count = usize::try_from(read.finish(engine)).expect("no error");
    read.buffer[..count].to_vec()
}

#[test]
fn a_descriptor_that_refuses_to_wait_is_waited_for() {
    let mut engine = open();
    let (mut near, far) = UnixStream::pair().unwrap();
    far.set_nonblocking(true).unwrap();
    let (pipe_read, mut pipe_write) = io::pipe().unwrap();
    set_nonblocking(&pipe_read);

    let socket = InFlight::receive(source(&far), 16);
    assert_eq!(waited_for(&mut *engine, socket, || near.write_all(b"socket").unwrap()), b"socket");
    let pipe = InFlight::read(source(&pipe_read), 16);
    assert_eq!(waited_for(&mut *engine, pipe, || pipe_write.write_all(b"pipe").unwrap()), b"pipe");
    let last = InFlight::read(source(&pipe_read), 16);
    assert_eq!(waited_for(&mut *engine, last, || drop(pipe_write)), b"", "the end of the pipe");
}

/// The same at each stage: not handed to the kernel yet, refused by it, polled, ready.
#[test]
fn a_descriptor_that_refuses_to_wait_is_cancelled_at_every_stage() {
    let mut engine = open();
    let (pipe_read, mut pipe_write) = io::pipe().unwrap();
    set_nonblocking(&pipe_read);
    let file = source(&pipe_read);
    for waits in 0..5 {
        let mut read = InFlight::read(file, 16);
        read.submit(&mut *engine);
        for _ in 0..waits {
            nothing_completes_in_one(&mut *engine);
        }
        read.cancel(&mut *engine);
        assert_eq!(read.finish(&mut *engine), -libc::ECANCELED);
    }
    // Ready, but the cancel is first: either answer is right, but no byte may be lost.
    for waits in 0..5 {
        let mut read = InFlight::read(file, 16);
        read.submit(&mut *engine);
        for _ in 0..waits {
            nothing_completes_in_one(&mut *engine);
        }
        pipe_write.write_all(b"x").unwrap();
        read.cancel(&mut *engine);
        match read.finish(&mut *engine) {
            1 => {}
            result => {
                assert_eq!(result, -libc::ECANCELED);
                assert_eq!((&pipe_read).read(&mut [0; 16]).unwrap(), 1);
            }
        }
    }
}

#[test]
fn a_listener_that_refuses_to_wait_accepts() {
    let mut engine = open();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    for before in [false, true] {
        let mut address = sward_engine::SocketAddress::empty();
        let mut accept = InFlight::new(0, |_, _| Request::Accept {
            listener: source(&listener),
            address: &raw mut address,
        });
        let early = before.then(|| TcpStream::connect(listener.local_addr().unwrap()).unwrap());
        accept.submit(&mut *engine);
        if !before {
            nothing_completes(&mut *engine);
        }
        let client = early.unwrap_or_else(|| TcpStream::connect(listener.local_addr().unwrap()).unwrap());
        let fd = accept.finish(&mut *engine);
        assert!(fd >= 0, "{}", io::Error::from_raw_os_error(-fd));
        // SAFETY: the accept just made this descriptor.
        let accepted = unsafe { OwnedFd::from_raw_fd(fd) };
        assert_eq!(address.to_inet(), Some(client.local_addr().unwrap()));
        assert_eq!(TcpStream::from(accepted).peer_addr().unwrap(), client.local_addr().unwrap());
    }
}

#[test]
fn a_cancel_comes_too_late_for_what_is_done() {
    let mut engine = open();
    let (mut near, far) = UnixStream::pair().unwrap();
    for _ in 0..1000 {
        let mut receive = InFlight::receive(source(&far), 4);
        near.write_all(b"done").unwrap();
        receive.submit(&mut *engine);
        // In one go: the kernel finds the bytes first.
        receive.cancel(&mut *engine);
        assert_eq!(receive.finish(&mut *engine), 4);
        assert_eq!(&*receive.buffer, b"done");
    }
}

/// A writer in another thread against receives that are cancelled at random times, at one address. Whatever comes
/// first, every byte arrives once and in order, and the kernel writes to no buffer that was handed back.
#[test]
fn bytes_win_against_cancels_at_one_address() {
    const BYTES: usize = 100_000;
    let (mut near, far) = UnixStream::pair().unwrap();
    let socket = source(&far);
    let writer = thread::spawn(move || {
        let mut random = Random(7);
        let mut sent = 0;
        while sent < BYTES {
            let count = (random.below(3) + 1).min(BYTES - sent);
            let bytes: Vec<u8> = (sent..sent + count).map(|index| index as u8).collect();
            near.write_all(&bytes).unwrap();
            sent += count;
            for _ in 0..random.below(300) {
                std::hint::spin_loop();
            }
        }
    });
    let mut random = Random(11);
    let mut received = 0;
    let mut cancelled = 0;
    let mut buffer = [0xAA_u8; 8];
    let mut operation =
        Operation::new(Request::Poll { source: socket, interest: Interest::NONE }, ptr::null());
    // Last, so that it goes first if an assertion fails, and takes the buffer back.
    let mut engine = open();
    while received < BYTES {
        assert_eq!(buffer, [0xAA; 8], "written to after it was handed back");
        let request =
            Request::Receive { socket, buffer: buffer.as_mut_ptr(), length: buffer.len(), flags: 0 };
        operation = Operation::new(request, operation.waiter());
        // SAFETY: both stay in this frame until the completion; see above.
        unsafe { engine.submit(NonNull::from(&mut operation)) };
        let mut completed = Completed::new();
        for _ in 0..random.below(3) {
            engine.wait(Some(Duration::ZERO), &mut completed).unwrap();
        }
        for _ in 0..random.below(200) {
            std::hint::spin_loop();
        }
        if completed.is_empty() {
            // SAFETY: it has not been handed back.
            unsafe { engine.cancel(NonNull::from(&mut operation)) };
        }
        while completed.is_empty() {
            engine.wait(None, &mut completed).unwrap();
        }
        match operation.result() {
            result if result == -libc::ECANCELED => cancelled += 1,
            count => {
                assert!(count > 0, "{}", io::Error::from_raw_os_error(-count));
                for byte in &buffer[..count as usize] {
                    assert_eq!(*byte, received as u8);
                    received += 1;
                }
            }
        }
        buffer = [0xAA; 8];
    }
    writer.join().unwrap();
    assert!(cancelled > 0, "no race was run");
}

/// One byte wakes two receivers. While the kernel tries one of them again, a cancel does not find it; and if the other
/// has taken the byte, it goes back to sleep, for good unless it is cancelled once more.
#[test]
fn a_cancel_reaches_the_receiver_that_got_nothing() {
    const ROUNDS: usize = 20_000;
    let mut engine = open();
    let (mut near, mut far) = UnixStream::pair().unwrap();
    let socket = source(&far);
    let round = AtomicUsize::new(0);
    thread::scope(|scope| {
        scope.spawn(|| {
            for next in 1..=ROUNDS {
                while round.load(Ordering::Acquire) < next {
                    std::hint::spin_loop();
                }
                near.write_all(b"x").unwrap();
            }
        });
        let mut random = Random(3);
        for next in 1..=ROUNDS {
            let mut pair = [InFlight::receive(socket, 4), InFlight::receive(socket, 4)];
            for receive in &mut pair {
                receive.submit(&mut *engine);
            }
            round.store(next, Ordering::Release);
            for _ in 0..random.below(2000) {
                std::hint::spin_loop();
            }
            for receive in &mut pair {
                receive.cancel(&mut *engine);
            }
            let mut results = collect(&mut *engine, 2);
            for receive in &mut pair {
                receive.over = true;
            }
            results.sort_unstable();
            if results == [-libc::ECANCELED; 2] {
                far.read_exact(&mut [0]).unwrap();
            } else {
                assert_eq!(results, [-libc::ECANCELED, 1]);
            }
        }
    });
}

#[test]
fn the_drop_of_the_engine_takes_the_buffers_back() {
    let (mut near, mut far) = UnixStream::pair().unwrap();
    let (pipe_read, mut pipe_write) = io::pipe().unwrap();
    set_nonblocking(&pipe_read);
    for waits in 0..4 {
        let mut engine = open();
        let mut receive = InFlight::receive(source(&far), 4);
        let mut read = InFlight::read(source(&pipe_read), 4);
        receive.submit(&mut *engine);
        read.submit(&mut *engine);
        for _ in 0..waits {
            nothing_completes_in_one(&mut *engine);
        }
        drop(engine);
        receive.over = true;
        read.over = true;
        near.write_all(b"late").unwrap();
        pipe_write.write_all(b"late").unwrap();
        let mut bytes = [0; 4];
        far.read_exact(&mut bytes).unwrap();
        (&pipe_read).read_exact(&mut bytes).unwrap();
        assert_eq!((&*receive.buffer, &*read.buffer), (&[0; 4][..], &[0; 4][..]));
    }
}

/// With deferred task work, a look that does not enter the kernel would never see the completion.
#[test]
fn looking_alone_makes_progress_and_costs_nothing_when_idle() {
    let mut engine = open();
    let (mut near, far) = UnixStream::pair().unwrap();
    let mut receive = InFlight::receive(source(&far), 4);
    receive.submit(&mut *engine);
    nothing_completes(&mut *engine);

    let before = engine.system_calls();
    for _ in 0..100 {
        nothing_completes_in_one(&mut *engine);
    }
    assert_eq!(engine.system_calls(), before);

    near.write_all(b"look").unwrap();
    let mut completed = Completed::new();
    while completed.is_empty() {
        engine.wait(Some(Duration::ZERO), &mut completed).unwrap();
    }
    receive.over = true;
    assert_eq!(receive.operation.result(), 4);
    assert!(engine.system_calls() <= before + 2);
}

/// One system call hands over a request, sleeps and brings the answer.
#[test]
fn a_round_trip_is_one_system_call() {
    let mut engine = open();
    let (mut near, far) = UnixStream::pair().unwrap();
    let mut completed = Completed::new();
    engine.wait(Some(Duration::ZERO), &mut completed).unwrap();
    let before = engine.system_calls();
    for _ in 0..10 {
        near.write_all(b"once").unwrap();
        let mut receive = InFlight::receive(source(&far), 4);
        receive.submit(&mut *engine);
        assert_eq!(receive.finish(&mut *engine), 4);
    }
    assert_eq!(engine.system_calls() - before, 10);
}

/// A thread can register 16 rings. The others work without, and each gives its place back.
#[test]
fn rings_of_one_thread_come_and_go() {
    for _ in 0..5 {
        let mut engines: Vec<_> = (0..20).map(|_| open()).collect();
        for engine in &mut engines {
            let mut event = event();
            let operations = polls(&mut **engine, source(&event), 1);
            event.write_all(&1_u64.to_ne_bytes()).unwrap();
            assert_eq!(collect(&mut **engine, 1), [i32::from(libc::POLLIN)]);
            drop(operations);
        }
    }
}

/// A terminal cannot be read without blocking, so the kernel may use a thread of its own.
#[test]
fn a_terminal_is_read_and_its_read_is_cancelled() {
    let (mut primary, secondary) = terminal();
    let mut engine = open();
    let file = source(&secondary);

    let mut read = InFlight::read(file, 16);
    read.submit(&mut *engine);
    nothing_completes(&mut *engine);
    primary.write_all(b"line\n").unwrap();
    assert_eq!(read.finish(&mut *engine), 5);
    assert_eq!(&read.buffer[..5], b"line\n");

    for waits in 0..5 {
        let mut read = InFlight::read(file, 16);
        read.submit(&mut *engine);
        for _ in 0..waits {
            nothing_completes_in_one(&mut *engine);
        }
        read.cancel(&mut *engine);
        assert_eq!(read.finish(&mut *engine), -libc::ECANCELED);
    }
}

/// A pseudo-terminal: the side of the person, and the side of the program.
fn terminal() -> (File, File) {
    let (mut primary, mut secondary) = (-1, -1);
    // SAFETY: the two places are there; the other three parameters may be null.
    let result = unsafe {
        libc::openpty(&mut primary, &mut secondary, ptr::null_mut(), ptr::null_mut(), ptr::null_mut())
    };
    assert_eq!(result, 0);
    // SAFETY: both descriptors are new, so the files own them alone.
    unsafe { (File::from_raw_fd(primary), File::from_raw_fd(secondary)) }
}

/// The kernel has the requests now, and none of them is over.
fn nothing_completes(engine: &mut dyn Engine) {
    for _ in 0..4 {
        nothing_completes_in_one(engine);
    }
}

fn nothing_completes_in_one(engine: &mut dyn Engine) {
    let mut completed = Completed::new();
    engine.wait(Some(Duration::ZERO), &mut completed).unwrap();
    assert!(completed.is_empty());
}

/// Small numbers, the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit as u64) as usize
    }
}
