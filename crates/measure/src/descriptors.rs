//! The limit of open descriptors.

use std::io;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Descriptors that a program needs besides its connections: standard streams, rings, counters, files of `/proc`.
const OTHER_DESCRIPTORS: u64 = 64;

/// Raises the soft limit of open descriptors so that `connections` fit.
///
/// # Errors
/// The hard limit is too low; the message says what it is, and what to do. Or the kernel refuses to say or to change a limit.
pub fn reserve(connections: usize) -> io::Result<()> {
    let needed = connections as u64 + OTHER_DESCRIPTORS;
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if needed <= soft {
        return Ok(());
    }
    if needed > hard {
        let fewer = match hard.saturating_sub(OTHER_DESCRIPTORS) {
            0 => "Not one connection fits, so raise the limit first".to_owned(),
            room => format!(
                "Use at most {room} connections (--connections and --idle together), or raise the limit first"
            ),
        };
        return Err(io::Error::other(format!(
            "{connections} connections need {needed} descriptors, and this process may open {hard} (hard limit). \
             {fewer}: as root, `ulimit -n {needed}` in the shell, or LimitNOFILE= in the service"
        )));
    }
    setrlimit(Resource::RLIMIT_NOFILE, needed, hard).map_err(|error| {
        io::Error::other(format!("raising the limit of descriptors from {soft} to {needed}: {error}"))
    })
}
