//! What the accept loops, the connections and those who stop a server share, and how it ends.
//!
//! ```text
//!   running ──stop()──▶ stopping: listeners shut down, accept loops return
//!                           │ nobody is connected                │ the drain deadline passes
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

/// How long handlers have, after their sockets have been shut down, to notice.
pub(crate) const GRACE: Duration = Duration::from_secs(1);

/// The shared part of one running server.
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
        most_connections: Option<usize>,
        idle_timeout: Option<Duration>,
        drain: Duration,
    ) -> Running {
        Running {
            connections: Connections::new(most_connections),
            counters: Counters::default(),
            idle_timeout,
            drain,
            listeners: Mutex::new(listeners),
        }
    }

    pub(crate) fn idle_timeout(&self) -> Option<Duration> {
        self.idle_timeout
    }

    /// When a drain that begins now is over. `None`: not before the end of time.
    pub(crate) fn drain_deadline(&self) -> Option<Instant> {
        Instant::now().checked_add(self.drain)
    }

    /// Stops accepting. From any thread, any number of times.
    ///
    /// A listener is shut down, not closed: that makes a blocked `accept` return in every model and on every engine, while
    /// closing a descriptor that somebody waits on wakes nobody.
    pub(crate) fn stop(&self) {
        self.connections.stop();
        let listeners = std::mem::take(&mut *self.listeners.lock().unwrap_or_else(PoisonError::into_inner));
        for listener in listeners {
            // It fails where a sibling process that shares the listener has done it already.
            let _ = SockRef::from(&*listener).shutdown(std::net::Shutdown::Both);
        }
    }

    /// After the stop: lets the connections end until the deadline and cuts off those that are left. False: some did not
    /// even end then.
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
