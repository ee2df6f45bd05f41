//! A run in progress, one measurement at a time. Every result becomes a sample of the study. A measurement that fails while other programs
//! use the CPU is repeated.

use std::io::{IsTerminal, Write, stderr};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use sward::time::{Duration, Instant};
use sward_measure::terminal::printable;

use crate::error::{Error, Result, check};
use crate::measured_server::{MeasuredServer, Pinning};
use crate::plan::{Experiment, Plan};
use crate::study::{Finding, Sample, Study};
use crate::subject::Subject;

/// How often a measurement is attempted that fails while other programs use the CPU: it may have had no CPU time at all.
const ATTEMPTS: u32 = 3;

/// A run in progress.
pub(crate) struct Bench {
    pub(crate) plan: Plan,
    pub(crate) pinning: Pinning,
    /// Jobs of the CPU experiment.
    pub(crate) jobs: u32,
    pub(crate) interrupt: Arc<AtomicBool>,
    pub(crate) study: Study,
    /// Remarks for the reader that no sample carries, without duplicates.
    pub(crate) notes: Vec<String>,
    /// Measurements that were skipped because the budget was used up.
    pub(crate) left_out: u32,
    started: Instant,
    /// The length of the status line.
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

    /// Starts a server, measures it once, and stops it.
    pub(crate) fn serve(
        &mut self,
        experiment: Experiment,
        subject: &Subject,
        x: u64,
        round: u32,
        mut measure: impl FnMut(&Bench, &MeasuredServer) -> Result<Finding>,
    ) -> Result<()> {
        self.step(experiment, &subject.name, x, round, |bench| {
            let server = MeasuredServer::start(subject, bench.pinning, &bench.interrupt)?;
            measure(bench, &server)
        })
    }

    /// Makes one measurement. It is skipped if the budget is used up, or if it has failed in every round so far.
    pub(crate) fn step(
        &mut self,
        experiment: Experiment,
        subject: &str,
        x: u64,
        round: u32,
        mut measure: impl FnMut(&Bench) -> Result<Finding>,
    ) -> Result<()> {
        check(&self.interrupt)?;
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

    /// Makes a measurement. A failure is a finding, too; the only error is [`Error::Interrupted`].
    fn find(&self, measure: &mut impl FnMut(&Bench) -> Result<Finding>) -> Result<Finding> {
        match measure(self) {
            Err(Error::Interrupted) => Err(Error::Interrupted),
            found => Ok(found.unwrap_or_else(|error| Finding::failed(&error))),
        }
    }

    /// Adds a remark for the reader, once.
    pub(crate) fn note(&mut self, text: String) {
        if !self.notes.contains(&text) {
            self.notes.push(text);
        }
    }

    /// Replaces the status line, if standard error is a terminal.
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
