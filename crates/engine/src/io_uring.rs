//! The io_uring engine: the seam's own shape, so it mostly translates.
//!
//! The address of an [`Operation`] is the `user_data` of its request; the kernel hands it back with the result, and
//! writes straight into the caller's buffer. Requests gather until [`wait`](Engine::wait), where one system call hands them
//! over, sleeps and makes completions.
//!
//! ```text
//!   user_data:  address of an operation       its request, or the poll that stands in for it
//!               address of an operation | 1   a cancel of it that failed (one that succeeds is silent)
//!               2                             a wake
//!               4                             nothing that matters
//!               a feed's place · 8 | 2        its receive, which stays armed (`multishot_receives.rs`)
//!               a feed's place · 8 | 3        a request to stop it
//! ```
//!
//! The states of an operation, which `Operation::step` holds:
//!
//! ```text
//!                       -EAGAIN, -EINPROGRESS, -EALREADY
//!   submit ──▶ requested ───────────────────────────────▶ polling
//!                │   ▲  ▲                                  │   │
//!                │   │  └────────────── ready ─────────────┘   │
//!                │   └─ -EINTR                                 │ error
//!                ▼                                             ▼
//!              over ◀──────────────────────────────────────────┘
//! ```
//!
//! The kernel itself waits until a request can be done, but not on a descriptor that is `O_NONBLOCK` (listeners are):
//! there it says `EAGAIN`, and we wait by a poll and ask again. A cancelled operation never goes round: where the picture
//! has an arrow back, it is over with `-ECANCELED`.
//!
//! Cancel. The kernel looks for the operation among those that sleep. One that it is just trying again it does not
//! find (`-ENOENT`) though it may go to sleep after all, so the cancel is repeated for as long as the operation is in
//! [`IoUring::cancelled`]. An address may be used again by another operation once it is off that set. That is
//! harmless: the kernel takes requests in order, so a cancel that was queued before the address was reused
//! is over before the new operation begins.
//!
//! Ends: whoever drops the engine has collected every completion. If not, the drop does, since the kernel would
//! go on writing into memory that is no longer there.

mod buffer_ring;
mod encode;
mod multishot_receives;
mod notifier;
mod ring;
mod stop_requests;

use std::cell::OnceCell;
use std::collections::HashSet;
use std::io;
use std::mem;
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::time::Duration;

use ::io_uring::squeue::{Entry, Flags};
use ::io_uring::{cqueue, opcode, types};

use crate::engine::{Engine, Submitted, Waker};
use crate::io_uring::buffer_ring::BufferRing;
use crate::io_uring::encode::encode;
use crate::io_uring::multishot_receives::{Delivered, MultishotReceives};
use crate::io_uring::notifier::Notifier;
use crate::io_uring::ring::Ring;
use crate::io_uring::stop_requests::StopRequests;
use crate::kind::EngineKind;
use crate::multishot_receive::MultishotReceive;
use crate::open_error::OpenError;
use crate::operation::{Completed, Operation, Request};
use crate::perform::perform;
use crate::provided_buffer::ProvidedBuffer;

pub use crate::io_uring::stop_requests::abandon_receives;

/// The `user_data` of a wake. No operation has this address.
const WAKER: u64 = 2;

/// The `user_data` of a request whose completion says nothing. No operation has this address.
const IGNORED: u64 = 4;

/// Set in the `user_data` of a feed's receive. Operations are aligned to more than two bytes, so no address has it.
const MULTISHOT: u64 = 2;

/// Set in the `user_data` of a cancel. Operations are aligned to more than a byte, so no address has it.
const CANCEL: u64 = 1;

/// In [`Operation::step`]: not the request itself is with the kernel, but a poll that says when to make it again.
const POLLING: u8 = 1;

/// In [`Operation::step`]: a cancel was asked for.
const CANCELLED: u8 = 2;

/// In [`Operation::step`]: the result is there, and only waits to be handed back.
const OVER: u8 = 4;

