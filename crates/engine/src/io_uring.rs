//! The io_uring engine. io_uring has the seam's own shape, so this file mostly translates.
//!
//! The address of an [`Operation`] is the `user_data` of its request. The kernel hands it back with the result, and writes
//! straight into the caller's buffer. Requests gather until [`wait`](Engine::wait), where one system call hands them over,
//! sleeps and makes completions. `submit` never enters the ring's kernel side: what finds the ring full goes to a list that
//! `wait` flushes.
//!
//! An operation that was submitted and not handed back is in one of three places:
//!
//! | place | it got there by | it leaves by |
//! |---|---|---|
//! | the kernel, or queued for it in the ring or in `overflow` | `submit`; a completion that says "once more" (`progress.rs`) | its completion: handed back by the `wait` that collects it |
//! | a multishot receive (`multishot_receives.rs`) | `submit` of a [`Request::ReceiveProvided`] | data or the end; a cancel; "single shot", which goes to the kernel |
//! | `early`: over, but not in a `wait` | a cancel at a multishot receive; a completion that `stop_multishot` found | the next `wait` that has no request queued |
//!
//! Three lists hold no operations, only something to do for the kernel's sake: `overflow` (requests that found no room),
//! `cancelled` (the addresses of operations to cancel again if the kernel does not find them) and [`StopRequests`] (from other
//! threads).
//!
//! Cancel. The kernel looks for the operation among those that sleep. It does not find one that it is just trying again
//! (`-ENOENT`), though that one may go to sleep after all. So the cancel is repeated as long as the operation is in
//! [`IoUring::cancelled`]. Once it is not, another operation may use its address. That is harmless: the kernel takes requests in
//! order, so it has dealt with a cancel that was queued before the address was reused when the new operation begins.
//!
//! Ends: whoever drops the engine has collected every completion. If not, the drop does, since the kernel would otherwise write
//! to memory that is no longer there.

mod buffer_ring;
mod encode;
mod multishot_receives;
mod notifier;
mod progress;
mod ring;
mod stop_requests;
mod user_data;

use std::cell::OnceCell;
use std::collections::{HashSet, VecDeque};
use std::io;
use std::mem;
use std::ptr::NonNull;
use std::sync::Arc;
use std::time::Duration;

use ::io_uring::squeue::{Entry, Flags};
use ::io_uring::{cqueue, opcode, types};

use crate::engine::{Engine, Submitted, Waker};
use crate::io_uring::buffer_ring::BufferRing;
use crate::io_uring::encode::encode;
use crate::io_uring::multishot_receives::{Delivered, MultishotReceives};
use crate::io_uring::notifier::Notifier;
use crate::io_uring::progress::{CANCELLED, OVER, POLLING, Progress, advance, end};
use crate::io_uring::ring::Ring;
use crate::io_uring::stop_requests::StopRequests;
use crate::io_uring::user_data::Completes;
use crate::kind::EngineKind;
use crate::multishot_receive::MultishotReceive;
use crate::open_error::OpenError;
use crate::operation::{Completed, Operation, Request};
use crate::perform::perform;
use crate::provided_buffer::ProvidedBuffer;

pub use crate::io_uring::stop_requests::abandon_receives;

/// Opens the engine.
pub(crate) fn open() -> Result<Box<dyn Engine>, OpenError> {
    Ok(Box::new(IoUring::open()?))
}

