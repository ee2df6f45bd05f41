//! Feeds that the kernel adds to by itself: a receive that stays armed (`IORING_RECV_MULTISHOT`, Linux 6.0), and picks one of
//! the provided buffers for whatever arrives. See `feed.rs` for what they are to the reader.
//!
//! An armed feed has a place here, whose number is in the `user_data` of its request, and keeps it until the last completion
//! of the request. A place is used again, and a request to stop may name one that has been: the kernel takes requests in order,
//! so it is over before the new feed is armed.
//!
//! To stop a feed is to cancel its request. The kernel does not find a request that it is just trying again, or has not armed
//! yet, so what was not found is asked for once more, as long as the feed is armed.

use std::mem;
use std::os::fd::RawFd;
use std::ptr::NonNull;
use std::rc::Rc;

use ::io_uring::squeue::Entry;
use ::io_uring::{cqueue, opcode, types};

use super::buffers::{BufferRing, GROUP};
use super::{CANCEL, FEED};
use crate::feed::FeedState;
use crate::operation::{Operation, Source};

/// The feeds of one ring.
pub(super) struct Feeds {
    places: Vec<Option<Armed>>,
    /// Places that are `None`.
    free: Vec<u32>,
    /// Somebody waits at them, and the kernel has stopped.
    stopped: Vec<Rc<FeedState>>,
    /// To be stopped: nobody takes what is in them, or a request to stop has missed them.
    excess: Vec<Rc<FeedState>>,
}

/// A feed that the kernel may add to.
struct Armed {
    feed: Rc<FeedState>,
    /// The identity of its socket.
    socket: u64,
}

/// What a completion means for the operation that waits at the feed.
pub(super) enum Delivered {
    Nothing,
    /// It is over, with this result.
    Answered(NonNull<Operation>, i32),
    /// The socket is `O_NONBLOCK`, where the kernel does not stay armed: it is to be waited for like any other.
    Alone(NonNull<Operation>),
}

impl Feeds {
    pub(super) const fn new() -> Feeds {
        Feeds { places: Vec::new(), free: Vec::new(), stopped: Vec::new(), excess: Vec::new() }
    }

    /// How many are armed.
    pub(super) fn armed(&self) -> usize {
        self.places.len() - self.free.len()
    }

    /// Whether there are requests to be made.
    pub(super) fn has_requests(&self) -> bool {
        !self.stopped.is_empty() || !self.excess.is_empty()
    }

    /// The request that arms a feed of `socket`, which is to be pushed.
    pub(super) fn arm(&mut self, feed: &Rc<FeedState>, socket: Source) -> Entry {
        let place = self.free.pop().unwrap_or_else(|| {
            self.places.push(None);
            self.places.len() as u32 - 1
        });
        self.places[place as usize] = Some(Armed { feed: Rc::clone(feed), socket: socket.id });
        feed.place.set(Some(place));
        feed.is_stopping.set(false);
        receive(socket.fd).user_data(number(place))
    }

    /// The request that stops an armed feed, which is to be pushed: its last completion comes soon. `None`: it is not armed.
    pub(super) fn stop(feed: &FeedState) -> Option<Entry> {
        let number = number(feed.place.get()?);
        feed.is_stopping.set(true);
        Some(opcode::AsyncCancel::new(number).build().user_data(number | CANCEL))
    }

    /// Has the feeds of a socket stopped, which is closed and whose readers have been forgotten.
    pub(super) fn abandon(&mut self, socket: u64) {
        let feeds = self.places.iter().flatten().filter(|armed| armed.socket == socket);
        self.excess.extend(feeds.map(|armed| {
            armed.feed.is_stopping.set(true);
            Rc::clone(&armed.feed)
        }));
    }

