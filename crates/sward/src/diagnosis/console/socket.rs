//! Where the console listens: makes the socket, replaces what a dead process has left there, and takes its own away at the end.
//!
//! The path may lie in a directory where others are at work, so:
//!
//! - The socket is bound and listens under a temporary name beside the path, and is then linked there in one step. So what is at the
//!   path listens, from the first moment on. (`ss -x` shows the temporary name.)
//! - Whether somebody listens there is tried without waiting: a program that does not accept may have a full backlog.
//! - A socket that refuses is dead, unless a program has bound it and is about to listen, which the kernel's table of sockets says.
//! - What is dead is first moved aside in one step. If that caught something else than was looked at, since another process has
//!   been quicker, it is put back.

use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf, absolute};
use std::process;

use socket2::{Domain, SockAddr, Socket, Type};

/// How many clients may wait to be accepted.
const BACKLOG: i32 = 16;

/// How many temporary names are tried, and how often the path may change hands meanwhile.
const ATTEMPTS: u32 = 16;

/// Device and file number.
type Identity = (u64, u64);

/// A file of ours, which goes when this is dropped.
pub(super) struct Place {
    path: PathBuf,
    /// Somebody else may have put something there meanwhile.
    identity: Identity,
}

impl Place {
    fn new(path: PathBuf) -> io::Result<Place> {
        Ok(Place { identity: identity(&path)?, path })
    }
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
    // It would not be found there by anybody who connects.
    SockAddr::unix(&path)?;
    let socket = private_socket()?;
    let draft = bind_beside(&socket, &path)?;
    socket.listen(BACKLOG)?;
    for _ in 0..ATTEMPTS {
        match fs::hard_link(&draft.path, &path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => clear(&path)?,
            linked => {
                linked?;
                let place = Place { path, identity: draft.identity };
                return Ok((UnixListener::from(OwnedFd::from(socket)), place));
            }
        }
    }
    Err(taken("other programs fight for it; choose another path"))
}

/// A socket whose file will have mode 0600. It is set before there is a file, so that nobody can be faster.
fn private_socket() -> io::Result<Socket> {
    let socket = File::from(OwnedFd::from(Socket::new(Domain::UNIX, Type::STREAM, None)?));
    socket.set_permissions(Permissions::from_mode(0o600))?;
    Ok(Socket::from(OwnedFd::from(socket)))
}

/// Binds the socket to a temporary name in the same directory.
fn bind_beside(socket: &Socket, path: &Path) -> io::Result<Place> {
    let mut names = temporary_names(path);
    loop {
        let name =
            names.next().ok_or_else(|| taken("its directory is full of sockets that are left over"))?;
        match socket.bind(&SockAddr::unix(&name)?) {
            Err(error) if error.kind() == ErrorKind::AddrInUse => {}
            bound => return bound.and_then(|()| Place::new(name)),
        }
    }
}

/// Short names, since the path of a socket is short. Another process of that number, in a container, may have left one.
fn temporary_names(path: &Path) -> impl Iterator<Item = PathBuf> {
    (0..ATTEMPTS).map(|attempt| path.with_file_name(format!(".{:x}.{attempt:x}", process::id())))
}

/// Takes away the socket of a process that is no more.
fn clear(path: &Path) -> io::Result<()> {
    let found = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        found => found?,
    };
    if !found.file_type().is_socket() {
        return Err(taken("something is there that is no socket; choose another path"));
    }
    let probe = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
    match probe.connect(&SockAddr::unix(path)?) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => {}
        // Also if there is no room for one more client.
        _ => {
            return Err(taken(
                "another program listens there; choose another path, or an existing directory, where each program gets \
                 a socket of its own",
            ));
        }
    }
    if is_bound(path) {
        return Err(taken("another program has bound it, and does not listen yet; choose another path"));
    }
    let free = temporary_names(path).find(|aside| fs::symlink_metadata(aside).is_err());
    let aside = free.ok_or_else(|| taken("its directory is full of sockets that are left over"))?;
    match fs::rename(path, &aside) {
        // Somebody else has taken it away.
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        moved => moved?,
    }
    if identity(&aside)? != (found.dev(), found.ino()) {
        // If this fails, there is a third one at the path already, and the second has lost it to that one.
        let _ = fs::hard_link(&aside, path);
    }
    fs::remove_file(&aside)
}

/// Whether a live socket is bound to this file, as far as the kernel says; its table has the names by which sockets were bound.
fn is_bound(path: &Path) -> bool {
    let table = fs::read("/proc/net/unix").unwrap_or_default();
    let wanted = identity(path).ok();
    table.split(|&byte| byte == b'\n').skip(1).filter_map(bound_name).any(|name| {
        // Of a name that is relative to somebody's directory, only the end says something.
        let is_here = name.is_absolute() && identity(name).ok() == wanted;
        is_here || (name.is_relative() && name.file_name() == path.file_name())
    })
}

/// The name in a line of `/proc/net/unix`: number, references, protocol, flags, type, state, inode, and the name, if there is one.
fn bound_name(line: &[u8]) -> Option<&Path> {
    let mut rest = line;
    for _ in 0..7 {
        rest = rest.trim_ascii_start();
        rest = &rest[rest.iter().position(|&byte| byte == b' ')?..];
    }
    let name = rest.strip_prefix(b" ")?;
    (!name.is_empty() && !name.starts_with(b"@")).then(|| Path::new(OsStr::from_bytes(name)))
}

fn taken(what: &'static str) -> io::Error {
    io::Error::new(ErrorKind::AddrInUse, what)
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

fn identity(path: &Path) -> io::Result<Identity> {
    fs::symlink_metadata(path).map(|file| (file.dev(), file.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_as_the_kernel_prints_them() {
        let name = |line: &'static str| bound_name(line.as_bytes()).map(|name| name.to_str().unwrap());
        assert_eq!(
            name("0000000000000000: 00000002 00000000 00010000 0001 01 50431 /run/a b.sock"),
            Some("/run/a b.sock")
        );
        assert_eq!(name("0000000000000000: 00000003 00000000 00000000 0001 03   431 x.sock"), Some("x.sock"));
        assert_eq!(name("0000000000000000: 00000003 00000000 00000000 0001 03 50431"), None);
        assert_eq!(name("0000000000000000: 00000003 00000000 00000000 0001 03 50431 @abstract"), None);
    }
}
