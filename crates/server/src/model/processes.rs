//! Child processes that share one listener, with green threads inside each: a crash takes one child's clients along, not the server.
//!
//! The parent binds, starts the program again for each child, and serves nothing itself. A child gets
//!
//! ```text
//!   descriptor 0    the listener
//!   descriptor 1    one end of a socket pair        parent → child: one byte means "stop and drain"
//!                                                                   the end of the stream means "end at once"
//!                                                   child → parent: one line, the summary, when it has drained
//!   SWARD_SERVER_CHILD=<parent's process id>:<index>
//! ```
//!
//! so whatever ends the parent, `kill -9` included, ends the children; the kernel kills those that are stopped and cannot read
//! (`PR_SET_PDEATHSIG`): none is ever left behind. The parent's id in the variable keeps programs that a handler starts from
//! taking themselves for children.
//!
//! Signals are the parent's business. Ctrl-C does not reach the children, since each leads a process group of its own; and a supervisor that
//! sends SIGTERM to all processes of a service (systemd does) only tells them what the parent will tell them, so they
//! pay no attention to it. SIGKILL ends one of them alone. A child that has not ended some time after the drain
//! deadline, which it keeps itself, is stopped or stuck, and is killed.
//!
//! Each child has a console of its own if `SWARD_CONSOLE` asks for one: `PATH.<index>`, unless it is a directory.

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, parent_id};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio, exit};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use sward::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::{Pid, dup2_stdin, dup2_stdout};
use sward::net::TcpListener;
use sward::report;
use sward::thread::{Builder, JoinHandle};

use super::{Site, green};
use crate::connection::Connection;
use crate::running::{GRACE, Running};
use crate::shortage::advice;
use crate::signals;
use crate::summary::{Line, Summary};

/// Where a sward program has its console: a socket, or a directory for them.
const CONSOLE: &str = "SWARD_CONSOLE";

/// Tells a process that it is a child, whose, and the how-manieth.
const VARIABLE: &str = "SWARD_SERVER_CHILD";

/// How long the parent waits before it starts a crashed child again; twice as long each time.
const BACK_OFF: Duration = Duration::from_millis(100);

/// The longest of these waits.
const LONGEST_BACK_OFF: Duration = Duration::from_secs(5);

/// A child that has lived for so long starts with the shortest wait again.
const STABLE: Duration = Duration::from_secs(10);

/// Whether this process is a child that a server of the model `processes` has started, and not the program that the user has started.
pub fn is_child() -> bool {
    child_index().is_some()
}

/// Which child this process is, from 0.
pub(crate) fn child_index() -> Option<usize> {
    let value = std::env::var(VARIABLE).ok()?;
    let (parent, index) = value.split_once(':')?;
    if parent.parse() != Ok(parent_id()) {
        return None;
    }
    index.parse().ok()
}

/// How many of `most` connections the child `index` may have. No more children are started than there are connections.
pub(crate) fn share(most: Option<usize>, workers: usize, index: usize) -> Option<usize> {
    most.map(|most| {
        let children = workers.min(most);
        most / children + usize::from(index < most % children)
    })
}

// ---- the parent -----------------------------------------------------------------------------------------------------

/// Starts the children and watches over them until stopped and drained.
pub(crate) fn serve(mut site: Site) -> io::Result<()> {
    if let Some(engine) = site.engine {
        engine.available().map_err(|error| io::Error::new(io::ErrorKind::Unsupported, error))?;
    }
    site.announce()?;
    let Site { running, mut listeners, workers, .. } = site;
    let listener = listeners.remove(0);
    let mut watches = Vec::new();
    for index in 0..workers {
        let seat = Arc::new(Seat { index, occupant: Mutex::new(None) });
        let (watched, shared, listener) = (Arc::clone(&seat), Arc::clone(&running), Arc::clone(&listener));
        let watch = move || watched.keep_occupied(&shared, &listener);
        match Builder::new().name(format!("child {index}")).spawn(watch) {
            Ok(watch) => watches.push((seat, watch)),
            Err(error) => {
                running.stop();
                end(&running, watches);
                return Err(error);
            }
        }
    }
    running.connections.wait_for_stop(None);
    end(&running, watches);
    Ok(())
}

