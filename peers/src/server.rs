//! The servers, each in a process of its own.

pub(crate) mod may;
pub(crate) mod monoio;
pub(crate) mod raw_epoll;
pub(crate) mod raw_io_uring;
pub(crate) mod sward;
pub(crate) mod tokio;

use std::io::{self, Write};
use std::net::TcpListener;

use crate::contender::Contender;
use crate::machine;

/// What a server reads at once, in bytes.
const BUFFER_BYTES: usize = 4096;

/// The whole life of a server's process: binds, says on standard output where, and serves.
pub(crate) fn run(contender: &Contender) -> io::Result<()> {
    let serve =
        contender.serve.ok_or_else(|| io::Error::other(format!("{} serves nothing", contender.name)))?;
    machine::pin(machine::SERVER_CORE)?;
    machine::raise_descriptor_limit();
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("{}", listener.local_addr()?);
    io::stdout().flush()?;
    serve(listener)
}
