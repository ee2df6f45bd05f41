//! How long a run takes, said before it begins. From what single steps took on a machine of 2026; a slow one takes longer.

use sward::time::Duration;

use crate::plan::{Experiment, Plan};

/// To start and end a server and the generator, in seconds.
const START: f64 = 0.12;

/// To open and close a connection, in seconds.
const CONNECTION: f64 = 80e-6;

/// To start a green thread and end it, in seconds.
const GREEN_THREAD: f64 = 10e-6;

/// The same for an OS thread.
const OS_THREAD: f64 = 50e-6;

/// In so many ways the jobs of the counter experiment are counted; those of Python take longer than ours.
const WAYS: f64 = 9.0;

impl Plan {
    /// How long the whole plan takes, with `jobs` that count at once.
    pub(crate) fn estimate(&self, jobs: u32) -> Duration {
        let seconds: f64 = self.experiments.iter().map(|&each| self.round_of(each, jobs)).sum();
        let all = Duration::from_secs_f64(seconds * f64::from(self.rounds));
        self.budget.map_or(all, |budget| budget.min(all))
    }

    /// Seconds that one round of an experiment takes.
    fn round_of(&self, experiment: Experiment, jobs: u32) -> f64 {
        let subjects = self.subjects.len() as f64;
        let measurement = START + (self.window + self.warmup).as_secs_f64();
        let at_each = |places: &[u32]| -> f64 {
            places.iter().map(|&count| subjects * (measurement + f64::from(count) * CONNECTION)).sum()
        };
        match experiment {
            Experiment::Active => at_each(&self.connections),
            Experiment::Idle => at_each(&self.idle_connections),
            Experiment::Rest => {
                subjects * (START + self.window.as_secs_f64() + f64::from(self.silent) * CONNECTION)
            }
            Experiment::Wakeup => subjects * measurement,
            Experiment::Counter => WAYS * f64::from(jobs) * self.count.as_secs_f64(),
            Experiment::Tasks => {
                f64::from(self.tasks.green) * GREEN_THREAD + f64::from(self.tasks.os) * OS_THREAD
            }
        }
    }
}
