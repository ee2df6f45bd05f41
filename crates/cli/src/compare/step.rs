//! `sward compare-step`, which nobody types: what `sward compare` needs processes of its own for.

mod counter;
mod tasks;

use std::io;
use std::os::unix::process::{CommandExt, parent_id};
use std::process::Command;

use anyhow::{Context, ensure};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::unistd::Pid;

pub(super) use counter::{Way, steps};
pub(super) use tasks::{Report as TasksReport, World};

/// A part of `sward compare` in a process of its own
#[derive(clap::Args)]
pub(crate) struct Step {
    #[command(subcommand)]
    part: Part,
}

#[derive(clap::Subcommand)]
enum Part {
    /// Become another program that dies with its parent
    Run(Run),
    /// Count in a loop
    Count(counter::Count),
    /// Start threads
    Tasks(tasks::Tasks),
}

#[derive(clap::Args)]
struct Run {
    /// Who has started us
    #[arg(long)]
    parent: u32,
    /// The one core to run on
    #[arg(long)]
    core: Option<usize>,
    /// The program
    #[arg(last = true, required = true)]
    command: Vec<String>,
}

impl Step {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        match self.part {
            Part::Run(run) => run.run(),
            Part::Count(count) => count.run(),
            Part::Tasks(tasks) => tasks.run(),
        }
    }
}

impl Run {
    fn run(self) -> anyhow::Result<()> {
        // It stays in force across exec.
        set_pdeathsig(Signal::SIGKILL).context("asking to die with the parent")?;
        ensure!(parent_id() == self.parent, "the parent is gone");
        if let Some(core) = self.core {
            let mut only = CpuSet::new();
            only.set(core)
                .and_then(|()| sched_setaffinity(Pid::from_raw(0), &only))
                .with_context(|| format!("staying on core {core}"))?;
        }
        let [program, arguments @ ..] = self.command.as_slice() else {
            unreachable!("clap asks for one at least")
        };
        let mut command = Command::new(program);
        if program == super::child::OURSELVES {
            command.arg0("sward");
        }
        Err(command.args(arguments).exec()).with_context(|| format!("starting {program}"))
    }
}

/// Runs `main` on green threads, all on one worker.
#[allow(unsafe_code)]
fn on_green_threads<T>(main: impl FnOnce() -> T) -> io::Result<T> {
    // SAFETY: what the steps run holds no scoped thread-local value across a blocking call; they use none at all.
    unsafe { sward::Builder::new().workers(1).run(main) }
}
