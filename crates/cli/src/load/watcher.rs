//! A run, from the first connection to the report.
//!
//! ```text
//!   idle connections ─▶ connections, spread over the ramp ─▶ warm-up ─▶ measured window ─▶ leave ─▶ report
//!                       each talks at its time of the ramp    thrown away                   ≤ GRACE
//! ```
//!
//! The main green thread is the watcher. Each connection has a green thread of its own ([`super::conversation`]). They share [`Run`].
//! Without a ramp, all connections open before the first one talks, since talking connections would delay the others. Ctrl-C, or the end
//! of the last connection, ends the present phase and skips the others up to "leave".

use std::io::ErrorKind;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, anyhow, ensure};
use sward::net::{SocketAddr, TcpStream, ToSocketAddrs};
use sward::thread::{self, JoinHandle, Thread};
use sward::time::{Duration, Instant};
use sward_measure::descriptors;
use sward_measure::process::{ProcessTree, own_cpu_time};

use super::conversation::converse;
use super::failure::{Failure, Failures};
use super::payload::Payload;
use super::plan::LoadPlan;
use super::progress::{Moment, Phase, Progress};
use super::recorder::{Measured, Recorder};
use super::report::{Outcome, Report, Window};
use super::run::Run;

/// How many connections open at once. More would overflow the backlog of servers that accept slowly.
const OPENING: usize = 64;

/// How long a connection may take to open.
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);

/// How long connections may take to receive their last replies and close.
const GRACE: Duration = Duration::from_secs(2);

/// How often the watcher checks for Ctrl-C.
const TICK: Duration = Duration::from_millis(100);

/// Runs `plan` in a runtime of its own. Ctrl-C raises `interrupt`, which ends it early.
///
/// # Errors
/// Nothing was measured: the server cannot be reached, the limit of descriptors is too low, the runtime does not start, or Ctrl-C came
/// before the measured window. Failures of single connections are in the report.
///
/// # Panics
/// If called inside a green thread.
#[allow(unsafe_code)]
pub(crate) fn run(plan: LoadPlan, progress: Progress, interrupt: Arc<AtomicBool>) -> anyhow::Result<Report> {
    descriptors::reserve(plan.connections + plan.idle)?;
    if let Some(process) = plan.server {
        ensure!(
            !ProcessTree::now(process).is_empty(),
            "--pid {process}: there is no such process; give the number of the server's, as `pgrep -a NAME` lists it"
        );
    }
    let mut builder = sward::Builder::new().workers(plan.workers);
    if let Some(engine) = plan.engine {
        builder = builder.engine(engine);
    }
    // SAFETY: neither the connections nor the progress bar hold a scoped thread-local value across a blocking call; the locks that
    // they take are released before.
    unsafe { builder.run(|| Watcher::new(plan, progress, interrupt)?.watch()) }
        .context("starting the generator")?
}

/// Runs connection `number`. `stream` is there if it is open already.
fn connection(run: &Run, number: usize, stream: Option<TcpStream>) {
    let _live = CountDown(&run.live, &run.watcher);
    let opening = CountDown(&run.opening, &run.watcher);
    let stream = match stream {
        Some(stream) => Ok(stream),
        None => open(run.address),
    };
    drop(opening);
    while !run.begin.load(Ordering::Acquire) {
        thread::park();
    }
    let result = match stream {
        Ok(stream) => converse(run, number, &stream),
        Err(error) => Err(Failure::Connect { connection: number, error }),
    };
    if let Err(failure) = result {
        run.fail(&failure);
    }
}

/// A unit of a count that the watcher waits for. Dropping it counts down.
struct CountDown<'a>(&'a AtomicUsize, &'a Thread);

impl Drop for CountDown<'_> {
    fn drop(&mut self) {
        if self.0.fetch_sub(1, Ordering::Release) == 1 {
            self.1.unpark();
        }
    }
}

fn open(address: SocketAddr) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, OPEN_TIMEOUT)?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Connects to the first address of the server that answers.
fn reach(name: &str) -> anyhow::Result<(SocketAddr, TcpStream)> {
    let addresses = name
        .to_socket_addrs()
        .with_context(|| format!("{name}: no such address; it is HOST:PORT, as in 127.0.0.1:8080"))?;
    let mut last = anyhow!("{name}: the name has no address; give one, as in 127.0.0.1:8080");
    for address in addresses {
        match open(address) {
            Ok(stream) => return Ok((address, stream)),
            Err(error) => last = anyhow!("{name}: {}", Failure::Connect { connection: 0, error }),
        }
    }
    Err(last)
}

/// Why a phase ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum PhaseEnd {
    /// Its time is over.
    Time,
    /// Ctrl-C.
    Interrupted,
    /// No connection is left.
    Alone,
}

