//! The servers. Each runs in a process of its own.

pub(crate) mod may;
pub(crate) mod monoio;
pub(crate) mod raw_epoll;
pub(crate) mod raw_io_uring;
pub(crate) mod sward;
pub(crate) mod tokio;

use std::io::{self, Read, Write};
use std::net::TcpListener;

use crate::machine;

/// Serves on the listener until the process ends.
pub(crate) type Serve = fn(TcpListener) -> io::Result<()>;

/// How many bytes a server reads at once.
const BUFFER_BYTES: usize = 4096;

/// Runs a server's process: binds, prints the address, and serves.
pub(crate) fn run(serve: Serve) -> io::Result<()> {
    machine::pin(machine::SERVER_CORE)?;
    machine::raise_descriptor_limit();
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("{}", listener.local_addr()?);
    io::stdout().flush()?;
    serve(listener)
}

/// Sends back in upper case what arrives, until the end of the stream: the handler of servers in direct style.
fn upper(mut stream: impl Read + Write, buffer: &mut [u8]) -> io::Result<()> {
    loop {
        let length = stream.read(buffer)?;
        if length == 0 {
            return Ok(());
        }
        buffer[..length].make_ascii_uppercase();
        stream.write_all(&buffer[..length])?;
    }
}
