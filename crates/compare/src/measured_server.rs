//! A server under comparison while it runs, and `sward load` against it.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use serde::Deserialize;
use sward::net::{SocketAddr, TcpListener, TcpStream};
use sward::thread;
use sward::time::{Duration, Instant};
use sward_measure::process::ProcessTree;

use crate::background_load::BackgroundLoad;
use crate::child::{self, Guarded};
use crate::error::{Context, Result, bail, check};
use crate::plan::Plan;
use crate::step::OURSELVES;
use crate::study::{Finding, Metric};
use crate::subject::{self, Origin, Subject};

/// How long a server may take to listen, and how long the generator may take beyond its window.
const TIMEOUT: Duration = Duration::from_secs(60);

/// How long one reply may take.
const REPLY: Duration = Duration::from_secs(5);

/// With fewer messages, the 99.9th percentile means nothing.
const MESSAGES_FOR_P999: u64 = 2000;

/// The cores that processes are pinned to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pinning {
    pub(crate) server: Option<usize>,
    pub(crate) generator: Option<usize>,
}

/// A server that runs until this is dropped.
pub(crate) struct MeasuredServer {
    process: Guarded,
    pub(crate) address: SocketAddr,
    /// The value of `sward load --verify` that fits its replies.
    verify: &'static str,
    pinning: Pinning,
    interrupt: Arc<AtomicBool>,
}

impl MeasuredServer {
    /// Starts a server and waits until it listens.
    ///
    /// # Errors
    /// [`Error::Interrupted`](crate::Error::Interrupted), or the server does not start; the error contains its output.
    pub(crate) fn start(
        subject: &Subject,
        pinning: Pinning,
        interrupt: &Arc<AtomicBool>,
    ) -> Result<MeasuredServer> {
        let (process, address) = match subject.origin {
            Origin::Own { model, engine } => {
                let arguments = subject::arguments(model, engine).into_iter().map(str::to_owned);
                let command: Vec<_> = [OURSELVES.to_owned()].into_iter().chain(arguments).collect();
                let process = Guarded::start(pinning.server, &command, interrupt)?;
                let address = address_of_banner(&process).context(&subject.command)?;
                (process, address)
            }
            Origin::Foreign => start_foreign(subject, pinning, interrupt).context(&subject.command)?,
        };
        let mut server =
            MeasuredServer { process, address, verify: "upper", pinning, interrupt: Arc::clone(interrupt) };
        if matches!(subject.origin, Origin::Foreign) {
            server.verify = server.probe().context("asking it for one reply")?;
        }
        Ok(server)
    }

    pub(crate) fn process(&self) -> u32 {
        self.process.process()
    }

    /// Reads the CPU times of its processes.
    pub(crate) fn tree(&self) -> ProcessTree {
        ProcessTree::now(self.process())
    }

    /// Opens a connection and waits for one reply, so that the server is known to serve it.
    pub(crate) fn connect(&self) -> Result<TcpStream> {
        Ok(self.ask()?.0)
    }

    /// Returns the `--verify` that fits its replies.
    fn probe(&self) -> Result<&'static str> {
        match &self.ask()?.1 {
            b"A\n" => Ok("upper"),
            b"a\n" => Ok("echo"),
            other => bail!(
                "it must answer a line with the same line, or in upper case; it answered {other:?} to \"a\\n\""
            ),
        }
    }

    /// Opens a connection, sends `a`, and returns the reply.
    fn ask(&self) -> Result<(TcpStream, [u8; 2])> {
        let mut stream = TcpStream::connect_timeout(&self.address, REPLY).context("connecting")?;
        stream.set_read_timeout(Some(REPLY))?;
        stream.write_all(b"a\n")?;
        let mut reply = [0; 2];
        stream.read_exact(&mut reply).context("waiting for a reply")?;
        Ok((stream, reply))
    }

    /// Runs `sward load` with an experiment's own flags.
    ///
    /// # Errors
    /// [`Error::Interrupted`](crate::Error::Interrupted). The finding contains all other failures.
    pub(crate) fn load(&self, plan: &Plan, own: &[(&str, &str)]) -> Result<Finding> {
        let (address, process) = (self.address.to_string(), self.process().to_string());
        let fixed =
            [OURSELVES, "load", &address, "--json", "--quiet", "--verify", self.verify, "--pid", &process];
        let command: Vec<_> = fixed.into_iter().map(str::to_owned).chain(plan.load_flags(own)).collect();
        let timeout = plan.window + plan.warmup + TIMEOUT;
        let background = BackgroundLoad::watch(Some(self.process()));
        let printed = child::output(self.pinning.generator, &command, &self.interrupt, timeout);
        check(&self.interrupt)?;
        let others_percent = background.percent();
        let report = printed.and_then(|line| {
            serde_json::from_str::<LoadReport>(&line).context("reading the generator's report")
        });
        Ok(match report {
            Ok(report) => Finding { values: values(&report), others_percent, failure: report.failure() },
            Err(error) => {
                let failure = Some(format!("{error:#}").replace("error: ", ""));
                Finding { values: BTreeMap::new(), others_percent, failure }
            }
        })
    }
}

