//! An engine for tests: it does what the engine inside does, but late, in parts, in another order, and with faults, by a seed.
//!
//! It keeps the contract of `engine.rs`, and tests its callers harder than a quiet machine does. It needs the cargo feature
//! `stress`; with `SWARD_FAULTS=SEED` in the environment, it wraps every engine that is opened. With `SWARD_FAULTS="SEED whole"`,
//! counts and provided buffers stay as they are, for tests that know how many bytes they get.
//!
//! It is also the first foreign engine: it uses what this crate makes public and nothing else of the seam.
//!
//! ```text
//!            submit                  begin                  inner.wait                   wait
//!   (caller) ──────▶ late or begun ────────▶ with the inner ──────────▶ held, for a while ──────▶ handed back, in any order
//!                      │ cancel, now or later                               ▲
//!                      └────────────────────────────────────────────────────┘
//! ```
//!
//! | what | how |
//! |---|---|
//! | late | a request or a cancel reaches the inner engine some waits later; a completion is held for some waits |
//! | out of order | the operations that one wait hands back are shuffled |
//! | in parts | the length of a stream's receive or send is cut, down to one byte |
//! | `ENOBUFS` | at times, no buffer is provided |
//! | `EINTR` | signals interrupt the engine's thread again and again (`faulty/interrupter.rs`), so that the kernel itself returns it |
//! | spurious | a wait returns without having slept |
//!
//! The inner engine never sees the caller's operation, but a *shadow* of it with the altered request. The shadow's waiter is the
//! caller's operation. That one stays where it is until it is handed back, which is after the shadow has completed.

mod dice;
mod interrupter;

use std::collections::HashMap;
use std::io;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use self::dice::Dice;
use self::interrupter::Interrupter;
use crate::abi::{has_file_type, socket_option};
use crate::{
    Completed, Engine, MultishotReceive, Operation, ProvidedBuffer, Request, Source, Submitted, Waker,
};

/// An engine that is late, partial and out of order. The file's head describes it.
pub struct Faulty {
    /// Dropped first. Afterwards the kernel knows no shadow any more.
    inner: Box<dyn Engine>,
    dice: Dice,
    /// Counts are not cut, and buffers not refused.
    whole: bool,
    /// Operations of the inner engine, by the address of the caller's operation.
    shadows: HashMap<NonNull<Operation>, Box<Shadow>>,
    /// Operations that the inner engine has not been told of yet.
    late: Vec<NonNull<Operation>>,
    /// Cancels that the inner engine has not been told of yet.
    cancels: Vec<NonNull<Operation>>,
    /// Operations that are over, each with the number of waits for which it is still held.
    held: Vec<(NonNull<Operation>, u64)>,
    _interrupter: Interrupter,
}

/// What the inner engine works on in place of the caller's operation.
struct Shadow {
    operation: Operation,
    /// The only part of `message`, if the request has been cut.
    part: libc::iovec,
    message: libc::msghdr,
}

impl Faulty {
    /// Wraps `inner`, on the thread that has opened it. The same seed brings the same faults, as far as the kernel allows.
    pub fn new(inner: Box<dyn Engine>, seed: u64) -> Faulty {
        Faulty {
            inner,
            dice: Dice::new(seed),
            whole: false,
            shadows: HashMap::new(),
            late: Vec::new(),
            cancels: Vec::new(),
            held: Vec::new(),
            _interrupter: Interrupter::new(seed),
        }
    }

    /// Leaves counts whole and refuses no buffer.
    #[must_use]
    pub fn whole(self) -> Faulty {
        Faulty { whole: true, ..self }
    }

