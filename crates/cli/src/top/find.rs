//! Whose console is meant: a process, a path, or a local address on which the program listens.
//!
//! A process's console is where its own `SWARD_CONSOLE` says, which the kernel shows to its owner (`/proc/PID/environ`). An address is first
//! made a list of processes: `/proc/net/tcp` names the sockets that listen there, `/proc/PID/fd` who has them open.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fmt::Display;
use std::fs;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use sward_measure::terminal::printable;

/// Where a console is, and of which process it should be.
pub(super) struct Found {
    pub(super) path: PathBuf,
    pub(super) process: Option<u32>,
}

/// The console that `target` means.
///
/// # Errors
/// There is none, or there are several.
pub(super) fn find(target: &str) -> anyhow::Result<Found> {
    if let Ok(process) = target.parse() {
        return of_process(process);
    }
    let path = Path::new(target);
    if path.is_dir() {
        return in_directory(path);
    }
    if path.exists() || target.contains('/') {
        return Ok(Found { path: path.to_owned(), process: None });
    }
    match target.rsplit_once(':') {
        Some((host, port)) if port.parse::<u16>().is_ok() => of_address(host, target),
        _ => bail!(
            "{target:?} is no process, no console's path, and no HOST:PORT; give one of these, as in `sward top 127.0.0.1:8080`"
        ),
    }
}

// ---- a process ------------------------------------------------------------------------------------------------------

/// A process's own console, or that of its children, if it is one.
fn of_process(process: u32) -> anyhow::Result<Found> {
    let wanted = wanted_console(process)?;
    let mut found = vec![(process, wanted.clone())];
    if !is_socket(&wanted) {
        let own = |child| Some((child, wanted_console(child).ok()?));
        found = children(process).into_iter().filter_map(own).filter(|(_, path)| is_socket(path)).collect();
    }
    if found.is_empty() {
        bail!(
            "process {process} has no console at {}; its runtime has not begun or is over, or its model has no green threads, or \
             its standard error says what was wrong",
            wanted.display()
        );
    }
    only(found, &format!("process {process} has several children with a console"))
}

/// Where the process was told to have its console.
fn wanted_console(process: u32) -> anyhow::Result<PathBuf> {
    let folder = Path::new("/proc").join(process.to_string());
    let environment = fs::read(folder.join("environ")).map_err(|error| match error.kind() {
        ErrorKind::NotFound => anyhow::anyhow!(
            "there is no process {process}; give the number of one that runs (`pgrep -a NAME` lists them), or the address that it listens on"
        ),
        ErrorKind::PermissionDenied => {
            anyhow::anyhow!("process {process} is another user's; run sward top as that user")
        }
        _ => anyhow::Error::new(error).context(format!("looking at process {process}")),
    })?;
    let mut variables = environment.split(|&byte| byte == 0);
    let wanted = variables.find_map(|variable| variable.strip_prefix(b"SWARD_CONSOLE="));
    let Some(wanted) = wanted.filter(|wanted| !wanted.is_empty()) else {
        bail!(
            "process {process} ({}) has no console; start it with SWARD_CONSOLE=PATH (if it is a sward program), where PATH may \
             be a directory",
            name(process)
        );
    };
    // Relative to where it was started, which is usually where it still is.
    let base = fs::read_link(folder.join("cwd")).unwrap_or_default();
    let path = base.join(OsStr::from_bytes(wanted));
    Ok(if path.is_dir() { path.join(format!("{process}.sock")) } else { path })
}

fn children(process: u32) -> Vec<u32> {
    let threads = fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten();
    let lists = threads.filter_map(|thread| fs::read_to_string(thread.ok()?.path().join("children")).ok());
    lists
        .flat_map(|list| list.split_whitespace().filter_map(|id| id.parse().ok()).collect::<Vec<_>>())
        .collect()
}

/// What the kernel calls a process, control characters made visible.
pub(super) fn name(process: impl Display) -> String {
    let name = fs::read_to_string(format!("/proc/{process}/comm")).unwrap_or_default();
    printable(name.trim()).into_owned()
}

// ---- an address -----------------------------------------------------------------------------------------------------

/// The console of whoever listens there.
fn of_address(host: &str, target: &str) -> anyhow::Result<Found> {
    // Without a host, any will do.
    let wanted = if host.is_empty() { format!("0.0.0.0{target}") } else { target.to_owned() };
    let wanted: Vec<SocketAddr> = wanted
        .to_socket_addrs()
        .with_context(|| format!("looking up {target}, which should be HOST:PORT"))?
        .collect();
    let inodes: HashSet<String> = listening_sockets()
        .filter_map(|(address, inode)| {
            let matches = |wanted: &SocketAddr| {
                let (one, other) = (wanted.ip(), address.ip());
                wanted.port() == address.port()
                    && (one == other || one.is_unspecified() || other.is_unspecified())
            };
            wanted.iter().any(matches).then(|| format!("socket:[{inode}]"))
        })
        .collect();
    if inodes.is_empty() {
        bail!(
            "nobody listens on {target} on this machine, and sward top shows programs of this machine only; `ss -ltn` lists who listens"
        );
    }
    let holders: Vec<u32> = processes().filter(|&process| holds_any(process, &inodes)).collect();
    let Some(&first) = holders.first() else {
        bail!("whoever listens on {target} is another user's process; run sward top as that user");
    };
    let own = |&process: &u32| Some((process, wanted_console(process).ok()?));
    let found: Vec<_> = holders.iter().filter_map(own).filter(|(_, path)| is_socket(path)).collect();
    if found.is_empty() {
        // It says why not.
        return of_process(first);
    }
    only(found, &format!("several processes listen on {target}"))
}

