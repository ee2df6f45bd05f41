//! Child processes that share one listener, with green threads inside: a crash loses the clients of one child, not the server.
//!
//! The parent binds, starts the program again for each child, and serves nothing itself. A child inherits
//!
//! ```text
//!   descriptor 0    the listener
//!   descriptor 1    one end of a socket pair        parent → child: one byte means "stop and drain"
//!                                                                   the end of the stream means "end at once"
//!                                                   child → parent: one line, the summary, when it has drained
//!   SWARD_SERVER_CHILD=<parent's process id>:<index>
//! ```
//!
//! so the end of the parent, even by `kill -9`, ends the children. The kernel also kills children that are stopped and cannot read
//! (`PR_SET_PDEATHSIG`). The parent's id in the variable keeps programs that a handler starts from mistaking themselves for children.
//!
//! Only the parent handles signals. Ctrl-C does not reach the children, since each leads a process group of its own. They ignore SIGTERM,
//! which a supervisor such as systemd sends to all processes of a service, since the parent will tell them. SIGKILL ends a
//! single child. Each child keeps the drain deadline itself; if it has not ended some time later, it is stopped or stuck, and is killed.
//!
//! If `SWARD_CONSOLE` is set, each child has a console of its own: at `PATH.<index>`, or in `PATH` if that is a directory.

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

use super::{Setup, serve_green};
use crate::advice::advice;
use crate::connection::Connection;
use crate::running::{GRACE, Running};
use crate::signals;
use crate::summary::{Line, Summary};

/// The environment variable with the path of the console: a socket, or a directory for sockets.
const CONSOLE: &str = "SWARD_CONSOLE";

/// The environment variable that makes a process a child: its parent's process id, and its index.
const CHILD: &str = "SWARD_SERVER_CHILD";

/// How long the parent waits before it restarts a crashed child. The time doubles with each crash.
const BACK_OFF: Duration = Duration::from_millis(100);

/// The longest of these waits.
const LONGEST_BACK_OFF: Duration = Duration::from_secs(5);

/// After a child has run this long, the next wait is the shortest again.
const STABLE: Duration = Duration::from_secs(10);

/// Returns whether this process was started as a child by a server of the model `processes`, and not by the user.
pub fn is_child() -> bool {
    child_index().is_some()
}

/// Returns the index of this child process, from 0. Returns `None` if it is no child.
pub(crate) fn child_index() -> Option<usize> {
    let value = std::env::var(CHILD).ok()?;
    let (parent, index) = value.split_once(':')?;
    if parent.parse() != Ok(parent_id()) {
        return None;
    }
    index.parse().ok()
}

/// Returns how many of `most` connections the child `index` may have. There are never more children than connections.
pub(crate) fn share(most: Option<usize>, workers: usize, index: usize) -> Option<usize> {
    most.map(|most| {
        let children = workers.min(most);
        most / children + usize::from(index < most % children)
    })
}

// ---- the parent -----------------------------------------------------------------------------------------------------

/// Starts the children and supervises them until stopped and drained.
pub(crate) fn serve(mut setup: Setup) -> io::Result<()> {
    if let Some(engine) = setup.engine {
        engine.available().map_err(|error| io::Error::new(io::ErrorKind::Unsupported, error))?;
    }
    setup.announce()?;
    let Setup { running, mut listeners, workers, .. } = setup;
    let listener = listeners.remove(0);
    let mut supervisors = Vec::new();
    for index in 0..workers {
        let supervisor = Arc::new(Supervisor { index, child: Mutex::new(None) });
        let (own, shared, listener) = (Arc::clone(&supervisor), Arc::clone(&running), Arc::clone(&listener));
        let supervise = move || own.supervise(&shared, &listener);
        match Builder::new().name(format!("child {index}")).spawn(supervise) {
            Ok(thread) => supervisors.push((supervisor, thread)),
            Err(error) => {
                running.stop();
                end(&running, supervisors);
                return Err(error);
            }
        }
    }
    running.connections.wait_for_stop(None);
    end(&running, supervisors);
    Ok(())
}

/// Lets the children drain, and kills those that exceed the deadline.
fn end(running: &Running, supervisors: Vec<(Arc<Supervisor>, JoinHandle<()>)>) {
    // At the deadline, a child cuts off its connections, gives their handlers some time, and flushes standard error.
    let deadline = running.drain_deadline().and_then(|deadline| deadline.checked_add(3 * GRACE));
    for (supervisor, _) in &supervisors {
        if let Some(child) = &mut *supervisor.child() {
            // Fails if the child has just died.
            let _ = child.control.write_all(b"s");
        }
    }
    for (supervisor, thread) in supervisors {
        let Some(deadline) = deadline else {
            let _ = thread.join();
            continue;
        };
        if let Err(thread) = thread.join_timeout(deadline.saturating_duration_since(Instant::now())) {
            supervisor.kill();
            // The kernel may need some time to end a process.
            let _ = thread.join_timeout(GRACE);
        }
    }
}

