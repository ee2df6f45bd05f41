//! The client of a console: sends a request in a line, reads the answer in a line.

use std::fs;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};
use nix::sys::socket::sockopt::{PeerCredentials, SendTimeout};
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, UnixAddr, connect, getsockopt, setsockopt, socket,
};
use nix::sys::time::{TimeVal, TimeValLike};
use nix::unistd::geteuid;
use serde::Deserialize;
use serde_json::Value;
use sward::time::Duration;
use sward_measure::process::name;

use super::find::Found;
use super::snapshot::Snapshot;

/// The protocol version of this command.
const VERSION: u64 = 1;

/// How long to wait for an answer. A console answers within a fraction of a second, even if workers are stalled.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The longest answer, in bytes. No real one is nearly as long.
const ANSWER_MAX: u64 = 1 << 24;

/// A connection to a console.
pub(super) struct Client {
    path: PathBuf,
    stream: BufReader<UnixStream>,
}

/// An answer, raw and parsed.
pub(super) struct ConsoleAnswer {
    pub(super) value: Value,
    pub(super) snapshot: Snapshot,
}

impl Client {
    /// Connects to a console, and verifies whose it is.
    ///
    /// # Errors
    /// There is no console, this user may not use it, or it belongs to another process or user than expected.
    pub(super) fn connect(found: &Found) -> anyhow::Result<Client> {
        let path = &found.path;
        let shown = path.display();
        match fs::metadata(path) {
            Ok(file) if !file.file_type().is_socket() => {
                bail!(
                    "{shown} is not a socket, so it is not a console; give the path that the program has in SWARD_CONSOLE"
                )
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                bail!("no console is at {shown}; start the program with SWARD_CONSOLE={shown}")
            }
            _ => {}
        }
        let stream = connect_in_time(path).map_err(|error| match error.kind() {
            ErrorKind::WouldBlock => anyhow!("what listens at {shown} has not accepted a connection for {} s; the program is stopped (`kill -CONT` continues it), or is not a sward program", TIMEOUT.as_secs()),
            ErrorKind::ConnectionRefused => anyhow!("nobody listens at {shown} any more; the program that created it is dead: start it again"),
            ErrorKind::PermissionDenied => anyhow!("connecting to {shown}: a console is for the user who runs the program; run sward top as that user"),
            _ => anyhow::Error::new(error).context(format!("connecting to {shown}")),
        })?;
        stream.set_read_timeout(Some(TIMEOUT)).context("setting a time-out")?;
        verify(&stream, found)?;
        Ok(Client { path: path.clone(), stream: BufReader::new(stream) })
    }

    /// Removes the time limit for answers.
    ///
    /// # Errors
    /// The kernel refuses, which none is known to do.
    pub(super) fn wait_for_ever(&self) -> anyhow::Result<()> {
        self.stream.get_ref().set_read_timeout(None).context("removing a time-out")
    }

    /// Requests a snapshot. Returns `None` if the program, or at least its last runtime, has ended.
    ///
    /// # Errors
    /// No answer comes in time, or it is not one of a console of this version.
    pub(super) fn ask(&mut self) -> anyhow::Result<Option<ConsoleAnswer>> {
        let mut line = Vec::new();
        let asked = self.stream.get_mut().write_all(b"snapshot\n");
        match asked.and_then(|()| self.stream.by_ref().take(ANSWER_MAX).read_until(b'\n', &mut line)) {
            Ok(0) => return Ok(None),
            Ok(_) => {}
            Err(error) if is_end(&error) => return Ok(None),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => bail!(
                "{} has not answered for {} s; the program is stopped (`kill -CONT` continues it), or is not a sward program",
                self.path.display(),
                TIMEOUT.as_secs()
            ),
            Err(error) => {
                return Err(anyhow::Error::new(error).context(format!("asking {}", self.path.display())));
            }
        }
        self.parse(&line).map(Some)
    }

    fn parse(&self, line: &[u8]) -> anyhow::Result<ConsoleAnswer> {
        let shown = self.path.display();
        let value: Value = serde_json::from_slice(line).unwrap_or_default();
        let Some(version) = value["sward_console"].as_u64() else {
            bail!(
                "what listens at {shown} is not the console of a sward program; give the path that one has in SWARD_CONSOLE"
            );
        };
        if version != VERSION {
            bail!(
                "the console at {shown} speaks version {version} and this sward top version {VERSION}; use the sward top that \
                 belongs to the program's version of sward"
            );
        }
        if let Some(complaint) = value["error"].as_str() {
            bail!("the console at {shown} says: {complaint}");
        }
        let snapshot = Snapshot::deserialize(&value)
            .with_context(|| format!("the console at {shown} sends an answer of another form; use the sward top that belongs to the program's version of sward"))?;
        Ok(ConsoleAnswer { value, snapshot })
    }
}

/// Connects, with a time limit for that and for writes. Fails with `WouldBlock` if the backlog stays full.
fn connect_in_time(path: &Path) -> io::Result<UnixStream> {
    let (flags, timeout) = (SockFlag::SOCK_CLOEXEC, TimeVal::seconds(TIMEOUT.as_secs() as i64));
    let socket = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    // This limits a connect, too.
    setsockopt(&socket, SendTimeout, &timeout)?;
    connect(socket.as_raw_fd(), &UnixAddr::new(path)?)?;
    Ok(UnixStream::from(socket))
}

/// Verifies with the kernel whose process listens: any user who can create a file at the path could send false answers.
fn verify(stream: &UnixStream, found: &Found) -> anyhow::Result<()> {
    let (shown, peer) =
        (found.path.display(), getsockopt(stream, PeerCredentials).context("asking who listens")?);
    if let Some(wanted) = found.process.filter(|&wanted| i64::from(wanted) != i64::from(peer.pid())) {
        let (process, name) = (peer.pid(), name(peer.pid().unsigned_abs()));
        bail!(
            "process {wanted} has no console: {shown} is that of process {process} ({name}). Give each a path of its own, or \
             a directory"
        );
    }
    if !is_trusted(peer.uid(), geteuid().as_raw()) {
        bail!(
            "what listens at {shown} belongs to another user (number {}); run sward top as that user",
            peer.uid()
        );
    }
    Ok(())
}

/// Returns whether the user `own` can trust the user `peer`: a user trusts itself and the superuser, who trusts all.
fn is_trusted(peer: u32, own: u32) -> bool {
    peer == own || peer == 0 || own == 0
}

fn is_end(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset)
}

#[cfg(test)]
mod tests {
    use super::is_trusted;

    #[test]
    fn other_users_are_not_trusted() {
        assert!(is_trusted(1000, 1000) && is_trusted(0, 1000) && is_trusted(1000, 0));
        assert!(!is_trusted(1001, 1000));
    }
}
