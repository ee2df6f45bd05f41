//! The armed directions of many descriptors, as one array that `poll(2)` takes.
//!
//! The array is dense and has an index by descriptor number. So the cost of arming, disarming and forgetting does not grow with
//! the number of armed descriptors, and the kernel sees only what is armed. A report takes a direction out of the set: one-shot.

use std::io;
use std::ptr;
use std::time::Duration;

use crate::abi;
use crate::operation::{Interest, Source};
use crate::readiness::Ready;

/// In `positions`: not in the set.
const ABSENT: u32 = u32::MAX;

/// A set of armed descriptors.
#[derive(Default)]
pub(crate) struct PollSet {
    /// Each has at least one direction in its `events`.
    descriptors: Vec<libc::pollfd>,
    /// The identity of the descriptor at the same position of `descriptors`.
    ids: Vec<u64>,
    /// By descriptor number: the position in `descriptors`, or [`ABSENT`].
    positions: Vec<u32>,
}

impl PollSet {
    /// Returns whether nothing is armed.
    pub(crate) fn is_empty(&self) -> bool {
        self.descriptors.is_empty()
    }

    /// Returns the armed descriptors.
    pub(crate) fn sources(&self) -> impl Iterator<Item = Source> {
        self.descriptors.iter().zip(&self.ids).map(|(descriptor, &id)| Source { fd: descriptor.fd, id })
    }

    /// Adds directions. Drops those that were armed under an older identity of the same descriptor.
    pub(crate) fn arm(&mut self, source: Source, interest: Interest) {
        let index = source.fd as usize;
        if index >= self.positions.len() {
            self.positions.resize(index + 1, ABSENT);
        }
        if self.positions[index] == ABSENT {
            self.positions[index] = self.descriptors.len() as u32;
            self.descriptors.push(libc::pollfd { fd: source.fd, events: 0, revents: 0 });
            self.ids.push(source.id);
        }
        let position = self.positions[index] as usize;
        let descriptor = &mut self.descriptors[position];
        if self.ids[position] != source.id {
            self.ids[position] = source.id;
            descriptor.events = 0;
        }
        descriptor.events |= events(interest);
    }

    /// Removes directions, if they are armed for this identity.
    pub(crate) fn disarm(&mut self, source: Source, interest: Interest) {
        let position = self.positions.get(source.fd as usize).map_or(ABSENT, |position| *position) as usize;
        if self.ids.get(position) == Some(&source.id) {
            self.disarm_at(position, interest);
        }
    }

    fn disarm_at(&mut self, position: usize, interest: Interest) {
        let descriptor = &mut self.descriptors[position];
        descriptor.events &= !events(interest);
        if descriptor.events != 0 {
            return;
        }
        self.positions[descriptor.fd as usize] = ABSENT;
        self.descriptors.swap_remove(position);
        self.ids.swap_remove(position);
        if let Some(moved) = self.descriptors.get(position) {
            self.positions[moved.fd as usize] = position as u32;
        }
    }

    /// Sleeps until something armed is ready or `timeout` is over (`None`: no limit). Moves what is ready from the set to
    /// `ready`. May return early with nothing.
    pub(crate) fn poll(&mut self, timeout: Option<Duration>, ready: &mut Vec<Ready>) -> io::Result<()> {
        let limit = timeout.map(abi::timespec);
        let (array, length) = (self.descriptors.as_mut_ptr(), self.descriptors.len() as libc::nfds_t);
        // SAFETY: the array has this length; the timespec is null or valid; no signal mask.
        let count = unsafe { libc::ppoll(array, length, abi::pointer(&limit), ptr::null()) };
        if count < 0 {
            let error = io::Error::last_os_error();
            return if error.kind() == io::ErrorKind::Interrupted { Ok(()) } else { Err(error) };
        }
        let mut left = count;
        // Backwards: the last entry, which has been looked at already, takes the place of one that is removed.
        for position in (0..self.descriptors.len()).rev() {
            if left == 0 {
                break;
            }
            let seen = self.descriptors[position].revents;
            if seen != 0 {
                left -= 1;
                self.report(position, seen, ready);
            }
        }
        Ok(())
    }

    /// Moves everything from the set to `ready`.
    pub(crate) fn report_all(&mut self, ready: &mut Vec<Ready>) {
        for position in (0..self.descriptors.len()).rev() {
            self.report(position, libc::POLLIN | libc::POLLOUT, ready);
        }
    }

    fn report(&mut self, position: usize, seen: i16, ready: &mut Vec<Ready>) {
        let libc::pollfd { fd, events, .. } = self.descriptors[position];
        let interest = abi::directions(seen).intersection(abi::directions(events));
        let source = Source { fd, id: self.ids[position] };
        ready.push(Ready { source, interest, hangup: abi::is_hangup(seen) });
        self.disarm_at(position, interest);
    }
}

fn events(interest: Interest) -> i16 {
    let hangup = if interest.contains(Interest::READ) { libc::POLLRDHUP } else { 0 };
    abi::poll_events(interest) | hangup
}
