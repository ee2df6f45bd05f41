//! Child processes that never outlive us. Each is started through [`Step::Become`], which asks the
//! kernel to kill it when we die, however we do, pins it to its core, and becomes it. When a [`Guarded`] is dropped, its
//! whole process group is killed and reaped.

use std::env;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, bail};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use std::os::unix::process::CommandExt;
use sward::thread;
use sward::time::{Duration, Instant};

use sward_measure::terminal::printable;

use crate::interrupt::check;
use crate::step::Step;

/// How often a wait looks at Ctrl-C.
const TICK: Duration = Duration::from_millis(50);

/// How long complaints may take to come. A process that lives on, or its children, may keep the pipe open.
const COMPLAINTS_WAIT: Duration = Duration::from_millis(200);

/// How much is kept of what a child says on standard error, in bytes.
const COMPLAINTS_MAX: usize = 4096;

/// A child process in a process group of its own.
pub(crate) struct Guarded {
    child: Child,
    /// Its standard output, line by line. The end of the channel is the end of the output.
    lines: Receiver<String>,
    complaints: Arc<Mutex<String>>,
    /// Nothing comes, but the end of the channel is the end of the complaints.
    complaints_end: Receiver<()>,
    interrupt: Arc<AtomicBool>,
}

impl Guarded {
    /// Starts a program, on one core only if it says which.
    pub(crate) fn start(
        core: Option<usize>,
        command: &[String],
        interrupt: &Arc<AtomicBool>,
    ) -> anyhow::Result<Guarded> {
        let [program, arguments @ ..] = Step::becoming(command, core).command();
        let mut guard = Command::new(program);
        guard.args(arguments);
        for (name, _) in env::vars_os().filter(|(name, _)| is_setting(name)) {
            guard.env_remove(name);
        }
        guard.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        let mut child = guard.spawn().with_context(|| format!("starting {}", command.join(" ")))?;
        let (sender, lines) = channel();
        let output = child.stdout.take().expect("it is piped");
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                // Nobody may be listening any more. The pipe must be emptied all the same, or the child would block.
                let _ = sender.send(line);
            }
        });
        let complaints = Arc::default();
        let errors = child.stderr.take().expect("it is piped");
        let (end, complaints_end) = channel();
        thread::spawn({
            let complaints = Arc::clone(&complaints);
            move || {
                keep_beginning(errors, &complaints);
                drop(end);
            }
        });
        Ok(Guarded { child, lines, complaints, complaints_end, interrupt: Arc::clone(interrupt) })
    }

    pub(crate) fn process(&self) -> u32 {
        self.child.id()
    }

    /// What it has said on standard error. That may still be on its way when it has just ended.
    pub(crate) fn complaints(&self) -> String {
        let _ = self.complaints_end.recv_timeout(COMPLAINTS_WAIT);
        printable(self.complaints.lock().unwrap_or_else(PoisonError::into_inner).trim()).into_owned()
    }

    /// Whether it has ended.
    pub(crate) fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// The next line of its output; `None` at the end.
    ///
    /// # Errors
    /// Ctrl-C, or `deadline` passed.
    pub(crate) fn line(&self, deadline: Instant) -> anyhow::Result<Option<String>> {
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

    /// All that it still prints, how it ended, and its complaints.
    ///
    /// # Errors
    /// Ctrl-C, or it took longer than `patience`.
    pub(crate) fn finish(mut self, patience: Duration) -> anyhow::Result<(String, ExitStatus, String)> {
        let (deadline, mut output) = (Instant::now() + patience, String::new());
        while let Some(line) = self.line(deadline)? {
            output.push_str(&line);
            output.push('\n');
        }
        let status = self.child.wait().context("waiting for a child process")?;
        Ok((output, status, self.complaints()))
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        // It fails if the group is gone already.
        let _ = killpg(Pid::from_raw(self.child.id() as i32), Signal::SIGKILL);
        let _ = self.child.wait();
    }
}

/// Runs a program of ours to its end, and gives its output.
///
/// # Errors
/// Ctrl-C, it took too long, or it failed; then with what it said.
pub(crate) fn output(
    core: Option<usize>,
    command: &[String],
    interrupt: &Arc<AtomicBool>,
    patience: Duration,
) -> anyhow::Result<String> {
    let child = Guarded::start(core, command, interrupt)?;
    let (output, status, complaints) = child.finish(patience)?;
    if !status.success() && output.is_empty() {
        // A program that fails for one reason a thousand times says so a thousand times. A panic takes two lines.
        let said: Vec<_> = complaints.lines().take(2).collect();
        bail!("{}", if said.is_empty() { status.to_string() } else { said.join(" ") });
    }
    Ok(output)
}

/// Whether a variable changes how a measured program runs. The experiments' flags say what they mean; a user's server has its settings in
/// its command.
fn is_setting(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b"SWARD_") || name == "RUST_MIN_STACK"
}

/// Reads to the end and keeps what comes first.
fn keep_beginning(mut errors: impl Read, complaints: &Mutex<String>) {
    let mut buffer = [0; 512];
    while let Ok(length @ 1..) = errors.read(&mut buffer) {
        let mut kept = complaints.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < COMPLAINTS_MAX {
            kept.push_str(&String::from_utf8_lossy(&buffer[..length]));
        }
    }
}