/// Lets the children drain, and ends those that take longer than they may.
fn end(running: &Running, watches: Vec<(Arc<Seat>, JoinHandle<()>)>) {
    // A child cuts off what is left at the deadline, and waits for a grace of its own then, and for standard error.
    let deadline = running.drain_deadline().and_then(|deadline| deadline.checked_add(3 * GRACE));
    for (seat, _) in &watches {
        if let Some(occupant) = &mut *seat.occupant() {
            // It fails if the child has just died.
            let _ = occupant.control.write_all(b"s");
        }
    }
    for (seat, watch) in watches {
        let Some(deadline) = deadline else {
            let _ = watch.join();
            continue;
        };
        if let Err(watch) = watch.join_timeout(deadline.saturating_duration_since(Instant::now())) {
            seat.kill();
            // The kernel takes its time with a process that is in the middle of something.
            let _ = watch.join_timeout(GRACE);
        }
    }
}

/// A path for a child alone, if there is to be a console, and not in a directory, where it is alone anyway.
fn console_of_child(index: usize) -> Option<OsString> {
    let mut path = std::env::var_os(CONSOLE).filter(|path| !path.is_empty() && !Path::new(path).is_dir())?;
    path.push(format!(".{index}"));
    Some(path)
}

/// A child's place: whoever sits there, there is always someone.
struct Seat {
    index: usize,
    occupant: Mutex<Option<Occupant>>,
}

/// The present child. As long as it is in its seat, its process is not reaped, so its number is nobody else's.
struct Occupant {
    /// The parent's end of the socket pair.
    control: UnixStream,
    process: Pid,
}

impl Seat {
    fn occupant(&self) -> MutexGuard<'_, Option<Occupant>> {
        self.occupant.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the present child, even one that is stopped.
    fn kill(&self) {
        if let Some(occupant) = &*self.occupant() {
            // It fails if it has ended just now.
            let _ = kill(occupant.process, Signal::SIGKILL);
        }
    }

    /// Starts a child, waits for its end, and starts the next, until the server stops.
    fn keep_occupied(&self, running: &Running, listener: &TcpListener) {
        let mut back_off = BACK_OFF;
        loop {
            let started = Instant::now();
            let how = match self.start(running, listener) {
                Ok(None) => return,
                Ok(Some((child, control))) => match self.await_end(child, control) {
                    Ok((_, Some(summary))) => return running.counters.add(&summary),
                    Ok((status, None)) if running.connections.is_stopping() => {
                        let index = self.index;
                        return report(format_args!("sward: child {index} ended without a report: {status}"));
                    }
                    Ok((status, None)) => format!("crashed ({status})"),
                    Err(error) => format!("was lost ({error})"),
                },
                Err(error) => format!("did not start ({error}{})", advice(&error)),
            };
            if started.elapsed() >= STABLE {
                back_off = BACK_OFF;
            }
            let index = self.index;
            report(format_args!("sward: child {index} {how}; starting it again in {back_off:?}"));
            if running.connections.wait_for_stop(Some(Instant::now() + back_off)) {
                return;
            }
            running.counters.restarts.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            back_off = LONGEST_BACK_OFF.min(2 * back_off);
        }
    }

    /// Starts the program again. `None`: the server is stopping.
    fn start(&self, running: &Running, listener: &TcpListener) -> io::Result<Option<(Child, UnixStream)>> {
        let (ours, theirs) = UnixStream::pair()?;
        let mut arguments = std::env::args_os();
        let mut command = Command::new("/proc/self/exe");
        command
            .arg0(arguments.next().unwrap_or_else(|| OsString::from("sward")))
            .args(arguments)
            .env(VARIABLE, format!("{}:{}", std::process::id(), self.index))
            .stdin(Stdio::from(listener.as_fd().try_clone_to_owned()?))
            .stdout(Stdio::from(OwnedFd::from(theirs)))
            .process_group(0);
        if let Some(path) = console_of_child(self.index) {
            command.env(CONSOLE, path);
        }
        // Under the lock, so that whoever stops the server either finds the child here or keeps it from being started.
        let mut occupant = self.occupant();
        if running.connections.is_stopping() {
            return Ok(None);
        }
        let control = ours.try_clone()?;
        let child = command.spawn()?;
        *occupant = Some(Occupant { control, process: Pid::from_raw(child.id() as i32) });
        Ok(Some((child, ours)))
    }