/// True asynchronous I/O. One ring, for the thread that opened it.
struct IoUring {
    ring: Ring,
    /// Requests that found no room in the ring, in order. While there are any, every request goes behind them.
    overflow: VecDeque<Entry>,
    /// Operations that were submitted and whose completion was not yet collected.
    in_flight: usize,
    /// Operations that ended outside of a wait, for the next wait to hand back.
    early: Completed,
    /// Operations with the kernel that were asked to end.
    cancelled: HashSet<NonNull<Operation>>,
    /// The flags of a request to cancel: a cancel that succeeds is silent, where the kernel can be.
    cancel_flags: Flags,
    /// Registered by the first receive into a provided buffer. `None` inside: the kernel cannot.
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
    fn open() -> Result<IoUring, OpenError> {
        let mut ring = Ring::open()?;
        let failed = |cause| OpenError::new(EngineKind::IoUring, "eventfd", cause);
        let notifier = Notifier::open(&mut ring).map_err(failed)?;
        Ok(IoUring::new(ring, notifier))
    }

    fn new(ring: Ring, notifier: Notifier) -> IoUring {
        let is_silent = ring.parameters().is_feature_skip_cqe_on_success();
        IoUring {
            cancel_flags: if is_silent { Flags::SKIP_SUCCESS } else { Flags::empty() },
            ring,
            overflow: VecDeque::new(),
            in_flight: 0,
            early: Completed::new(),
            cancelled: HashSet::new(),
            buffers: OnceCell::new(),
            multishots: MultishotReceives::new(),
            stop_requests: StopRequests::open(notifier.waker()),
            notifier,
            woken: false,
            handed_back: 0,
        }
    }

    /// Returns whether a plain system call does better than a request by the ring, even if it should say "not yet".
    fn is_better_called(&self, request: &Request) -> bool {
        match request {
            // By the ring, a busy worker would accept one connection in a pass over all the others. So it takes what waits
            // at once (the listener is `O_NONBLOCK`), and otherwise waits by a poll.
            Request::Accept { .. } => true,
            // There is room almost always. By the ring, many sends share one call, which is cheaper. A send with nobody to share it
            // pays for two ways through the ring and for two switches.
            Request::Send { .. } | Request::SendMessage { .. } => self.handed_back <= 1,
            _ => false,
        }
    }

    /// Queues a request for the next [`flush`](IoUring::flush). It does not enter the kernel.
    ///
    /// # Safety
    /// As for [`Ring::push`].
    unsafe fn push(&mut self, entry: Entry) {
        // SAFETY: what the entry points to stays valid until its completion has been collected.
        if !self.overflow.is_empty() || unsafe { self.ring.push(&entry) }.is_err() {
            self.overflow.push_back(entry);
        }
    }

    /// Moves requests from `overflow` to the ring, in order. Returns whether all found room.
    fn refill(&mut self) -> bool {
        while let Some(entry) = self.overflow.front() {
            // SAFETY: whoever pushed it keeps what it points to valid until its completion has been collected.
            if unsafe { self.ring.push(entry) }.is_err() {
                return false;
            }
            self.overflow.pop_front();
        }
        true
    }

    /// Moves all requests to the ring, and has the kernel take what is there as long as they do not fit.
    fn flush(&mut self, completed: &mut Completed) -> io::Result<()> {
        while !self.refill() {
            self.enter(0, None)?;
            // The kernel may refuse to take requests as long as too many completions lie there.
            self.collect(completed);
        }
        Ok(())
    }

    /// Enters the kernel. A reason to come back early that passes by itself is no error.
    fn enter(&mut self, least: u32, timeout: Option<Duration>) -> io::Result<()> {
        match self.ring.enter(least, timeout) {
            Ok(_) => Ok(()),
            Err(error) => match error.raw_os_error() {
                Some(libc::ETIME | libc::EINTR | libc::EBUSY | libc::EAGAIN) => Ok(()),
                _ => Err(error),
            },
        }
    }