/// TCP sockets of this machine that listen: where, and their file numbers.
fn listening_sockets() -> impl Iterator<Item = (SocketAddr, String)> {
    const LISTEN: &str = "0A";
    let tables =
        ["/proc/net/tcp", "/proc/net/tcp6"].map(|table| fs::read_to_string(table).unwrap_or_default());
    let lines =
        tables.into_iter().flat_map(|table| table.lines().skip(1).map(str::to_owned).collect::<Vec<_>>());
    lines.filter_map(|line| {
        // sl, local, remote, state, queues, timer, retransmits, user, time-out, inode
        let fields: Vec<_> = line.split_whitespace().collect();
        let (&local, &state, &inode) = (fields.get(1)?, fields.get(3)?, fields.get(9)?);
        (state == LISTEN).then(|| Some((parse_address(local)?, inode.to_owned())))?
    })
}

/// An address as the kernel prints it: words of 32 bits in hexadecimal, each in the machine's order, then the port.
fn parse_address(text: &str) -> Option<SocketAddr> {
    let (words, port) = text.split_once(':')?;
    let word = |index: usize| {
        let digits = words.get(8 * index..8 * index + 8)?;
        Some(u32::from_str_radix(digits, 16).ok()?.to_ne_bytes())
    };
    let ip = match words.len() {
        8 => IpAddr::V4(Ipv4Addr::from(word(0)?)),
        _ => {
            let bytes = [word(0)?, word(1)?, word(2)?, word(3)?].concat();
            IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?))
        }
    };
    Some(SocketAddr::new(ip, u16::from_str_radix(port, 16).ok()?))
}

fn processes() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten();
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

/// Whether the process has one of these files open; no, if that is not ours to know.
fn holds_any(process: u32, files: &HashSet<String>) -> bool {
    let open = fs::read_dir(format!("/proc/{process}/fd")).into_iter().flatten();
    let mut targets = open.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    targets.any(|target| target.to_str().is_some_and(|target| files.contains(target)))
}

// ---- a directory ----------------------------------------------------------------------------------------------------

/// The console in a directory that was given to programs as theirs.
fn in_directory(directory: &Path) -> anyhow::Result<Found> {
    let entries = fs::read_dir(directory).with_context(|| {
        format!("looking for consoles in {}; name one that you may read", directory.display())
    })?;
    let found = entries.filter_map(|entry| {
        let path = entry.ok()?.path();
        let process = path.file_name()?.to_str()?.strip_suffix(".sock")?.parse().ok()?;
        // Whoever was killed has left it behind.
        (is_socket(&path) && Path::new("/proc").join(format!("{process}")).exists())
            .then_some((process, path))
    });
    let found: Vec<(u32, PathBuf)> = found.collect();
    if found.is_empty() {
        bail!(
            "no console is in {}; start a program with SWARD_CONSOLE={}",
            directory.display(),
            directory.display()
        );
    }
    only(found, &format!("several consoles are in {}", directory.display()))
}

// ---- all ------------------------------------------------------------------------------------------------------------

fn only(mut found: Vec<(u32, PathBuf)>, otherwise: &str) -> anyhow::Result<Found> {
    if found.len() > 1 {
        found.sort_unstable();
        let list: Vec<_> = found.iter().map(|(process, _)| format!("sward top {process}")).collect();
        bail!("{otherwise}; choose one: {}", list.join(", "));
    }
    let (process, path) = found.remove(0);
    Ok(Found { path, process: Some(process) })
}

fn is_socket(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|file| file.file_type().is_socket())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_endian = "little")]
    fn addresses_as_the_kernel_prints_them() {
        let parse = |text| parse_address(text).map(|address| address.to_string());
        assert_eq!(parse("0100007F:1F90").as_deref(), Some("127.0.0.1:8080"));
        assert_eq!(parse("00000000000000000000000001000000:0050").as_deref(), Some("[::1]:80"));
        assert_eq!(parse("B80D01200000000000000000010000AA:0001").as_deref(), Some("[2001:db8::aa00:1]:1"));
        assert_eq!(parse("0100007F"), None);
        assert_eq!(parse("0100:0001"), None);
    }
}
