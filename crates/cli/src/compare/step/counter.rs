//! Counting in a loop, some jobs of it: work that never waits.

use std::hint::black_box;
use std::process::Command;

use anyhow::{Context, ensure};
use clap::ValueEnum;
use sward::thread;
use sward::time::Instant;

use super::super::child::OURSELVES;
use crate::output;

#[derive(clap::Args)]
pub(super) struct Count {
    #[arg(long, value_enum)]
    way: Way,
    #[arg(long)]
    jobs: u32,
    /// How far each job counts
    #[arg(long)]
    to: u64,
}

/// How the jobs are run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(in super::super) enum Way {
    /// One after another
    Serial,
    /// Each on a green thread, all on one worker
    Green,
    /// Each on an OS thread, by `offload`
    Offload,
    /// Each in a process
    Processes,
}

impl Count {
    /// Runs the jobs and prints how many seconds they took together.
    pub(super) fn run(self) -> anyhow::Result<()> {
        let Count { jobs, to, .. } = self;
        let begun = Instant::now();
        match self.way {
            Way::Serial => (0..jobs).for_each(|_| count(to)),
            Way::Green => super::on_green_threads(|| in_threads(jobs, move || count(to)))?,
            Way::Offload => {
                super::on_green_threads(|| in_threads(jobs, move || sward::offload(move || count(to))))?;
            }
            Way::Processes => in_processes(jobs, to)?,
        }
        output::print(&format!("{}\n", begun.elapsed().as_secs_f64()))
    }
}

fn in_threads(jobs: u32, job: impl Fn() + Clone + Send + 'static) {
    let threads: Vec<_> = (0..jobs).map(|_| thread::spawn(job.clone())).collect();
    for thread in threads {
        thread.join().expect("counting does not fail");
    }
}

fn in_processes(jobs: u32, to: u64) -> anyhow::Result<()> {
    let children: Result<Vec<_>, _> = (0..jobs)
        .map(|_| {
            let parent = std::process::id().to_string();
            let mut command = Command::new(OURSELVES);
            command.args([
                "compare-step",
                "run",
                "--parent",
                &parent,
                "--",
                OURSELVES,
                "compare-step",
                "count",
            ]);
            command.args(["--way", "serial", "--jobs", "1", "--to", &to.to_string()]);
            command.stdout(std::process::Stdio::null()).spawn()
        })
        .collect();
    for mut child in children.context("starting a process")? {
        let status = child.wait().context("waiting for a process")?;
        ensure!(status.success(), "a process that counts ended with {status}");
    }
    Ok(())
}

fn count(to: u64) {
    let mut counter = 0;
    while counter < to {
        counter = black_box(counter + 1);
    }
}

/// How far to count so that it takes about so many seconds here.
pub(in super::super) fn steps(seconds: f64) -> u64 {
    const TRIAL: u64 = 2_000_000;
    let begun = Instant::now();
    count(TRIAL);
    (TRIAL as f64 * seconds / begun.elapsed().as_secs_f64().max(1e-6)) as u64
}