/// True asynchronous I/O. One ring, for the thread that opened it.
pub(crate) struct IoUring {
    ring: Ring,
    /// Operations that were submitted and whose completion was not yet collected.
    in_flight: usize,
    /// Collected outside of a wait, to make room. For the next wait to hand back.
    early: Completed,
    /// To be given to the kernel once more, when there is room.
    again: Completed,
    /// In flight, and asked to end.
    cancelled: HashSet<NonNull<Operation>>,
    /// Operations that a cancel did not find. Those still in `cancelled` are cancelled again.
    missed: HashSet<NonNull<Operation>>,
    /// Registered when the first lent receive comes. `None` inside: the kernel cannot.
    buffers: OnceCell<Option<BufferRing>>,
    multishots: MultishotReceives,
    stop_requests: Arc<StopRequests>,
    notifier: Notifier,
    /// A wake has been collected, and no wait has ended for it yet.
    woken: bool,
    /// How many operations the last wait handed back.
    handed_back: usize,
}

impl IoUring {
    /// Opens a ring for the calling thread.
    pub(crate) fn open() -> Result<IoUring, OpenError> {
        let mut ring = Ring::open()?;
        let notifier = Notifier::open(&mut ring)
            .map_err(|cause| OpenError::new(EngineKind::IoUring, "eventfd", cause))?;
        Ok(IoUring::new(ring, notifier))
    }

    fn new(ring: Ring, notifier: Notifier) -> IoUring {
        IoUring {
            ring,
            in_flight: 0,
            early: Completed::new(),
            again: Completed::new(),
            cancelled: HashSet::new(),
            missed: HashSet::new(),
            buffers: OnceCell::new(),
            multishots: MultishotReceives::new(),
            stop_requests: StopRequests::open(notifier.waker()),
            notifier,
            woken: false,
            handed_back: 0,
        }
    }

    /// Whether a plain system call does better than a request by the ring, even if it should say "not yet".
    fn is_better_called(&self, request: &Request) -> bool {
        match request {
            // By the ring, a busy worker would accept one connection in a pass over all the others. So it takes what waits
            // at once (the listener is `O_NONBLOCK`), and otherwise waits by a poll.
            Request::Accept { .. } => true,
            // There is room almost always. By the ring, many sends share one call, and that is cheaper; one that has nobody to
            // share it with pays for two ways through the ring, and for two switches.
            Request::Send { .. } | Request::SendMessage { .. } => self.handed_back <= 1,
            _ => false,
        }
    }

    /// Queues a request, and makes room first where there is none.
    ///
    /// # Panics
    /// The kernel takes nothing more, for a reason that will not pass.
    ///
    /// # Safety
    /// As for [`Ring::push`].
    unsafe fn push(&mut self, entry: &Entry) {
        // SAFETY: what the entry points to stays valid until its completion has been collected.
        while unsafe { self.ring.push(entry) }.is_err() {
            if let Err(error) = self.enter(0, None) {
                panic!("io_uring takes no more requests: {error}");
            }
            // The kernel may refuse to take requests as long as too many completions lie there.
            let mut early = mem::take(&mut self.early);
            self.collect(&mut early);
            self.early = early;
        }
    }

    /// Enters the kernel. Reasons to come back early that pass by themselves are no errors.
    fn enter(&mut self, least: u32, timeout: Option<Duration>) -> io::Result<()> {
        match self.ring.enter(least, timeout) {
            Ok(_) => Ok(()),
            Err(error) => match error.raw_os_error() {
                Some(libc::ETIME | libc::EINTR | libc::EBUSY | libc::EAGAIN) => Ok(()),
                _ => Err(error),
            },
        }
    }

