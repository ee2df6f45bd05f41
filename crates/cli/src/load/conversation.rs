//! One connection: it sends, receives, checks and records, in one of two ways.
//!
//! | | who | when |
//! |---|---|---|
//! | lockstep | one green thread writes a batch and reads its replies | closed loop, small batches |
//! | duplex | a writer, and a reader in its scope | open loop; closed loop with batches that the buffers on the way may not hold |
//!
//! At the end of the run the sender shuts down its direction and the connection ends when the server closes it, so the server sees no
//! reset. The run cancels what does not end by itself.
//!
//! The path of a message is what the generator costs: it allocates nothing, and reads the clock once per read.
//! All times are nanoseconds since the start of the run ([`Run::now`]).

use std::io::{self, ErrorKind, Read, Write};
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use sward::net::{Shutdown, TcpStream};
use sward::thread::{self, Thread};
use sward::time::Duration;

use super::failure::Failure;
use super::payload::{Payload, Replies};
use super::plan::Pace;
use super::recorder::Recorder;
use super::run::Run;

/// The most bytes of one read.
const READ_BYTES: usize = 64 * 1024;

/// Talks on connection `number` until the run stops.
///
/// # Errors
/// What ended it earlier.
pub(super) fn converse(run: &Run, number: usize, stream: &TcpStream) -> Result<(), Failure> {
    let flow = Flow::new(run, number);
    let account = Account {
        run,
        flow: &flow,
        replies: Replies::new(&run.payload, number, run.plan.size),
        recorder: run.recorder(),
        number,
    };
    match run.plan.is_lockstep() {
        true => lockstep(account, stream),
        false => duplex(account, stream),
    }
}

/// The progress of a connection's sender.
struct Flow {
    timetable: Option<Timetable>,
    /// Messages sent.
    sent: AtomicU64,
    /// When the last batch was sent: in the closed loop, its messages count from then.
    batch_at: AtomicU64,
    /// Messages answered. Set only at the end of a batch, which is all that the writer of a closed loop needs to know.
    answered: AtomicU64,
    /// The reader has ended.
    over: AtomicBool,
}

/// When the messages of a connection are due.
#[derive(Clone, Copy)]
struct Timetable {
    start: u64,
    interval: f64,
}

impl Timetable {
    #[inline]
    fn due(self, message: u64) -> u64 {
        self.start.saturating_add((message as f64 * self.interval) as u64)
    }

    /// Returns how many messages are due at `now`.
    fn due_by(self, now: u64) -> u64 {
        now.checked_sub(self.start).map_or(0, |elapsed| (elapsed as f64 / self.interval) as u64 + 1)
    }
}

impl Flow {
    fn new(run: &Run, number: usize) -> Flow {
        let timetable = run.plan.interval().map(|interval| {
            let interval = interval.as_nanos() as f64;
            // Connections that open together are spread evenly over the interval.
            let phase = number as f64 / run.plan.connections as f64 * interval;
            Timetable { start: run.now().saturating_add(phase as u64), interval }
        });
        let zero = || AtomicU64::new(0);
        Flow { timetable, sent: zero(), batch_at: zero(), answered: zero(), over: AtomicBool::new(false) }
    }

    /// Returns when the latency of `message` begins.
    #[inline]
    fn begun(&self, message: u64) -> u64 {
        self.timetable
            .map_or_else(|| self.batch_at.load(Ordering::Relaxed), |timetable| timetable.due(message))
    }

    #[inline]
    fn sending(&self, now: u64, messages: u64) {
        self.batch_at.store(now, Ordering::Relaxed);
        // Only the sender writes. The reader, on any worker, must see the time with the count.
        self.sent.store(self.sent.load(Ordering::Relaxed) + messages, Ordering::Release);
    }

    fn sent(&self) -> u64 {
        self.sent.load(Ordering::Acquire)
    }
}

/// What a connection has received. Dropping it, also by a cancel, reports what is left unanswered to the run.
struct Account<'a> {
    run: &'a Run,
    flow: &'a Flow,
    replies: Replies<'a>,
    recorder: &'a Recorder,
    number: usize,
}

impl Account<'_> {
    /// Counts and checks received bytes, and returns the time at which they came.
    ///
    /// # Errors
    /// They are wrong, or more than was asked for: the surplus would pass for the reply to a message that is not sent yet, which
    /// makes a server look fast.
    #[inline]
    fn accept(&mut self, bytes: &[u8]) -> Result<u64, Failure> {
        let now = self.run.now();
        let first = self.replies.messages;
        let completed = self.replies.accept(bytes)?;
        if self.replies.is_beyond(self.flow.sent()) {
            return Err(Failure::Surplus { connection: self.number, messages: self.flow.sent() });
        }
        if self.flow.timetable.is_some() {
            for message in first..first + completed {
                self.recorder.replied(now.saturating_sub(self.flow.begun(message)), 1);
            }
        } else if completed > 0 {
            self.recorder.replied(now.saturating_sub(self.flow.begun(first)), completed);
        }
        Ok(now)
    }

    fn unanswered(&self) -> u64 {
        self.flow.sent().saturating_sub(self.replies.messages)
    }

    fn broken(&self, error: io::Error) -> Failure {
        Failure::Broken { connection: self.number, messages: self.replies.messages, error }
    }

    /// Returns how long the oldest unanswered message has waited.
    fn waited(&self) -> Duration {
        match self.unanswered() {
            0 => Duration::ZERO,
            _ => Duration::from_nanos(self.run.now().saturating_sub(self.flow.begun(self.replies.messages))),
        }
    }

    fn lost(&self) -> Failure {
        Failure::NoReply { connection: self.number, waited: self.waited() }
    }

    fn closed(&self) -> Failure {
        Failure::Closed { connection: self.number, messages: self.replies.messages }
    }
}

