//! Where the console listens: makes the socket, replaces what a dead process has left there, and takes its own away at the end.

use std::fs::{self, File, Permissions};
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf, absolute};
use std::process;

use socket2::{Domain, SockAddr, Socket, Type};

/// How many clients may wait to be accepted.
const BACKLOG: i32 = 16;

/// The socket in the file system, which goes when this is dropped.
pub(super) struct Place {
    path: PathBuf,
    /// Device and file number. Somebody else may have put something there meanwhile.
    identity: (u64, u64),
}

impl Drop for Place {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|identity| identity == self.identity) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Listens at `wanted`, or in it if it is a directory. Nobody but the owner may connect.
///
/// # Errors
/// The place is taken, or cannot be.
pub(super) fn listen(wanted: &Path) -> io::Result<(UnixListener, Place)> {
    let mut path = absolute(wanted)?;
    if path.is_dir() {
        path.push(format!("{}.sock", process::id()));
    }
    let address = SockAddr::unix(&path)?;
    let socket = private_socket()?;
    match socket.bind(&address) {
        Err(error) if error.kind() == ErrorKind::AddrInUse => {
            clear(&path)?;
            socket.bind(&address)?;
        }
        bound => bound?,
    }
    let place = Place { identity: identity(&path)?, path };
    socket.listen(BACKLOG)?;
    Ok((UnixListener::from(OwnedFd::from(socket)), place))
}

/// A socket whose file will have mode 0600. It is set before there is a file, so that nobody can be faster.
fn private_socket() -> io::Result<Socket> {
    let socket = File::from(OwnedFd::from(Socket::new(Domain::UNIX, Type::STREAM, None)?));
    socket.set_permissions(Permissions::from_mode(0o600))?;
    Ok(Socket::from(OwnedFd::from(socket)))
}

/// Takes away the socket of a process that is no more.
fn clear(path: &Path) -> io::Result<()> {
    let taken = |what| Err(io::Error::new(ErrorKind::AddrInUse, what));
    if !fs::symlink_metadata(path)?.file_type().is_socket() {
        return taken("something is there that is no socket; choose another path");
    }
    match UnixStream::connect(path) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => fs::remove_file(path),
        _ => taken(
            "another program listens there; choose another path, or an existing directory, where each program gets \
                    a socket of its own",
        ),
    }
}

/// What to do about an error of [`listen`]; empty if it says so itself.
pub(super) fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        ErrorKind::AddrInUse => "",
        ErrorKind::NotFound => "; make the folder that it is to be in, or choose another path",
        ErrorKind::PermissionDenied => "; choose a path in a folder that this user may write to",
        ErrorKind::InvalidInput => "; choose a shorter path",
        _ => "; choose another path",
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|file| (file.dev(), file.ino()))
}