/// The fields of `sward load --json` that are used here.
#[derive(Deserialize)]
struct LoadReport {
    messages: u64,
    messages_per_second: f64,
    latency_us: Option<Latency>,
    generator_cpu_percent: f64,
    server_cpu_us_per_message: Option<f64>,
    server_cpu_percent: Option<f64>,
    connection_messages: ConnectionMessages,
    complaint: Option<String>,
    errors: Vec<LoadError>,
}

#[derive(Deserialize)]
struct Latency {
    p50: f64,
    p99: f64,
    p999: f64,
}

#[derive(Deserialize)]
struct ConnectionMessages {
    min: u64,
    median: u64,
    max: u64,
}

#[derive(Deserialize)]
struct LoadError {
    first: String,
}

impl LoadReport {
    /// Returns why the run cannot count, with the first error of a connection.
    fn failure(&self) -> Option<String> {
        let complaint = self.complaint.as_ref()?;
        Some(match self.errors.first() {
            Some(error) => format!("{complaint}; the first: {}", error.first),
            None => complaint.clone(),
        })
    }
}

/// Converts the generator's report to metrics.
fn values(report: &LoadReport) -> BTreeMap<Metric, f64> {
    let mut values = BTreeMap::from([
        (Metric::MessagesPerSecond, report.messages_per_second),
        (Metric::GeneratorCpuPercent, report.generator_cpu_percent),
    ]);
    let spread = &report.connection_messages;
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

fn address_of_banner(process: &Guarded) -> Result<SocketAddr> {
    match process.line(Instant::now() + TIMEOUT)? {
        Some(line) => line
            .rsplit(' ')
            .next()
            .unwrap_or_default()
            .parse()
            .context(format_args!("its first line is {line:?}, and should end in its address")),
        None => bail!("it ended at once: {}", process.stderr()),
    }
}

/// Starts the user's command with a free port, and waits until something listens there.
fn start_foreign(
    subject: &Subject,
    pinning: Pinning,
    interrupt: &Arc<AtomicBool>,
) -> Result<(Guarded, SocketAddr)> {
    let address = TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .context("finding a free port")?;
    let command = subject.command.replace("{port}", &address.port().to_string());
    let shell = ["sh", "-c", &format!("exec {command}")].map(str::to_owned);
    // `exec` cannot precede assignments or lists of commands. A shell around those does no harm.
    let is_simple = command.split_whitespace().next().is_some_and(|word| !word.contains('='))
        && !command.contains(['|', '&', ';', '(', '{', '<', '>']);
    let shell = if is_simple { shell } else { ["sh", "-c", &command].map(str::to_owned) };
    let mut process = Guarded::start(pinning.server, &shell, interrupt)?;
    let deadline = Instant::now() + TIMEOUT / 4;
    while TcpStream::connect_timeout(&address, REPLY).is_err() {
        check(interrupt)?;
        if process.has_ended() {
            bail!("it ended without listening on port {}: {}", address.port(), process.stderr());
        }
        if Instant::now() >= deadline {
            bail!("nothing listens on port {} after {:?}: {}", address.port(), TIMEOUT / 4, process.stderr());
        }
        thread::sleep(Duration::from_millis(10));
    }
    Ok((process, address))
}
