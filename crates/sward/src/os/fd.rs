//! `std::os::fd`, and how a green thread waits for a descriptor that this library knows nothing about: standard input, a
//! pipe of a signal handler, the socket of a C library.

use std::io;
use std::time::Duration;

use sward_engine::{Interest, Request, Source};

use crate::runtime::wait::{self, Outcome};
use crate::runtime::worker::Worker;

pub use std::os::fd::*;

/// Blocks the calling thread, green or not, until a read from `fd` would not block (because there is something, at the
/// end, or after a hang-up or an error), or until `timeout` is over: then it gives false. A cancellation point.
///
/// Any number of threads may wait for one descriptor, in both directions, also while others are blocked in reads and writes of the
/// [`TcpStream`](crate::net::TcpStream) that owns it.
///
/// Regular files are always ready. Another thread may read first, so a read that must not block needs the descriptor in
/// non-blocking mode all the same.
///
/// `fd` is borrowed, so it stays open during the wait. If a C library closes it all the same, the wait may last until its timeout
/// or a cancel; a later wait for a new descriptor of the same number is not affected.
///
/// # Errors
/// The descriptor is of a kind that cannot be waited for.
///
/// ```
/// use std::{io::Write, time::Duration};
/// use sward::os::fd::wait_readable;
///
/// let (reader, mut writer) = std::io::pipe()?;
/// assert!(!wait_readable(&reader, Some(Duration::ZERO))?);
/// writer.write_all(b"x")?;
/// assert!(wait_readable(&reader, None)?);
/// # std::io::Result::Ok(())
/// ```
pub fn wait_readable(fd: impl AsFd, timeout: Option<Duration>) -> io::Result<bool> {
    wait_ready(fd.as_fd(), Interest::READ, timeout)
}

/// As [`wait_readable`], for a write.
///
/// # Errors
/// The descriptor is of a kind that cannot be waited for.
pub fn wait_writable(fd: impl AsFd, timeout: Option<Duration>) -> io::Result<bool> {
    wait_ready(fd.as_fd(), Interest::WRITE, timeout)
}

fn wait_ready(fd: BorrowedFd<'_>, interest: Interest, timeout: Option<Duration>) -> io::Result<bool> {
    /// An identity of its own for each wait. The descriptor is somebody else's, and nobody tells when it is closed: the engine keeps
    /// nothing of it beyond the wait, also when a cancel unwinds that. Waits for one descriptor share it in the engine.
    struct Visit(Source);
    impl Drop for Visit {
        fn drop(&mut self) {
            Worker::forget(self.0);
        }
    }
    let visit = Visit(Source::new(fd.as_raw_fd()));
    // SAFETY: there are no pointers in it, and the descriptor is borrowed for longer than this frame lives.
    match unsafe { wait::perform(Request::Poll { source: visit.0, interest }, timeout) } {
        Outcome::Done(events) if events >= 0 => Ok(true),
        Outcome::Done(error) => Err(io::Error::from_raw_os_error(-error)),
        Outcome::TimedOut => Ok(false),
    }
}
