//! The state that all parts of one running server share, and how the server ends.
//!
//! ```text
//!   running ──stop()──▶ stopping: listeners shut down, accept loops return
//!                           │ no connection is open              │ the drain deadline passes
//!                           ▼                                    ▼
//!                         ended ◀──handlers return──── cut off: sockets shut down
//! ```

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use sward::time::{Duration, Instant};

use socket2::SockRef;
use sward::net::TcpListener;
use sward::report;

use crate::connections::Connections;
use crate::summary::Counters;

/// How long handlers have to end after their sockets were shut down.
pub(crate) const GRACE: Duration = Duration::from_secs(1);

/// One running server.
pub(crate) struct Running {
    pub(crate) connections: Connections,
    pub(crate) counters: Counters,
    idle_timeout: Option<Duration>,
    drain: Duration,
    /// Taken away by [`Running::stop`].
    listeners: Mutex<Vec<Arc<TcpListener>>>,
}

impl Running {
    pub(crate) fn new(
        listeners: Vec<Arc<TcpListener>>,
        max_connections: Option<usize>,
        idle_timeout: Option<Duration>,
        drain: Duration,
    ) -> Running {
        Running {
            connections: Connections::new(max_connections),
            counters: Counters::default(),
            idle_timeout,
            drain,
            listeners: Mutex::new(listeners),
        }
    }

    pub(crate) fn idle_timeout(&self) -> Option<Duration> {
        self.idle_timeout
    }

    /// Returns when a drain that begins now must end. `None` means never.
    pub(crate) fn drain_deadline(&self) -> Option<Instant> {
        Instant::now().checked_add(self.drain)
    }

    /// Stops accepting. Can be called from any thread, any number of times.
    ///
    /// Listeners are shut down, not closed: a shutdown makes a blocked `accept` return, in every model and on every engine, while
    /// closing a descriptor does not.
    pub(crate) fn stop(&self) {
        self.connections.stop();
        let listeners = std::mem::take(&mut *self.listeners.lock().unwrap_or_else(PoisonError::into_inner));
        for listener in listeners {
            // Fails if another process that shares the listener has done it already.
            let _ = SockRef::from(&*listener).shutdown(std::net::Shutdown::Both);
        }
    }

    /// After the stop, waits for the connections to end until the deadline, then cuts off the rest. Returns whether all have ended.
    pub(crate) fn drain(&self) -> bool {
        let deadline = self.drain_deadline();
        let open = self.connections.count();
        if open > 0 {
            let connections = if open == 1 { "connection" } else { "connections" };
            let patience = deadline.map_or(String::new(), |_| format!(" up to {:?}", self.drain));
            report(format_args!("sward: stopping; waiting{patience} for {open} open {connections}"));
        }
        if self.connections.wait_until_empty(deadline) {
            return true;
        }
        let cut_off = self.connections.shut_down();
        self.counters.cut_off.fetch_add(cut_off as u64, Ordering::Relaxed);
        let empty = self.connections.wait_until_empty(Some(Instant::now() + GRACE));
        self.counters.left_over.fetch_add(self.connections.count() as u64, Ordering::Relaxed);
        empty
    }
}
