//! Finds the console of a process, at a path, or of a program that listens on a local address.
//!
//! A process has its console at the path in its own `SWARD_CONSOLE`, which its owner can read in `/proc/PID/environ`. For an
//! address, `/proc/net/tcp` lists the sockets that listen there, and `/proc/PID/fd` the processes that have them open.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs;
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};
use procfs::ProcError;
use procfs::net::{self, TcpState};
use procfs::process::{FDTarget, Process, all_processes};
use sward_measure::process::{children, name};

/// The path of a console, and the process that it should belong to.
pub(super) struct Found {
    pub(super) path: PathBuf,
    pub(super) process: Option<u32>,
}

/// Finds the console that `target` names.
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
            "{target:?} is neither a process, nor a console's path, nor HOST:PORT; give one of these, as in `sward top 127.0.0.1:8080`"
        ),
    }
}

// ---- a process ------------------------------------------------------------------------------------------------------

/// Finds the console of a process, or otherwise that of its only child that has one.
fn of_process(process: u32) -> anyhow::Result<Found> {
    let wanted = wanted_console(process)?;
    let mut found = vec![(process, wanted.clone())];
    if !is_socket(&wanted) {
        let own = |child| Some((child, wanted_console(child).ok()?));
        found = children(process).into_iter().filter_map(own).filter(|(_, path)| is_socket(path)).collect();
    }
    if found.is_empty() {
        bail!(
            "process {process} has no console at {}; its runtime has not started or has ended, or its model has no green threads, or \
             its standard error says what went wrong",
            wanted.display()
        );
    }
    only(found, &format!("process {process} has several children with a console"))
}

/// Returns the path at which the process should have its console.
fn wanted_console(number: u32) -> anyhow::Result<PathBuf> {
    let open = i32::try_from(number).map_err(|_| ProcError::NotFound(None)).and_then(Process::new);
    let found = open.and_then(|process| Ok((process.environ()?, process)));
    let (environment, process) = found.map_err(|error| match error {
        ProcError::NotFound(_) => anyhow!(
            "there is no process {number}; give the number of a running one (`pgrep -a NAME` lists them), or the address that it listens on"
        ),
        ProcError::PermissionDenied(_) => {
            anyhow!("process {number} is another user's; run sward top as that user")
        }
        _ => anyhow::Error::new(error).context(format!("looking at process {number}")),
    })?;
    let wanted = environment.get(OsStr::new("SWARD_CONSOLE")).filter(|wanted| !wanted.is_empty());
    let Some(wanted) = wanted else {
        bail!(
            "process {number} ({}) has no console; start it with SWARD_CONSOLE=PATH (if it is a sward program), where PATH may \
             be a directory",
            name(number)
        );
    };
    // A relative path starts at the process's first directory, which is usually still the current one.
    let path = process.cwd().unwrap_or_default().join(wanted);
    Ok(if path.is_dir() { path.join(format!("{number}.sock")) } else { path })
}

// ---- an address -----------------------------------------------------------------------------------------------------

/// Finds the console of the process that listens on an address.
fn of_address(host: &str, target: &str) -> anyhow::Result<Found> {
    // Without a host, any address matches.
    let wanted = if host.is_empty() { format!("0.0.0.0{target}") } else { target.to_owned() };
    let wanted: Vec<SocketAddr> = wanted
        .to_socket_addrs()
        .with_context(|| format!("looking up {target}, which should be HOST:PORT"))?
        .collect();
    let is_wanted = |address: SocketAddr| {
        let matches = |wanted: &SocketAddr| {
            let (one, other) = (wanted.ip(), address.ip());
            wanted.port() == address.port()
                && (one == other || one.is_unspecified() || other.is_unspecified())
        };
        wanted.iter().any(matches)
    };
    // A kernel without IPv6 has no table for it.
    let sockets = [net::tcp(), net::tcp6()].into_iter().flatten().flatten();
    let listeners =
        sockets.filter(|socket| socket.state == TcpState::Listen && is_wanted(socket.local_address));
    let inodes: HashSet<u64> = listeners.map(|socket| socket.inode).collect();
    if inodes.is_empty() {
        bail!(
            "nobody listens on {target} on this machine, and sward top shows programs of this machine only; `ss -ltn` lists who listens"
        );
    }
    let processes = all_processes().context("listing the processes")?.flatten();
    let holders = processes.filter(|process| holds_any(process, &inodes));
    let holders: Vec<u32> = holders.map(|process| process.pid().unsigned_abs()).collect();
    let Some(&first) = holders.first() else {
        bail!("another user's process listens on {target}; run sward top as that user");
    };
    let own = |&process: &u32| Some((process, wanted_console(process).ok()?));
    let found: Vec<_> = holders.iter().filter_map(own).filter(|(_, path)| is_socket(path)).collect();
    if found.is_empty() {
        // The error says why not.
        return of_process(first);
    }
    only(found, &format!("several processes listen on {target}"))
}

/// Returns whether the process has one of these sockets open. Of other users' processes the kernel does not say.
fn holds_any(process: &Process, inodes: &HashSet<u64>) -> bool {
    let open = process.fd().into_iter().flatten().flatten();
    open.into_iter().any(|file| matches!(file.target, FDTarget::Socket(inode) if inodes.contains(&inode)))
}

// ---- a directory ----------------------------------------------------------------------------------------------------

/// Finds the only console in a directory.
fn in_directory(directory: &Path) -> anyhow::Result<Found> {
    let entries = fs::read_dir(directory).with_context(|| {
        format!("looking for consoles in {}; name one that you may read", directory.display())
    })?;
    let found = entries.filter_map(|entry| {
        let path = entry.ok()?.path();
        let process: u32 = path.file_name()?.to_str()?.strip_suffix(".sock")?.parse().ok()?;
        // A program that was killed leaves its console behind.
        let lives = Process::new(process.try_into().ok()?).is_ok();
        (lives && is_socket(&path)).then_some((process, path))
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

// ---- shared ----------------------------------------------------------------------------------------------------------

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
