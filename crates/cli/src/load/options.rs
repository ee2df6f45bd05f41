//! The flags of `sward load`, and the plan that they make.

use std::io::{IsTerminal, stderr};
use std::ops::RangeInclusive;

use sward::EngineKind;
use sward::time::Duration;

use super::plan::{LoadPlan, Pace, Verify};
use super::progress::Progress;
use crate::duration;
use crate::engines::engine_parser;

/// Load a server and measure it: rate, latencies, CPU per message; every reply is checked
#[derive(clap::Args)]
#[command(after_help = "\
Without --rate, each connection sends its next message when the last one is answered (closed loop): that finds the \
throughput. With --rate, messages are sent on a timetable and latencies count from when they were due (open loop): that \
finds what users see at that load.

Try it:
  sward serve &
  sward load 127.0.0.1:8080
  sward load 127.0.0.1:8080 --rate 20000 --pid $!")]
pub(crate) struct Load {
    /// The server
    #[arg(value_name = "HOST:PORT")]
    addr: String,

    /// How many connections send
    #[arg(long, short, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
    connections: u32,

    /// Bytes of a message
    #[arg(long, short, value_name = "BYTES", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=1 << 26))]
    size: u32,

    /// Messages that a connection sends in one batch, before it waits for the replies
    #[arg(long, short, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1 << 16))]
    pipeline: u32,

    /// Messages per second, of all connections together (open loop) [default: as fast as replies come]
    #[arg(long, short, value_name = "N", value_parser = parse_rate, conflicts_with = "pipeline")]
    rate: Option<f64>,

    /// How long to measure: 500ms, 5s, 2m
    #[arg(long, short, value_name = "DURATION", default_value = "5s", value_parser = duration::parse_positive)]
    duration: Duration,

    /// How long to send before the measurement
    #[arg(long, value_name = "DURATION", default_value = "500ms", value_parser = duration::parse)]
    warmup: Duration,

    /// Spread the start of the connections over this time, before the warm-up
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = duration::parse)]
    ramp: Duration,

    /// What replies are compared with
    #[arg(long, value_enum, default_value_t = Verify::Upper)]
    verify: Verify,

    /// Further connections that stay silent
    #[arg(long, value_name = "N", default_value_t = 0)]
    idle: u32,

    /// Also measure the CPU time of this process (the server) and its children
    #[arg(long, value_name = "PID", value_parser = clap::value_parser!(u32).range(1..=i32::MAX as i64))]
    pid: Option<u32>,

    /// OS threads that the generator uses
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1024))]
    workers: u32,

    /// The generator's own engine [default: SWARD_ENGINE, or the best that the kernel has]
    #[arg(long, value_parser = engine_parser())]
    engine: Option<EngineKind>,

    /// Print the report as one line of JSON
    #[arg(long)]
    pub(super) json: bool,

    /// Show nothing before the report
    #[arg(long, short)]
    quiet: bool,
}

impl Load {
    /// Makes a plan of the flags.
    ///
    /// # Errors
    /// The flags ask for too much.
    pub(super) fn plan(&self) -> anyhow::Result<LoadPlan> {
        let plan = LoadPlan {
            address: self.addr.clone(),
            connections: self.connections as usize,
            idle: self.idle as usize,
            size: self.size as usize,
            pipeline: self.pipeline as usize,
            pace: self.rate.map_or(Pace::Closed, Pace::Open),
            duration: self.duration,
            warmup: self.warmup,
            ramp: self.ramp,
            verify: self.verify,
            server: self.pid,
            workers: self.workers as usize,
            engine: self.engine,
        };
        plan.check()?;
        Ok(plan)
    }

    /// Returns how the run is shown.
    pub(super) fn progress(&self) -> Progress {
        match self.quiet {
            true => Progress::silent(),
            false if stderr().is_terminal() => Progress::bar(),
            false => Progress::lines(),
        }
    }
}

/// Parses a rate. Its limits keep the time between two messages between a nanosecond and what a clock can count.
fn parse_rate(text: &str) -> Result<f64, String> {
    const RATES: RangeInclusive<f64> = 1e-3..=1e9;
    match text.parse::<f64>() {
        Ok(rate) if RATES.contains(&rate) => Ok(rate),
        _ => Err(format!("expected messages per second, from {} to {}", RATES.start(), RATES.end())),
    }
}
