//! Blocking I/O in its oldest form: one OS thread accepts a client, serves it to its end, and accepts the next.

use std::io;
use std::sync::Arc;

use super::{Site, accept_until_stopped};
use crate::accept::serve_connection;
use crate::connection::Connection;

/// Serves until stopped and drained.
pub(crate) fn serve<H>(site: Site, handler: H) -> io::Result<()>
where
    H: Fn(Connection) -> io::Result<()> + Send + Sync + 'static,
{
    let running = Arc::clone(&site.running);
    accept_until_stopped(site, move |connection| {
        serve_connection(&running, &handler, connection);
        Ok(())
    })
}
