//! The conversation with a console: a line with a request, a line with the answer.

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

/// How long to wait for an answer. A console answers within a fraction of a second, even if its workers do not.
const PATIENCE: Duration = Duration::from_secs(10);

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
    /// Connects to a console, and verifies whose it is before believing anything.
    ///
    /// # Errors
    /// There is no console, this user may not use it, or it belongs to another process than it should, or to another user.
    pub(super) fn connect(found: &Found) -> anyhow::Result<Client> {
        let path = &found.path;
        let shown = path.display();
        match fs::metadata(path) {
            Ok(file) if !file.file_type().is_socket() => {
                bail!(
                    "{shown} is no socket, so no console is there; name the path that the program has in SWARD_CONSOLE"
                )
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                bail!("no console is at {shown}; start the program with SWARD_CONSOLE={shown}")
            }
            _ => {}
        }
        let stream = connect_in_time(path).map_err(|error| match error.kind() {
            ErrorKind::WouldBlock => anyhow!("what listens at {shown} has not accepted anybody for {} s; the program is stopped (`kill -CONT` lets it go on), or it is none of sward's", PATIENCE.as_secs()),
            ErrorKind::ConnectionRefused => anyhow!("nobody listens at {shown} any more; the program that has left it there is dead: start it again"),
            ErrorKind::PermissionDenied => anyhow!("connecting to {shown}: a console is for the user who runs the program; run sward top as that user"),
            _ => anyhow::Error::new(error).context(format!("connecting to {shown}")),
        })?;
        stream.set_read_timeout(Some(PATIENCE)).context("setting a time-out")?;
        verify(&stream, found)?;
        Ok(Client { path: path.clone(), stream: BufReader::new(stream) })
    }

    /// Removes the time limit for answers.
    ///
    /// # Errors
    /// None that a kernel is known to return.
    pub(super) fn wait_for_ever(&self) -> anyhow::Result<()> {
        self.stream.get_ref().set_read_timeout(None).context("taking back a time-out")
    }

    /// Requests a snapshot. Returns `None` if the program, or at least its last runtime, has ended.
    ///
    /// # Errors
    /// There is no answer in time, or it does not come from a console of this version.
    pub(super) fn ask(&mut self) -> anyhow::Result<Option<ConsoleAnswer>> {
        let mut line = Vec::new();
        let asked = self.stream.get_mut().write_all(b"snapshot\n");
        match asked.and_then(|()| self.stream.by_ref().take(ANSWER_MAX).read_until(b'\n', &mut line)) {
            Ok(0) => return Ok(None),
            Ok(_) => {}
            Err(error) if is_end(&error) => return Ok(None),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => bail!(
                "{} has not answered for {} s; the program is stopped (`kill -CONT` lets it go on), or it is none of sward's",
                self.path.display(),
                PATIENCE.as_secs()
            ),
            Err(error) => {
                return Err(anyhow::Error::new(error).context(format!("asking {}", self.path.display())));
            }
        }
        self.understand(&line).map(Some)
    }

    fn understand(&self, line: &[u8]) -> anyhow::Result<ConsoleAnswer> {
        let shown = self.path.display();
        let value: Value = serde_json::from_slice(line).unwrap_or_default();
        let Some(version) = value["sward_console"].as_u64() else {
            bail!(
                "what listens at {shown} is no console of a sward program; name the path that one has in SWARD_CONSOLE"
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
            .with_context(|| format!("the console at {shown} does not say what it should; use the sward top that belongs to the program's version of sward"))?;
        Ok(ConsoleAnswer { value, snapshot })
    }
}

/// Connects, with a time limit for that and for writes. Fails with `WouldBlock` if the backlog stays full.
fn connect_in_time(path: &Path) -> io::Result<UnixStream> {
    let (flags, patience) = (SockFlag::SOCK_CLOEXEC, TimeVal::seconds(PATIENCE.as_secs() as i64));
    let socket = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    // This limits a connect, too.
    setsockopt(&socket, SendTimeout, &patience)?;
    connect(socket.as_raw_fd(), &UnixAddr::new(path)?)?;
    Ok(UnixStream::from(socket))
}

/// Asks the kernel who listens, since anybody who can create a file at the path could claim anything.
fn verify(stream: &UnixStream, found: &Found) -> anyhow::Result<()> {
    let (shown, peer) =
        (found.path.display(), getsockopt(stream, PeerCredentials).context("asking who listens")?);
    if let Some(wanted) = found.process.filter(|&wanted| i64::from(wanted) != i64::from(peer.pid())) {
        let (process, name) = (peer.pid(), name(peer.pid().unsigned_abs()));
        bail!(
            "process {wanted} has no console: {shown} is that of process {process} ({name}). Start each with a path of its own, or \
             with a directory"
        );
    }
    if !may_be_believed(peer.uid(), geteuid().as_raw()) {
        bail!(
            "what listens at {shown} belongs to another user (number {}); run sward top as that user",
            peer.uid()
        );
    }
    Ok(())
}

/// Returns whether the user `own` can trust the user `peer`: itself and the superuser, who trusts all.
fn may_be_believed(peer: u32, own: u32) -> bool {
    peer == own || peer == 0 || own == 0
}

fn is_end(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset)
}

#[cfg(test)]
mod tests {
    use super::may_be_believed;

    #[test]
    fn other_users_are_not_believed() {
        assert!(may_be_believed(1000, 1000) && may_be_believed(0, 1000) && may_be_believed(1000, 0));
        assert!(!may_be_believed(1001, 1000));
    }
}
