//! `sward serve`: runs a ready-made service under any model, on any engine.

use std::fmt::Write;
use std::io;
use sward::time::Duration;

use anyhow::Context;
use clap::ValueEnum;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use nix::sys::resource::{Resource, Usage, UsageWho, getrlimit, getrusage, setrlimit};
use nix::sys::time::TimeValLike;
use sward::EngineKind;
use sward_server::{Bound, Connection, Model, Server, Summary, service};

use crate::engines::engine_parser;
use crate::{duration, output};

/// The banner warns if the limit of descriptors is lower than this.
const FEW_DESCRIPTORS: u64 = 4096;

/// Serve TCP clients, under any I/O model
#[derive(clap::Args)]
#[command(after_help = "Try it:\n  sward serve\n  printf 'hello\\n' | nc -q1 127.0.0.1 8080")]
pub(crate) struct Serve {
    /// What to do with what clients send
    #[arg(value_enum, default_value_t = Service::Upper)]
    service: Service,

    /// Where to listen; port 0 lets the kernel choose
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:8080")]
    addr: String,

    /// What a connection runs on
    #[arg(long, default_value_t = Model::Green, value_parser = model_parser())]
    model: Model,

    /// The engine under green threads [default: SWARD_ENGINE, or the best one available]
    #[arg(long, value_parser = engine_parser())]
    engine: Option<EngineKind>,

    /// Workers (model green) or child processes (model processes) [default: one per core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    workers: Option<u32>,

    /// Serve at most this many connections at once, and let others wait [default: no limit]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    max_connections: Option<u32>,

    /// Close connections that are idle for this long: 500ms, 60s, 2m [default: never]
    #[arg(long, value_name = "DURATION", value_parser = duration::parse_positive)]
    idle_timeout: Option<Duration>,

    /// On Ctrl-C, let open connections go on for at most this long
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration::parse)]
    drain: Duration,
}

/// A ready-made service.
#[derive(Clone, Copy, ValueEnum)]
enum Service {
    /// Send everything back in upper case
    Upper,
    /// Send everything back (RFC 862)
    Echo,
    /// Read everything, send nothing (RFC 863)
    Discard,
    /// Send endless lines of characters (RFC 864)
    Chargen,
}

impl Service {
    fn handler(self) -> fn(Connection) -> io::Result<()> {
        match self {
            Service::Upper => service::upper,
            Service::Echo => service::echo,
            Service::Discard => service::discard,
            Service::Chargen => service::chargen,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Service::Upper => "upper",
            Service::Echo => "echo",
            Service::Discard => "discard",
            Service::Chargen => "chargen",
        }
    }
}

fn model_parser() -> impl TypedValueParser<Value = Model> {
    let values = Model::ALL.map(|model| PossibleValue::new(model.name()).help(model.description()));
    PossibleValuesParser::new(values).try_map(|name| name.parse::<Model>())
}

