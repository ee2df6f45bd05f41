//! The accept loop, which is the same in every model, and what happens around a handler.

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

use crate::connection::Connection;
use crate::escaped::Escaped;
use crate::running::Running;
use crate::shortage;

/// How long an accept loop waits, while something is short, for a connection to end.
const PATIENCE: Duration = Duration::from_millis(100);

/// A shortage is over when there has been none for so long; the next one is reported again.
const OUTAGE: Duration = Duration::from_secs(10);

/// Accepts until the server is stopping, and hands each connection to `start`, which says if it could not begin to serve it.
pub(crate) fn accept_connections(
    running: &Arc<Running>,
    listener: &TcpListener,
    mut start: impl FnMut(Connection) -> io::Result<()>,
) {
    let mut shortage = Shortage { last: None };
    while running.connections.wait_for_place() {
        let started = match listener.accept() {
            Ok((stream, peer)) => match Connection::open(running, stream, peer) {
                Some(connection) => {
                    start(connection).map_err(|error| ("starting a thread for a connection", error))
                }
                None => return,
            },
            Err(error) => match Refusal::of(&error) {
                Refusal::Gone => Ok(()),
                Refusal::ShutDown => return,
                Refusal::Short => Err(("accepting", error)),
            },
        };
        if let Err((attempted, error)) = started {
            shortage.report(attempted, &error);
            running.connections.wait_for_departure(PATIENCE);
        }
    }
}

/// Why `accept` did not give a connection.
enum Refusal {
    /// It went away before it was accepted. Others may be waiting.
    Gone,
    /// The listener has been shut down: by our own stop, or by that of a process which shares it.
    ShutDown,
    /// Descriptors or memory are short, or the kernel has a reason that is not known here.
    Short,
}

impl Refusal {
    fn of(error: &io::Error) -> Refusal {
        use Errno::{
            EAGAIN, ECONNABORTED, EHOSTDOWN, EHOSTUNREACH, EINTR, EINVAL, ENETDOWN, ENETUNREACH, ENONET,
            ENOPROTOOPT, EOPNOTSUPP, EPERM, EPROTO,
        };
        match Errno::from_raw(error.raw_os_error().unwrap_or(0)) {
            // accept(2): errors that are already pending on the new socket, to be treated as EAGAIN. EPERM: a firewall.
            EAGAIN | ECONNABORTED | EINTR | EPERM | EPROTO | ENETDOWN | ENOPROTOOPT | EHOSTDOWN | ENONET
            | EHOSTUNREACH | EOPNOTSUPP | ENETUNREACH => Refusal::Gone,
            EINVAL => Refusal::ShutDown,
            _ => Refusal::Short,
        }
    }
}

/// Says once per outage that something is short.
struct Shortage {
    last: Option<Instant>,
}

impl Shortage {
    fn report(&mut self, attempted: &str, error: &io::Error) {
        let now = Instant::now();
        if self.last.is_none_or(|last| now.duration_since(last) > OUTAGE) {
            let error = shortage::explain(attempted, error);
            report(format_args!("sward: {error}; serving goes on, new clients wait for others to leave"));
        }
        self.last = Some(now);
    }
}

/// Runs the handler on a connection, and counts how it ended. A panic ends the connection and not the server.
pub(crate) fn serve_connection<H>(running: &Running, handler: &H, connection: Connection)
where
    H: Fn(Connection) -> io::Result<()>,
{
    let (peer, _place) = (connection.peer_addr(), connection.place());
    // The error's own code, its text and its destructor, is the handler's, too.
    let serve = || match handler(connection) {
        Err(error) if !is_departure(&error) => Some(error.to_string()),
        Ok(()) | Err(_) => None,
    };
    match catch_unwind(AssertUnwindSafe(serve)) {
        Ok(None) => {}
        Ok(Some(error)) => {
            running.counters.failed.fetch_add(1, Ordering::Relaxed);
            report(format_args!("sward: connection from {peer}: {}", Escaped(&error)));
        }
        // The runtime ends, and takes this thread with it.
        Err(payload) if payload.is::<Cancelled>() => resume_unwind(payload),
        Err(payload) => {
            running.counters.panicked.fetch_add(1, Ordering::Relaxed);
            let message = Escaped(panic_message(&*payload));
            report(format_args!("sward: connection from {peer}: the handler panicked: {message}"));
            discard(payload);
        }
    }
}

/// Drops what a handler has panicked with, which may panic once more.
fn discard(payload: Box<dyn Any + Send>) {
    if let Err(next) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        // Whoever panics without end is not dropped.
        std::mem::forget(next);
    }
}

/// Whether an error only says that the client has left, or that it said nothing for too long.
fn is_departure(error: &io::Error) -> bool {
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