    /// All requests that have gathered.
    pub(super) fn requests(&mut self) -> Vec<Entry> {
        let mut requests = Vec::new();
        for feed in mem::take(&mut self.stopped) {
            if let Some(operation) = feed.waiting.get()
                && !feed.is_armed()
            {
                // SAFETY: it waits at the feed, so it is in flight, and stays where it is until it has been handed back.
                requests.push(self.arm(&feed, unsafe { operation.as_ref() }.request.source()));
            }
        }
        for feed in mem::take(&mut self.excess) {
            // A reader may have come to a full one.
            if feed.is_stopping.get() || feed.waiting.get().is_none() {
                requests.extend(Feeds::stop(&feed));
            }
        }
        requests
    }

    /// Nothing is armed again: gives the number of operations that have waited for that.
    pub(super) fn give_up(&mut self) -> usize {
        self.excess.clear();
        self.stopped.drain(..).filter(|feed| feed.waiting.take().is_some()).count()
    }

    /// Takes in a completion that has a feed's number.
    ///
    /// # Safety
    /// It comes from the ring, and is taken in for the first time.
    pub(super) unsafe fn deliver(&mut self, entry: &cqueue::Entry, buffers: &mut BufferRing) -> Delivered {
        let place = (entry.user_data() >> PLACE_SHIFT) as usize - 1;
        if entry.user_data() & CANCEL != 0 {
            self.look_after_stop(place, entry.result());
            return Delivered::Nothing;
        }
        let is_last = !cqueue::more(entry.flags());
        let armed = &mut self.places[place];
        let feed =
            if is_last { armed.take().map(|armed| armed.feed) } else { armed.as_ref().map(Armed::feed) };
        let feed = feed.expect("a feed keeps its place until its last completion");
        if is_last {
            feed.place.set(None);
            self.free.push(place as u32);
        }
        // SAFETY: it comes from the ring, and is taken in for the first time.
        unsafe { take_in(entry, &feed, buffers) };
        let Some(operation) = feed.waiting.get() else {
            if feed.is_full() && !is_last {
                self.excess.push(feed);
            }
            return Delivered::Nothing;
        };
        if let Some(result) = feed.answer() {
            feed.waiting.set(None);
            return Delivered::Answered(operation, result);
        }
        if entry.result() == -libc::EAGAIN {
            feed.waiting.set(None);
            return Delivered::Alone(operation);
        }
        if is_last {
            self.stopped.push(feed);
        }
        Delivered::Nothing
    }

    /// A request to stop what is, or was, at `place` is over. If it has missed, it is made again.
    fn look_after_stop(&mut self, place: usize, result: i32) {
        if matches!(-result, libc::ENOENT | libc::EALREADY)
            && let Some(armed) = &self.places[place]
            && armed.feed.is_stopping.get()
        {
            self.excess.push(armed.feed());
        }
    }
}

impl Armed {
    fn feed(&self) -> Rc<FeedState> {
        Rc::clone(&self.feed)
    }
}

/// A receive that stays armed.
fn receive(fd: RawFd) -> Entry {
    opcode::RecvMulti::new(types::Fd(fd), GROUP).build()
}

/// Puts what has arrived into the feed.
///
/// # Safety
/// As for [`Feeds::deliver`].
unsafe fn take_in(entry: &cqueue::Entry, feed: &FeedState, buffers: &mut BufferRing) {
    let result = entry.result();
    let id = cqueue::buffer_select(entry.flags());
    if let (Some(id), 1..) = (id, result) {
        // SAFETY: a completion of the ring, taken in for the first time, says so.
        return feed.push(unsafe { buffers.lend(id, result as usize) });
    }
    if let Some(id) = id {
        // SAFETY: a completion of the ring, taken in for the first time, says so.
        unsafe { buffers.put_back(id) };
    }
    match -result {
        // It will be armed again, if somebody waits.
        libc::ECANCELED | libc::EINTR | libc::EAGAIN => {}
        libc::ENOBUFS if buffers.promise() => {}
        _ => feed.end(result),
    }
}

/// A place's number begins above the bits that tell what the `user_data` is.
const PLACE_SHIFT: u32 = 3;

/// Counted from 1, so that no number is the waker's.
fn number(place: u32) -> u64 {
    (u64::from(place) + 1) << PLACE_SHIFT | FEED
}