    /// Takes every completion that is there, and appends the operations that are over. Enters no kernel and queues no
    /// request, so that it can run when there is no room for one.
    fn collect(&mut self, completed: &mut Completed) {
        let mut system_calls = 0;
        for entry in self.ring.completions() {
            let (data, result) = (entry.user_data(), entry.result());
            if data == WAKER {
                self.woken = true;
                system_calls += self.notifier.answer();
                continue;
            }
            if data == IGNORED {
                continue;
            }
            if data & MULTISHOT != 0 {
                let buffers = pool(&mut self.buffers).expect("a multishot is armed with buffers");
                // SAFETY: it has been taken from the ring just now.
                match unsafe { self.multishots.deliver(&entry, buffers) } {
                    Delivered::Nothing => {}
                    Delivered::Answered(operation, result) => {
                        self.in_flight -= 1;
                        // SAFETY: it has waited at the feed, so it is in flight and on no list.
                        unsafe {
                            end(operation.as_ref(), result);
                            completed.push(operation);
                        }
                    }
                    Delivered::Alone(operation) => {
                        // SAFETY: it has waited at the feed, so it is in flight and on no list.
                        unsafe {
                            operation.as_ref().step.set(POLLING);
                            self.again.push(operation);
                        }
                    }
                }
                continue;
            }
            let address = ptr::with_exposed_provenance_mut::<Operation>((data & !CANCEL) as usize);
            let operation = NonNull::new(address).expect("every request has an address or a number");
            if data & CANCEL != 0 {
                if result == -libc::ENOENT && self.cancelled.contains(&operation) {
                    self.missed.insert(operation);
                }
                continue;
            }
            // SAFETY: it was in flight until now and has not been handed back, so it is where it was.
            let over = unsafe { operation.as_ref() };
            let lacks_buffer = match over.request {
                // SAFETY: what the request of an operation in flight points to is valid. The entry comes from our ring, just now.
                Request::ReceiveProvided { multishot, .. } => unsafe {
                    hand_over(pool(&mut self.buffers), &entry, &*multishot)
                },
                _ => false,
            };
            let list = match settle(over, if lacks_buffer { -libc::EINTR } else { result }) {
                Settled::Again => &mut self.again,
                Settled::Over { was_cancelled } => {
                    self.in_flight -= 1;
                    if was_cancelled {
                        self.cancelled.remove(&operation);
                    }
                    &mut *completed
                }
            };
            // SAFETY: it was with the kernel, so on no list, and is where it was until it has been handed back.
            unsafe { list.push(operation) };
        }
        self.ring.system_calls += system_calls;
    }

    /// Queues what the engine itself wants from the kernel: operations once more, cancels once more, the waker.
    fn replenish(&mut self) {
        if let Some(buffers) = pool(&mut self.buffers) {
            buffers.forget_promises();
        }
        let mut again = mem::take(&mut self.again);
        while let Some(operation) = again.pop() {
            // SAFETY: it is in flight, so it stays where it is.
            let waiting = unsafe { operation.as_ref() };
            if waiting.step.get() & CANCELLED == 0 {
                // SAFETY: it is in flight, so its request's pointers are valid until its completion.
                unsafe { self.push(&encode(operation)) };
            } else {
                // It was cancelled between two requests, when the kernel did not know of it.
                end(waiting, -libc::ECANCELED);
                self.cancelled.remove(&operation);
                self.in_flight -= 1;
                // SAFETY: it was popped just now, and stays where it is until it has been handed back.
                unsafe { self.early.push(operation) };
            }
        }
        for operation in mem::take(&mut self.missed) {
            if self.cancelled.contains(&operation) {
                self.push_cancel(operation);
            }
        }
        for request in self.multishots.requests() {
            // SAFETY: it points to nothing; the kernel writes into the buffers that it has been given.
            unsafe { self.push(&request) };
        }
        if let Some(request) = self.notifier.watch() {
            // SAFETY: it has no pointers.
            unsafe { self.push(&request) };
        }
    }

    /// Whether there are buffers to lend.
    fn can_provide(&mut self) -> bool {
        self.buffers.get_or_init(|| BufferRing::register(&self.ring).ok()).is_some()
    }