/// The main green thread.
struct Watcher {
    run: Arc<Run>,
    progress: Progress,
    interrupt: Arc<AtomicBool>,
    connections: Vec<JoinHandle<()>>,
    idle: Vec<TcpStream>,
    /// Since the phase began.
    total: Measured,
    /// Empty, to be exchanged with a recorder.
    spare: Option<Measured>,
    /// When the recorders were last emptied.
    collected_at: Instant,
    /// When the progress is shown next.
    show_at: Instant,
}

impl Watcher {
    /// Connects to the server, and starts the first connection.
    fn new(plan: LoadPlan, progress: Progress, interrupt: Arc<AtomicBool>) -> anyhow::Result<Watcher> {
        let (address, first) = reach(&plan.address)?;
        let run = Arc::new(Run {
            payload: Payload::new(plan.burst() * plan.size + 1, plan.verify),
            address,
            start: Instant::now(),
            recorders: (0..plan.workers).map(|_| Recorder::new()).collect(),
            failures: Mutex::default(),
            ended: Mutex::default(),
            begin: AtomicBool::new(!plan.ramp.is_zero()),
            stop: AtomicBool::new(false),
            opening: AtomicUsize::new(0),
            live: AtomicUsize::new(0),
            watcher: thread::current(),
            plan,
        });
        let mut watcher = Watcher {
            run,
            interrupt,
            connections: Vec::new(),
            idle: Vec::new(),
            total: Measured::new(),
            spare: Some(Measured::new()),
            collected_at: Instant::now(),
            show_at: Instant::now() + progress.period().unwrap_or_default(),
            progress,
        };
        watcher.start(Some(first));
        Ok(watcher)
    }

    /// Carries out the run, from the second connection to the report.
    ///
    /// # Errors
    /// Ctrl-C came before the measured window, so there is nothing to report.
    fn watch(mut self) -> anyhow::Result<Report> {
        let plan = self.run.plan.clone();
        let mut end = self.open_idle();
        if end == PhaseEnd::Time {
            end = self.open_all();
        }
        self.begin();
        self.clear();
        if end == PhaseEnd::Time {
            end = self.pass(Phase::WarmUp, plan.warmup);
        }
        let mut window = None;
        self.clear();
        if end == PhaseEnd::Time {
            let (server, own, begun) = (plan.server.map(ProcessTree::now), own_cpu_time(), Instant::now());
            end = self.pass(Phase::Measure, plan.duration);
            let server =
                plan.server.zip(server).map(|(process, before)| ProcessTree::now(process).since(&before));
            window =
                Some(Window { length: begun.elapsed(), own: own_cpu_time().saturating_sub(own), server });
            self.collect();
        }
        self.progress.finish();
        self.leave();
        ensure!(
            window.is_some() || end != PhaseEnd::Interrupted,
            "interrupted before the measured window began: there is nothing to report"
        );
        let idle_closed = self.look_at_idle();
        let run = self.run;
        let take = |failures: &Mutex<Failures>| {
            std::mem::take(&mut *failures.lock().unwrap_or_else(PoisonError::into_inner))
        };
        let ended = std::mem::take(&mut *run.ended.lock().unwrap_or_else(PoisonError::into_inner));
        Ok(Report::new(
            &plan,
            Outcome {
                interrupted: end == PhaseEnd::Interrupted,
                window,
                measured: self.total,
                ended,
                idle_closed,
                failures: take(&run.failures),
            },
        ))
    }

    /// Starts the next connection.
    fn start(&mut self, stream: Option<TcpStream>) {
        let number = self.connections.len();
        let run = Arc::clone(&self.run);
        run.opening.fetch_add(1, Ordering::Relaxed);
        run.live.fetch_add(1, Ordering::Relaxed);
        let thread = thread::Builder::new().worker(number % run.plan.workers);
        let thread = thread.spawn(move || connection(&run, number, stream)).expect("this worker exists");
        self.connections.push(thread);
    }

