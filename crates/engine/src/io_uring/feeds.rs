//! Feeds that the kernel adds to by itself: a receive that stays armed (`IORING_RECV_MULTISHOT`, Linux 6.0), and picks one of
//! the provided buffers for whatever arrives. See `feed.rs` for what they are to the reader.
//!
//! An armed feed is kept alive by a reference whose address is the number of the request; the last completion of the request
//! gives it back.

use std::mem;
use std::os::fd::RawFd;
use std::ptr;
use std::ptr::NonNull;
use std::rc::Rc;

use ::io_uring::squeue::Entry;
use ::io_uring::{cqueue, opcode, types};

use super::buffers::{BufferRing, GROUP};
use super::{FEED, IGNORED};
use crate::feed::FeedState;
use crate::operation::Operation;

/// The feeds of one ring.
pub(super) struct Feeds {
    /// How many are armed.
    armed: usize,
    /// Somebody waits at them, and the kernel has stopped.
    stopped: Vec<Rc<FeedState>>,
    /// Nobody takes what is in them.
    full: Vec<Rc<FeedState>>,
}

/// What a completion means for the operation that waits at the feed.
pub(super) enum Delivered {
    Nothing,
    /// It has its result.
    Answered(NonNull<Operation>),
    /// The socket is `O_NONBLOCK`, where the kernel does not stay armed: it is to be waited for like any other.
    Alone(NonNull<Operation>),
}

impl Feeds {
    pub(super) const fn new() -> Feeds {
        Feeds { armed: 0, stopped: Vec::new(), full: Vec::new() }
    }

    pub(super) fn armed(&self) -> usize {
        self.armed
    }

    /// Whether there are requests to be made.
    pub(super) fn has_requests(&self) -> bool {
        !self.stopped.is_empty() || !self.full.is_empty()
    }

    /// The request that arms a feed, which is to be pushed.
    pub(super) fn arm(&mut self, feed: &Rc<FeedState>, fd: RawFd) -> Entry {
        feed.is_armed.set(true);
        self.armed += 1;
        let number = number(Rc::into_raw(Rc::clone(feed)));
        opcode::RecvMulti::new(types::Fd(fd), GROUP).build().user_data(number)
    }

    /// The request that stops an armed feed: its last completion comes soon.
    pub(super) fn stop(feed: &Rc<FeedState>) -> Entry {
        opcode::AsyncCancel::new(number(Rc::as_ptr(feed))).build().user_data(IGNORED)
    }

    /// All requests that have gathered.
    pub(super) fn requests(&mut self) -> Vec<Entry> {
        let mut requests = Vec::new();
        for feed in mem::take(&mut self.stopped) {
            if let Some(operation) = feed.waiting.get()
                && !feed.is_armed.get()
            {
                // SAFETY: it waits, so its submitter vouches for it.
                requests.push(self.arm(&feed, unsafe { operation.as_ref() }.request.source().fd));
            }
        }
        for feed in mem::take(&mut self.full) {
            if feed.is_armed.get() && feed.waiting.get().is_none() {
                requests.push(Feeds::stop(&feed));
            }
        }
        requests
    }

    /// Nothing is armed again: gives the number of operations that have waited for that.
    pub(super) fn give_up(&mut self) -> usize {
        self.full.clear();
        self.stopped.drain(..).filter(|feed| feed.waiting.take().is_some()).count()
    }

    /// Takes in a completion that has a feed's number.
    ///
    /// # Safety
    /// It comes from the ring, and once.
    pub(super) unsafe fn deliver(&mut self, entry: &cqueue::Entry, buffers: &mut BufferRing) -> Delivered {
        let address = ptr::with_exposed_provenance::<FeedState>((entry.user_data() & !FEED) as usize);
        let is_last = !cqueue::more(entry.flags());
        // SAFETY: `arm` has made the address from a reference, which is there until the last completion.
        let feed = unsafe { Rc::from_raw(address) };
        let feed = if is_last { feed } else { Rc::clone(&mem::ManuallyDrop::new(feed)) };
        if is_last {
            feed.is_armed.set(false);
            self.armed -= 1;
        }
        self.take_in(entry, &feed, buffers);
        let Some(operation) = feed.waiting.get() else {
            if feed.is_full() && !is_last {
                self.full.push(feed);
            }
            return Delivered::Nothing;
        };
        // SAFETY: it waits, so its submitter vouches for it.
        if feed.answer(unsafe { operation.as_ref() }) {
            feed.waiting.set(None);
            return Delivered::Answered(operation);
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

    /// Puts what has arrived into the feed.
    fn take_in(&self, entry: &cqueue::Entry, feed: &FeedState, buffers: &mut BufferRing) {
        let result = entry.result();
        let id = cqueue::buffer_select(entry.flags());
        if let (Some(id), 1..) = (id, result) {
            return feed.push(buffers.lend(id, result as usize));
        }
        if let Some(id) = id {
            buffers.put_back(id);
        }
        match -result {
            // It will be armed again, if somebody waits.
            libc::ECANCELED | libc::EINTR | libc::EAGAIN => {}
            libc::ENOBUFS if buffers.promise() => {}
            _ => feed.end(result),
        }
    }
}

fn number(feed: *const FeedState) -> u64 {
    feed.expose_provenance() as u64 | FEED
}