    /// Begins a receive at a feed: takes what is there, or waits for what will come.
    ///
    /// # Safety
    /// As for [`Engine::submit`]. `feed` is that of the operation's request.
    unsafe fn submit_multishot(
        &mut self,
        operation: NonNull<Operation>,
        multishot: &MultishotReceive,
    ) -> Submitted {
        // SAFETY: a submitted operation stays where it is until it has been handed back.
        let begun = unsafe { operation.as_ref() };
        if let Some(result) = multishot.0.answer() {
            begun.set_result(result);
            return Submitted::Done;
        }
        debug_assert!(multishot.0.waiting.get().is_none(), "a multishot is for one reader");
        multishot.0.waiting.set(Some(operation));
        self.in_flight += 1;
        if !multishot.0.is_armed() {
            let request = self.multishots.arm(&multishot.0, begun.request.source());
            // SAFETY: it points to nothing; the kernel writes into the buffers that it has been given.
            unsafe { self.push(&request) };
        }
        Submitted::Pending
    }

    fn push_cancel(&mut self, operation: NonNull<Operation>) {
        let address = address_of(operation);
        let mut entry = opcode::AsyncCancel::new(address).build().user_data(address | CANCEL);
        if self.ring.parameters().is_feature_skip_cqe_on_success() {
            entry = entry.flags(Flags::SKIP_SUCCESS);
        }
        // SAFETY: a cancel has no pointers; the address is only compared.
        unsafe { self.push(&entry) };
    }
}

impl Engine for IoUring {
    fn name(&self) -> &'static str {
        EngineKind::IoUring.name()
    }

    unsafe fn submit(&mut self, operation: NonNull<Operation>) -> Submitted {
        // SAFETY: a submitted operation stays where it is until it has been handed back.
        let begun = unsafe { operation.as_ref() };
        begun.step.set(0);
        if let Request::ReceiveProvided { multishot, .. } = begun.request {
            if !self.can_provide() {
                begun.set_result(-libc::ENOBUFS);
                return Submitted::Done;
            }
            if self.ring.has_multishot() {
                // SAFETY: the caller of `submit` keeps the operation and what its request names, the feed, in place.
                return unsafe { self.submit_multishot(operation, &*multishot) };
            }
        }
        if self.is_better_called(&begun.request) {
            self.ring.system_calls += 1;
            // SAFETY: a submitted request's pointers are valid.
            if let Some(result) = unsafe { perform(&begun.request, &begun.step) } {
                begun.set_result(result);
                return Submitted::Done;
            }
            if matches!(begun.request, Request::Accept { .. }) {
                begun.step.set(POLLING);
            }
        }
        // SAFETY: a submitted request's pointers are valid until its operation has been handed back.
        unsafe { self.push(&encode(operation)) };
        self.in_flight += 1;
        Submitted::Pending
    }

    unsafe fn cancel(&mut self, operation: NonNull<Operation>) {
        // SAFETY: it was submitted and has not been handed back, so it is where it was.
        let Operation { request, step, .. } = unsafe { operation.as_ref() };
        if let Request::ReceiveProvided { multishot, .. } = *request
            // SAFETY: what the request of an operation in flight points to, the feed, is valid.
            && let waiting = &unsafe { &*multishot }.0.waiting
            && waiting.get() == Some(operation)
        {
            // The kernel does not know of it, and the feed goes on.
            waiting.set(None);
            // SAFETY: it has not been handed back, so it is where it was.
            end(unsafe { operation.as_ref() }, -libc::ECANCELED);
            self.in_flight -= 1;
            // SAFETY: it has waited at the feed, so it is on no list, and it stays where it is until it has been handed back.
            return unsafe { self.early.push(operation) };
        }
        if step.get() & (CANCELLED | OVER) == 0 {
            step.set(step.get() | CANCELLED);
            self.cancelled.insert(operation);
            self.push_cancel(operation);
        }
    }

    fn wait(&mut self, timeout: Option<Duration>, completed: &mut Completed) -> io::Result<()> {
        for socket in self.stop_requests.take() {
            self.multishots.abandon(socket);
        }
        self.replenish();
        let looks_only = timeout == Some(Duration::ZERO)
            || !self.early.is_empty()
            || !self.again.is_empty()
            || !self.missed.is_empty()
            || self.multishots.has_requests()
            || self.woken
            || !self.ring.completions().is_empty();
        if !looks_only {
            self.enter(1, timeout)?;
        } else if self.ring.wants_enter() {
            self.enter(0, None)?;
        }
        // The descriptor of an operation that has been handed back may be closed, and the request that arms its feed name the
        // next one with that number. So the kernel takes what is queued first.
        if !self.early.is_empty() && !self.ring.has_queued() {
            completed.append(&mut self.early);
        }
        let in_flight = self.in_flight;
        self.collect(completed);
        self.handed_back = in_flight - self.in_flight;
        self.woken = false;
        Ok(())
    }

    fn waker(&self) -> Waker {
        self.notifier.waker()
    }

    fn stop_multishot(&mut self, multishot: &MultishotReceive) {
        let mut early = mem::take(&mut self.early);
        // Each time round, since the kernel does not find a request that it is just trying again.
        while let Some(request) = MultishotReceives::stop(&multishot.0) {
            // SAFETY: a cancel has no pointers.
            unsafe { self.push(&request) };
            if self.enter(1, Some(LAST_COMPLETION_WAIT)).is_err() {
                break;
            }
            self.collect(&mut early);
        }
        self.early.append(&mut early);
    }

    fn return_buffer(&mut self, buffer: ProvidedBuffer) {
        if let Some(buffers) = pool(&mut self.buffers) {
            buffers.reclaim(buffer);
        }
    }

    fn system_calls(&self) -> u64 {
        self.ring.system_calls
    }
}

