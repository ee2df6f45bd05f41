//! Ctrl-C.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};

/// The error of a run that Ctrl-C has ended.
#[derive(Debug)]
pub struct Interrupted;

impl fmt::Display for Interrupted {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("interrupted; nothing has been written")
    }
}

impl std::error::Error for Interrupted {}

/// Checks whether to go on.
///
/// # Errors
/// [`Interrupted`], if the flag is raised.
pub(crate) fn check(interrupt: &AtomicBool) -> anyhow::Result<()> {
    if interrupt.load(Ordering::Relaxed) { Err(Interrupted.into()) } else { Ok(()) }
}
