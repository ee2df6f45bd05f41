//! The central seam: what the scheduler asks of an I/O engine.
//!
//! The contract, which every engine keeps:
//!
//! - An engine belongs to one worker, and only that worker's OS thread uses it. Its [`Waker`] alone may go anywhere.
//! - [`submit`](Engine::submit) begins an operation. If it returns [`Submitted::Done`], the result is in the operation and no
//!   completion follows. If it returns [`Submitted::Pending`], exactly one completion follows, from a later
//!   [`wait`](Engine::wait). A submission does not sleep.
//! - The result is that of the system call. `-EINTR` never comes back: the engine repeats the call.
//! - [`cancel`](Engine::cancel) asks for an early end. The one completion still arrives, with the operation's true result if that
//!   came first, and otherwise with `-ECANCELED`. Until then the kernel may write to the operation's buffers.
//! - [`wait`](Engine::wait) hands everything pending to the kernel, sleeps until something completes, the time is over or
//!   the waker fires, and collects everything that has completed. It may return early with nothing.
//! - [`forget`](Engine::forget) comes before a descriptor is closed. No operation on it is in flight on this engine then.
//! - An engine that is dropped leaves nothing with the kernel: no operation, and no buffer that the kernel may write to.
//!
//! # Writing an engine
//!
//! An engine over a readiness kernel is a [`Poller`](crate::Poller) in a [`Readiness`](crate::Readiness). Any other type may implement
//! [`Engine`], in any crate. Four things help:
//!
//! - [`Completed`] is a list without memory of its own. It serves as a queue inside the engine, too, since an operation in flight
//!   is on no other list.
//! - [`Operation::step`] is a byte for the engine's own use while the operation is in flight.
//! - An engine without buffers of its own ends a [`Request::ReceiveProvided`](crate::Request) with `-ENOBUFS`. The caller then
//!   brings a buffer, and the default methods do the rest.
//! - An engine may wrap another. `Faulty`, the engine of this crate's feature `stress`, does: it uses nothing that is not public.
//!
//! ```
//! use std::{io, ptr::NonNull, sync::Arc, time::Duration};
//! use sward_engine::{Completed, Engine, Operation, Submitted, Wake, Waker};
//!
//! /// Refuses everything, and never sleeps.
//! struct Refusing;
//!
//! struct Awake;
//!
//! impl Wake for Awake {
//!     fn wake(&self) {}
//! }
//!
//! impl Engine for Refusing {
//!     fn name(&self) -> &'static str {
//!         "refusing"
//!     }
//!     unsafe fn submit(&mut self, operation: NonNull<Operation>) -> Submitted {
//!         // SAFETY: the caller keeps the operation in place.
//!         unsafe { operation.as_ref() }.set_result(-libc::ENOSYS);
//!         Submitted::Done
//!     }
//!     unsafe fn cancel(&mut self, _: NonNull<Operation>) {}
//!     fn wait(&mut self, _: Option<Duration>, _: &mut Completed) -> io::Result<()> {
//!         Ok(())
//!     }
//!     fn waker(&self) -> Waker {
//!         Waker::new(Arc::new(Awake))
//!     }
//! }
//!
//! let _engine: Box<dyn Engine> = Box::new(Refusing);
//! ```

use std::fmt;
use std::io;
use std::ptr::NonNull;
use std::sync::Arc;
use std::time::Duration;

use crate::multishot_receive::MultishotReceive;
use crate::operation::{Completed, Operation, Source};
use crate::provided_buffer::ProvidedBuffer;

/// What [`Engine::submit`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Submitted {
    /// The operation is in flight. Its completion comes from a later [`Engine::wait`].
    Pending,
    /// The operation is over. Its result is in it, and no completion follows.
    Done,
}

/// Takes requests and returns completions. The module's head has the contract.
pub trait Engine {
    /// Returns the engine's name, for messages and metrics.
    fn name(&self) -> &'static str;

    /// Begins `operation`.
    ///
    /// # Safety
    /// `operation`, and every buffer that its request names, stays where it is until [`Engine::wait`] has handed it back, or until
    /// this call returns [`Submitted::Done`]. Its descriptor stays open as long. It is not in flight already.
    unsafe fn submit(&mut self, operation: NonNull<Operation>) -> Submitted;

    /// Asks for the end of an operation that is in flight.
    ///
    /// # Safety
    /// `operation` was submitted to this engine, is pending, and has not been handed back.
    unsafe fn cancel(&mut self, operation: NonNull<Operation>);

    /// Hands over what is pending, sleeps for `timeout` at most (`None`: no limit; zero: not at all), and appends what has
    /// completed.
    ///
    /// # Errors
    /// The kernel refuses for a reason that does not pass. A signal is not an error.
    fn wait(&mut self, timeout: Option<Duration>, completed: &mut Completed) -> io::Result<()>;

    /// Returns a handle that ends a [`wait`](Engine::wait) from any thread.
    fn waker(&self) -> Waker;

    /// Drops everything that the engine remembers of a descriptor that is about to be closed or given away.
    fn forget(&mut self, source: Source) {
        let _ = source;
    }

    /// Stops a multishot receive before its descriptor is closed. What arrives from now on is for others who read the socket. What
    /// has arrived stays in `multishot`.
    fn stop_multishot(&mut self, multishot: &MultishotReceive) {
        let _ = multishot;
    }

    /// Takes back a buffer that a [`Request::ReceiveProvided`](crate::Request) brought, from this engine or another.
    fn return_buffer(&mut self, buffer: ProvidedBuffer) {
        drop(buffer);
    }

    /// Returns the number of system calls made so far, for metrics.
    fn system_calls(&self) -> u64 {
        0
    }
}

/// Ends an engine's [`wait`](Engine::wait), or the next one if the engine does not wait now.
///
/// Any thread may wake at any time, even after the engine is gone. Several wakes before the engine looks count as one.
#[derive(Clone)]
pub struct Waker(Arc<dyn Wake>);

/// How an engine is woken. Any thread may call it.
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

impl fmt::Debug for Waker {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Waker")
    }
}
