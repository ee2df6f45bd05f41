//! The order of the measurements: rounds, in them experiments, in them points, in them subjects. So what is compared is measured
//! side by side, and comes again in the next round.

use std::io::{IsTerminal, Write, stderr};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use sward::time::{Duration, Instant};

use crate::interrupt::{self, Interrupted};
use crate::measured_server::{MeasuredServer, Pinning};
use crate::plan::{Experiment, Plan};
use crate::study::{Finding, Sample, Study};
use crate::subject::Subject;
use sward_measure::terminal::printable;

/// A measurement that fails while other programs have the machine is made so often: it may have had no time at all.
const ATTEMPTS: u32 = 3;

/// A run in progress.
pub(crate) struct Bench {
    pub(crate) plan: Plan,
    pub(crate) pinning: Pinning,
    /// How many jobs the counter experiment counts at once.
    pub(crate) jobs: u32,
    pub(crate) interrupt: Arc<AtomicBool>,
    pub(crate) study: Study,
    /// What a reader has to know and no sample says, each thing once.
    pub(crate) notes: Vec<String>,
    /// Measurements that the budget left no time for.
    pub(crate) left_out: u32,
    started: Instant,
    /// The length of the last line that was shown.
    shown: usize,
}

impl Bench {
    pub(crate) fn new(plan: Plan, pinning: Pinning, jobs: u32, interrupt: Arc<AtomicBool>) -> Bench {
        Bench {
            plan,
            pinning,
            jobs,
            interrupt,
            study: Study::default(),
            notes: Vec::new(),
            left_out: 0,
            started: Instant::now(),
            shown: 0,
        }
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// One measurement of a server: starts it, has it measured, ends it, and notes what came out.
    pub(crate) fn serve(
        &mut self,
        experiment: Experiment,
        subject: &Subject,
        x: u64,
        round: u32,
        mut measure: impl FnMut(&Bench, &MeasuredServer) -> anyhow::Result<Finding>,
    ) -> anyhow::Result<()> {
        self.step(experiment, &subject.name, x, round, |bench| {
            let server = MeasuredServer::start(subject, bench.pinning, &bench.interrupt)?;
            measure(bench, &server)
        })
    }

    /// One measurement: makes it, unless there is no time or it has always failed, and notes what came out.
    pub(crate) fn step(
        &mut self,
        experiment: Experiment,
        subject: &str,
        x: u64,
        round: u32,
        mut measure: impl FnMut(&Bench) -> anyhow::Result<Finding>,
    ) -> anyhow::Result<()> {
        interrupt::check(&self.interrupt)?;
        if self.plan.budget.is_some_and(|budget| self.started.elapsed() >= budget) {
            self.left_out += 1;
            return Ok(());
        }
        let mut earlier =
            self.study.samples.iter().filter(|sample| {
                sample.experiment == experiment && sample.subject == subject && sample.x == x
            });
        if earlier.clone().next().is_some() && earlier.all(|sample| sample.failure.is_some()) {
            return Ok(());
        }
        self.show(&format!("round {round} of {}  {}  {subject}  {x}", self.plan.rounds, experiment.name()));
        let mut finding = self.find(&mut measure)?;
        for _ in 1..ATTEMPTS {
            if let Some(failure) = finding.failure.as_ref().filter(|_| finding.is_noisy()) {
                let name = experiment.name();
                self.note(format!(
                    "{name}, {subject} at {x}: {failure}, while other programs had the machine; measured again."
                ));
                finding = self.find(&mut measure)?;
            }
        }
        self.study.samples.push(Sample {
            experiment,
            subject: subject.to_owned(),
            x,
            round,
            noisy: finding.is_noisy(),
            others_cpu_percent: finding.others_percent,
            values: finding.values,
            failure: finding.failure,
        });
        Ok(())
    }

    /// Makes a measurement. What goes wrong is a finding, too; an error is Ctrl-C.
    fn find(&self, measure: &mut impl FnMut(&Bench) -> anyhow::Result<Finding>) -> anyhow::Result<Finding> {
        match measure(self) {
            Err(error) if error.is::<Interrupted>() => Err(error),
            found => Ok(found.unwrap_or_else(|error| Finding::failed(&error))),
        }
    }

    /// Notes what a reader has to know. Nothing if it is known.
    pub(crate) fn note(&mut self, text: String) {
        if !self.notes.contains(&text) {
            self.notes.push(text);
        }
    }

    /// Shows on a terminal what is going on, in the place of what was shown before.
    pub(crate) fn show(&mut self, text: &str) {
        let mut terminal = stderr().lock();
        if terminal.is_terminal() {
            let text = if text.is_empty() {
                String::new()
            } else {
                format!("{:>4.0} s  {}", self.started.elapsed().as_secs_f64(), printable(text))
            };
            let length = text.chars().count();
            let _ = write!(terminal, "\r{text}{:1$}", "", self.shown.saturating_sub(length));
            let _ = if length == 0 { write!(terminal, "\r") } else { Ok(()) };
            let _ = terminal.flush();
            self.shown = length;
        }
    }
}
