//! The flags of `sward compare`, and the plan that they make.

use std::path::PathBuf;

use anyhow::{bail, ensure};
use sward::time::Duration;

use super::plan::{Experiment, Plan, Tasks};
use super::subject::{self, Subject};
use crate::duration;

/// Measure every I/O model on this machine, and draw what came out: one HTML page, no network needed
#[derive(clap::Args)]
#[command(after_help = "\
Each server runs in a process of its own, on a core of its own where there are two; `sward load` in another one loads it. \
Rounds are interleaved (A B C A B C), so that what disturbs the machine for a while disturbs all alike.

Try it:
  sward compare --quick
  sward compare --cpu --tasks
  sward compare --subjects epoll,threads --with 'mine=./my-server --port {port}'")]
pub(crate) struct Compare {
    /// Be done within a minute: fewer points, shorter windows
    #[arg(long, conflicts_with = "full")]
    quick: bool,

    /// More points, longer windows, more threads: about a quarter of an hour
    #[arg(long)]
    full: bool,

    /// Write the page here
    #[arg(long, value_name = "FILE", default_value = "sward-compare.html")]
    pub(super) out: PathBuf,

    /// Also write all measurements, medians and verdicts as JSON
    #[arg(long, value_name = "FILE")]
    pub(super) json: Option<PathBuf>,

    /// Also write all measurements as CSV, a line per round
    #[arg(long, value_name = "FILE")]
    pub(super) csv: Option<PathBuf>,

    /// Also write each picture as an SVG file into this folder
    #[arg(long, value_name = "FOLDER")]
    pub(super) svg: Option<PathBuf>,

    /// Another server that upper-cases or echoes what it gets; a shell runs CMD, with {port} replaced (repeatable)
    #[arg(long, value_name = "NAME=CMD")]
    with: Vec<String>,

    /// Only these of our own servers [default: all that work here]
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    subjects: Option<Vec<String>>,

    /// Numbers of active connections
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = clap::value_parser!(u32).range(1..))]
    connections: Option<Vec<u32>>,

    /// Numbers of connections that are watched and silent
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    idle_connections: Option<Vec<u32>>,

    /// Bytes of a message
    #[arg(long, value_name = "BYTES", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=1 << 20))]
    size: u32,

    /// How often everything is measured
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: Option<u32>,

    /// How long one measurement lasts
    #[arg(long, value_name = "DURATION", value_parser = duration::parse_positive)]
    window: Option<Duration>,

    /// Throughput, latency and CPU against the number of active connections
    #[arg(long, help_heading = "Experiments [default: all of them]")]
    active: bool,

    /// Cost against the number of silent connections
    #[arg(long, help_heading = "Experiments [default: all of them]")]
    idle: bool,

    /// CPU while nothing happens, and memory per connection
    #[arg(long, help_heading = "Experiments [default: all of them]")]
    rest: bool,

    /// How long a sleeping server takes to answer
    #[arg(long, help_heading = "Experiments [default: all of them]")]
    wakeup: bool,

    /// Counting in a loop: one after another, green threads, OS threads, processes; and Python, if it is there
    #[arg(long, help_heading = "Experiments [default: all of them]")]
    cpu: bool,

    /// How many threads fit, green ones and those of the OS, and what one costs
    #[arg(long, help_heading = "Experiments [default: all of them]")]
    tasks: bool,
}

impl Compare {
    /// What the flags ask for.
    ///
    /// # Errors
    /// They name a server that there is not, or ask for nothing.
    pub(super) fn plan(&self) -> anyhow::Result<Plan> {
        let mut plan = self.preset();
        plan.experiments = self.experiments();
        plan.size = self.size;
        if let Some(rounds) = self.rounds {
            plan.rounds = rounds;
        }
        if let Some(window) = self.window {
            plan.window = window;
        }
        for (list, target) in
            [(&self.connections, &mut plan.connections), (&self.idle_connections, &mut plan.idle_connections)]
        {
            if let Some(list) = list {
                target.clone_from(list);
            }
            target.sort_unstable();
            target.dedup();
            ensure!(
                !target.is_empty(),
                "an empty list of connections leaves nothing to measure; give numbers, as in --connections 1,100"
            );
        }
        self.choose_subjects(&mut plan)?;
        plan.skip_what_cannot_be_opened()?;
        Ok(plan)
    }

    fn preset(&self) -> Plan {
        let millis = Duration::from_millis;
        let preset = Plan {
            mode: "default",
            experiments: Vec::new(),
            subjects: Vec::new(),
            notes: Vec::new(),
            connections: vec![1, 10, 100, 1000, 10_000],
            idle_connections: vec![0, 10, 100, 1000, 10_000],
            silent: 1000,
            size: 64,
            rounds: 3,
            window: millis(500),
            warmup: millis(200),
            budget: None,
            count: millis(500),
            tasks: Tasks { green: 100_000, os: 10_000 },
        };
        if self.full {
            return Plan {
                mode: "full",
                connections: vec![1, 4, 16, 64, 256, 1000, 4000, 10_000],
                idle_connections: vec![0, 10, 100, 300, 1000, 3000, 10_000],
                window: millis(1000),
                warmup: millis(300),
                count: millis(1000),
                tasks: Tasks { green: 1_000_000, os: 30_000 },
                ..preset
            };
        }
        if self.quick {
            return Plan {
                mode: "quick",
                connections: vec![1, 32, 1000],
                idle_connections: vec![0, 300, 3000],
                rounds: 2,
                window: millis(150),
                warmup: millis(60),
                budget: Some(millis(50_000)),
                count: millis(120),
                tasks: Tasks { green: 50_000, os: 2000 },
                ..preset
            };
        }
        preset
    }

    fn experiments(&self) -> Vec<Experiment> {
        let flags = [self.active, self.idle, self.rest, self.wakeup, self.cpu, self.tasks];
        let all = flags.iter().all(|flag| !flag);
        Experiment::ALL
            .into_iter()
            .zip(flags)
            .filter(|(_, flag)| *flag || all)
            .map(|(each, _)| each)
            .collect()
    }

    fn choose_subjects(&self, plan: &mut Plan) -> anyhow::Result<()> {
        let own = Subject::own();
        let names = || own.iter().map(|subject| subject.name.as_str()).collect::<Vec<_>>().join(", ");
        for name in self.subjects.iter().flatten() {
            ensure!(
                own.iter().any(|subject| subject.name == *name),
                "there is no server {name}; there are {}",
                names()
            );
        }
        let chosen =
            |subject: &Subject| self.subjects.as_ref().is_none_or(|names| names.contains(&subject.name));
        for subject in own.iter().filter(|subject| chosen(subject)) {
            match subject.available() {
                Ok(()) => plan.subjects.push(subject.clone()),
                Err(error) => plan.notes.push(format!("{} is left out: {error}", subject.name)),
            }
        }
        for (index, text) in self.with.iter().enumerate() {
            let mut foreign = subject::foreign(text)?;
            foreign.look = own.len() + index;
            if own.iter().chain(&plan.subjects).any(|subject| subject.name == foreign.name) {
                bail!(
                    "--with {text}: the name {} is taken; put another in front, as in 'mine=CMD'",
                    foreign.name
                );
            }
            plan.subjects.push(foreign);
        }
        ensure!(
            !plan.subjects.is_empty(),
            "no server is left to be measured; name some with --subjects, or bring one with --with"
        );
        Ok(())
    }
}
