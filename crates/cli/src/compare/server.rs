//! A running server under comparison, and `sward load` against it.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, anyhow, bail};
use nix::sys::resource::{UsageWho, getrusage};
use sward::net::{SocketAddr, TcpListener, TcpStream};
use sward::thread;
use sward::time::{Duration, Instant};

use super::child::{self, Guarded, OURSELVES};
use super::machine;
use super::study::{Metric, NOISY_PERCENT};
use super::subject::{self, Kind, Subject};
use crate::load::Report;
use crate::load::processor::{self, Family};

/// How long a server may take to listen, and a run of the generator beyond its window.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long one reply may take.
const REPLY: Duration = Duration::from_secs(5);

/// Fewer messages than this say nothing about the slowest in a thousand.
const MESSAGES_FOR_P999: u64 = 2000;

/// Where processes run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pinning {
    pub(super) server: Option<usize>,
    pub(super) generator: Option<usize>,
}

/// A server that runs until this is dropped.
pub(super) struct Server {
    process: Guarded,
    pub(super) address: SocketAddr,
    /// What `sward load --verify` is to be told.
    verify: &'static str,
    pinning: Pinning,
    interrupt: Arc<AtomicBool>,
}

/// What one measurement found.
pub(super) struct Finding {
    pub(super) values: BTreeMap<Metric, f64>,
    /// What others took of the machine meanwhile.
    pub(super) others_percent: f64,
    pub(super) failure: Option<String>,
}

impl Server {
    /// Starts it and waits until it listens.
    ///
    /// # Errors
    /// It did not start; the error says what it said. Or Ctrl-C.
    pub(super) fn start(
        subject: &Subject,
        pinning: Pinning,
        interrupt: &Arc<AtomicBool>,
    ) -> anyhow::Result<Server> {
        let (process, address) = match subject.kind {
            Kind::Own { model, engine } => {
                let arguments = subject::arguments(model, engine).into_iter().map(str::to_owned);
                let command: Vec<_> = [OURSELVES.to_owned()].into_iter().chain(arguments).collect();
                let process = Guarded::start(pinning.server, &command, interrupt)?;
                let address = address_of_banner(&process).with_context(|| subject.command.clone())?;
                (process, address)
            }
            Kind::Foreign => {
                start_foreign(subject, pinning, interrupt).with_context(|| subject.command.clone())?
            }
        };
        let mut server =
            Server { process, address, verify: "upper", pinning, interrupt: Arc::clone(interrupt) };
        if matches!(subject.kind, Kind::Foreign) {
            server.verify = server.probe().context("asking it for one reply")?;
        }
        Ok(server)
    }

    pub(super) fn family(&self) -> Family {
        Family::now(self.process.process())
    }

    /// Memory of all its processes, in bytes.
    pub(super) fn memory_bytes(&self) -> u64 {
        self.family().processes().map(machine::memory_bytes).sum()
    }

    /// Opens a connection and has one message answered, so that the server has really begun to serve it.
    pub(super) fn connect(&self) -> anyhow::Result<TcpStream> {
        let mut stream = TcpStream::connect_timeout(&self.address, REPLY).context("connecting")?;
        stream.set_read_timeout(Some(REPLY))?;
        stream.write_all(b"a\n")?;
        let mut reply = [0; 2];
        stream.read_exact(&mut reply).context("waiting for a reply")?;
        Ok(stream)
    }

    /// What kind of service it is.
    fn probe(&self) -> anyhow::Result<&'static str> {
        let mut stream = TcpStream::connect_timeout(&self.address, REPLY)?;
        stream.set_read_timeout(Some(REPLY))?;
        stream.write_all(b"a\n")?;
        let mut reply = [0; 2];
        stream.read_exact(&mut reply)?;
        match &reply {
            b"A\n" => Ok("upper"),
            b"a\n" => Ok("echo"),
            other => bail!(
                "it must answer a line with the same line, or in upper case; it answered {other:?} to \"a\\n\""
            ),
        }
    }

    /// Runs `sward load` with these flags.
    ///
    /// # Errors
    /// Ctrl-C. What the generator complains about is in the finding.
    pub(super) fn load(&self, flags: &[String], window: Duration) -> anyhow::Result<Finding> {
        let mut command =
            [OURSELVES, "load", &self.address.to_string(), "--json", "--quiet", "--verify", self.verify]
                .map(str::to_owned)
                .to_vec();
        command.extend(["--pid".to_owned(), self.process.process().to_string()]);
        command.extend_from_slice(flags);
        let bystanders = Bystanders::watch(Some(self));
        let printed = child::output(self.pinning.generator, &command, &self.interrupt, window + PATIENCE);
        child::check(&self.interrupt)?;
        let others_percent = bystanders.percent();
        let report = printed.and_then(|line| {
            serde_json::from_str::<Report>(&line)
                .map_err(|error| anyhow!("reading the generator's report: {error}"))
        });
        Ok(match report {
            Ok(report) => Finding {
                values: values(&report),
                others_percent,
                failure: report.complaint().map(|text| match report.errors.first() {
                    Some(first) => format!("{text}; the first: {}", first.first),
                    None => text,
                }),
            },
            Err(error) => {
                let failure = Some(format!("{error:#}").replace("error: ", ""));
                Finding { values: BTreeMap::new(), others_percent, failure }
            }
        })
    }
}

