//! The limit of open descriptors.

use anyhow::{Context, bail};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// What the program needs beside its connections: standard streams, rings, counters, files of `/proc`.
const OTHERS: u64 = 64;

/// Makes room for so many connections: raises the soft limit as far as needed and allowed.
///
/// # Errors
/// It is not allowed. The error says what is, and what to do.
pub(crate) fn reserve(connections: usize) -> anyhow::Result<()> {
    let needed = connections as u64 + OTHERS;
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).context("asking for the limit of descriptors")?;
    if needed <= soft {
        return Ok(());
    }
    if needed > hard {
        let fewer = match hard.saturating_sub(OTHERS) {
            0 => "Not one connection fits, so raise the limit first".to_owned(),
            room => format!(
                "Use at most {room} connections (--connections and --idle together), or raise the limit first"
            ),
        };
        bail!(
            "{connections} connections need {needed} descriptors, and this process may open {hard} (hard limit). \
             {fewer}: as root, `ulimit -n {needed}` in the shell, or LimitNOFILE= in the service"
        );
    }
    setrlimit(Resource::RLIMIT_NOFILE, needed, hard)
        .with_context(|| format!("raising the limit of descriptors from {soft} to {needed}"))
}