impl Serve {
    #[allow(unsafe_code)]
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let before = processor_seconds();
        let descriptors = raise_descriptor_limit();
        let (engine, reason) = self.engine()?;
        let server = self.server(engine);
        let bound = server.bind().map_err(|error| self.explain_bind(error))?;
        let banner = self.banner(&bound, engine, &reason, descriptors)?;
        let bound = bound.announce(move || output::write(&banner));
        // SAFETY: no service holds a scoped thread-local value across a blocking call; they use none at all.
        let summary = unsafe { bound.serve(self.service.handler()) }.map_err(|error| match error.kind() {
            // It comes from writing the banner: no other write ends the server.
            io::ErrorKind::BrokenPipe => output::explain(error),
            _ => anyhow::Error::new(error).context("serving"),
        })?;
        output::print(&closing(&summary, before)?)
    }

    /// Returns the engine that will run, and why it was chosen.
    fn engine(&self) -> anyhow::Result<(EngineKind, String)> {
        if let Some(engine) = self.engine {
            return Ok((engine, "by name".to_owned()));
        }
        match std::env::var("SWARD_ENGINE").as_deref() {
            Ok("" | "default") | Err(_) => Ok(match EngineKind::default_here() {
                (engine, None) => (engine, "the default".to_owned()),
                (engine, Some(reason)) => (engine, format!("second choice, since {reason}")),
            }),
            Ok(name) => Ok((name.parse().context("SWARD_ENGINE")?, "named by SWARD_ENGINE".to_owned())),
        }
    }

    fn server(&self, engine: EngineKind) -> Server {
        let server = Server::new().address(&self.addr).model(self.model).drain(self.drain).stop_on_signals();
        let server = if self.model.has_engine() { server.engine(engine) } else { server };
        let server = match self.workers {
            Some(workers) => server.workers(workers as usize),
            None => server,
        };
        let server = match self.max_connections {
            Some(connections) => server.max_connections(connections as usize),
            None => server,
        };
        match self.idle_timeout {
            Some(timeout) => server.idle_timeout(timeout),
            None => server,
        }
    }

    fn explain_bind(&self, error: io::Error) -> anyhow::Error {
        let advice = match error.kind() {
            io::ErrorKind::AddrInUse => {
                ": another program listens there; stop it, or choose a port with --addr, as in \
                 --addr 127.0.0.1:0 for any free one"
            }
            io::ErrorKind::PermissionDenied => ": ports below 1024 are for root; choose another with --addr",
            io::ErrorKind::AddrNotAvailable => {
                ": this machine does not have that address; choose one with --addr"
            }
            io::ErrorKind::InvalidInput => " (--addr)",
            _ => "",
        };
        anyhow::anyhow!("{error}{advice}")
    }

    /// Returns what is shown at the start: what runs, and how to try it.
    fn banner(
        &self,
        bound: &Bound,
        engine: EngineKind,
        reason: &str,
        descriptors: Option<u64>,
    ) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        let (address, model) = (bound.local_addr(), self.model);
        writeln!(text, "sward serves {} on {address}", self.service.name())?;
        writeln!(text, "  model        {model}: {}", model.description())?;
        match model.has_engine() {
            true => writeln!(text, "  engine       {engine} ({reason})")?,
            false => writeln!(text, "  engine       none: each OS thread blocks in its system call")?,
        }
        match model {
            Model::Green => writeln!(text, "  workers      {}", bound.workers())?,
            Model::Processes => writeln!(text, "  processes    {}", bound.workers())?,
            _ => {}
        }
        if let Some(descriptors) = descriptors {
            let advice =
                if descriptors < FEW_DESCRIPTORS { "; few: raise the hard limit (ulimit -Hn)" } else { "" };
            writeln!(text, "  descriptors  {descriptors}{advice}")?;
        }
        let try_it = match self.service {
            Service::Upper | Service::Echo | Service::Discard => {
                format!("printf 'hello\\n' | nc -q1 {} {}", address.ip(), address.port())
            }
            Service::Chargen => format!("nc {} {} | head", address.ip(), address.port()),
        };
        writeln!(text, "  try          {try_it}")?;
        if std::env::var_os("SWARD_CONSOLE").is_some_and(|path| !path.is_empty()) {
            match model.has_engine() {
                true => writeln!(text, "  watch        sward top {}", std::process::id())?,
                false => writeln!(
                    text,
                    "  watch        SWARD_CONSOLE is of no use here: there are no green threads"
                )?,
            }
        }
        writeln!(text, "  stop         Ctrl-C; again to end at once")?;
        Ok(text)
    }
}

/// Raises the soft limit of descriptors to the hard one, and returns what it is now.
fn raise_descriptor_limit() -> Option<u64> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).ok()?;
    match setrlimit(Resource::RLIMIT_NOFILE, hard, hard) {
        Ok(()) => Some(hard),
        Err(_) => Some(soft),
    }
}

/// Returns what is shown at the end: what the server has done, and the CPU time since `before`. (`cargo run` becomes this process, whose
/// children's CPU time then includes the compiler's.)
fn closing(summary: &Summary, before: Option<(f64, f64)>) -> Result<String, std::fmt::Error> {
    let mut text = String::new();
    let unusual = [
        (summary.failed, "failed"),
        (summary.panicked, "panicked"),
        (summary.idle, "idle"),
        (summary.cut_off, "cut off"),
        (summary.left_over, "left over"),
    ];
    let unusual: Vec<_> = unusual
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, how)| format!("{count} {how}"))
        .collect();
    let unusual = if unusual.is_empty() { String::new() } else { format!(" ({})", unusual.join(", ")) };
    writeln!(text, "sward has served")?;
    writeln!(text, "  connections  {}{unusual}", summary.connections)?;
    writeln!(text, "  messages     {}", summary.messages)?;
    writeln!(text, "  bytes        {} in, {} out", summary.bytes_in, summary.bytes_out)?;
    if summary.restarts > 0 {
        writeln!(text, "  restarts     {} of crashed children, whose counts are lost", summary.restarts)?;
    }
    if let (Some(before), Some(now)) = (before, processor_seconds()) {
        let (user, system) = (now.0 - before.0, now.1 - before.1);
        write!(text, "  cpu          {user:.3} s user, {system:.3} s system")?;
        if summary.messages > 0 {
            let each_us = (user + system) * 1e6 / summary.messages as f64;
            write!(text, ": {each_us:.2} µs per message")?;
        }
        writeln!(text)?;
    }
    Ok(text)
}

/// Returns the CPU time that this process and its children have used, in seconds: user, system.
fn processor_seconds() -> Option<(f64, f64)> {
    let own = getrusage(UsageWho::RUSAGE_SELF).ok()?;
    let children = getrusage(UsageWho::RUSAGE_CHILDREN).ok()?;
    let user = |usage: &Usage| usage.user_time().num_microseconds() as f64 / 1e6;
    let system = |usage: &Usage| usage.system_time().num_microseconds() as f64 / 1e6;
    Some((user(&own) + user(&children), system(&own) + system(&children)))
}
