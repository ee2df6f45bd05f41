//! The central seam: what the scheduler asks of an I/O engine.
//!
//! The contract, which every engine keeps:
//!
//! - An engine belongs to one worker and is used on that worker's OS thread only. Its [`Waker`] alone may go anywhere.
//! - [`submit`](Engine::submit) begins an operation. Either it says [`Submitted::Done`], then the result is in the
//!   operation and no completion follows; or it says [`Submitted::Pending`], then exactly one completion follows, from
//!   a later [`wait`](Engine::wait).
//! - The result is that of the system call. `-EINTR` never comes back: the engine asks again.
//! - [`cancel`](Engine::cancel) asks for an early end. The one completion still arrives, with the operation's true result if it
//!   was quicker, else with `-ECANCELED`. Until then the kernel may write to the operation's buffers.
//! - [`wait`](Engine::wait) hands everything pending to the kernel, sleeps until something completes, the time is over or
//!   the waker fires, and collects everything that has completed. It may return early with nothing.
//! - [`forget`](Engine::forget) comes before a descriptor is closed that has no operation in flight on this engine.

use std::io;
use std::ptr::NonNull;
use std::sync::Arc;
use std::time::Duration;

use crate::multishot_receive::MultishotReceive;
use crate::operation::{Completed, Operation, Source};
use crate::provided_buffer::ProvidedBuffer;

/// What became of an operation at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Submitted {
    /// It is in flight. Its completion comes from a later [`Engine::wait`].
    Pending,
    /// It is over, the result is in it, and no completion follows.
    Done,
}

/// Requests in, completions out. The module's head has the contract.
pub trait Engine {
    /// The name by which a user asks for this engine, such as `io_uring`.
    fn name(&self) -> &'static str;

    /// Begins `operation`.
    ///
    /// # Safety
    /// `operation`, and every buffer that its request names, stays where it is until the completion has been handed
    /// back by [`Engine::wait`] (or until this call returns [`Submitted::Done`]). Its descriptor stays open as long.
    unsafe fn submit(&mut self, operation: NonNull<Operation>) -> Submitted;

    /// Asks for the end of an operation that is in flight. For one that is not, nothing happens.
    ///
    /// # Safety
    /// `operation` was submitted to this engine and its completion has not been handed back.
    unsafe fn cancel(&mut self, operation: NonNull<Operation>);

    /// Submits, sleeps for `timeout` at most (`None`: without limit; zero: only looks), and appends what has completed.
    fn wait(&mut self, timeout: Option<Duration>, completed: &mut Completed) -> io::Result<()>;

    /// Something that ends a [`wait`](Engine::wait) from any thread.
    fn waker(&self) -> Waker;

    /// The descriptor is about to be closed or given away: drop whatever is remembered of it.
    fn forget(&mut self, source: Source) {
        let _ = source;
    }

    /// Stops what the kernel adds to a feed by itself, and takes back what is in it. From now on, what arrives is for others who
    /// read the socket. Comes before the descriptor is closed.
    fn stop_multishot(&mut self, multishot: &MultishotReceive);

    /// Takes back a buffer that a [`Request::ReceiveProvided`](crate::Request) brought, of this engine or another.
    fn return_buffer(&mut self, buffer: ProvidedBuffer);

    /// System calls made so far, for metrics.
    fn system_calls(&self) -> u64;
}

/// Ends an engine's [`wait`](Engine::wait), or its next one if it does not wait now. From any thread, at any time, also
/// after the engine is gone. Several wakes before the engine looks are one.
#[derive(Clone)]
pub struct Waker(Arc<dyn Wake>);

/// What a [`Waker`] does, for each engine. Callable from any thread.
pub trait Wake: Send + Sync {
    /// Makes the engine's wait return soon.
    fn wake(&self);
}

impl Waker {
    /// Wraps an engine's own way of being woken.
    pub fn new(wake: Arc<dyn Wake>) -> Waker {
        Waker(wake)
    }

    /// Ends the wait.
    pub fn wake(&self) {
        self.0.wake();
    }
}

impl std::fmt::Debug for Waker {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Waker")
    }
}
