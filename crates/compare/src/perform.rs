//! Performs one [`Step`], in a process of its own.

mod counting;
mod green;
mod thread_costs;

use std::os::unix::process::{CommandExt, parent_id};
use std::process::Command;

use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::unistd::Pid;

use crate::error::{Context, Result, bail};
use crate::step::{OURSELVES, Step};

pub(crate) use counting::steps_for;

/// Performs a step of a comparison, and returns its output. A running comparison puts `step` on the command line.
///
/// # Errors
/// `step` does not come from this version of the program, or it fails.
pub fn perform(step: &str) -> Result<String> {
    match serde_json::from_str(step).context("sward compare starts this command by itself")? {
        Step::Become { parent, core, command } => become_program(parent, core, &command),
        Step::Count { way, jobs, to } => counting::run(way, jobs, to),
        Step::StartThreads { kind, count } => thread_costs::run(kind, count),
    }
}

/// Executes `command` in this process. Returns only on error.
fn become_program(parent: u32, core: Option<usize>, command: &[String]) -> Result<String> {
    // This stays in force across exec.
    set_pdeathsig(Signal::SIGKILL).context("asking to die with the parent")?;
    if parent_id() != parent {
        bail!("the parent is gone");
    }
    if let Some(core) = core {
        let mut only = CpuSet::new();
        only.set(core)
            .and_then(|()| sched_setaffinity(Pid::from_raw(0), &only))
            .context(format_args!("staying on core {core}"))?;
    }
    let [program, arguments @ ..] = command else { bail!("there is no program to become") };
    let mut command = Command::new(program);
    if program == OURSELVES {
        command.arg0("sward");
    }
    Err(command.args(arguments).exec()).context(format_args!("starting {program}"))
}
