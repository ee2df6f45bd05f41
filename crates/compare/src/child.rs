//! Child processes that never outlive this one. Each starts as a [`Step::Become`]: it asks the kernel to kill it when its parent dies,
//! pins itself to its core, and executes the program. Dropping a [`Guarded`] kills its whole process group and reaps the child.

use std::env;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::iter;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use sward::thread;
use sward::time::{Duration, Instant};
use sward_measure::terminal::printable;

use crate::error::{Context, Result, bail, check};
use crate::step::Step;

/// How often a wait checks for Ctrl-C.
const TICK: Duration = Duration::from_millis(50);

/// How long to wait for more of standard error. The process, or a child of its own, may keep the pipe open.
const STDERR_WAIT: Duration = Duration::from_millis(200);

/// The bytes of standard error that are kept.
const STDERR_BYTES_MAX: usize = 4096;

/// A child process in a process group of its own.
pub(crate) struct Guarded {
    child: Child,
    /// Its standard output, line by line, until the channel ends.
    lines: Receiver<String>,
    /// The beginning of its standard error, in parts.
    stderr: Receiver<String>,
    interrupt: Arc<AtomicBool>,
}

impl Guarded {
    /// Starts a program, pinned to `core` if there is one.
    pub(crate) fn start(
        core: Option<usize>,
        command: &[String],
        interrupt: &Arc<AtomicBool>,
    ) -> Result<Guarded> {
        let [program, arguments @ ..] = Step::becoming(command, core).command();
        let mut guard = Command::new(program);
        guard.args(arguments);
        for (name, _) in env::vars_os().filter(|(name, _)| is_setting(name)) {
            guard.env_remove(name);
        }
        guard.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        let mut child = guard.spawn().context(format_args!("starting {}", command.join(" ")))?;
        let (sender, lines) = channel();
        let output = child.stdout.take().expect("it is piped");
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                // The receiver may be gone. The pipe is emptied all the same, or the child would block.
                let _ = sender.send(line);
            }
        });
        let (sender, stderr) = channel();
        let errors = child.stderr.take().expect("it is piped");
        thread::spawn(move || send_beginning(errors, &sender));
        Ok(Guarded { child, lines, stderr, interrupt: Arc::clone(interrupt) })
    }

    pub(crate) fn process(&self) -> u32 {
        self.child.id()
    }

    /// Returns what it has written to standard error since the last call. Waits a little, since that may still be on its way.
    pub(crate) fn stderr(&self) -> String {
        let parts = iter::from_fn(|| self.stderr.recv_timeout(STDERR_WAIT).ok());
        printable(parts.collect::<String>().trim()).into_owned()
    }

    /// Returns whether it has ended.
    pub(crate) fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits for the next line of its output; `None` is the end.
    ///
    /// # Errors
    /// [`Error::Interrupted`](crate::Error::Interrupted), or `deadline` has passed.
    pub(crate) fn line(&self, deadline: Instant) -> Result<Option<String>> {
        loop {
            check(&self.interrupt)?;
            match self.lines.recv_timeout(TICK) {
                Ok(line) => return Ok(Some(line)),
                Err(RecvTimeoutError::Disconnected) => return Ok(None),
                Err(RecvTimeoutError::Timeout) if Instant::now() >= deadline => {
                    bail!("it did not answer in time")
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    /// Waits for its end. Returns the rest of its output, its status, and its standard error.
    ///
    /// # Errors
    /// [`Error::Interrupted`](crate::Error::Interrupted), or it took longer than `timeout`.
    pub(crate) fn finish(mut self, timeout: Duration) -> Result<(String, ExitStatus, String)> {
        let (deadline, mut output) = (Instant::now() + timeout, String::new());
        while let Some(line) = self.line(deadline)? {
            output.push_str(&line);
            output.push('\n');
        }
        let status = self.child.wait().context("waiting for a child process")?;
        Ok((output, status, self.stderr()))
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        // Fails if the group is gone already.
        let _ = killpg(Pid::from_raw(self.child.id() as i32), Signal::SIGKILL);
        let _ = self.child.wait();
    }
}

/// Runs a program to its end, and returns its output.
///
/// # Errors
/// [`Error::Interrupted`](crate::Error::Interrupted), or it took longer than `timeout`, or it failed without output; the error is then what
/// it has written to standard error.
pub(crate) fn output(
    core: Option<usize>,
    command: &[String],
    interrupt: &Arc<AtomicBool>,
    timeout: Duration,
) -> Result<String> {
    let child = Guarded::start(core, command, interrupt)?;
    let (output, status, stderr) = child.finish(timeout)?;
    if !status.success() && output.is_empty() {
        // A program may repeat a message a thousand times. A panic takes two lines.
        let said: Vec<_> = stderr.lines().take(2).collect();
        bail!("{}", if said.is_empty() { status.to_string() } else { said.join(" ") });
    }
    Ok(output)
}

/// Returns whether an environment variable changes how a measured program runs. Measured programs take settings only from their command
/// line, which the page shows.
fn is_setting(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b"SWARD_") || name == "RUST_MIN_STACK"
}

/// Sends the beginning of `errors`, and reads on to the end, or the child would block.
fn send_beginning(mut errors: impl Read, sender: &Sender<String>) {
    let (mut buffer, mut room) = ([0; 512], STDERR_BYTES_MAX);
    while let Ok(length @ 1..) = errors.read(&mut buffer) {
        let _ = sender.send(String::from_utf8_lossy(&buffer[..length.min(room)]).into_owned());
        room -= length.min(room);
    }
}
