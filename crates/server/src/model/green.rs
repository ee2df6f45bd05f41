//! A green thread per connection. Each worker accepts from a listener of its own.
//!
//! When the deadline of the drain has passed and sockets that are shut down did not end their handlers either, the end of
//! the runtime cancels what is left.

use std::io;

use super::{Site, accept_until_stopped, thread_per_connection};
use crate::connection::Connection;

/// Serves until stopped and drained.
///
/// # Safety
/// The handler keeps the contract of [`sward::run`].
#[allow(unsafe_code)]
pub(crate) unsafe fn serve<H>(site: Site, handler: H) -> io::Result<()>
where
    H: Fn(Connection) -> io::Result<()> + Send + Sync + 'static,
{
    let mut runtime = sward::Builder::new().workers(site.workers);
    if let Some(engine) = site.engine {
        runtime = runtime.engine(engine);
    }
    let start = thread_per_connection(&site.running, handler);
    // SAFETY: this crate's own code uses no thread-local values, and the caller speaks for the handler.
    unsafe { runtime.run(|| accept_until_stopped(site, start)) }?
}
