//! What is asked of rings by threads that are not theirs: to stop the feeds of a socket.
//!
//! A reader stops its feed when it is dropped. One that has been forgotten (`mem::forget`) never does, and the kernel keeps the
//! connection open for as long as the feed is armed. So the socket, which is closed by whatever thread drops it, asks every ring.

use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::engine::Waker;
use crate::operation::Source;

/// The orders of all rings, and how a ring is told.
static ALL: Mutex<Vec<(Arc<StopRequests>, Waker)>> = Mutex::new(Vec::new());

/// What one ring has been asked for.
#[derive(Default)]
pub(super) struct StopRequests {
    /// Identities of sockets.
    closed: Mutex<Vec<u64>>,
    /// Whether there are any. Set after they are there.
    are_there: AtomicBool,
}

impl StopRequests {
    /// Begins to take orders. `waker` is the ring's.
    pub(super) fn open(waker: Waker) -> Arc<StopRequests> {
        let stop_requests = Arc::<StopRequests>::default();
        lock(&ALL).push((Arc::clone(&stop_requests), waker));
        stop_requests
    }

    /// Takes no more.
    pub(super) fn close(self: &Arc<StopRequests>) {
        lock(&ALL).retain(|(stop_requests, _)| !Arc::ptr_eq(stop_requests, self));
    }

    /// The sockets whose feeds are to be stopped.
    pub(super) fn take(&self) -> Vec<u64> {
        if !self.are_there.load(Ordering::Relaxed) || !self.are_there.swap(false, Ordering::Acquire) {
            return Vec::new();
        }
        mem::take(&mut lock(&self.closed))
    }
}

/// Stops every feed of `socket`, on whichever engine, soon: for a socket that is about to be closed and has had a reader that never
/// stopped its own. From any thread.
pub fn abandon_receives(socket: Source) {
    for (stop_requests, waker) in lock(&ALL).iter() {
        lock(&stop_requests.closed).push(socket.id);
        stop_requests.are_there.store(true, Ordering::Release);
        waker.wake();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
