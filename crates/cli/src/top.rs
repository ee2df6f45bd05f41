//! `sward top`: shows the green threads, rates, waits and stalls of a running program, live.
//!
//! ```text
//!   find ──▶ client ────▶ watch ──┬─▶ terminal ──▶ screen     for a person
//!   a path   a snapshot   rates   └─▶ json_lines              for a script
//! ```
//!
//! | file | holds |
//! |---|---|
//! | `find.rs` | the console of a process, at a path, or of a program that listens on an address |
//! | `client.rs` | its client |
//! | `snapshot.rs` | its answers |
//! | `rates.rs` | events per second between two snapshots |
//! | `watch.rs` | the latest snapshot, its rates, and earlier rates |
//! | `terminal.rs` | the live view: keys, time, and the state of the terminal |
//! | `screen.rs` | the layout of the screen |
//! | `json_lines.rs` | a line of JSON for each snapshot |
//!
//! A program started with `SWARD_CONSOLE` has a console. The library's `diagnosis/console.rs` describes the protocol.
//!
//! # JSON
//! One line for each snapshot: the console's own object with a field `rates`, which is null in the first line and otherwise counts events
//! per second since the line before: `operations`, `system_calls`, `switches`, `parks`, `steals`, `timers`, `spawned`,
//! `operations_by_engine` (object), `cpu_percent` (100 is one core), and `workers`, for each runtime an array of `switches` and
//! `cpu_percent` (null if the kernel does not say).

mod client;
mod find;
mod json_lines;
mod rates;
mod screen;
mod snapshot;
mod terminal;
mod watch;

use std::io::{IsTerminal, stdout};

use anyhow::bail;
use sward::time::Duration;
use sward_measure::terminal::printable;

use crate::duration;
use client::Client;
use find::find;
use terminal::End;
use watch::Watch;

/// Watch a running sward program: threads, rates, longest waits, stalls, memory
#[derive(clap::Args)]
#[command(after_help = "\
Start the program with SWARD_CONSOLE=PATH. It creates a socket there, or in PATH if that is a directory. Only its user may \
connect.

Try it:
  SWARD_CONSOLE=/tmp sward serve &
  sward top $!                # by its process
  sward top 127.0.0.1:8080    # by the address that it listens on
  sward top /tmp/$!.sock      # by its console's path")]
pub(crate) struct Top {
    /// The program: its process number, an address of this machine on which it listens, or its console's path
    #[arg(value_name = "PID|HOST:PORT|PATH")]
    target: String,

    /// Time between snapshots: 200ms, 1s, 1m
    #[arg(long, short, value_name = "DURATION", default_value = "1s", value_parser = duration::parse_positive)]
    interval: Duration,

    /// Print a line of JSON for each snapshot [default without a terminal]
    #[arg(long)]
    json: bool,

    /// Print this many lines of JSON and end [default: as long as the program runs]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
}

impl Top {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let found = find(&self.target)?;
        let mut client = Client::connect(&found)?;
        let Some(first) = client.ask()? else {
            bail!("the program at {} has just ended; start it again to watch it", found.path.display());
        };
        let (process, program) = (first.snapshot.pid, first.snapshot.program.clone());
        let for_people = !self.json && self.count.is_none() && stdout().is_terminal();
        let end = match for_people {
            true => terminal::show(client, Watch::new(first.snapshot), self.interval)?,
            false => json_lines::print(client, first, self.interval, self.count)?,
        };
        match end {
            End::Quit => {}
            End::ProgramEnded if self.count.is_some() => {
                bail!("{program} (process {process}) ended before that")
            }
            End::ProgramEnded => {
                sward::report(printable(&format!("{program} (process {process}) has ended")))
            }
        }
        Ok(())
    }
}
