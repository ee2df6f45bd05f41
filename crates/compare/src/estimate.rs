//! Estimates how long a run takes. The constants were measured on one machine in 2026; slower ones take longer.

use sward::time::Duration;

use crate::plan::{Experiment, Plan};

/// Starting and stopping a server and the generator.
const START_SECONDS: f64 = 0.12;

/// Opening and closing a connection.
const CONNECTION_SECONDS: f64 = 80e-6;

/// Starting and ending a green thread.
const GREEN_THREAD_SECONDS: f64 = 10e-6;

/// Starting and ending an OS thread.
const OS_THREAD_SECONDS: f64 = 50e-6;

/// How long the CPU experiment takes, as a multiple of all its jobs run serially: it runs them in seven ways, and Python is slower.
const CPU_RUNS: f64 = 9.0;

impl Plan {
    /// Estimates the whole plan, with `jobs` jobs in the CPU experiment.
    pub(crate) fn estimate(&self, jobs: u32) -> Duration {
        let seconds: f64 = self.experiments.iter().map(|&each| self.round_seconds(each, jobs)).sum();
        let all = Duration::from_secs_f64(seconds * f64::from(self.rounds));
        self.budget.map_or(all, |budget| budget.min(all))
    }

    /// Estimates one round of an experiment, in seconds.
    fn round_seconds(&self, experiment: Experiment, jobs: u32) -> f64 {
        let subjects = self.subjects.len() as f64;
        let measurement = START_SECONDS + (self.window + self.warmup).as_secs_f64();
        let at_each = |counts: &[u32]| -> f64 {
            counts.iter().map(|&count| subjects * (measurement + f64::from(count) * CONNECTION_SECONDS)).sum()
        };
        match experiment {
            Experiment::Active => at_each(&self.connections),
            Experiment::Idle => at_each(&self.idle_connections),
            Experiment::Rest => {
                subjects
                    * (START_SECONDS
                        + self.window.as_secs_f64()
                        + f64::from(self.silent) * CONNECTION_SECONDS)
            }
            Experiment::Wakeup => subjects * measurement,
            Experiment::Counter => CPU_RUNS * f64::from(jobs) * self.count.as_secs_f64(),
            Experiment::Tasks => {
                f64::from(self.tasks.green) * GREEN_THREAD_SECONDS
                    + f64::from(self.tasks.os) * OS_THREAD_SECONDS
            }
        }
    }
}
