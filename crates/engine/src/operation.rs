//! One I/O request on its way through an engine.
//!
//! An [`Operation`] lives in the frame of the suspended caller. While it is in flight, the kernel may hold its
//! address (it is io_uring's `user_data`) and the address of the buffers that its [`Request`] names. So the frame
//! neither returns, unwinds nor is freed before the operation has completed.
//!
//! ```text
//!            submit                     kernel                       wait
//!  Idle ───────────────▶ in flight ───────────────▶ completed ───────────────▶ handed back in `Completed`
//!                            │  cancel asks for an early end; the completion still arrives, exactly once
//! ```

use std::cell::Cell;
use std::os::fd::RawFd;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::address::SocketAddress;
use crate::multishot_receive::MultishotReceive;

/// A descriptor as an engine knows it: the number, and an identity that is never used again.
///
/// The kernel reuses a descriptor number as soon as it is closed. By the identity, the engine knows that what it remembers of
/// the number belongs to another socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Source {
    /// The descriptor. The owner of the `Source` keeps it open while an operation uses it.
    pub fd: RawFd,
    /// Unique in this process, never 0.
    pub id: u64,
}

impl Source {
    /// Returns a source with a new identity for the open descriptor `fd`. Call it once for each object that owns a descriptor.
    pub fn new(fd: RawFd) -> Source {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Source { fd, id: NEXT.fetch_add(1, Ordering::Relaxed) }
    }
}

/// The directions in which a descriptor can be ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Interest(u8);

impl Interest {
    /// Neither direction.
    pub const NONE: Interest = Interest(0);
    /// A read, a receive or an accept would not block.
    pub const READ: Interest = Interest(1);
    /// A write, a send or the end of a connect would not block.
    pub const WRITE: Interest = Interest(2);
    /// Both directions.
    pub const BOTH: Interest = Interest(3);

    /// Returns whether every direction of `other` is in `self`.
    pub fn contains(self, other: Interest) -> bool {
        self.0 & other.0 == other.0
    }

    /// Returns whether no direction is set.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Returns the directions that are in either set.
    pub fn union(self, other: Interest) -> Interest {
        Interest(self.0 | other.0)
    }

    /// Returns the directions that are in both sets.
    pub fn intersection(self, other: Interest) -> Interest {
        Interest(self.0 & other.0)
    }

    /// Returns the directions of `self` that are not in `other`.
    pub fn without(self, other: Interest) -> Interest {
        Interest(self.0 & !other.0)
    }
}

/// What an operation asks of the kernel. Each variant is one system call and has that call's result: a count, a descriptor or 0,
/// or a negative errno.
///
/// Each pointer is valid for the length beside it until the operation has completed.
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "the fields are the parameters of the call, which its manual page explains")]
pub enum Request {
    /// `accept4(2)` with `SOCK_CLOEXEC`. The result is a descriptor. The peer's address goes to `address`.
    Accept { listener: Source, address: *mut SocketAddress },
    /// `connect(2)`. The result is 0.
    Connect { socket: Source, address: *const SocketAddress },
    /// `recv(2)`.
    Receive { socket: Source, buffer: *mut u8, length: usize, flags: i32 },
    /// `send(2)`. `MSG_NOSIGNAL` is always added.
    Send { socket: Source, buffer: *const u8, length: usize, flags: i32 },
    /// `recv(2)` into a buffer that the engine provides once there is data. A result above 0 is the length of the buffer, which the
    /// caller takes from `multishot` before the next such request. `-ENOBUFS` means that the engine has no buffer left.
    ReceiveProvided { socket: Source, multishot: *const MultishotReceive },
    /// `recvmsg(2)`.
    ReceiveMessage { socket: Source, message: *mut libc::msghdr, flags: i32 },
    /// `sendmsg(2)`. `MSG_NOSIGNAL` is always added.
    SendMessage { socket: Source, message: *const libc::msghdr, flags: i32 },
    /// `read(2)` on a file that can block: a pipe or a terminal.
    Read { file: Source, buffer: *mut u8, length: usize },
    /// `write(2)` on a file that can block: a pipe or a terminal.
    Write { file: Source, buffer: *const u8, length: usize },
    /// `poll(2)` on one descriptor. The result is a set of `POLLIN`, `POLLOUT`, `POLLERR`, `POLLHUP`.
    Poll { source: Source, interest: Interest },
}

impl Request {
    /// Returns the descriptor that the request is about.
    pub fn source(&self) -> Source {
        match *self {
            Request::Accept { listener: source, .. }
            | Request::Connect { socket: source, .. }
            | Request::Receive { socket: source, .. }
            | Request::ReceiveProvided { socket: source, .. }
            | Request::Send { socket: source, .. }
            | Request::ReceiveMessage { socket: source, .. }
            | Request::SendMessage { socket: source, .. }
            | Request::Read { file: source, .. }
            | Request::Write { file: source, .. }
            | Request::Poll { source, .. } => source,
        }
    }

