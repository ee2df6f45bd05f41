//! Turns any readiness poller into an [`Engine`]: the retry stands once, here.
//!
//! For every descriptor the adapter keeps who waits, and a memory of what was last seen:
//!
//! ```text
//!                     submit: attempt at once ── done ──▶ Done
//!                    ╱            │
//!  may be ready ────╯             │ would block, or a short count on TCP
//!       ▲                         ▼
//!       │                    not ready ── submit: queue and arm, without a system call
//!       │                         │
//!       └──── poller reports ─────┘
//!                   │
//!                   ▼
//!     attempt what waits, in order, until one would block; then arm again
//! ```
//!
//! - A descriptor starts as "may be ready" in both directions.
//! - A short count on a TCP socket means "not ready now" and saves the attempt that would say so. On other sockets a count
//!   can be short for other reasons (a datagram's end, descriptors that travel along). On TCP, too, once the peer has hung up
//!   or sent urgent data; the poller says so, and then only "would block" counts.
//! - Nothing is lost with an edge-triggered poller: what happens after the attempt makes a new edge, and what happened
//!   before the descriptor was registered is reported when it is registered.
//! - An entry belongs to one [`Source`] identity. When a descriptor's number comes with another identity, the entry starts anew: nothing
//!   that is remembered passes on, the poller registers the descriptor again, and a report for the old identity is ignored. Operations
//!   that wait do pass on. They keep their descriptor open, so it is the same one under two names, as when one thread waits in a
//!   `TcpStream`'s read and another for the bare descriptor.

use std::io;
use std::ptr::NonNull;
use std::time::Duration;

use crate::engine::{Engine, Submitted, Waker};
use crate::multishot_receive::MultishotReceive;
use crate::operation::{Completed, Interest, Operation, Request, Source};
use crate::perform::{is_tcp, perform};
use crate::provided_buffer::{BUFFER_BYTES, BufferPool, ProvidedBuffer};

/// What a readiness kernel has to provide. The contract, which every poller keeps:
///
/// - One-shot from the caller's view: a direction that has been reported is no longer armed.
/// - Spurious readiness is allowed, lost readiness never: an armed direction that is ready, or becomes so, is reported by
///   a later [`poll`](Poller::poll), until it is disarmed or forgotten.
/// - A poller may report what is not armed. An edge-triggered one has to: its edges come once.
/// - A poller belongs to one thread. Its [`Waker`] alone may go anywhere.
pub trait Poller {
    /// The name by which a user asks for this engine, such as `epoll`.
    fn name(&self) -> &'static str;

    /// Watches for `interest`, besides what is armed already.
    ///
    /// # Errors
    /// The kernel does not watch this descriptor. The operation that asked fails with this error.
    fn arm(&mut self, source: Source, interest: Interest) -> io::Result<()>;

    /// Nobody waits for `interest` any more.
    fn disarm(&mut self, source: Source, interest: Interest);

    /// Drops whatever is kept for `source`, which is about to be closed or has been.
    fn forget(&mut self, source: Source);

    /// Sleeps until something is ready, `timeout` is over (`None`: without limit) or the waker fires, and appends what
    /// is ready. May return early with nothing.
    fn poll(&mut self, timeout: Option<Duration>, ready: &mut Vec<Ready>) -> io::Result<()>;

    /// Something that ends a [`poll`](Poller::poll) from any thread.
    fn waker(&self) -> Waker;

    /// System calls made so far, for metrics.
    fn system_calls(&self) -> u64;
}

/// A poller's word that `source` may be ready.
#[derive(Clone, Copy, Debug)]
pub struct Ready {
    /// The descriptor, as it was armed.
    pub source: Source,
    /// The directions.
    pub interest: Interest,
    /// The peer has hung up or sent urgent data, there is an error, or the poller cannot tell: from now on a short count
    /// proves nothing.
    pub hangup: bool,
}

/// An [`Engine`] over a [`Poller`].
pub struct Readiness<P> {
    poller: P,
    /// By descriptor number.
    entries: Vec<Entry>,
    /// Over, but not handed back yet: what was cancelled.
    finished: Completed,
    /// What the poller reported; empty between waits, kept for its memory.
    ready: Vec<Ready>,
    attempts: u64,
    pool: BufferPool,
}

