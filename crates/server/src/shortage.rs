//! What the user can do when the system has no more of something.

use std::io;

use nix::errno::Errno;

/// In brackets, for behind the error; empty if nothing is short.
pub(crate) fn advice(error: &io::Error) -> &'static str {
    match Errno::from_raw(error.raw_os_error().unwrap_or(0)) {
        Errno::EMFILE => " (ulimit -n is the limit: raise it)",
        Errno::ENFILE => " (the sysctl fs.file-max is the limit: raise it)",
        Errno::EAGAIN => " (ulimit -u, or the memory of the service, is the limit: raise it)",
        _ => "",
    }
}

/// As the error, with what was attempted in front and the advice behind.
pub(crate) fn explain(attempted: &str, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{attempted}: {error}{}", advice(error)))
}
