//! select: a bit for every descriptor number, in two bitmaps that the kernel reads and overwrites at each wait.
//!
//! The C library's `fd_set` ends at 1024, but the kernel takes bitmaps of any length. So this file has its own, which grow with
//! the largest number, and makes the system call directly.
//!
//! ```text
//!   words of the read map    [ fd 0 … 63 ][ fd 64 … 127 ] …       armed: kept between waits
//!   words of the write map   [ fd 0 … 63 ][ fd 64 … 127 ] …       shown: the copy that the kernel overwrites
//! ```
//!
//! One descriptor that is not open fails the whole call with `EBADF`. The poller finds it and reports it as ready, so that its
//! own operation gets the error.

use std::io;
use std::os::fd::RawFd;
use std::ptr;
use std::time::Duration;

use crate::abi;
use crate::engine::{Engine, Waker};
use crate::event_fd::EventFd;
use crate::kind::EngineKind;
use crate::open_error::OpenError;
use crate::operation::{Interest, Source};
use crate::readiness::{Poller, Readiness, Ready};

/// Opens the engine.
pub(crate) fn open() -> Result<Box<dyn Engine>, OpenError> {
    Readiness::open(EngineKind::Select, "eventfd", Select::new())
}

/// The poller over `pselect6(2)`.
struct Select {
    armed: Bitmaps,
    /// The copy that the kernel gets and overwrites. Kept between waits for its memory.
    shown: Bitmaps,
    /// By descriptor number: the identity that armed it. Without meaning while it is not armed.
    ids: Vec<u64>,
    wake: EventFd,
    system_calls: u64,
}

/// A bitmap for each direction, of the same length.
#[derive(Default)]
struct Bitmaps {
    read: Vec<libc::c_ulong>,
    write: Vec<libc::c_ulong>,
}

/// Descriptors in a word of a bitmap.
const WORD_BITS: usize = libc::c_ulong::BITS as usize;

impl Select {
    fn new() -> io::Result<Select> {
        let wake = EventFd::new()?;
        let mut armed = Bitmaps::default();
        armed.set(wake.fd(), Interest::READ);
        Ok(Select { armed, shown: Bitmaps::default(), ids: Vec::new(), wake, system_calls: 1 })
    }

    /// Takes what the kernel left in `shown` out of `armed`, and reports it.
    fn collect(&mut self, ready: &mut Vec<Ready>) {
        for word in 0..self.shown.read.len() {
            let (read, write) = (self.shown.read[word], self.shown.write[word]);
            let mut any = read | write;
            while any != 0 {
                let bit = any.trailing_zeros();
                any &= any - 1;
                let fd = (word * WORD_BITS + bit as usize) as RawFd;
                if fd == self.wake.fd() {
                    self.system_calls += 1;
                    self.wake.drain();
                    continue;
                }
                self.report(fd, Bitmaps::interest(read >> bit, write >> bit), ready);
            }
        }
    }

    /// Reports the armed descriptors that are not open.
    fn collect_closed(&mut self, ready: &mut Vec<Ready>) {
        for fd in 0..(self.armed.read.len() * WORD_BITS) as RawFd {
            let interest = self.armed.get(fd);
            if interest.is_empty() {
                continue;
            }
            self.system_calls += 1;
            // SAFETY: no memory is involved.
            if unsafe { libc::fcntl(fd, libc::F_GETFD) } < 0 {
                self.report(fd, interest, ready);
            }
        }
    }

    fn report(&mut self, fd: RawFd, interest: Interest, ready: &mut Vec<Ready>) {
        self.armed.clear(fd, interest);
        // select does not tell a hangup from other readiness. It is level-triggered, so it does not need to.
        ready.push(Ready { source: Source { fd, id: self.ids[fd as usize] }, interest, hangup: false });
    }
}

impl Poller for Select {
    fn arm(&mut self, source: Source, interest: Interest) -> io::Result<()> {
        let index = source.fd as usize;
        if index >= self.ids.len() {
            self.ids.resize(index + 1, 0);
        }
        if self.ids[index] != source.id {
            self.ids[index] = source.id;
            self.armed.clear(source.fd, Interest::BOTH);
        }
        self.armed.set(source.fd, interest);
        Ok(())
    }

    fn disarm(&mut self, source: Source, interest: Interest) {
        if self.ids.get(source.fd as usize) == Some(&source.id) {
            self.armed.clear(source.fd, interest);
        }
    }

    fn forget(&mut self, source: Source) {
        self.disarm(source, Interest::BOTH);
    }

    fn poll(&mut self, timeout: Option<Duration>, ready: &mut Vec<Ready>) -> io::Result<()> {
        self.armed.trim();
        self.shown.read.clone_from(&self.armed.read);
        self.shown.write.clone_from(&self.armed.write);
        let mut limit = timeout.map(abi::timespec);
        self.system_calls += 1;
        // SAFETY: both bitmaps have a bit for every number below the first argument; the kernel writes the rest of the
        // time to the timespec, which is null or valid; no signal mask.
        let count = unsafe {
            libc::syscall(
                libc::SYS_pselect6,
                self.shown.read.len() * WORD_BITS,
                self.shown.read.as_mut_ptr(),
                self.shown.write.as_mut_ptr(),
                ptr::null_mut::<libc::c_ulong>(),
                limit.as_mut().map_or(ptr::null_mut(), ptr::from_mut),
                ptr::null::<libc::c_void>(),
            )
        };
        if count > 0 {
            self.collect(ready);
        } else if count < 0 {
            let error = io::Error::last_os_error();
            match error.raw_os_error() {
                Some(libc::EINTR) => {}
                Some(libc::EBADF) => self.collect_closed(ready),
                _ => return Err(error),
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

impl Bitmaps {
    fn interest(read: libc::c_ulong, write: libc::c_ulong) -> Interest {
        let read = if read & 1 == 1 { Interest::READ } else { Interest::NONE };
        let write = if write & 1 == 1 { Interest::WRITE } else { Interest::NONE };
        read.union(write)
    }

    fn get(&self, fd: RawFd) -> Interest {
        let (word, bit) = (fd as usize / WORD_BITS, fd as usize % WORD_BITS);
        Bitmaps::interest(self.read[word] >> bit, self.write[word] >> bit)
    }

    fn set(&mut self, fd: RawFd, interest: Interest) {
        let (word, bit) = (fd as usize / WORD_BITS, fd as usize % WORD_BITS);
        if word >= self.read.len() {
            self.read.resize(word + 1, 0);
            self.write.resize(word + 1, 0);
        }
        if interest.contains(Interest::READ) {
            self.read[word] |= 1 << bit;
        }
        if interest.contains(Interest::WRITE) {
            self.write[word] |= 1 << bit;
        }
    }

    fn clear(&mut self, fd: RawFd, interest: Interest) {
        let (word, bit) = (fd as usize / WORD_BITS, fd as usize % WORD_BITS);
        if word >= self.read.len() {
            return;
        }
        if interest.contains(Interest::READ) {
            self.read[word] &= !(1 << bit);
        }
        if interest.contains(Interest::WRITE) {
            self.write[word] &= !(1 << bit);
        }
    }

    /// Drops the words at the end in which nothing is armed, so that the kernel does not look at them.
    fn trim(&mut self) {
        while let (Some(0), Some(0)) = (self.read.last(), self.write.last()) {
            self.read.pop();
            self.write.pop();
        }
    }
}