    /// Takes every completion that is there, appends the operations that are over, and queues the requests that follow. It does
    /// not enter the kernel.
    fn collect(&mut self, completed: &mut Completed) {
        let mut system_calls = 0;
        for entry in self.ring.completions() {
            match Completes::decode(entry.user_data()) {
                Completes::Wake => {
                    self.woken = true;
                    system_calls += self.notifier.answer();
                }
                Completes::Nothing => {}
                Completes::Operation(operation) => {
                    // SAFETY: it was in flight until now and has not been handed back, so it is where it was.
                    let over = unsafe { operation.as_ref() };
                    let lacks_buffer = match over.request {
                        // SAFETY: what the request of an operation in flight points to is valid. The entry comes from our ring, just now.
                        Request::ReceiveProvided { multishot, .. } => unsafe {
                            take_buffer(provided(&mut self.buffers), &entry, &*multishot)
                        },
                        _ => false,
                    };
                    match advance(over, if lacks_buffer { -libc::EINTR } else { entry.result() }) {
                        // SAFETY: it is in flight, so it and its request's pointers are valid until its completion.
                        Progress::Again => self.overflow.push_back(unsafe { encode(operation) }),
                        Progress::Over { was_cancelled } => {
                            self.in_flight -= 1;
                            if was_cancelled {
                                self.cancelled.remove(&operation);
                            }
                            // SAFETY: it was with the kernel, so on no list, and is where it was until it has been handed back.
                            unsafe { completed.push(operation) };
                        }
                    }
                }
                Completes::Cancel(operation) => {
                    if entry.result() == -libc::ENOENT && self.cancelled.contains(&operation) {
                        self.overflow.push_back(cancel(operation, self.cancel_flags));
                    }
                }
                Completes::Multishot(slot) => {
                    let buffers =
                        provided(&mut self.buffers).expect("a multishot receive is armed with buffers");
                    // SAFETY: it has been taken from the ring just now.
                    match unsafe { self.multishots.deliver(slot, &entry, buffers) } {
                        Delivered::Nothing => {}
                        Delivered::Request(request) => self.overflow.push_back(request),
                        Delivered::Answered(operation, result) => {
                            self.in_flight -= 1;
                            // SAFETY: it has waited at the receive, so it is in flight and on no list.
                            unsafe {
                                end(operation.as_ref(), result);
                                completed.push(operation);
                            }
                        }
                        Delivered::SingleShot(operation) => {
                            // SAFETY: it has waited at the receive, so it is in flight.
                            self.overflow.push_back(unsafe {
                                operation.as_ref().step().set(POLLING);
                                encode(operation)
                            });
                        }
                    }
                }
                Completes::Stop(slot) => self.overflow.extend(self.multishots.stopped(slot, entry.result())),
            }
        }
        self.ring.system_calls += system_calls;
        self.refill();
    }

    /// Queues what the engine itself wants from the kernel: that multishot receives stop, and the next wake.
    fn push_own_requests(&mut self) {
        if let Some(buffers) = provided(&mut self.buffers) {
            buffers.forget_promises();
        }
        let mut slots = self.multishots.take_full();
        for socket in self.stop_requests.take() {
            slots.extend(self.multishots.slots_of(socket));
        }
        for slot in slots {
            self.push_stop(slot);
        }
        if let Some(request) = self.notifier.watch() {
            // SAFETY: a poll has no pointers.
            unsafe { self.push(request) };
        }
    }

    /// Asks the kernel to stop a multishot receive.
    fn push_stop(&mut self, slot: u32) {
        if let Some(request) = self.multishots.stop(slot) {
            // SAFETY: a cancel has no pointers.
            unsafe { self.push(request) };
        }
    }

    /// Returns whether there are buffers to provide.
    fn can_provide(&mut self) -> bool {
        self.buffers.get_or_init(|| BufferRing::register(&self.ring).ok()).is_some()
    }

    /// Begins an operation at a multishot receive: takes what is there, or waits for what will come.
    ///
    /// # Safety
    /// As for [`Engine::submit`]. `multishot` is that of the operation's request.
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
        self.in_flight += 1;
        if let Some(request) = self.multishots.wait(&multishot.0, begun.request.source(), operation) {
            // SAFETY: it points to nothing; the kernel writes into the buffers that it has been given.
            unsafe { self.push(request) };
        }
        Submitted::Pending
    }
}