/// What is known of one descriptor.
#[derive(Default)]
struct Entry {
    /// Whose entry this is; 0: nobody's.
    id: u64,
    /// Wait to read, in order. No [`Request::Poll`].
    readers: Completed,
    /// Wait to write, in order. No [`Request::Poll`].
    writers: Completed,
    /// The [`Request::Poll`]s, of either direction or both. They take nothing, so none of them is before another.
    watchers: Completed,
    /// The memory: directions in which an attempt may succeed.
    may_be_ready: Interest,
    /// Directions that the poller watches and has not reported.
    armed: Interest,
    /// See [`Ready::hangup`]. Sticky.
    hangup: bool,
    /// Whether this is a TCP socket, once it has been asked.
    tcp: Option<bool>,
}

impl<P: Poller> Readiness<P> {
    /// Wraps `poller`.
    pub fn new(poller: P) -> Readiness<P> {
        Readiness {
            poller,
            entries: Vec::new(),
            finished: Completed::new(),
            ready: Vec::new(),
            attempts: 0,
            pool: BufferPool::new(),
        }
    }

    /// Makes an entry for `source`, and starts it anew if it was another's.
    fn prepare_entry(&mut self, source: Source) {
        let index = source.fd as usize;
        if index >= self.entries.len() {
            self.entries.resize_with(index + 1, Entry::default);
        }
        if self.entries[index].id != source.id {
            self.hand_over(source);
        }
    }

    /// Makes the entry with the number of `source` its own. Only those who wait there stay.
    #[cold]
    fn hand_over(&mut self, source: Source) {
        let entry = &mut self.entries[source.fd as usize];
        if entry.id != 0 {
            self.poller.forget(Source { fd: source.fd, id: entry.id });
        }
        *entry = Entry {
            id: source.id,
            may_be_ready: Interest::BOTH,
            readers: std::mem::take(&mut entry.readers),
            writers: std::mem::take(&mut entry.writers),
            watchers: std::mem::take(&mut entry.watchers),
            ..Entry::default()
        };
        entry.arm_missing(source, &mut self.poller, &mut self.finished);
    }

    /// Acts on one report.
    fn report(&mut self, ready: Ready, completed: &mut Completed) {
        let Some(entry) = self.entries.get_mut(ready.source.fd as usize) else { return };
        if entry.id != ready.source.id {
            return;
        }
        entry.armed = entry.armed.without(ready.interest);
        entry.may_be_ready = entry.may_be_ready.union(ready.interest);
        entry.hangup |= ready.hangup;
        let pool = &mut self.pool;
        self.attempts += entry.attempt_waiting(Interest::READ, pool, completed);
        self.attempts += entry.attempt_waiting(Interest::WRITE, pool, completed);
        self.attempts += entry.attempt_watchers(pool, completed);
        entry.arm_missing(ready.source, &mut self.poller, completed);
    }
}

