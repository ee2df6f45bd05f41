//! Jobs that count in a loop: work that never waits.

use std::hint::black_box;
use std::process::{Command, Stdio};

use sward::thread;
use sward::time::Instant;

use super::green::on_green_threads;
use crate::error::{Context, Result, bail};
use crate::step::{Step, Way};

/// Runs the jobs, and returns the seconds from the first start to the last end.
pub(crate) fn run(way: Way, jobs: u32, to: u64) -> Result<String> {
    let begun = Instant::now();
    match way {
        Way::Serial => (0..jobs).for_each(|_| count(to)),
        Way::Green => on_green_threads(|| in_threads(jobs, move || count(to)))?,
        Way::Offload => on_green_threads(|| in_threads(jobs, move || sward::offload(move || count(to))))?,
        Way::Processes => in_processes(jobs, to)?,
    }
    Ok(format!("{}\n", begun.elapsed().as_secs_f64()))
}

fn in_threads(jobs: u32, job: impl Fn() + Clone + Send + 'static) {
    let threads: Vec<_> = (0..jobs).map(|_| thread::spawn(job.clone())).collect();
    for thread in threads {
        thread.join().expect("counting does not fail");
    }
}

fn in_processes(jobs: u32, to: u64) -> Result<()> {
    let count = Step::Count { way: Way::Serial, jobs: 1, to }.command();
    let [program, arguments @ ..] = Step::becoming(&count, None).command();
    let start = |_| Command::new(&program).args(&arguments).stdout(Stdio::null()).spawn();
    let children: Result<Vec<_>, _> = (0..jobs).map(start).collect();
    for mut child in children.context("starting a process")? {
        let status = child.wait().context("waiting for a process")?;
        if !status.success() {
            bail!("a process that counts ended with {status}");
        }
    }
    Ok(())
}

fn count(to: u64) {
    let mut counter = 0;
    while counter < to {
        counter = black_box(counter + 1);
    }
}

/// Returns how far to count so that it takes about `seconds` on this machine.
pub(crate) fn steps_for(seconds: f64) -> u64 {
    const TRIAL: u64 = 2_000_000;
    let begun = Instant::now();
    count(TRIAL);
    (TRIAL as f64 * seconds / begun.elapsed().as_secs_f64().max(1e-6)) as u64
}