impl Engine for IoUring {
    fn name(&self) -> &'static str {
        EngineKind::IoUring.name()
    }

    unsafe fn submit(&mut self, operation: NonNull<Operation>) -> Submitted {
        // SAFETY: a submitted operation stays where it is until it has been handed back.
        let begun = unsafe { operation.as_ref() };
        begun.step().set(0);
        if let Request::ReceiveProvided { multishot, .. } = begun.request {
            if !self.can_provide() {
                begun.set_result(-libc::ENOBUFS);
                return Submitted::Done;
            }
            if self.ring.has_multishot() {
                // SAFETY: the caller of `submit` keeps in place the operation and the receive that its request names.
                return unsafe { self.submit_multishot(operation, &*multishot) };
            }
        }
        if self.is_better_called(&begun.request) {
            self.ring.system_calls += 1;
            // SAFETY: a submitted request's pointers are valid.
            if let Some(result) = unsafe { perform(&begun.request, begun.step()) } {
                begun.set_result(result);
                return Submitted::Done;
            }
            if matches!(begun.request, Request::Accept { .. }) {
                begun.step().set(POLLING);
            }
        }
        // SAFETY: a submitted request's pointers are valid until its operation has been handed back.
        unsafe { self.push(encode(operation)) };
        self.in_flight += 1;
        Submitted::Pending
    }

    unsafe fn cancel(&mut self, operation: NonNull<Operation>) {
        // SAFETY: it was submitted and has not been handed back, so it is where it was.
        let begun = unsafe { operation.as_ref() };
        if let Request::ReceiveProvided { multishot, .. } = begun.request
            // SAFETY: what the request of an operation in flight points to, the receive, is valid.
            && self.multishots.stop_waiting(&unsafe { &*multishot }.0, operation)
        {
            end(begun, -libc::ECANCELED);
            self.in_flight -= 1;
            // SAFETY: it has waited at the receive, so it is on no list, and it stays where it is until it has been handed back.
            return unsafe { self.early.push(operation) };
        }
        let step = begun.step();
        if step.get() & (CANCELLED | OVER) == 0 {
            step.set(step.get() | CANCELLED);
            self.cancelled.insert(operation);
            let request = cancel(operation, self.cancel_flags);
            // SAFETY: a cancel has no pointers; the kernel only compares the address.
            unsafe { self.push(request) };
        }
    }

    fn wait(&mut self, timeout: Option<Duration>, completed: &mut Completed) -> io::Result<()> {
        let in_flight = self.in_flight;
        self.push_own_requests();
        self.flush(completed)?;
        let looks_only = timeout == Some(Duration::ZERO)
            || !completed.is_empty()
            || !self.early.is_empty()
            || self.woken
            || !self.ring.completions().is_empty();
        if !looks_only {
            self.enter(1, timeout)?;
        } else if self.ring.wants_enter() {
            self.enter(0, None)?;
        }
        // Once an operation is handed back, its descriptor may be closed and the number reused, which a request that arms its
        // multishot receive would then name. So the kernel takes what is queued first.
        if !self.early.is_empty() && !self.ring.has_queued() {
            completed.append(&mut self.early);
        }
        self.collect(completed);
        self.handed_back = in_flight - self.in_flight;
        self.woken = false;
        Ok(())
    }

    fn waker(&self) -> Waker {
        self.notifier.waker()
    }

    fn stop_multishot(&mut self, multishot: &MultishotReceive) {
        let Some(slot) = multishot.0.slot.get() else { return };
        let mut early = mem::take(&mut self.early);
        self.push_stop(slot);
        // A request to stop that has missed is repeated as it is collected.
        while multishot.0.is_armed()
            && self.flush(&mut early).and_then(|()| self.enter(1, Some(LAST_COMPLETION_WAIT))).is_ok()
        {
            self.collect(&mut early);
        }
        self.early.append(&mut early);
    }

    fn return_buffer(&mut self, buffer: ProvidedBuffer) {
        if let Some(buffers) = provided(&mut self.buffers) {
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
        // So that no receive is armed again.
        self.in_flight -= self.multishots.stop_all_waiting();
        let mut completed = Completed::new();
        while self.in_flight > 0 || self.multishots.armed() > 0 {
            // Kernels before 5.19 do not know this cancel. There we wait until all is over by itself.
            let everything = opcode::AsyncCancel2::new(types::CancelBuilder::any()).build();
            // SAFETY: a cancel has no pointers.
            unsafe { self.push(everything.user_data(user_data::IGNORED)) };
            let flushed = self.flush(&mut completed);
            if flushed.and_then(|()| self.enter(1, Some(LAST_COMPLETION_WAIT))).is_err() {
                // The kernel holds buffers that are about to be freed, and there is no way to take them back.
                std::process::abort();
            }
            self.collect(&mut completed);
        }
        if provided(&mut self.buffers).is_some() && self.ring.unregister_buffers(buffer_ring::GROUP).is_err()
        {
            // The kernel still knows the block of entries. Losing it is better than freeing it.
            mem::forget(self.buffers.take());
        }
    }
}