impl<P: Poller> Engine for Readiness<P> {
    fn name(&self) -> &'static str {
        self.poller.name()
    }

    unsafe fn submit(&mut self, operation: NonNull<Operation>) -> Submitted {
        // SAFETY: a submitted operation stays where it is until it has been handed back.
        let pending = unsafe { operation.as_ref() };
        let source = pending.request.source();
        let interest = pending.request.interest();
        if source.fd < 0 || interest.is_empty() {
            pending.set_result(if source.fd < 0 { -libc::EBADF } else { -libc::EINVAL });
            return Submitted::Done;
        }
        self.prepare_entry(source);
        let entry = &mut self.entries[source.fd as usize];
        let attempted = entry.is_worth_an_attempt(&pending.request);
        // SAFETY: a submitted request's pointers are valid.
        if attempted && unsafe { entry.attempt(pending, &mut self.pool) } {
            self.attempts += 1;
            return Submitted::Done;
        }
        let missing = interest.without(entry.armed);
        // SAFETY: submitted just now, so it is on no list, and it stays where it is until it has been handed back.
        unsafe { entry.queue(&pending.request).push(operation) };
        self.attempts += u64::from(attempted);
        if missing.is_empty() {
            return Submitted::Pending;
        }
        let armed = self.poller.arm(source, missing);
        let entry = &mut self.entries[source.fd as usize];
        match armed {
            Ok(()) => {
                entry.armed = entry.armed.union(missing);
                Submitted::Pending
            }
            Err(error) => {
                entry.queue(&pending.request).remove(operation);
                pending.set_result(-errno_of(&error));
                Submitted::Done
            }
        }
    }

    unsafe fn cancel(&mut self, operation: NonNull<Operation>) {
        // SAFETY: it has not been handed back, so it is where it was.
        let pending = unsafe { operation.as_ref() };
        let source = pending.request.source();
        let Some(entry) = self.entries.get_mut(source.fd as usize) else { return };
        if !entry.queue(&pending.request).remove(operation) {
            return;
        }
        pending.set_result(-libc::ECANCELED);
        // SAFETY: just taken off its list, and it stays where it is until it has been handed back.
        unsafe { self.finished.push(operation) };
        let surplus = entry.armed.without(entry.wanted());
        if !surplus.is_empty() {
            entry.armed = entry.armed.without(surplus);
            self.poller.disarm(Source { fd: source.fd, id: entry.id }, surplus);
        }
    }

    fn wait(&mut self, timeout: Option<Duration>, completed: &mut Completed) -> io::Result<()> {
        let timeout = if self.finished.is_empty() { timeout } else { Some(Duration::ZERO) };
        completed.append(&mut self.finished);
        let mut ready = std::mem::take(&mut self.ready);
        let polled = self.poller.poll(timeout, &mut ready);
        for ready in ready.drain(..) {
            self.report(ready, completed);
        }
        self.ready = ready;
        polled
    }

    fn waker(&self) -> Waker {
        self.poller.waker()
    }

    fn forget(&mut self, source: Source) {
        if let Some(entry) = self.entries.get_mut(source.fd as usize)
            && entry.id == source.id
        {
            match entry.anyone() {
                None => {
                    *entry = Entry::default();
                    self.poller.forget(source);
                }
                // They wait for the same descriptor under another identity.
                Some(other) => {
                    debug_assert_ne!(other, source, "forgotten while an operation waits");
                    self.hand_over(other);
                }
            }
        }
    }

    /// Here, only what somebody waits for is received.
    fn stop_multishot(&mut self, _: &MultishotReceive) {}

    fn return_buffer(&mut self, buffer: ProvidedBuffer) {
        if let Some(id) = self.pool.reclaim(buffer) {
            self.pool.put(id);
        }
    }

    /// One for each attempt, and the poller's own.
    fn system_calls(&self) -> u64 {
        self.attempts + self.poller.system_calls()
    }
}

impl Entry {
    /// Where a request like this one waits.
    fn queue(&mut self, request: &Request) -> &mut Completed {
        match request {
            Request::Poll { .. } => &mut self.watchers,
            _ => self.line(request.interest()),
        }
    }

    /// Those who wait in one direction.
    fn line(&mut self, direction: Interest) -> &mut Completed {
        if direction == Interest::READ { &mut self.readers } else { &mut self.writers }
    }

    /// Whether `request` is tried at once rather than queued.
    fn is_worth_an_attempt(&mut self, request: &Request) -> bool {
        match request {
            // Neither takes its turn: one takes nothing, and the other has to be begun before it can be waited for.
            Request::Poll { .. } | Request::Connect { .. } => true,
            _ => self.may_be_ready.contains(request.interest()) && self.queue(request).is_empty(),
        }
    }

    /// Tries `operation`. True: it is over, and its result is in it.
    ///
    /// # Safety
    /// The pointers of its request are valid.
    unsafe fn attempt(&mut self, operation: &Operation, pool: &mut BufferPool) -> bool {
        let request = &operation.request;
        let outcome = match *request {
            Request::ReceiveProvided { socket, multishot } => {
                // SAFETY: the request's multishot receive is valid.
                receive_provided(socket, unsafe { &*multishot }, pool)
            }
            // SAFETY: the request's pointers are valid.
            _ => unsafe { perform(request, &operation.step) },
        };
        match outcome {
            Some(result) => {
                operation.set_result(result);
                if self.is_exhausted_by(request, result) {
                    self.may_be_ready = self.may_be_ready.without(request.interest());
                }
                true
            }
            None => {
                // What a Poll asks for is not what a receive asks for, so it leaves no memory.
                if !matches!(request, Request::Poll { .. }) {
                    self.may_be_ready = self.may_be_ready.without(request.interest());
                }
                false
            }
        }
    }

    /// Whether `result` shows that another attempt of this kind would block now.
    fn is_exhausted_by(&mut self, request: &Request, result: i32) -> bool {
        let (socket, length) = match *request {
            Request::Receive { socket, length, flags: 0, .. } => (socket, length),
            Request::Send { socket, length, flags: 0, .. } => (socket, length),
            Request::ReceiveProvided { socket, .. } => (socket, BUFFER_BYTES),
            _ => return false,
        };
        result > 0
            && (result as usize) < length
            && !self.hangup
            && *self.tcp.get_or_insert_with(|| is_tcp(socket.fd))
    }

