//! Who is connected, and whether the server is stopping: the state that accept loops and the one who drains wait on.
//!
//! | waits | for | woken by |
//! |---|---|---|
//! | an accept loop at the limit | a place | a departure, the stop |
//! | an accept loop without descriptors | a departure, or 100 ms | a departure, the stop |
//! | the main thread | the stop | the stop |
//! | the main thread, draining | nobody being left, or the deadline | departures |
//!
//! Protocol: a waiter looks, enters itself into the list of what it waits for, lets go of the lock and parks; whoever changes the
//! state takes the list and unparks. The park token keeps a wake-up that comes in between. The lock is never
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
    most: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Keyed by place, a number that is given once. `None`: closed, and its handler is still at work.
    open: HashMap<u64, Option<Arc<TcpStream>>>,
    next_place: u64,
    /// How many connections have ended.
    departed: u64,
    stopping: bool,
    await_departure: Vec<Thread>,
    await_stop: Vec<Thread>,
}

impl Connections {
    /// Nobody is connected.
    pub(crate) fn new(most: Option<usize>) -> Connections {
        Connections { most: most.unwrap_or(usize::MAX), state: Mutex::default() }
    }

    /// Takes a place for `stream`, and waits for one if there is none. `None`: the server is stopping.
    pub(crate) fn enter(&self, stream: &Arc<TcpStream>) -> Option<u64> {
        let place = self.wait_for_departure_until(None, |state| {
            if state.stopping {
                return Some(None);
            }
            (state.open.len() < self.most).then(|| {
                let place = state.next_place;
                state.next_place += 1;
                state.open.insert(place, Some(Arc::clone(stream)));
                Some(place)
            })
        });
        place.flatten()
    }

    /// Lets go of a place's socket, so that its owner can close it. The owner calls it, since a socket is closed on its own worker.
    pub(crate) fn close(&self, place: u64) {
        let stream = self.lock().open.get_mut(&place).and_then(Option::take);
        drop(stream);
    }

    /// Gives a place back, closed before.
    pub(crate) fn leave(&self, place: u64) {
        let waiting = {
            let mut state = self.lock();
            state.departed += 1;
            state.open.remove(&place);
            std::mem::take(&mut state.await_departure)
        };
        unpark(waiting);
    }

    /// Waits until there is a place, and does not take it. False: the server is stopping.
    pub(crate) fn wait_for_place(&self) -> bool {
        let found = self.wait_for_departure_until(None, |state| {
            if state.stopping { Some(false) } else { (state.open.len() < self.most).then_some(true) }
        });
        found == Some(true)
    }

    /// Waits until a connection ends, the server is stopping, or `patience` is over.
    pub(crate) fn wait_for_departure(&self, patience: Duration) {
        let before = self.lock().departed;
        let _ = self.wait_for_departure_until(Some(Instant::now() + patience), |state| {
            (state.stopping || state.departed != before).then_some(())
        });
    }

    /// Waits until nobody is connected, until `deadline` if there is one. False: it has passed before.
    pub(crate) fn wait_until_empty(&self, deadline: Option<Instant>) -> bool {
        self.wait_for_departure_until(deadline, |state| state.open.is_empty().then_some(())).is_some()
    }

    /// How many are connected.
    pub(crate) fn count(&self) -> usize {
        self.lock().open.len()
    }

    /// Ends both directions of every open connection: their handlers read the end of the stream. Says how many there were.
    pub(crate) fn shut_down(&self) -> usize {
        let state = self.lock();
        for stream in state.open.values().flatten() {
            // It fails where the peer has gone already.
            let _ = stream.shutdown(Shutdown::Both);
        }
        state.open.len()
    }

    /// From now on nobody enters.
    pub(crate) fn stop(&self) {
        let (before_a_place, before_the_end) = {
            let mut state = self.lock();
            state.stopping = true;
            (std::mem::take(&mut state.await_departure), std::mem::take(&mut state.await_stop))
        };
        unpark(before_a_place);
        unpark(before_the_end);
    }

    /// Whether [`stop`](Connections::stop) has been called.
    pub(crate) fn is_stopping(&self) -> bool {
        self.lock().stopping
    }

    /// Waits for [`stop`](Connections::stop), until `deadline` if there is one. False: the deadline has passed before.
    pub(crate) fn wait_for_stop(&self, deadline: Option<Instant>) -> bool {
        self.wait(deadline, |state| &mut state.await_stop, |state| state.stopping.then_some(())).is_some()
    }

    fn wait_for_departure_until<T>(
        &self,
        deadline: Option<Instant>,
        look: impl FnMut(&mut State) -> Option<T>,
    ) -> Option<T> {
        self.wait(deadline, |state| &mut state.await_departure, look)
    }

    /// Blocks the calling thread, green or not, until `look` finds something or the deadline passes.
    fn wait<T>(
        &self,
        deadline: Option<Instant>,
        list: impl Fn(&mut State) -> &mut Vec<Thread>,
        mut look: impl FnMut(&mut State) -> Option<T>,
    ) -> Option<T> {
        loop {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            {
                let mut state = self.lock();
                if let Some(found) = look(&mut state) {
                    return Some(found);
                }
                if left.is_some_and(|left| left.is_zero()) {
                    return None;
                }
                let (here, waiting) = (thread::current(), list(&mut state));
                // After a wait that timed out its entry is still there.
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

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn unpark(waiting: Vec<Thread>) {
    for thread in waiting {
        thread.unpark();
    }
}
