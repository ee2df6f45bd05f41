//! The open connections, their limit, and whether the server is stopping. Accept loops and the main thread wait for changes.
//!
//! | waits | for | woken by |
//! |---|---|---|
//! | an accept loop at the limit | a permit | the end of a connection, the stop |
//! | an accept loop without descriptors | the end of a connection, or 100 ms | the end of a connection, the stop |
//! | the main thread | the stop | the stop |
//! | the main thread, draining | the end of all connections, or the deadline | the end of a connection |
//!
//! Protocol: under the lock, a waiter checks the state and adds itself to a list; then it unlocks and parks. A thread that changes the
//! state takes the list and unparks the waiters. The park token keeps a wake-up that comes in between. The lock is never
//! held across a blocking call, so green threads and OS threads may share it.

use std::collections::HashMap;
use std::net::Shutdown;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use sward::time::{Duration, Instant};

use sward::net::TcpStream;
use sward::thread::{self, Thread};

/// The open connections of a server.
pub(crate) struct Connections {
    /// How many there may be at once.
    limit: usize,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    /// By permit, whose number is never used again. `None`: the socket is closed, but the handler still runs.
    open: HashMap<u64, Option<Arc<TcpStream>>>,
    next_permit: u64,
    /// How many connections have ended.
    ended: u64,
    stopping: bool,
    awaiting_end: Vec<Thread>,
    awaiting_stop: Vec<Thread>,
}

impl Connections {
    pub(crate) fn new(limit: Option<usize>) -> Connections {
        Connections { limit: limit.unwrap_or(usize::MAX), table: Mutex::default() }
    }

    /// Acquires a permit for `stream`, and waits at the limit. Returns `None` if the server is stopping.
    pub(crate) fn acquire(&self, stream: &Arc<TcpStream>) -> Option<u64> {
        let permit = self.wait_for_end_until(None, |table| {
            if table.stopping {
                return Some(None);
            }
            (table.open.len() < self.limit).then(|| {
                let permit = table.next_permit;
                table.next_permit += 1;
                table.open.insert(permit, Some(Arc::clone(stream)));
                Some(permit)
            })
        });
        permit.flatten()
    }

    /// Drops this table's share of a permit's socket, so that the owner closes it, on its own worker.
    pub(crate) fn close(&self, permit: u64) {
        let stream = self.lock().open.get_mut(&permit).and_then(Option::take);
        drop(stream);
    }

    /// Releases a permit, whose socket was [closed](Connections::close) before.
    pub(crate) fn release(&self, permit: u64) {
        let waiting = {
            let mut table = self.lock();
            table.ended += 1;
            table.open.remove(&permit);
            std::mem::take(&mut table.awaiting_end)
        };
        unpark(waiting);
    }

    /// Waits until a permit is available, without acquiring it. Returns false if the server is stopping.
    pub(crate) fn wait_for_capacity(&self) -> bool {
        let found = self.wait_for_end_until(None, |table| {
            if table.stopping { Some(false) } else { (table.open.len() < self.limit).then_some(true) }
        });
        found == Some(true)
    }

    /// Waits until a connection ends, the server is stopping, or the timeout has passed.
    pub(crate) fn wait_for_end(&self, timeout: Duration) {
        let before = self.lock().ended;
        let _ = self.wait_for_end_until(Some(Instant::now() + timeout), |table| {
            (table.stopping || table.ended != before).then_some(())
        });
    }

    /// Waits until no connection is open. Returns false if the deadline passes before.
    pub(crate) fn wait_until_empty(&self, deadline: Option<Instant>) -> bool {
        self.wait_for_end_until(deadline, |table| table.open.is_empty().then_some(())).is_some()
    }

    /// Returns how many connections are open.
    pub(crate) fn count(&self) -> usize {
        self.lock().open.len()
    }

    /// Shuts down every open connection in both directions, so its handler reads the end of the stream. Returns how many there were.
    pub(crate) fn shut_down(&self) -> usize {
        let table = self.lock();
        for stream in table.open.values().flatten() {
            // Fails if the peer has left already.
            let _ = stream.shutdown(Shutdown::Both);
        }
        table.open.len()
    }

    /// Stops: no more permits are given.
    pub(crate) fn stop(&self) {
        let (awaiting_end, awaiting_stop) = {
            let mut table = self.lock();
            table.stopping = true;
            (std::mem::take(&mut table.awaiting_end), std::mem::take(&mut table.awaiting_stop))
        };
        unpark(awaiting_end);
        unpark(awaiting_stop);
    }

    /// Returns whether [`stop`](Connections::stop) has been called.
    pub(crate) fn is_stopping(&self) -> bool {
        self.lock().stopping
    }

    /// Waits for [`stop`](Connections::stop). Returns false if the deadline passes before.
    pub(crate) fn wait_for_stop(&self, deadline: Option<Instant>) -> bool {
        self.wait(deadline, |table| &mut table.awaiting_stop, |table| table.stopping.then_some(())).is_some()
    }

    fn wait_for_end_until<T>(
        &self,
        deadline: Option<Instant>,
        check: impl FnMut(&mut Table) -> Option<T>,
    ) -> Option<T> {
        self.wait(deadline, |table| &mut table.awaiting_end, check)
    }

    /// Blocks the calling thread, green or not, until `check` returns a value or the deadline passes.
    fn wait<T>(
        &self,
        deadline: Option<Instant>,
        list: impl Fn(&mut Table) -> &mut Vec<Thread>,
        mut check: impl FnMut(&mut Table) -> Option<T>,
    ) -> Option<T> {
        loop {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            {
                let mut table = self.lock();
                if let Some(found) = check(&mut table) {
                    return Some(found);
                }
                if left.is_some_and(|left| left.is_zero()) {
                    return None;
                }
                let (here, waiting) = (thread::current(), list(&mut table));
                // After a wait that timed out, the entry is still there.
                if waiting.iter().all(|thread| thread.id() != here.id()) {
                    waiting.push(here);
                }
            }
            match left {
                None => thread::park(),
                Some(left) => thread::park_timeout(left),
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn unpark(waiting: Vec<Thread>) {
    for thread in waiting {
        thread.unpark();
    }
}
