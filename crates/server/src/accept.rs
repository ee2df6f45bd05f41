//! The accept loop, the same in every model, and the call of a handler.

use std::any::Any;
use std::io::{self, ErrorKind};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use sward::time::{Duration, Instant};

use nix::errno::Errno;
use sward::net::TcpListener;
use sward::report;
use sward::thread::Cancelled;

use crate::advice;
use crate::connection::Connection;
use crate::escaped::Escaped;
use crate::running::Running;

/// How long an accept loop waits for a connection to end while a resource is exhausted.
const RETRY_DELAY: Duration = Duration::from_millis(100);

/// An outage is over after this long without an error; the next one is reported again.
const OUTAGE_END: Duration = Duration::from_secs(10);

/// Accepts until the server is stopping, and passes each connection to `start`. If `start` fails, the connection is closed.
pub(crate) fn accept_connections(
    running: &Arc<Running>,
    listener: &TcpListener,
    mut start: impl FnMut(Connection) -> io::Result<()>,
) {
    let mut outage = Outage { last_error: None };
    while running.connections.wait_for_capacity() {
        let started = match listener.accept() {
            Ok((stream, peer)) => match Connection::open(running, stream, peer) {
                Some(connection) => {
                    start(connection).map_err(|error| ("starting a thread for a connection", error))
                }
                None => return,
            },
            Err(error) => match AcceptFailure::of(&error) {
                AcceptFailure::ClientLeft => Ok(()),
                AcceptFailure::ShutDown => return,
                AcceptFailure::Exhausted => Err(("accepting", error)),
            },
        };
        if let Err((attempted, error)) = started {
            outage.report(attempted, &error);
            running.connections.wait_for_end(RETRY_DELAY);
        }
    }
}

/// Why `accept` returned no connection.
enum AcceptFailure {
    /// The client left before it was accepted. Others may be waiting.
    ClientLeft,
    /// The listener was shut down: by our own stop, or by that of a process that shares it.
    ShutDown,
    /// Descriptors or memory are exhausted, or the kernel has another reason.
    Exhausted,
}

impl AcceptFailure {
    fn of(error: &io::Error) -> AcceptFailure {
        use Errno::{
            EAGAIN, ECONNABORTED, EHOSTDOWN, EHOSTUNREACH, EINTR, EINVAL, ENETDOWN, ENETUNREACH, ENONET,
            ENOPROTOOPT, EOPNOTSUPP, EPERM, EPROTO,
        };
        match Errno::from_raw(error.raw_os_error().unwrap_or(0)) {
            // accept(2): errors that are already pending on the new socket, to be treated as EAGAIN. EPERM: a firewall.
            EAGAIN | ECONNABORTED | EINTR | EPERM | EPROTO | ENETDOWN | ENOPROTOOPT | EHOSTDOWN | ENONET
            | EHOSTUNREACH | EOPNOTSUPP | ENETUNREACH => AcceptFailure::ClientLeft,
            EINVAL => AcceptFailure::ShutDown,
            _ => AcceptFailure::Exhausted,
        }
    }
}

/// A time in which accepting fails. It is reported once.
struct Outage {
    last_error: Option<Instant>,
}

impl Outage {
    fn report(&mut self, attempted: &str, error: &io::Error) {
        let now = Instant::now();
        if self.last_error.is_none_or(|last| now.duration_since(last) > OUTAGE_END) {
            let error = advice::explain(attempted, error);
            report(format_args!("sward: {error}; serving goes on, new clients wait for others to leave"));
        }
        self.last_error = Some(now);
    }
}

/// Calls the handler with a connection, and counts how it ended. A panic ends the connection, not the server.
pub(crate) fn serve_connection<H>(running: &Running, handler: &H, connection: Connection)
where
    H: Fn(Connection) -> io::Result<()>,
{
    let (peer, _permit) = (connection.peer_addr(), connection.permit());
    // Formatting and dropping the error is the handler's code, too, and may panic.
    let serve = || match handler(connection) {
        Err(error) if !is_routine(&error) => Some(error.to_string()),
        Ok(()) | Err(_) => None,
    };
    match catch_unwind(AssertUnwindSafe(serve)) {
        Ok(None) => {}
        Ok(Some(error)) => {
            running.counters.failed.fetch_add(1, Ordering::Relaxed);
            report(format_args!("sward: connection from {peer}: {}", Escaped(&error)));
        }
        // The runtime ends, and has cancelled this thread.
        Err(payload) if payload.is::<Cancelled>() => resume_unwind(payload),
        Err(payload) => {
            running.counters.panicked.fetch_add(1, Ordering::Relaxed);
            let message = Escaped(panic_message(&*payload));
            report(format_args!("sward: connection from {peer}: the handler panicked: {message}"));
            discard(payload);
        }
    }
}

/// Drops the payload of a panic, which may panic in turn.
fn discard(payload: Box<dyn Any + Send>) {
    if let Err(next) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        // The second payload is leaked, or this could go on without end.
        std::mem::forget(next);
    }
}

/// Returns whether an error only means that the client has left, or was idle for too long.
fn is_routine(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::BrokenPipe
            | ErrorKind::ConnectionAborted
            | ErrorKind::ConnectionReset
            | ErrorKind::NotConnected
            | ErrorKind::TimedOut
    )
}

fn panic_message(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("(no message)")
}
