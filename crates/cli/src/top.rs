//! `sward top`: a running program's green threads, rates, waits and stalls, live.
//!
//! ```text
//!   find ──▶ client ──▶ watch ──┬─▶ terminal ──▶ screen     a person
//!   where    a line there,      └─▶ lines                   a script
//!            a line back
//! ```
//!
//! | file | holds |
//! |---|---|
//! | `find.rs` | which console is meant: by process, by path, by the address that the program listens on |
//! | `client.rs` | the conversation with it |
//! | `snapshot.rs` | what it says |
//! | `rates.rs` | what happened each second between two snapshots |
//! | `watch.rs` | the present snapshot, its rates, and those before |
//! | `terminal.rs` | keys, time, the terminal's state |
//! | `screen.rs` | a picture of a watch |
//! | `lines.rs` | a line of JSON for each snapshot |
//!
//! The program has a console if it was started with `SWARD_CONSOLE`; the protocol is described in the library's `diagnosis/console.rs`.
//!
//! # JSON
//! A line for each snapshot: the console's own object, and `rates`: null in the first one, otherwise what happened each second since the one
//! before: `operations`, `system_calls`, `switches`, `parks`, `steals`, `timers`, `spawned`, `operations_by_engine` (object), `cpu_percent`
//! (100 is one core), and `workers`, an array for each runtime of `switches` and `cpu_percent` (null if the kernel does not say).

mod client;
mod find;
mod lines;
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
The program must have been started with SWARD_CONSOLE=PATH: a socket is made there, or in it if it is a directory. Only \
its user may look.

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

    /// Print a line of JSON for each snapshot (so it is without a terminal, too)
    #[arg(long)]
    json: bool,

    /// Print so many lines of JSON, and end [default: as long as the program runs]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
}

impl Top {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let found = find(&self.target)?;
        let mut client = Client::connect(&found)?;
        let Some(first) = client.ask()? else {
            bail!("the program at {} ended just now; start it again to watch it", found.path.display());
        };
        let (process, program) = (first.snapshot.pid, first.snapshot.program.clone());
        let for_people = !self.json && self.count.is_none() && stdout().is_terminal();
        let end = match for_people {
            true => terminal::show(client, Watch::new(first.snapshot), self.interval)?,
            false => lines::print(client, first, self.interval, self.count)?,
        };
        match end {
            End::Asked => {}
            End::Over if self.count.is_some() => bail!("{program} (process {process}) ended before that"),
            End::Over => sward::report(printable(&format!("{program} (process {process}) has ended"))),
        }
        Ok(())
    }
}
