//! epoll, edge-triggered: one registration for the life of a descriptor, and no system call to arm it again.
//!
//! A descriptor is registered for everything when it is first armed. The kernel then reports its present state as an edge, so
//! nothing that happened before is lost. The kernel reports every later edge whether or not somebody waits, and the adapter
//! remembers it.
//!
//! An event carries the descriptor and the low half of its identity. A registration can outlive its descriptor, when a duplicate
//! keeps the socket open after the number was closed and reused. Its events have another identity, and the poller drops them.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;
use std::time::Duration;

use crate::abi;
use crate::engine::{Engine, Waker};
use crate::event_fd::EventFd;
use crate::kind::EngineKind;
use crate::open_error::OpenError;
use crate::operation::{Interest, Source};
use crate::readiness::{Poller, Readiness, Ready};

/// The most events that one poll collects. The next poll collects the rest.
const EVENTS_MAX: usize = 1024;

/// The data of the waker's registration. No source has a descriptor of -1.
const WAKE: u64 = u64::MAX;

const EVERYTHING: i32 = libc::EPOLLIN | libc::EPOLLPRI | libc::EPOLLRDHUP | libc::EPOLLOUT | libc::EPOLLET;

/// Opens the engine.
pub(crate) fn open() -> Result<Box<dyn Engine>, OpenError> {
    Readiness::open(EngineKind::Epoll, "epoll_create1", Epoll::new())
}

/// The poller over epoll.
struct Epoll {
    epoll: OwnedFd,
    wake: EventFd,
    /// By descriptor number: the identity under which it is registered here, 0 if it is not.
    registered: Vec<u64>,
    events: Vec<libc::epoll_event>,
    /// False once the kernel has said that it has no `epoll_pwait2` (before Linux 5.11).
    has_nanoseconds: bool,
    system_calls: u64,
}

impl Epoll {
    fn new() -> io::Result<Epoll> {
        // SAFETY: no memory is involved.
        let fd = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: just opened, and nobody else has it.
        let epoll = unsafe { OwnedFd::from_raw_fd(fd) };
        let mut epoll = Epoll {
            epoll,
            wake: EventFd::new()?,
            registered: Vec::new(),
            events: Vec::with_capacity(EVENTS_MAX),
            has_nanoseconds: true,
            system_calls: 2,
        };
        epoll.control(libc::EPOLL_CTL_ADD, epoll.wake.fd(), libc::EPOLLIN, WAKE)?;
        Ok(epoll)
    }

    fn control(&mut self, operation: i32, fd: RawFd, events: i32, data: u64) -> io::Result<()> {
        self.system_calls += 1;
        let mut event = libc::epoll_event { events: events as u32, u64: data };
        // SAFETY: the kernel reads one event.
        let returned = unsafe { libc::epoll_ctl(self.epoll.as_raw_fd(), operation, fd, &raw mut event) };
        if returned < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Collects events into `self.events`.
    fn collect(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.system_calls += 1;
        self.events.clear();
        let epoll = self.epoll.as_raw_fd();
        let events = self.events.as_mut_ptr();
        let count = if self.has_nanoseconds {
            let limit = timeout.map(abi::timespec);
            // SAFETY: there is room for EVENTS_MAX events; the timespec is null or valid; no signal mask.
            unsafe {
                libc::syscall(
                    libc::SYS_epoll_pwait2,
                    epoll,
                    events,
                    EVENTS_MAX as i32,
                    abi::pointer(&limit),
                    ptr::null::<libc::sigset_t>(),
                    0,
                ) as i32
            }
        } else {
            // SAFETY: there is room for EVENTS_MAX events.
            unsafe { libc::epoll_wait(epoll, events, EVENTS_MAX as i32, milliseconds(timeout)) }
        };
        if count >= 0 {
            // SAFETY: the kernel has written this many events, and it was given room for no more.
            unsafe { self.events.set_len(count as usize) };
            return Ok(());
        }
        let error = io::Error::last_os_error();
        match error.raw_os_error() {
            Some(libc::EINTR) => Ok(()),
            Some(libc::ENOSYS) if self.has_nanoseconds => {
                self.has_nanoseconds = false;
                self.collect(timeout)
            }
            _ => Err(error),
        }
    }
}

impl Poller for Epoll {
    fn arm(&mut self, source: Source, _: Interest) -> io::Result<()> {
        let index = source.fd as usize;
        if index >= self.registered.len() {
            self.registered.resize(index + 1, 0);
        }
        if self.registered[index] == source.id {
            return Ok(());
        }
        let data = data_of(source);
        self.control(libc::EPOLL_CTL_ADD, source.fd, EVERYTHING, data).or_else(|error| {
            if error.raw_os_error() != Some(libc::EEXIST) {
                return Err(error);
            }
            // The same open socket under an older identity. Modifying reports the present state, too.
            self.control(libc::EPOLL_CTL_MOD, source.fd, EVERYTHING, data)
        })?;
        self.registered[index] = source.id;
        Ok(())
    }

    fn disarm(&mut self, _: Source, _: Interest) {}

    fn forget(&mut self, source: Source) {
        if let Some(id) = self.registered.get_mut(source.fd as usize)
            && *id == source.id
        {
            *id = 0;
            // This fails if the descriptor is closed already. Then the kernel has forgotten it, or its events are stale.
            let _ = self.control(libc::EPOLL_CTL_DEL, source.fd, 0, 0);
        }
    }

    fn poll(&mut self, timeout: Option<Duration>, ready: &mut Vec<Ready>) -> io::Result<()> {
        self.collect(timeout)?;
        for event in &self.events {
            // epoll's bits are those of `poll(2)`.
            let (events, data) = (event.events as i16, event.u64);
            if data == WAKE {
                self.system_calls += 1;
                self.wake.drain();
                continue;
            }
            let fd = data as u32 as RawFd;
            let id = self.registered[fd as usize];
            if data == data_of(Source { fd, id }) {
                let (interest, hangup) = (abi::directions(events), abi::is_hangup(events));
                ready.push(Ready { source: Source { fd, id }, interest, hangup });
            }
        }
        Ok(())
    }

    fn waker(&self) -> Waker {
        self.wake.waker()
    }

    fn system_calls(&self) -> u64 {
        self.system_calls
    }
}

/// Returns the data of a registration: the low half of the identity above the descriptor.
fn data_of(source: Source) -> u64 {
    source.id << 32 | u64::from(source.fd as u32)
}

/// Returns `timeout` in milliseconds, -1 for no limit. It is rounded up; otherwise a wait would end just before its time and start
/// again and again.
fn milliseconds(timeout: Option<Duration>) -> i32 {
    timeout.map_or(-1, |timeout| i32::try_from(timeout.as_nanos().div_ceil(1_000_000)).unwrap_or(i32::MAX))
}
