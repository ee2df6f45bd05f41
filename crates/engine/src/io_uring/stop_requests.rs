//! What other threads ask of a ring: to stop the multishot receives of a socket.
//!
//! A reader stops its receive when it is dropped. One that was forgotten (`mem::forget`) never does, and the kernel keeps the
//! connection open while the receive is armed. So the socket, which any thread may drop, asks every ring.

use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::engine::Waker;
use crate::operation::Source;

/// The requests to each ring, with its waker.
static ALL: Mutex<Vec<(Arc<StopRequests>, Waker)>> = Mutex::new(Vec::new());

/// The requests to one ring.
#[derive(Default)]
pub(super) struct StopRequests {
    /// Identities of sockets.
    sockets: Mutex<Vec<u64>>,
    /// Whether there are any. Set after they have been added.
    any: AtomicBool,
}

impl StopRequests {
    /// Registers a ring by its waker.
    pub(super) fn open(waker: Waker) -> Arc<StopRequests> {
        let requests = Arc::<StopRequests>::default();
        lock(&ALL).push((Arc::clone(&requests), waker));
        requests
    }

    /// Unregisters the ring.
    pub(super) fn close(self: &Arc<StopRequests>) {
        lock(&ALL).retain(|(requests, _)| !Arc::ptr_eq(requests, self));
    }

    /// Takes the identities of the sockets whose receives have to stop.
    pub(super) fn take(&self) -> Vec<u64> {
        if !self.any.load(Ordering::Relaxed) || !self.any.swap(false, Ordering::Acquire) {
            return Vec::new();
        }
        mem::take(&mut lock(&self.sockets))
    }
}

/// Stops every multishot receive of `socket`, on whichever engine, soon. From any thread.
///
/// This is for a socket that is about to be closed and had a reader that never stopped its own.
pub fn abandon_receives(socket: Source) {
    for (requests, waker) in lock(&ALL).iter() {
        lock(&requests.sockets).push(socket.id);
        requests.any.store(true, Ordering::Release);
        waker.wake();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