impl Drop for IoUring {
    fn drop(&mut self) {
        self.stop_requests.close();
        let mut completed = Completed::new();
        while self.in_flight > 0 || self.multishots.armed() > 0 {
            while self.again.pop().is_some() {
                self.in_flight -= 1;
            }
            self.in_flight -= self.multishots.give_up();
            // Kernels before 5.19 do not know this cancel. There we wait until all is over by itself.
            let everything = opcode::AsyncCancel2::new(types::CancelBuilder::any());
            // A full ring is submitted below, and the cancel comes the next time round.
            // SAFETY: a cancel has no pointers.
            let _ = unsafe { self.ring.push(&everything.build().user_data(IGNORED)) };
            let is_left = self.in_flight > 0 || self.multishots.armed() > 0;
            if is_left && self.enter(1, Some(LAST_COMPLETION_WAIT)).is_err() {
                // The kernel holds buffers that are about to be freed, and there is no way to take them back.
                std::process::abort();
            }
            self.collect(&mut completed);
        }
        if pool(&mut self.buffers).is_some() && self.ring.unregister_buffers(buffer_ring::GROUP).is_err() {
            // The kernel still knows the block of entries. Losing it is better than freeing it.
            mem::forget(self.buffers.take());
        }
    }
}

/// How long the kernel is waited for before it is asked once more for what must come.
const LAST_COMPLETION_WAIT: Duration = Duration::from_millis(10);

/// What a completion means for its operation.
enum Settled {
    /// The kernel has to be asked once more.
    Again,
    /// The result is in it. `was_cancelled`: a cancel was asked for, whether or not it came first.
    Over { was_cancelled: bool },
}

/// One step in the picture at the head of this file.
fn settle(operation: &Operation, result: i32) -> Settled {
    let step = operation.step.get();
    let was_cancelled = step & CANCELLED != 0;
    let next = match (step & POLLING != 0, -result) {
        (true, ..=0) => Some(step & !POLLING),
        (_, libc::EINTR) => Some(step),
        // `EALREADY`: an earlier connect of the socket was cancelled, and goes on.
        (false, libc::EINPROGRESS | libc::EALREADY) => Some(step | POLLING),
        // Of a connect, this is an answer: there is no local port left.
        (false, libc::EAGAIN) if !matches!(operation.request, Request::Connect { .. }) => {
            Some(step | POLLING)
        }
        _ => None,
    };
    match next {
        Some(step) if !was_cancelled => {
            operation.step.set(step);
            return Settled::Again;
        }
        Some(_) => end(operation, -libc::ECANCELED),
        None if result > 0 && matches!(operation.request, Request::Poll { .. }) => {
            end(operation, result & POLL_ANSWERS);
        }
        None => end(operation, result),
    }
    Settled::Over { was_cancelled }
}

