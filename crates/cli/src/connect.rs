//! `sward connect`: copies standard input to a server and its replies to standard output, each direction on a green thread.
//!
//! At the end of the input, it closes its sending side (half-close), and prints replies until the server closes. If the server
//! closes first, the program ends, even if there is more input.

use std::fs::File;
use std::io::{self, ErrorKind, IsTerminal, Read, Write};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::sync::Arc;

use anyhow::{Context, anyhow};
use nix::errno::Errno;
use sward::net::TcpStream;
use sward::os::fd::{wait_readable, wait_writable};
use sward::thread;

use crate::output;

/// The most that is read at once. A pipe that is writable accepts so many bytes without blocking.
const CHUNK_BYTES: usize = 4096;

const PROMPT: &[u8] = b"> ";

/// Advice for the case that no descriptor is left.
const DESCRIPTORS: &str = ": raise the limit of open files (ulimit -n)";

/// Connect to a server: lines in, replies out; works in a pipe
#[derive(clap::Args)]
#[command(after_help = "Try it:\n  printf 'a\\nb\\n' | sward connect 127.0.0.1:8080")]
pub(crate) struct Connect {
    /// The server
    #[arg(value_name = "HOST:PORT")]
    addr: String,
}

impl Connect {
    #[allow(unsafe_code)]
    pub(crate) fn run(self) -> anyhow::Result<()> {
        // SAFETY: the two copying loops hold no thread-local values at all.
        unsafe { sward::Builder::new().workers(1).run(|| self.converse()) }?
    }

    fn converse(&self) -> anyhow::Result<()> {
        let stream = TcpStream::connect(&self.addr).map_err(|error| self.explain(error))?;
        let stream = Arc::new(stream);
        let input = {
            let stream = Arc::clone(&stream);
            // If the input fails, the server may wait for it for ever: hang up.
            thread::spawn(move || send_input(&stream).inspect_err(|_| drop(stream.shutdown(Shutdown::Both))))
        };
        let replies = print_replies(&stream);
        input.cancel();
        match input.join() {
            Ok(sent) => replies.and(sent),
            // It was cancelled: the server closed first.
            Err(_) => replies,
        }
    }

    fn explain(&self, error: io::Error) -> anyhow::Error {
        let advice = match (error.kind(), error.raw_os_error().map(Errno::from_raw)) {
            (ErrorKind::ConnectionRefused, _) => ": nobody listens there; start a server with `sward serve`",
            (ErrorKind::TimedOut, _) => {
                ": the server does not answer; its backlog may be full, or a firewall in between"
            }
            (ErrorKind::NetworkUnreachable | ErrorKind::HostUnreachable, _) => {
                ": there is no route to it from here; check the address"
            }
            (_, Some(Errno::EMFILE | Errno::ENFILE)) => DESCRIPTORS,
            // Without an errno, the error comes from parsing or resolving the address.
            (_, None) => ": an address is HOST:PORT, as in 127.0.0.1:8080",
            _ => "",
        };
        anyhow!("connecting to {}: {error}{advice}", self.addr)
    }
}

/// Copies standard input to the server, then closes the sending side.
fn send_input(mut stream: &TcpStream) -> anyhow::Result<()> {
    // `io::stdin()` would buffer input, and the descriptor would not be readable although there is more.
    let input = io::stdin().as_fd().try_clone_to_owned();
    let mut input =
        File::from(input.map_err(|error| anyhow!("duplicating standard input: {error}{DESCRIPTORS}"))?);
    let mut buffer = [0; CHUNK_BYTES];
    loop {
        await_ready(wait_readable(&input, None)).context("waiting for standard input")?;
        let length = input.read(&mut buffer).context("reading standard input")?;
        if length == 0 {
            break;
        }
        match stream.write_all(&buffer[..length]) {
            Ok(()) => {}
            // The server has closed. Its earlier replies are still being printed.
            Err(error) if matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => {
                return Ok(());
            }
            Err(error) => return Err(error).context("sending"),
        }
    }
    match stream.shutdown(Shutdown::Write) {
        Err(error) if error.kind() != ErrorKind::NotConnected => {
            Err(error).context("closing the sending side")
        }
        _ => Ok(()),
    }
}

/// Copies the server's replies to standard output until it closes.
fn print_replies(mut stream: &TcpStream) -> anyhow::Result<()> {
    let interactive = io::stdin().is_terminal() && io::stdout().is_terminal();
    let output = io::stdout().as_fd().try_clone_to_owned();
    let mut output =
        File::from(output.map_err(|error| anyhow!("duplicating standard output: {error}{DESCRIPTORS}"))?);
    let mut print = |bytes: &[u8]| {
        await_ready(wait_writable(&output, None))
            .and_then(|()| output.write_all(bytes))
            .map_err(|error| output::explain(output::attempted(error)))
    };
    let mut buffer = [0; CHUNK_BYTES];
    if interactive {
        print(PROMPT)?;
    }
    loop {
        let length = match stream.read(&mut buffer) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            result => result.context("receiving")?,
        };
        if length == 0 {
            return Ok(());
        }
        print(&buffer[..length])?;
        if interactive && buffer[length - 1] == b'\n' {
            print(PROMPT)?;
        }
    }
}

/// Treats a regular file, which some engines refuse to wait for, as ready.
fn await_ready(waited: io::Result<bool>) -> io::Result<()> {
    match waited {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Ok(()),
        waited => waited.map(drop),
    }
}
