//! Functions of the diagnosis above, which the runtime calls. `sward::run` installs them before the first runtime of the process starts;
//! until then, the runtime calls nothing.

use std::sync::OnceLock;

use super::reason::Reason;
use super::worker::Worker;

/// The functions.
pub struct Hooks {
    /// Returns the return addresses on the calling stack, innermost first, up to `base`.
    pub return_addresses: fn(base: usize) -> Vec<usize>,
    /// A worker ends, and leaves the threads that it has where they are.
    pub left_behind: fn(&Worker),
    /// The calling OS thread, not a worker, is about to wait. Returns a number for `os_thread_has_waited`, if that is wanted.
    pub os_thread_waits: fn(&Reason<'_>) -> Option<u64>,
    /// The wait of that number is over.
    pub os_thread_has_waited: fn(u64),
}

static HOOKS: OnceLock<Hooks> = OnceLock::new();

/// Installs `hooks`. Only the first call in a process has an effect.
pub fn install(hooks: Hooks) {
    let _ = HOOKS.set(hooks);
}

#[inline]
pub(crate) fn hooks() -> Option<&'static Hooks> {
    HOOKS.get()
}
