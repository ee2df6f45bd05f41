//! A request for a comparison, and the plan made from it.

use std::path::PathBuf;

use sward::time::Duration;

use crate::error::{Result, bail};
use crate::plan::{Experiment, Mode, Plan, ThreadCounts};
use crate::subject::{self, Subject};

/// A comparison to be made.
#[derive(Clone, Debug)]
pub struct Request {
    /// How thorough the comparison is.
    pub mode: Mode,
    /// What is measured, in the order of the page.
    pub experiments: Vec<Experiment>,
    /// Which of sward's own servers are compared, by name; `None`: all that work here.
    pub subjects: Option<Vec<String>>,
    /// Further servers, as `NAME=CMD`. A shell runs the command, with `{port}` replaced.
    pub with: Vec<String>,
    /// Numbers of active connections; `None`: those of the mode.
    pub connections: Option<Vec<u32>>,
    /// Numbers of silent connections; `None`: those of the mode.
    pub idle_connections: Option<Vec<u32>>,
    /// Bytes of a message.
    pub size: u32,
    /// How often everything is measured; `None`: as often as the mode says.
    pub rounds: Option<u32>,
    /// How long one measurement lasts; `None`: as long as the mode says.
    pub window: Option<Duration>,
    /// Where the page is written.
    pub page: PathBuf,
    /// Where all measurements, medians and verdicts are written as JSON.
    pub json: Option<PathBuf>,
    /// Where all measurements are written as CSV.
    pub csv: Option<PathBuf>,
    /// The folder into which each chart is written as SVG.
    pub svg: Option<PathBuf>,
    /// The command that asks for this, for the page.
    pub command: String,
}

impl Request {
    /// Makes a plan.
    ///
    /// # Errors
    /// The request names an unknown server, or leaves nothing to measure.
    pub(crate) fn plan(&self) -> Result<Plan> {
        let mut plan = self.preset();
        if let Some(rounds) = self.rounds {
            plan.rounds = rounds;
        }
        if let Some(window) = self.window {
            plan.window = window;
        }
        for (list, target) in
            [(&self.connections, &mut plan.connections), (&self.idle_connections, &mut plan.idle_connections)]
        {
            if let Some(list) = list {
                target.clone_from(list);
            }
            target.sort_unstable();
            target.dedup();
            if target.is_empty() {
                bail!(
                    "an empty list of connections leaves nothing to measure; give numbers, as in --connections 1,100"
                );
            }
        }
        self.choose_subjects(&mut plan)?;
        plan.skip_what_cannot_be_opened()?;
        Ok(plan)
    }

    fn preset(&self) -> Plan {
        let millis = Duration::from_millis;
        let preset = Plan {
            mode: self.mode,
            experiments: self.experiments.clone(),
            subjects: Vec::new(),
            notes: Vec::new(),
            connections: vec![1, 10, 100, 1000, 10_000],
            idle_connections: vec![0, 10, 100, 1000, 10_000],
            silent: 1000,
            size: self.size,
            rounds: 3,
            window: millis(500),
            warmup: millis(200),
            budget: None,
            count: millis(500),
            tasks: ThreadCounts { green: 100_000, os: 10_000 },
        };
        match self.mode {
            Mode::Default => preset,
            Mode::Full => Plan {
                connections: vec![1, 4, 16, 64, 256, 1000, 4000, 10_000],
                idle_connections: vec![0, 10, 100, 300, 1000, 3000, 10_000],
                window: millis(1000),
                warmup: millis(300),
                count: millis(1000),
                tasks: ThreadCounts { green: 1_000_000, os: 30_000 },
                ..preset
            },
            Mode::Quick => Plan {
                connections: vec![1, 32, 1000],
                idle_connections: vec![0, 300, 3000],
                rounds: 2,
                window: millis(150),
                warmup: millis(60),
                budget: Some(millis(50_000)),
                count: millis(120),
                tasks: ThreadCounts { green: 50_000, os: 2000 },
                ..preset
            },
        }
    }

    fn choose_subjects(&self, plan: &mut Plan) -> Result<()> {
        let own = Subject::own();
        let names = || own.iter().map(|subject| subject.name.as_str()).collect::<Vec<_>>().join(", ");
        for name in self.subjects.iter().flatten() {
            if !own.iter().any(|subject| subject.name == *name) {
                bail!("there is no server {name}; there are {}", names());
            }
        }
        let chosen =
            |subject: &Subject| self.subjects.as_ref().is_none_or(|names| names.contains(&subject.name));
        for subject in own.iter().filter(|subject| chosen(subject)) {
            match subject.available() {
                Ok(()) => plan.subjects.push(subject.clone()),
                Err(error) => plan.notes.push(format!("{} is left out: {error}", subject.name)),
            }
        }
        for (index, text) in self.with.iter().enumerate() {
            let mut foreign = subject::foreign(text)?;
            foreign.look = own.len() + index;
            if own.iter().chain(&plan.subjects).any(|subject| subject.name == foreign.name) {
                bail!(
                    "--with {text}: the name {} is taken; put another in front, as in 'mine=CMD'",
                    foreign.name
                );
            }
            plan.subjects.push(foreign);
        }
        if plan.subjects.is_empty() {
            bail!("no server is left to measure; name some with --subjects, or add one with --with");
        }
        Ok(())
    }
}