    /// Wraps `inner` if `SWARD_FAULTS` says so, each with a seed of its own.
    ///
    /// # Panics
    /// The variable does not begin with a number.
    pub(crate) fn wrap(inner: Box<dyn Engine>) -> Box<dyn Engine> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let Ok(faults) = std::env::var("SWARD_FAULTS") else { return inner };
        let (seed, kind) = faults.split_once(' ').unwrap_or((&faults, ""));
        let seed: u64 = seed.parse().expect("SWARD_FAULTS is a number, or a number and `whole`");
        let faulty = Faulty::new(inner, seed << 32 | COUNT.fetch_add(1, Ordering::Relaxed));
        Box::new(Faulty { whole: kind == "whole", ..faulty })
    }

    /// Hands a shadow of `operation` to the inner engine.
    ///
    /// # Safety
    /// As for [`Engine::submit`].
    unsafe fn begin(&mut self, operation: NonNull<Operation>) -> Submitted {
        // SAFETY: a submitted operation stays where it is until it has been handed back.
        let request = unsafe { operation.as_ref() }.request;
        let mut shadow = Box::new(Shadow {
            operation: Operation::new(request, operation.as_ptr().cast_const().cast()),
            part: libc::iovec { iov_base: ptr::null_mut(), iov_len: 0 },
            // SAFETY: null pointers and lengths of 0: all zeroes is a value of it.
            message: unsafe { std::mem::zeroed() },
        });
        if !self.whole && self.dice.one_in(2) {
            // SAFETY: the request's pointers are valid until the operation has been handed back.
            unsafe { shadow.cut(&mut self.dice) };
        }
        let inner_operation = NonNull::from(&shadow.operation);
        self.shadows.insert(operation, shadow);
        // SAFETY: the shadow stays in its box until it has completed, and its request is the caller's or a part of it.
        let submitted = unsafe { self.inner.submit(inner_operation) };
        if submitted == Submitted::Done {
            // SAFETY: it is over just now.
            unsafe { self.end_shadow(operation) };
        }
        submitted
    }

    /// Copies the result of the shadow, which is over, to `operation`.
    ///
    /// # Safety
    /// `operation` is in flight, and its shadow has completed.
    unsafe fn end_shadow(&mut self, operation: NonNull<Operation>) {
        let shadow = self.shadows.remove(&operation).expect("what completes has been begun");
        self.cancels.retain(|&cancelled| cancelled != operation);
        // SAFETY: it is in flight, so it is where it was.
        let original = unsafe { operation.as_ref() };
        // SAFETY: the message is valid until the operation has been handed back.
        unsafe { shadow.copy_back(&original.request) };
        original.set_result(shadow.operation.result());
    }

    fn hold(&mut self, operation: NonNull<Operation>) {
        let waits = if self.dice.one_in(2) { 0 } else { self.dice.below(4) };
        self.held.push((operation, waits));
    }

    /// Tells the inner engine what it has not been told yet.
    fn catch_up(&mut self) {
        for operation in std::mem::take(&mut self.late) {
            if self.dice.one_in(3) {
                self.late.push(operation);
            // SAFETY: the caller of `submit` keeps it valid until it has been handed back.
            } else if unsafe { self.begin(operation) } == Submitted::Done {
                self.hold(operation);
            }
        }
        for operation in std::mem::take(&mut self.cancels) {
            if self.dice.one_in(3) {
                self.cancels.push(operation);
            } else if let Some(shadow) = self.shadows.get(&operation) {
                // SAFETY: what has a shadow is in flight in the inner engine.
                unsafe { self.inner.cancel(NonNull::from(&shadow.operation)) };
            }
        }
    }

    /// Hands back the operations that were held long enough, in random order.
    fn release(&mut self, completed: &mut Completed) {
        let mut free = Vec::new();
        self.held.retain_mut(|(operation, waits)| {
            let is_free = *waits == 0;
            if is_free {
                free.push(*operation);
            }
            *waits = waits.saturating_sub(1);
            !is_free
        });
        while !free.is_empty() {
            let next = free.swap_remove(self.dice.below(free.len() as u64) as usize);
            // SAFETY: it is over and not handed back, so it is where it was; and on no list, since shadows are in its place.
            unsafe { completed.push(next) };
        }
    }
}

impl Engine for Faulty {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    unsafe fn submit(&mut self, operation: NonNull<Operation>) -> Submitted {
        // SAFETY: the caller keeps the operation in place until it has been handed back.
        let submitted = unsafe { operation.as_ref() };
        let is_provided = matches!(submitted.request, Request::ReceiveProvided { .. });
        if is_provided && !self.whole && self.dice.one_in(8) {
            submitted.set_result(-libc::ENOBUFS);
            self.hold(operation);
            return Submitted::Pending;
        }
        if self.dice.one_in(4) {
            self.late.push(operation);
            return Submitted::Pending;
        }
        // SAFETY: the caller's operation is valid until it has been handed back.
        if unsafe { self.begin(operation) } == Submitted::Pending {
            return Submitted::Pending;
        }
        if self.dice.one_in(2) {
            return Submitted::Done;
        }
        self.hold(operation);
        Submitted::Pending
    }

    unsafe fn cancel(&mut self, operation: NonNull<Operation>) {
        if let Some(place) = self.late.iter().position(|&late| late == operation) {
            self.late.remove(place);
            // SAFETY: it is in flight, since it was late.
            unsafe { operation.as_ref() }.set_result(-libc::ECANCELED);
            self.hold(operation);
        } else if let Some(shadow) = self.shadows.get(&operation) {
            if self.dice.one_in(2) {
                // SAFETY: what has a shadow is in flight in the inner engine.
                unsafe { self.inner.cancel(NonNull::from(&shadow.operation)) };
            } else if !self.cancels.contains(&operation) {
                self.cancels.push(operation);
            }
        }
    }