    /// Returns the direction that has to be ready before the request can make progress.
    pub fn interest(&self) -> Interest {
        match *self {
            Request::Accept { .. }
            | Request::Receive { .. }
            | Request::ReceiveProvided { .. }
            | Request::ReceiveMessage { .. }
            | Request::Read { .. } => Interest::READ,
            Request::Connect { .. }
            | Request::Send { .. }
            | Request::SendMessage { .. }
            | Request::Write { .. } => Interest::WRITE,
            Request::Poll { interest, .. } => interest,
        }
    }
}

/// A request, its result, and a pointer to whoever waits for it.
#[derive(Debug)]
pub struct Operation {
    /// What the kernel is asked for.
    pub request: Request,
    /// For the submitter, who finds by it whom to wake. The engine does not look at it.
    waiter: *const (),
    /// The result. Written by the engine, once, before it hands the operation back.
    result: Cell<i32>,
    /// The next operation of the list that this one is on.
    link: Cell<Option<NonNull<Operation>>>,
    /// For the engine, while the operation is in flight.
    step: Cell<u8>,
}

impl Operation {
    /// Prepares `request`. `waiter` comes back with the completion, and the engine does not look at it.
    pub fn new(request: Request, waiter: *const ()) -> Operation {
        Operation { request, waiter, result: Cell::new(0), link: Cell::new(None), step: Cell::new(0) }
    }

    /// Returns the pointer that the submitter passed to [`Operation::new`].
    pub fn waiter(&self) -> *const () {
        self.waiter
    }

    /// Returns the system call's result or a negative errno, which is `-ECANCELED` if a cancel came first. It has a meaning only
    /// after the operation has completed.
    pub fn result(&self) -> i32 {
        self.result.get()
    }

    /// Sets the result. For engines, before they hand the operation back.
    pub fn set_result(&self, result: i32) {
        self.result.set(result);
    }

    /// Returns a byte for the engine's own use while the operation is in flight, such as how far a request of several steps has
    /// come. The engine sets it when the operation is submitted.
    pub fn step(&self) -> &Cell<u8> {
        &self.step
    }
}

/// A first-in first-out list of operations, linked through the operations themselves.
///
/// An operation on the list stays where it is until it is popped; see [`Completed::push`].
#[derive(Debug)]
pub struct Completed {
    head: Option<NonNull<Operation>>,
    tail: *const Operation,
}

impl Default for Completed {
    fn default() -> Self {
        Completed::new()
    }
}

impl Completed {
    /// Creates an empty list.
    pub const fn new() -> Completed {
        Completed { head: None, tail: ptr::null() }
    }

    /// Returns whether the list has no operation.
    pub fn is_empty(&self) -> bool {
        self.head.is_none()
    }

    /// Appends `operation`.
    ///
    /// # Safety
    /// `operation` is on no list, and stays where it is until it has been popped.
    pub unsafe fn push(&mut self, operation: NonNull<Operation>) {
        // SAFETY: it stays where it is until it has been popped, so it is there now.
        unsafe { operation.as_ref() }.link.set(None);
        if self.head.is_none() {
            self.head = Some(operation);
        } else {
            // SAFETY: `tail` is the last operation of a list that is not empty, so it was pushed and not popped.
            unsafe { &*self.tail }.link.set(Some(operation));
        }
        self.tail = operation.as_ptr();
    }

    /// Removes and returns the first operation.
    pub fn pop(&mut self) -> Option<NonNull<Operation>> {
        let first = self.head?;
        // SAFETY: it was pushed and not popped, so it is where it was.
        self.head = unsafe { first.as_ref() }.link.take();
        Some(first)
    }

    /// Returns the first operation, which stays on the list.
    pub fn first(&self) -> Option<NonNull<Operation>> {
        self.head
    }

    /// Returns the operations, first to last.
    pub fn iter(&self) -> impl Iterator<Item = &Operation> {
        // SAFETY: an operation was pushed and not popped, so it is where it was. Nobody pops while the list is borrowed.
        let operation = |link: NonNull<Operation>| unsafe { &*link.as_ptr() };
        std::iter::successors(self.head.map(operation), move |last| last.link.get().map(operation))
    }

    /// Removes `operation`, wherever it stands. Returns false if it is not on the list. It walks the list.
    pub fn remove(&mut self, operation: NonNull<Operation>) -> bool {
        let mut rest = std::mem::take(self);
        let mut found = false;
        while let Some(next) = rest.pop() {
            if next == operation {
                found = true;
            } else {
                // SAFETY: just popped, so it is on no list. It goes back before anybody can see it popped.
                unsafe { self.push(next) };
            }
        }
        found
    }

    /// Moves everything from `other` to the end of this list.
    pub fn append(&mut self, other: &mut Completed) {
        let other = std::mem::take(other);
        let Some(first) = other.head else { return };
        if self.head.is_none() {
            self.head = Some(first);
        } else {
            // SAFETY: `tail` is the last operation of a list that is not empty, so it was pushed and not popped.
            unsafe { &*self.tail }.link.set(Some(first));
        }
        self.tail = other.tail;
    }
}