/// How long the kernel is waited for before it is asked once more for what must come.
const LAST_COMPLETION_WAIT: Duration = Duration::from_millis(10);

/// Returns the request that cancels `operation`.
fn cancel(operation: NonNull<Operation>, flags: Flags) -> Entry {
    let data = user_data::of(operation);
    opcode::AsyncCancel::new(data).build().user_data(user_data::of_cancel(data)).flags(flags)
}

/// Returns the buffers, if they are registered.
fn provided(buffers: &mut OnceCell<Option<BufferRing>>) -> Option<&mut BufferRing> {
    buffers.get_mut()?.as_mut()
}

/// Puts the buffer that the kernel has picked for a single receive where the reader looks for it. Returns true if the receive has
/// to be repeated: there was no buffer, but now there is one.
///
/// # Safety
/// The completion comes from the ring, and this is the first time that it is looked at.
unsafe fn take_buffer(
    buffers: Option<&mut BufferRing>,
    entry: &cqueue::Entry,
    multishot: &MultishotReceive,
) -> bool {
    let Some(buffers) = buffers else { return false };
    // SAFETY: a completion of the ring, looked at for the first time.
    match unsafe { buffers.take(entry) } {
        Some(buffer) => multishot.0.push(buffer),
        None => return entry.result() == -libc::ENOBUFS && buffers.promise(),
    }
    false
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

    /// The kernel does not know the receive yet when it is asked to stop it.
    #[test]
    fn a_stop_that_has_missed_is_sent_again() {
        let Ok(mut engine) = IoUring::open() else { return println!("no io_uring here") };
        if !engine.can_provide() || !engine.ring.has_multishot() {
            return println!("no multishot receives here");
        }
        let (near, _far) = UnixStream::pair().unwrap();
        let (multishot, socket) = (MultishotReceive::new(), Source::new(near.as_raw_fd()));
        let request = Request::ReceiveProvided { socket, multishot: &raw const multishot };
        let operation = Operation::new(request, std::ptr::null());
        let waiting = NonNull::from(&operation);
        let request = engine.multishots.wait(&multishot.0, socket, waiting).expect("it was not armed");
        assert!(engine.multishots.stop_waiting(&multishot.0, waiting));
        abandon_receives(socket);
        let mut completed = Completed::new();
        engine.wait(Some(Duration::ZERO), &mut completed).unwrap();
        // SAFETY: it points to nothing.
        unsafe { engine.push(request) };
        for _ in 0..10 {
            engine.wait(Some(Duration::ZERO), &mut completed).unwrap();
        }
        assert!(!multishot.0.is_armed());
    }
}
