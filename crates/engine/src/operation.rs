//! One I/O request on its way through an engine.
//!
//! An [`Operation`] lives in the frame of the suspended caller. While it is in flight, the kernel may hold its
//! address (it is io_uring's `user_data`) and the address of the buffers that its [`Request`] names, so the frame
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
/// A descriptor number is reused as soon as it is closed. The identity tells the engine that what it remembers of
/// the number belongs to another socket and must be forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Source {
    /// The descriptor. The owner of the `Source` keeps it open while an operation uses it.
    pub fd: RawFd,
    /// Unique in this process, never 0.
    pub id: u64,
}

impl Source {
    /// Gives the open descriptor `fd` a new identity. Call it once for each object that owns a descriptor.
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

    /// Whether every direction of `other` is in `self`.
    pub fn contains(self, other: Interest) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether no direction is set.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The directions that are in either.
    pub fn union(self, other: Interest) -> Interest {
        Interest(self.0 | other.0)
    }

    /// The directions of `self` that are not in `other`.
    pub fn without(self, other: Interest) -> Interest {
        Interest(self.0 & !other.0)
    }
}

/// What is asked of the kernel. Each variant is one system call, and its result is that call's: a count, a
/// descriptor or 0, or a negative errno.
///
/// Pointers are valid for the length that stands beside them until the operation has completed.
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
    /// `recv(2)` into a buffer that the engine lends: while there is no data, there is no buffer. A result above 0 is the length of
    /// the buffer that may be taken from the feed, and must be taken before the next such request; `-ENOBUFS` says that all are lent.
    ReceiveProvided { socket: Source, multishot: *const MultishotReceive },
    /// `recvmsg(2)`.
    ReceiveMessage { socket: Source, message: *mut libc::msghdr, flags: i32 },
    /// `sendmsg(2)`. `MSG_NOSIGNAL` is always added.
    SendMessage { socket: Source, message: *const libc::msghdr, flags: i32 },
    /// `read(2)` on something that can make one wait: a pipe or a terminal.
    Read { file: Source, buffer: *mut u8, length: usize },
    /// `write(2)` on something that can make one wait: a pipe or a terminal.
    Write { file: Source, buffer: *const u8, length: usize },
    /// `poll(2)` on one descriptor. The result is a set of `POLLIN`, `POLLOUT`, `POLLERR`, `POLLHUP`.
    Poll { source: Source, interest: Interest },
}

impl Request {
    /// The descriptor that the request is about.
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

    /// The direction that has to become ready before the request can make progress.
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

/// A request, its result, and the one who waits for it.
#[derive(Debug)]
pub struct Operation {
    /// What is asked.
    pub request: Request,
    /// Handed back untouched with the completion: whom to wake.
    waiter: *const (),
    /// The result. Written by the engine, once, before it hands the operation back.
    result: Cell<i32>,
    /// The engine's while in flight: the next operation of the list that this one is on.
    pub(crate) link: Cell<Option<NonNull<Operation>>>,
    /// The engine's while in flight: how far a request of several steps has come.
    pub(crate) step: Cell<u8>,
}

impl Operation {
    /// Prepares `request`. `waiter` comes back with the completion and is not looked at.
    pub fn new(request: Request, waiter: *const ()) -> Operation {
        Operation { request, waiter, result: Cell::new(0), link: Cell::new(None), step: Cell::new(0) }
    }

    /// What the submitter gave to [`Operation::new`].
    pub fn waiter(&self) -> *const () {
        self.waiter
    }

    /// The system call's result, or a negative errno. `-ECANCELED` if a cancel came first. Meaningful only once
    /// the operation has completed.
    pub fn result(&self) -> i32 {
        self.result.get()
    }

    /// For engines: the result, before the operation is handed back.
    pub fn set_result(&self, result: i32) {
        self.result.set(result);
    }
}

/// A first-in first-out list of operations, linked through the operations themselves.
///
/// Whoever pushes an operation keeps it where it is until it is popped; see [`Completed::push`].
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
    /// An empty list.
    pub const fn new() -> Completed {
        Completed { head: None, tail: ptr::null() }
    }

    /// Whether the list has no operation.
    pub fn is_empty(&self) -> bool {
        self.head.is_none()
    }

    /// Puts `operation` at the end.
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

    /// Takes the first operation.
    pub fn pop(&mut self) -> Option<NonNull<Operation>> {
        let first = self.head?;
        // SAFETY: it was pushed and not popped, so it is where it was.
        self.head = unsafe { first.as_ref() }.link.take();
        Some(first)
    }

    /// The first operation, which stays on the list.
    pub fn first(&self) -> Option<NonNull<Operation>> {
        self.head
    }

    /// Takes out `operation`, wherever it stands; false if it is not on the list. Costs a walk.
    pub fn remove(&mut self, operation: NonNull<Operation>) -> bool {
        let mut rest = std::mem::take(self);
        let mut found = false;
        while let Some(next) = rest.pop() {
            if next == operation {
                found = true;
            } else {
                // SAFETY: just popped, so it is on no list. It goes back before anybody could have seen it popped.
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
