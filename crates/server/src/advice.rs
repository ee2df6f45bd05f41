//! Advice for errors that mean an exhausted resource: which limit to raise.

use std::io;

use nix::errno::Errno;

/// Returns advice in brackets, to follow the error's text. It is empty unless a resource is exhausted.
pub(crate) fn advice(error: &io::Error) -> &'static str {
    match Errno::from_raw(error.raw_os_error().unwrap_or(0)) {
        Errno::EMFILE => " (ulimit -n is the limit: raise it)",
        Errno::ENFILE => " (the sysctl fs.file-max is the limit: raise it)",
        Errno::EAGAIN => " (ulimit -u, or the memory of the service, is the limit: raise it)",
        _ => "",
    }
}

/// Returns the error with what was attempted before its text, and advice after it.
pub(crate) fn explain(attempted: &str, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{attempted}: {error}{}", advice(error)))
}