    /// Waits for the child's end, and gives its summary if it ended as it should.
    fn await_end(
        &self,
        mut child: Child,
        mut control: UnixStream,
    ) -> io::Result<(ExitStatus, Option<Summary>)> {
        let mut report = String::new();
        let read = control.read_to_string(&mut report);
        let (process, ended) =
            (Pid::from_raw(child.id() as i32), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT);
        while waitid(Id::Pid(process), ended) == Err(Errno::EINTR) {}
        *self.occupant() = None;
        let status = child.wait()?;
        let summary = read.ok().and_then(|_| report.parse::<Line>().ok()).map(|line| line.0);
        Ok((status, summary.filter(|_| status.success())))
    }
}

// ---- the child ------------------------------------------------------------------------------------------------------

/// The listener that the parent has put in the place of standard input. From now on the parent decides when the process ends.
pub(crate) fn inherited_listener() -> io::Result<TcpListener> {
    signals::leave_to_parent()?;
    let listener = io::stdin().as_fd().try_clone_to_owned()?;
    dup2_stdin(std::fs::File::open("/dev/null")?)?;
    let listener = TcpListener::from(std::net::TcpListener::from(listener));
    // The parent's `TcpListener` has put the socket, which is the same, in non-blocking mode for its own purposes. This one must
    // not take that for the user's wish, or `accept` would not wait.
    listener.set_nonblocking(false)?;
    Ok(listener)
}

/// Serves as the parent says, reports, and ends the process.
///
/// # Safety
/// The handler keeps the contract of [`sward::run`].
#[allow(unsafe_code)]
pub(crate) unsafe fn serve_as_child<H>(mut site: Site, handler: H) -> !
where
    H: Fn(Connection) -> io::Result<()> + Send + Sync + 'static,
{
    site.workers = 1;
    site.announce = None;
    let running = Arc::clone(&site.running);
    let served = end_with_parent().and_then(|()| obey_parent(&running)).and_then(|mut control| {
        // SAFETY: the caller's word.
        unsafe { green::serve(site, handler) }?;
        control.write_all(Line(running.counters.summary()).to_string().as_bytes())
    });
    match served {
        Ok(()) => exit(0),
        Err(error) => {
            report(format_args!("sward: {error}"));
            exit(1);
        }
    }
}

/// Lets the kernel kill this process when the parent's thread that has started it ends, even if this one is stopped then. Called on the
/// thread that serves.
fn end_with_parent() -> io::Result<()> {
    set_pdeathsig(Signal::SIGKILL)?;
    if !is_child() {
        // It has ended before.
        exit(1);
    }
    Ok(())
}

/// Starts a thread that does what the parent says, and gives the way to answer.
fn obey_parent(running: &Arc<Running>) -> io::Result<UnixStream> {
    let control = UnixStream::from(io::stdout().as_fd().try_clone_to_owned()?);
    // What the handler prints must not get into the report.
    dup2_stdout(io::stderr())?;
    let (mut commands, running) = (control.try_clone()?, Arc::clone(running));
    let obey = move || {
        let mut command = [0];
        while let Ok(1) = commands.read(&mut command) {
            running.stop();
        }
        // The parent is gone, or has no patience left.
        exit(1);
    };
    Builder::new().name("control".into()).spawn(obey)?;
    Ok(control)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_add_up() {
        for (most, workers) in [(10, 3), (3, 3), (2, 8), (1, 1), (1000, 7)] {
            let children = workers.min(most);
            let shares: Vec<usize> =
                (0..children).filter_map(|index| share(Some(most), workers, index)).collect();
            assert_eq!(shares.iter().sum::<usize>(), most);
            assert!(shares.iter().all(|&share| share > 0));
        }
        assert_eq!(share(None, 4, 0), None);
    }
}