    /// Tries those who wait in `direction`, in order, until one would block. Returns the number of attempts.
    fn attempt_waiting(
        &mut self,
        direction: Interest,
        pool: &mut BufferPool,
        completed: &mut Completed,
    ) -> u64 {
        let mut attempts = 0;
        while self.may_be_ready.contains(direction)
            && let Some(operation) = self.line(direction).first()
        {
            attempts += 1;
            // SAFETY: it waits here, so it is in flight: it and what its request points to are valid.
            if unsafe { self.attempt(operation.as_ref(), pool) } {
                self.line(direction).pop();
                // SAFETY: just popped, so it is on no list.
                unsafe { completed.push(operation) };
            }
        }
        attempts
    }

    /// Tries every watcher. Returns the number of attempts.
    fn attempt_watchers(&mut self, pool: &mut BufferPool, completed: &mut Completed) -> u64 {
        let mut attempts = 0;
        let mut watchers = std::mem::take(&mut self.watchers);
        while let Some(operation) = watchers.pop() {
            attempts += 1;
            // SAFETY: it waits here, so it is in flight: it and what its request points to are valid.
            let over = unsafe { self.attempt(operation.as_ref(), pool) };
            let list = if over { &mut *completed } else { &mut self.watchers };
            // SAFETY: just popped, so it is on no list.
            unsafe { list.push(operation) };
        }
        attempts
    }

    /// Has the poller watch every direction for which somebody waits. If it cannot, those who wait end with its error.
    fn arm_missing(&mut self, source: Source, poller: &mut impl Poller, completed: &mut Completed) {
        let missing = self.wanted().without(self.armed);
        if missing.is_empty() {
            return;
        }
        match poller.arm(source, missing) {
            Ok(()) => self.armed = self.armed.union(missing),
            Err(error) => {
                for queue in [&mut self.readers, &mut self.writers, &mut self.watchers] {
                    finish_all(queue, -errno_of(&error), completed);
                }
            }
        }
    }

    /// The identity of one who waits.
    fn anyone(&self) -> Option<Source> {
        let waits = self.readers.first().or(self.writers.first()).or(self.watchers.first())?;
        // SAFETY: what is in a queue is in flight, so its submitter keeps it in place.
        Some(unsafe { waits.as_ref() }.request.source())
    }

    /// The directions for which somebody waits.
    fn wanted(&self) -> Interest {
        let mut wanted = Interest::NONE;
        if !self.readers.is_empty() {
            wanted = wanted.union(Interest::READ);
        }
        if !self.writers.is_empty() {
            wanted = wanted.union(Interest::WRITE);
        }
        let mut next = self.watchers.first();
        while let Some(watcher) = next {
            // SAFETY: it waits here, so it is in flight and stays where it is.
            let watcher = unsafe { watcher.as_ref() };
            wanted = wanted.union(watcher.request.interest());
            next = watcher.link.get();
        }
        wanted
    }
}

/// `recv` into a buffer of the lender's, which goes along if there was something.
fn receive_provided(socket: Source, multishot: &MultishotReceive, pool: &mut BufferPool) -> Option<i32> {
    let Some(id) = pool.take() else { return Some(-libc::ENOBUFS) };
    let plain = Request::Receive { socket, buffer: pool.pointer(id), length: BUFFER_BYTES, flags: 0 };
    // SAFETY: the buffer was free, so it is ours.
    let result = unsafe { perform(&plain, &Default::default()) };
    match result {
        // SAFETY: the buffer was free, and goes to the reader alone.
        Some(count) if count > 0 => multishot.0.push(unsafe { pool.filled(id, count as usize) }),
        _ => pool.put(id),
    }
    result
}

/// Ends everything in `queue` with `result`.
fn finish_all(queue: &mut Completed, result: i32, finished: &mut Completed) {
    while let Some(operation) = queue.pop() {
        // SAFETY: it waited in the queue, so it is in flight and stays where it is.
        unsafe { operation.as_ref() }.set_result(result);
        // SAFETY: just popped, so it is on no list.
        unsafe { finished.push(operation) };
    }
}

fn errno_of(error: &io::Error) -> i32 {
    error.raw_os_error().unwrap_or(libc::EIO)
}