/// Returns the path of a child's own console. Returns `None` if there is none, or if it is in a directory, where paths differ anyway.
fn console_of_child(index: usize) -> Option<OsString> {
    let mut path = std::env::var_os(CONSOLE).filter(|path| !path.is_empty() && !Path::new(path).is_dir())?;
    path.push(format!(".{index}"));
    Some(path)
}

/// Runs one child at a time, and restarts it when it crashes.
struct Supervisor {
    index: usize,
    child: Mutex<Option<RunningChild>>,
}

/// The current child. While the supervisor has it, its process is not reaped, so its process id is valid.
struct RunningChild {
    /// The parent's end of the socket pair.
    control: UnixStream,
    process: Pid,
}

impl Supervisor {
    fn child(&self) -> MutexGuard<'_, Option<RunningChild>> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Kills the current child, even if it is stopped.
    fn kill(&self) {
        if let Some(child) = &*self.child() {
            // Fails if it has just ended.
            let _ = kill(child.process, Signal::SIGKILL);
        }
    }

    /// Starts a child, waits for its end, and starts the next one, until the server stops.
    fn supervise(&self, running: &Running, listener: &TcpListener) {
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

    /// Starts the program again. Returns `None` if the server is stopping.
    fn start(&self, running: &Running, listener: &TcpListener) -> io::Result<Option<(Child, UnixStream)>> {
        let (ours, theirs) = UnixStream::pair()?;
        let mut arguments = std::env::args_os();
        let mut command = Command::new("/proc/self/exe");
        command
            .arg0(arguments.next().unwrap_or_else(|| OsString::from("sward")))
            .args(arguments)
            .env(CHILD, format!("{}:{}", std::process::id(), self.index))
            .stdin(Stdio::from(listener.as_fd().try_clone_to_owned()?))
            .stdout(Stdio::from(OwnedFd::from(theirs)))
            .process_group(0);
        if let Some(path) = console_of_child(self.index) {
            command.env(CONSOLE, path);
        }
        // Under the lock: a concurrent stop either finds the child here or prevents its start.
        let mut current = self.child();
        if running.connections.is_stopping() {
            return Ok(None);
        }
        let control = ours.try_clone()?;
        let child = command.spawn()?;
        *current = Some(RunningChild { control, process: Pid::from_raw(child.id() as i32) });
        Ok(Some((child, ours)))
    }

    /// Waits for the child's end. Returns its status, and its summary if it succeeded.
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
        *self.child() = None;
        let status = child.wait()?;
        let summary = read.ok().and_then(|_| report.parse::<Line>().ok()).map(|line| line.0);
        Ok((status, summary.filter(|_| status.success())))
    }
}

// ---- the child ------------------------------------------------------------------------------------------------------

/// Takes the listener that the parent passed as standard input. From now on the parent decides when this process ends.
pub(crate) fn inherited_listener() -> io::Result<TcpListener> {
    signals::leave_to_parent()?;
    let listener = io::stdin().as_fd().try_clone_to_owned()?;
    dup2_stdin(std::fs::File::open("/dev/null")?)?;
    let listener = TcpListener::from(std::net::TcpListener::from(listener));
    // The parent's `TcpListener` shares the socket, and has set it to non-blocking mode for internal use. This one must not mistake that
    // for the user's setting, or `accept` would not wait.
    listener.set_nonblocking(false)?;
    Ok(listener)
}

/// Serves until the parent says stop, reports the summary, and ends the process.
///
/// # Safety
/// The handler must keep the contract of [`sward::run`].
#[allow(unsafe_code)]
pub(crate) unsafe fn serve_as_child<H>(mut setup: Setup, handler: H) -> !
where
    H: Fn(Connection) -> io::Result<()> + Send + Sync + 'static,
{
    setup.workers = 1;
    setup.announce = None;
    let running = Arc::clone(&setup.running);
    let served = end_with_parent().and_then(|()| obey_parent(&running)).and_then(|mut control| {
        // SAFETY: the handler keeps the contract of `sward::run`, by that of this function.
        unsafe { serve_green(setup, handler) }?;
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

/// Makes the kernel kill this process, even if it is stopped, when the parent's thread that started it ends. Called on the
/// thread that serves.
fn end_with_parent() -> io::Result<()> {
    set_pdeathsig(Signal::SIGKILL)?;
    if !is_child() {
        // The parent ended before.
        exit(1);
    }
    Ok(())
}

/// Starts a thread that obeys the parent, and returns the stream for the answer.
fn obey_parent(running: &Arc<Running>) -> io::Result<UnixStream> {
    let control = UnixStream::from(io::stdout().as_fd().try_clone_to_owned()?);
    // The handler's output must not get into the report.
    dup2_stdout(io::stderr())?;
    let (mut commands, running) = (control.try_clone()?, Arc::clone(running));
    let obey = move || {
        let mut command = [0];
        while let Ok(1) = commands.read(&mut command) {
            running.stop();
        }
        // The parent is gone, or does not wait any longer.
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