impl Drop for Account<'_> {
    fn drop(&mut self) {
        let (unanswered, messages) = (self.unanswered(), self.replies.messages);
        self.run.settle(messages, unanswered, self.waited());
        // It was cancelled, so the server had its time. An open loop may simply have asked for too much.
        let is_lost = unanswered > 0 && (messages == 0 || self.run.plan.pace == Pace::Closed);
        if is_lost && thread::panicking() {
            self.run.fail(&self.lost());
        }
    }
}

/// Writes a batch and reads its replies, over and over.
fn lockstep(mut account: Account<'_>, mut stream: &TcpStream) -> Result<(), Failure> {
    let run = account.run;
    let batch = run.plan.size * run.plan.pipeline;
    let mut place = Payload::offset(account.number);
    // There is room for one byte more than is due, so that a surplus is seen at once.
    let mut buffer = vec![0; batch.min(READ_BYTES) + 1];
    let mut now = run.now();
    while !run.is_stopping() {
        // The time of the last reply is good enough, as there was no wait since.
        account.flow.sending(now, run.plan.pipeline as u64);
        stream.write_all(run.payload.at(place, batch)).map_err(|error| account.broken(error))?;
        place.advance(batch);
        let mut missing = batch;
        while missing > 0 {
            let length = read(stream, &mut buffer).map_err(|error| account.broken(error))?;
            if length == 0 {
                return Err(account.closed());
            }
            now = account.accept(&buffer[..length])?;
            missing -= length;
        }
    }
    // All is answered. How the server ends the connection does not matter, but more bytes do.
    let _ = stream.shutdown(Shutdown::Write);
    while let Ok(length @ 1..) = read(stream, &mut buffer) {
        account.accept(&buffer[..length])?;
    }
    Ok(())
}

/// Writes on the calling thread, and reads on another.
fn duplex(account: Account<'_>, stream: &TcpStream) -> Result<(), Failure> {
    let (run, flow, number) = (account.run, account.flow, account.number);
    let writer = thread::current();
    thread::scope(|scope| {
        let read = move || receive(account, stream, writer);
        // Both wait for the same socket, so they share a worker.
        let reader =
            thread::Builder::new().worker(sward::worker_index().unwrap_or(0)).spawn_scoped(scope, read);
        let reader = reader.expect("this worker exists");
        let written = send(run, flow, number, stream);
        // If writing fails, the connection is gone, and the reader notices, too.
        let _ = stream.shutdown(Shutdown::Write);
        match (reader.join().unwrap_or_else(|payload| resume_unwind(payload)), written) {
            // The kernel reports a reset once. If the writer got it, the reader has seen a plain end.
            (Err(Failure::Closed { connection, messages }), Err(error)) => {
                Err(Failure::Broken { connection, messages, error })
            }
            (received, _) => received,
        }
    })
}

/// Sends what is due until the run stops or the reader ends.
fn send(run: &Run, flow: &Flow, number: usize, mut stream: &TcpStream) -> io::Result<()> {
    let recorder = run.recorder();
    let mut place = Payload::offset(number);
    let burst = run.plan.burst() as u64;
    while !run.is_stopping() && !flow.over.load(Ordering::Acquire) {
        let (now, sent) = (run.now(), flow.sent.load(Ordering::Relaxed));
        let count = match flow.timetable {
            Some(timetable) => {
                let count = timetable.due_by(now).saturating_sub(sent).min(burst);
                if count == 0 {
                    // Not a sleep, since the end of the run must cut it short.
                    thread::park_timeout(Duration::from_nanos(timetable.due(sent).saturating_sub(now)));
                    continue;
                }
                for message in sent..sent + count {
                    recorder.sent_late(now.saturating_sub(timetable.due(message)));
                }
                count
            }
            None if flow.answered.load(Ordering::Acquire) < sent => {
                thread::park();
                continue;
            }
            None => burst,
        };
        let length = count as usize * run.plan.size;
        flow.sending(now, count);
        stream.write_all(run.payload.at(place, length))?;
        place.advance(length);
    }
    Ok(())
}

/// Receives replies until the server closes.
fn receive(mut account: Account<'_>, stream: &TcpStream, writer: Thread) -> Result<(), Failure> {
    /// Ends the writer when the reader ends, however that happens.
    struct EndWriter<'a>(&'a Flow, &'a TcpStream, &'a Thread);
    impl Drop for EndWriter<'_> {
        fn drop(&mut self) {
            self.0.over.store(true, Ordering::Release);
            let _ = self.1.shutdown(Shutdown::Both);
            self.2.unpark();
        }
    }
    let flow = account.flow;
    let _end = EndWriter(flow, stream, &writer);
    let mut buffer = vec![0; READ_BYTES.min(account.run.plan.size * account.run.plan.burst())];
    loop {
        let length = read(stream, &mut buffer).map_err(|error| account.broken(error))?;
        if length == 0 {
            return match account.unanswered() {
                0 if account.run.is_stopping() => Ok(()),
                1.. if account.run.is_stopping() && account.replies.messages == 0 => Err(account.lost()),
                _ => Err(account.closed()),
            };
        }
        account.accept(&buffer[..length])?;
        if flow.timetable.is_none() && account.unanswered() == 0 {
            flow.answered.store(account.replies.messages, Ordering::Release);
            writer.unpark();
        }
    }
}

/// Reads once, and again after an interruption.
#[inline]
fn read(mut stream: &TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match stream.read(buffer) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}
