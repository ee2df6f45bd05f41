//! `sward compare`: the flags of the library [`sward_compare`], and the hidden command that runs its steps.

use std::path::PathBuf;

use sward::time::Duration;
use sward_compare::{Experiment, Mode, Request};

use crate::{duration, interrupt, output};

/// Measure every I/O model on this machine and draw the results, on one HTML page without scripts
#[derive(clap::Args)]
#[command(after_help = "\
Each server runs in a process of its own and `sward load` in another, each on its own core if there are two. Rounds are \
interleaved (A B C A B C), so that what disturbs the machine for a while disturbs all alike.

Try it:
  sward compare --quick
  sward compare --cpu --tasks
  sward compare --subjects epoll,threads --with 'mine=./my-server --port {port}'")]
pub(crate) struct Compare {
    /// Finish within a minute: fewer points, shorter windows
    #[arg(long, conflicts_with = "full")]
    quick: bool,

    /// More points, longer windows, more threads: about a quarter of an hour
    #[arg(long)]
    full: bool,

    /// Write the page here
    #[arg(long, value_name = "FILE", default_value = "sward-compare.html")]
    out: PathBuf,

    /// Also write all measurements, medians and verdicts as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,

    /// Also write all measurements as CSV, a line for each
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,

    /// Also write each chart as an SVG file into this folder
    #[arg(long, value_name = "FOLDER")]
    svg: Option<PathBuf>,

    /// Also compare your server, which upper-cases or echoes what it receives; a shell runs CMD, with {port} replaced (repeatable)
    #[arg(long, value_name = "NAME=CMD")]
    with: Vec<String>,

    /// Compare only these of our own servers [default: all that work here]
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    subjects: Option<Vec<String>>,

    /// Numbers of active connections
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = clap::value_parser!(u32).range(1..))]
    connections: Option<Vec<u32>>,

    /// Numbers of silent connections
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

    /// How long a sleeping server takes to reply
    #[arg(long, help_heading = "Experiments [default: all of them]")]
    wakeup: bool,

    /// Counting in a loop: serially, on green threads, on OS threads, in processes; and in Python, if it is installed
    #[arg(long, help_heading = "Experiments [default: all of them]")]
    cpu: bool,

    /// How many green threads and OS threads fit, and what each costs
    #[arg(long, help_heading = "Experiments [default: all of them]")]
    tasks: bool,
}

impl Compare {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let experiments = self.experiments();
        let mode = match (self.quick, self.full) {
            (true, _) => Mode::Quick,
            (_, true) => Mode::Full,
            _ => Mode::Default,
        };
        let request = Request {
            mode,
            experiments,
            subjects: self.subjects,
            with: self.with,
            connections: self.connections,
            idle_connections: self.idle_connections,
            size: self.size,
            rounds: self.rounds,
            window: self.window,
            page: self.out,
            json: self.json,
            csv: self.csv,
            svg: self.svg,
            command: typed_command(),
        };
        let finished = request.run(&interrupt::flag()?)?;
        output::print(&finished.text)?;
        Ok(finished.written?)
    }

    /// Returns the experiments that are named, or all of them.
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
}

/// A part of `sward compare` in a process of its own
#[derive(clap::Args)]
pub(crate) struct CompareStep {
    /// What to do, as JSON
    step: String,
}

impl CompareStep {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        output::print(&sward_compare::perform(&self.step)?)
    }
}

/// Returns the command as it was typed, but for the path of the program.
fn typed_command() -> String {
    let quoted = |argument: String| {
        let plain = |letter: char| letter.is_alphanumeric() || "-_=./,:+%@".contains(letter);
        if argument.chars().all(plain) && !argument.is_empty() {
            argument
        } else {
            format!("'{}'", argument.replace('\'', "'\\''"))
        }
    };
    let arguments =
        std::env::args_os().skip(1).map(|argument| quoted(argument.to_string_lossy().into_owned()));
    ["sward".to_owned()].into_iter().chain(arguments).collect::<Vec<_>>().join(" ")
}