    fn wait(&mut self, timeout: Option<Duration>, completed: &mut Completed) -> io::Result<()> {
        self.catch_up();
        let is_behind = !(self.late.is_empty() && self.cancels.is_empty() && self.held.is_empty());
        let timeout = if is_behind || self.dice.one_in(8) { Some(Duration::ZERO) } else { timeout };
        let mut over = Completed::new();
        let waited = self.inner.wait(timeout, &mut over);
        while let Some(shadow) = over.pop() {
            // SAFETY: the inner engine has handed it back just now, and its box is still there.
            let operation = unsafe { shadow.as_ref() }.waiter().cast::<Operation>().cast_mut();
            let operation = NonNull::new(operation).expect("a shadow's waiter is the caller's operation");
            // SAFETY: its shadow has completed just now.
            unsafe { self.end_shadow(operation) };
            self.hold(operation);
        }
        self.release(completed);
        waited
    }

    fn waker(&self) -> Waker {
        self.inner.waker()
    }

    fn forget(&mut self, source: Source) {
        self.inner.forget(source);
    }

    fn stop_multishot(&mut self, multishot: &MultishotReceive) {
        self.inner.stop_multishot(multishot);
    }

    fn return_buffer(&mut self, buffer: ProvidedBuffer) {
        self.inner.return_buffer(buffer);
    }

    fn system_calls(&self) -> u64 {
        self.inner.system_calls()
    }
}

impl Shadow {
    /// Makes the request ask for less, where the kernel may always return less.
    ///
    /// # Safety
    /// The pointers of the request are valid.
    unsafe fn cut(&mut self, dice: &mut Dice) {
        let source = self.operation.request.source();
        match &mut self.operation.request {
            Request::Receive { length, .. } | Request::Send { length, .. } if is_stream(source) => {
                *length = dice.part_of(*length);
            }
            Request::Read { length, .. } if is_pipe(source) => *length = dice.part_of(*length),
            // Up to `PIPE_BUF`, a write to a pipe is whole or not at all.
            Request::Write { length, .. } if is_pipe(source) && *length > libc::PIPE_BUF => {
                *length = libc::PIPE_BUF + dice.part_of(*length - libc::PIPE_BUF);
            }
            Request::ReceiveMessage { message, .. } if is_stream(source) => {
                // SAFETY: the message is valid.
                if let Some(part) = unsafe { part_of(&**message, dice) } {
                    // SAFETY: the message is valid.
                    (self.part, self.message) = (part, unsafe { **message });
                    *message = &raw mut self.message;
                }
            }
            Request::SendMessage { message, .. } if is_stream(source) => {
                // SAFETY: the message is valid.
                if let Some(part) = unsafe { part_of(&**message, dice) } {
                    // SAFETY: the message is valid.
                    (self.part, self.message) = (part, unsafe { **message });
                    *message = &raw const self.message;
                }
            }
            _ => {}
        }
        self.message.msg_iov = &raw mut self.part;
        self.message.msg_iovlen = 1;
    }

    /// Copies what the kernel has written to our message to the caller's.
    ///
    /// # Safety
    /// `request` is the one that this is the shadow of, and its message is valid.
    unsafe fn copy_back(&self, request: &Request) {
        if let (Request::ReceiveMessage { message: original, .. }, Request::ReceiveMessage { message, .. }) =
            (request, &self.operation.request)
            && original != message
        {
            // SAFETY: the original is valid, and nobody else writes to it before the operation has been handed back.
            let original = unsafe { &mut **original };
            original.msg_namelen = self.message.msg_namelen;
            original.msg_controllen = self.message.msg_controllen;
            original.msg_flags = self.message.msg_flags;
        }
    }
}

/// Returns the beginning of the first part of a message without control data.
///
/// # Safety
/// The message is valid, and so is what it points to.
unsafe fn part_of(message: &libc::msghdr, dice: &mut Dice) -> Option<libc::iovec> {
    if !message.msg_control.is_null() || message.msg_iovlen == 0 {
        return None;
    }
    // SAFETY: a valid message has so many parts there.
    let parts = unsafe { std::slice::from_raw_parts(message.msg_iov, message.msg_iovlen as _) };
    let first = parts.iter().find(|part| part.iov_len > 0)?;
    Some(libc::iovec { iov_base: first.iov_base, iov_len: dice.part_of(first.iov_len) })
}

fn is_stream(source: Source) -> bool {
    socket_option(source.fd, libc::SO_TYPE) == Some(libc::SOCK_STREAM)
}

fn is_pipe(source: Source) -> bool {
    has_file_type(source.fd, libc::S_IFIFO)
}