fn pool(buffers: &mut OnceCell<Option<BufferRing>>) -> Option<&mut BufferRing> {
    buffers.get_mut()?.as_mut()
}

/// Puts the buffer that the kernel has picked for a lent receive where the reader looks for it. True: there was none to pick,
/// but now there are more, so the kernel is to be asked once more.
///
/// # Safety
/// The entry comes from the ring, and is taken in for the first time.
unsafe fn hand_over(
    buffers: Option<&mut BufferRing>,
    entry: &cqueue::Entry,
    multishot: &MultishotReceive,
) -> bool {
    let Some(buffers) = buffers else { return false };
    match (cqueue::buffer_select(entry.flags()), entry.result()) {
        // SAFETY: a completion of the ring, taken in for the first time, says so.
        (Some(id), 1..) => multishot.0.push(unsafe { buffers.filled(id, entry.result() as usize) }),
        // SAFETY: a completion of the ring, taken in for the first time, says that there is nothing in it.
        (Some(id), _) => unsafe { buffers.put_back(id) },
        (None, result) => return result == -libc::ENOBUFS && buffers.promise(),
    }
    false
}

fn end(operation: &Operation, result: i32) {
    operation.set_result(result);
    operation.step.set(OVER);
}

/// What the result of a [`Request::Poll`] may have.
const POLL_ANSWERS: i32 = (libc::POLLIN | libc::POLLOUT | libc::POLLERR | libc::POLLHUP) as i32;

fn address_of(operation: NonNull<Operation>) -> u64 {
    operation.as_ptr().expose_provenance() as u64
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;
    use std::os::unix::net::UnixStream;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;

    use super::*;
    use crate::operation::Source;

    /// A lost wake leaves it waiting for ever; one that is noticed twice would let a round go by for nothing.
    fn no_wake_is_lost(mut engine: IoUring) {
        const WAKES: usize = 1000;
        let seen = Arc::new(AtomicUsize::new(0));
        let ringer = thread::spawn({
            let (waker, seen) = (engine.waker(), seen.clone());
            move || {
                for wake in 0..WAKES {
                    waker.wake();
                    while seen.load(Ordering::SeqCst) <= wake {
                        thread::yield_now();
                    }
                }
            }
        });
        let mut completed = Completed::new();
        for wake in 1..=WAKES {
            engine.wait(None, &mut completed).unwrap();
            seen.store(wake, Ordering::SeqCst);
        }
        ringer.join().unwrap();
        let waker = engine.waker();
        drop(engine);
        waker.wake();
    }

    #[test]
    fn wakes_come_by_message_where_the_kernel_can_and_by_descriptor_everywhere() {
        let Ok(mut ring) = Ring::open() else { return println!("no io_uring here") };
        match Notifier::by_message(&mut ring) {
            Ok(notifier) => no_wake_is_lost(IoUring::new(ring, notifier)),
            Err(error) => println!("no messages between rings here: {error}"),
        }
        no_wake_is_lost(IoUring::new(Ring::open().unwrap(), Notifier::by_descriptor().unwrap()));
    }

    /// The kernel does not know the feed yet when it is asked to stop it.
    #[test]
    fn a_stop_that_has_missed_is_sent_again() {
        let Ok(mut engine) = IoUring::open() else { return println!("no io_uring here") };
        if !engine.can_provide() || !engine.ring.has_multishot() {
            return println!("no multishots here");
        }
        let (near, _far) = UnixStream::pair().unwrap();
        let (multishot, socket) = (MultishotReceive::new(), Source::new(near.as_raw_fd()));
        let request = engine.multishots.arm(&multishot.0, socket);
        abandon_receives(socket);
        let mut completed = Completed::new();
        engine.wait(Some(Duration::ZERO), &mut completed).unwrap();
        // SAFETY: it points to nothing.
        unsafe { engine.push(&request) };
        for _ in 0..10 {
            engine.wait(Some(Duration::ZERO), &mut completed).unwrap();
        }
        assert!(!multishot.0.is_armed());
    }
}