impl Finding {
    /// One that failed before anything could be measured.
    pub(super) fn failed(error: &anyhow::Error) -> Finding {
        Finding { values: BTreeMap::new(), others_percent: 0.0, failure: Some(format!("{error:#}")) }
    }

    pub(super) fn is_noisy(&self) -> bool {
        self.others_percent >= NOISY_PERCENT
    }
}

/// What a report of the generator says, as our metrics.
fn values(report: &Report) -> BTreeMap<Metric, f64> {
    let mut values = BTreeMap::from([
        (Metric::MessagesPerSecond, report.messages_per_second),
        (Metric::GeneratorCpuPercent, report.generator_cpu_percent),
    ]);
    let spread = report.connection_messages;
    if spread.max > 0 {
        let share = |messages: u64| messages as f64 / spread.max as f64 * 100.0;
        values.extend([
            (Metric::MostServedMessages, spread.max as f64),
            (Metric::MedianServedPercent, share(spread.median)),
            (Metric::LeastServedPercent, share(spread.min)),
        ]);
    }
    if let Some(latency) = &report.latency_us {
        values.extend([(Metric::LatencyP50Us, latency.p50), (Metric::LatencyP99Us, latency.p99)]);
        if report.messages >= MESSAGES_FOR_P999 {
            values.insert(Metric::LatencyP999Us, latency.p999);
        }
    }
    let server = [
        (Metric::ServerCpuUsPerMessage, report.server_cpu_us_per_message),
        (Metric::ServerCpuPercent, report.server_cpu_percent),
    ];
    values.extend(server.into_iter().filter_map(|(metric, value)| Some((metric, value?))));
    values
}

/// What programs that are not ours do while we measure.
pub(super) struct Bystanders {
    begun: Instant,
    busy: Duration,
    ours: Duration,
    /// A child that has not ended by then, and what it and its descendants had used.
    server: Option<(u32, Family)>,
}

impl Bystanders {
    /// `server` is a child that will not have ended when [`percent`](Bystanders::percent) is asked.
    pub(super) fn watch(server: Option<&Server>) -> Bystanders {
        let server = server.map(|server| (server.process.process(), server.family()));
        Bystanders { begun: Instant::now(), busy: machine::busy(), ours: ours(), server }
    }

    /// What they have used since, as a share of one core.
    pub(super) fn percent(&self) -> f64 {
        let server = self.server.as_ref().map(|(process, before)| Family::now(*process).since(before));
        let ours = ours().saturating_sub(self.ours) + server.unwrap_or_default();
        let others = machine::busy().saturating_sub(self.busy).saturating_sub(ours);
        (others.as_secs_f64() / self.begun.elapsed().as_secs_f64().max(1e-3) * 100.0).round()
    }
}

/// CPU time of this process and of its children that have ended.
fn ours() -> Duration {
    let children = getrusage(UsageWho::RUSAGE_CHILDREN).map_or(Duration::ZERO, |usage| {
        let micros = |time: nix::sys::time::TimeVal| {
            Duration::new(time.tv_sec().unsigned_abs(), time.tv_usec().unsigned_abs() as u32 * 1000)
        };
        micros(usage.user_time()) + micros(usage.system_time())
    });
    processor::own() + children
}

fn address_of_banner(process: &Guarded) -> anyhow::Result<SocketAddr> {
    match process.line(Instant::now() + PATIENCE)? {
        Some(line) => line
            .rsplit(' ')
            .next()
            .unwrap_or_default()
            .parse()
            .with_context(|| format!("its first line is {line:?}, and should end in its address")),
        None => bail!("it ended at once: {}", process.complaints()),
    }
}

/// Starts a command of the user's on a port that is free, and waits until something listens there.
fn start_foreign(
    subject: &Subject,
    pinning: Pinning,
    interrupt: &Arc<AtomicBool>,
) -> anyhow::Result<(Guarded, SocketAddr)> {
    let address = TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .context("finding a free port")?;
    let command = subject.command.replace("{port}", &address.port().to_string());
    let shell = ["sh", "-c", &format!("exec {command}")].map(str::to_owned);
    // `exec` cannot stand before assignments or lists of commands; a shell around those does no harm.
    let is_simple = command.split_whitespace().next().is_some_and(|word| !word.contains('='))
        && !command.contains(['|', '&', ';', '(', '{', '<', '>']);
    let shell = if is_simple { shell } else { ["sh", "-c", &command].map(str::to_owned) };
    let mut process = Guarded::start(pinning.server, &shell, interrupt)?;
    let deadline = Instant::now() + PATIENCE / 4;
    while TcpStream::connect_timeout(&address, REPLY).is_err() {
        child::check(interrupt)?;
        if process.has_ended() {
            bail!("it ended without listening on port {}: {}", address.port(), process.complaints());
        }
        if Instant::now() >= deadline {
            bail!(
                "nothing listens on port {} after {:?}: {}",
                address.port(),
                PATIENCE / 4,
                process.complaints()
            );
        }
        thread::sleep(Duration::from_millis(10));
    }
    Ok((process, address))
}