    /// Opens the connections that stay silent.
    fn open_idle(&mut self) -> PhaseEnd {
        let mut missing = self.run.plan.idle;
        while missing > 0 && !self.is_interrupted() {
            let address = self.run.address;
            let threads: Vec<_> =
                (0..missing.min(OPENING)).map(|_| thread::spawn(move || open(address))).collect();
            missing -= threads.len();
            for thread in threads {
                match thread.join() {
                    Ok(Ok(stream)) => self.idle.push(stream),
                    Ok(Err(error)) => {
                        let connection = self.run.plan.connections + self.idle.len();
                        self.run.fail(&Failure::Connect { connection, error });
                    }
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
        }
        if self.is_interrupted() { PhaseEnd::Interrupted } else { PhaseEnd::Time }
    }

    /// Opens the connections that talk, [`OPENING`] at a time, each when its share of the ramp is over.
    fn open_all(&mut self) -> PhaseEnd {
        let (count, ramp, begun) = (self.run.plan.connections, self.run.plan.ramp, Instant::now());
        loop {
            let due = match ramp.is_zero() {
                true => count,
                false => ((begun.elapsed().as_secs_f64() / ramp.as_secs_f64() * count as f64) as usize + 1)
                    .min(count),
            };
            let started = self.connections.len();
            let room = OPENING - self.run.opening.load(Ordering::Acquire).min(OPENING);
            for _ in started..due.min(started + room) {
                self.start(None);
            }
            if self.is_interrupted() {
                return PhaseEnd::Interrupted;
            }
            let opening = self.run.opening.load(Ordering::Acquire);
            if self.connections.len() == count && opening == 0 {
                return if self.run.live.load(Ordering::Acquire) == 0 {
                    PhaseEnd::Alone
                } else {
                    PhaseEnd::Time
                };
            }
            if self.connections.len() < due {
                // As many as may be are opening. The last of them wakes us.
                thread::park_timeout(TICK);
            } else {
                let next = ramp.mul_f64(self.connections.len() as f64 / count as f64);
                thread::park_timeout(
                    next.saturating_sub(begun.elapsed()).clamp(Duration::from_micros(100), TICK),
                );
            }
            self.show(Phase::Open, begun.elapsed(), self.connections.len() as f64 / count as f64);
        }
    }

    /// Lets all connections start to talk.
    fn begin(&self) {
        if !self.run.begin.swap(true, Ordering::Release) {
            for connection in &self.connections {
                connection.thread().unpark();
            }
        }
    }

    /// Waits while the connections talk.
    fn pass(&mut self, phase: Phase, length: Duration) -> PhaseEnd {
        let begun = Instant::now();
        loop {
            let elapsed = begun.elapsed();
            if elapsed >= length {
                return PhaseEnd::Time;
            }
            if self.is_interrupted() {
                return PhaseEnd::Interrupted;
            }
            if self.run.live.load(Ordering::Acquire) == 0 {
                return PhaseEnd::Alone;
            }
            let wake = (length - elapsed).min(TICK);
            let until_show = self.show_at.saturating_duration_since(Instant::now());
            thread::park_timeout(if self.progress.period().is_some() { wake.min(until_show) } else { wake });
            self.show(phase, begun.elapsed(), begun.elapsed().div_duration_f64(length));
        }
    }

    fn is_interrupted(&self) -> bool {
        self.interrupt.load(Ordering::Relaxed)
    }

    /// Shows what has happened since the last time, if that is due.
    fn show(&mut self, phase: Phase, elapsed: Duration, share: f64) {
        let now = Instant::now();
        let Some(period) = self.progress.period().filter(|_| self.show_at <= now) else { return };
        self.show_at = now.max(self.show_at + period);
        let since = now - self.collected_at;
        let interval = self.collect();
        let moment = Moment {
            phase,
            elapsed,
            share,
            since,
            latency: &interval.latency,
            errors: self.run.failures.lock().unwrap_or_else(PoisonError::into_inner).total(),
            connections: self.run.live.load(Ordering::Relaxed),
        };
        self.progress.show(&moment);
    }

    /// Throws away what has been measured so far.
    fn clear(&mut self) {
        self.collect();
        self.total.clear();
        self.show_at = Instant::now() + self.progress.period().unwrap_or_default();
    }

    /// Moves what the recorders hold to the total, and returns it.
    fn collect(&mut self) -> Measured {
        let mut interval = Measured::new();
        for recorder in &self.run.recorders {
            let spare = self.spare.take().unwrap_or_else(Measured::new);
            let mut part = recorder.exchange(spare);
            interval.add(&part);
            part.clear();
            self.spare = Some(part);
        }
        self.total.add(&interval);
        self.collected_at = Instant::now();
        interval
    }

    /// Returns how many silent connections the server has closed. A connection on which it has sent anything has failed.
    fn look_at_idle(&self) -> usize {
        let mut closed = 0;
        for (connection, stream) in (self.run.plan.connections..).zip(&self.idle) {
            match stream.set_nonblocking(true).and_then(|()| stream.peek(&mut [0])) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Ok(0) | Err(_) => closed += 1,
                Ok(_) => self.run.fail(&Failure::Surplus { connection, messages: 0 }),
            }
        }
        closed
    }

    /// Waits for the last replies of the connections, for a time, then cancels the rest.
    fn leave(&mut self) {
        self.run.stop.store(true, Ordering::Relaxed);
        for connection in &self.connections {
            // Writers wait for their next message to be due.
            connection.thread().unpark();
        }
        let deadline = Instant::now() + GRACE;
        while self.run.live.load(Ordering::Acquire) > 0 && Instant::now() < deadline {
            thread::park_timeout(deadline.saturating_duration_since(Instant::now()));
        }
        for connection in self.connections.drain(..) {
            connection.cancel();
            if let Err(payload) = connection.join()
                && !payload.is::<thread::Cancelled>()
            {
                std::panic::resume_unwind(payload);
            }
        }
    }
}
