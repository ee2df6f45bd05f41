//! Blocking I/O, an OS thread per connection: the same code as the green model, outside a runtime.

use std::io;

use super::{Site, accept_until_stopped, thread_per_connection};
use crate::connection::Connection;

/// Serves until stopped and drained.
pub(crate) fn serve<H>(site: Site, handler: H) -> io::Result<()>
where
    H: Fn(Connection) -> io::Result<()> + Send + Sync + 'static,
{
    let start = thread_per_connection(&site.running, handler);
    accept_until_stopped(site, start)
}
