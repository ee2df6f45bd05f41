//! The last message of a process that aborts, on standard error.
//!
//! The message is written at once, since no code runs later. But a supervisor waits for the process to end, so writing gives up if standard
//! error accepts nothing for a tenth of a second.
//!
//! Everything here is async-signal-safe, except the formatting of foreign types: no allocation, no lock, only `poll` and `write`.

use std::fmt::{self, Write};
use std::process;

/// How long to wait for standard error to accept more, in milliseconds.
const TIMEOUT_MS: libc::c_int = 100;

/// How often a write may be interrupted, or block although `poll` said that it would not.
const FAILURES_MAX: u32 = 100;

/// The most that one call writes, in bytes. A pipe that `poll` reports as writable has room for far more (PIPE_BUF).
const PIECE_BYTES: usize = 512;

/// Writes to standard error, and gives up if it accepts nothing for a tenth of a second. Async-signal-safe.
pub fn write_stderr(mut bytes: &[u8]) {
    let mut failures = 0;
    while !bytes.is_empty() && failures < FAILURES_MAX && is_ready() {
        let piece = &bytes[..bytes.len().min(PIECE_BYTES)];
        // SAFETY: the buffer is valid for its length.
        let written = unsafe { libc::write(libc::STDERR_FILENO, piece.as_ptr().cast(), piece.len()) };
        match written {
            1.. => bytes = &bytes[written as usize..],
            0 => return,
            _ if matches!(errno(), libc::EINTR | libc::EAGAIN) => failures += 1,
            _ => return,
        }
    }
}

/// Aborts the process (SIGABRT) with a message in the form of std's: `fatal runtime error: MESSAGE, aborting`.
pub fn fatal(message: fmt::Arguments<'_>) -> ! {
    let mut text = Text::new();
    // What does not fit is cut off.
    let _ = write!(text, "fatal runtime error: {message}, aborting");
    text.end_line();
    write_stderr(text.as_bytes());
    process::abort();
}

/// Text in a buffer of fixed size. What does not fit is cut off.
pub(crate) struct Text {
    bytes: [u8; 512],
    length: usize,
}

impl Text {
    pub(crate) fn new() -> Text {
        Text { bytes: [0; 512], length: 0 }
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) {
        let room = &mut self.bytes[self.length..];
        let length = bytes.len().min(room.len());
        room[..length].copy_from_slice(&bytes[..length]);
        self.length += length;
    }

    pub(crate) fn push_decimal(&mut self, mut number: u64) {
        let mut digits = [0; 20];
        let mut first = digits.len();
        loop {
            first -= 1;
            digits[first] = b'0' + (number % 10) as u8;
            number /= 10;
            if number == 0 {
                break;
            }
        }
        self.push(&digits[first..]);
    }

    /// Ends the line, even if the text was cut off.
    fn end_line(&mut self) {
        self.length = self.length.min(self.bytes.len() - 1);
        self.push(b"\n");
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

impl Write for Text {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.push(text.as_bytes());
        Ok(())
    }
}

/// Waits until standard error accepts something, or reports an error. Returns false after the timeout.
fn is_ready() -> bool {
    let mut watched = libc::pollfd { fd: libc::STDERR_FILENO, events: libc::POLLOUT, revents: 0 };
    loop {
        // SAFETY: one entry, and it is valid.
        match unsafe { libc::poll(&mut watched, 1, TIMEOUT_MS) } {
            -1 if errno() == libc::EINTR => {}
            ready => return ready > 0,
        }
    }
}

fn errno() -> libc::c_int {
    // SAFETY: the address is that of the calling thread's own variable.
    unsafe { *libc::__errno_location() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_is_too_long_is_cut_off_and_ends_its_line() {
        let mut text = Text::new();
        write!(text, "{:600}", 7).unwrap();
        text.end_line();
        assert_eq!((text.as_bytes().len(), text.as_bytes().last()), (512, Some(&b'\n')));
    }
}
