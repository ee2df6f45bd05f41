//! The samples of a run, and their statistics: medians over the rounds, with their spread.

use std::collections::BTreeMap;

use serde::Serialize;
use sward_measure::quantity::count;

use crate::error::Error;
use crate::plan::Experiment;

/// A round counts as disturbed if other programs or the hypervisor took at least this share of one core meanwhile.
const NOISY_PERCENT: f64 = 20.0;

/// Defines [`Metric`] and the list of all metrics.
macro_rules! metrics {
    ($($(#[$about:meta])* $metric:ident,)*) => {
        /// A measured quantity, with its unit.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(rename_all = "snake_case")]
        pub(crate) enum Metric { $($(#[$about])* $metric,)* }

        impl Metric {
            pub(crate) const ALL: &[Metric] = &[$(Metric::$metric,)*];
        }
    };
}

metrics! {
    MessagesPerSecond,
    LatencyP50Us,
    LatencyP99Us,
    LatencyP999Us,
    /// User and system time of all processes of the server.
    ServerCpuUsPerMessage,
    /// 100 is one core.
    ServerCpuPercent,
    /// 100 is one core.
    GeneratorCpuPercent,
    /// Messages of the best served connection, in all phases of a run.
    MostServedMessages,
    /// Messages of the median connection, as a share of the best served one's.
    MedianServedPercent,
    /// Messages of the worst served connection, as a share of the best served one's.
    LeastServedPercent,
    /// Resident memory and page tables, per connection.
    MemoryBytesPerConnection,
    /// From the start of the first job to the end of the last.
    Seconds,
    /// How many threads waited at once.
    TasksAlive,
    SpawnNs,
    SwitchNs,
    MemoryBytesPerTask,
}

impl Metric {
    pub(crate) fn name(self) -> String {
        serde_json::to_value(self).ok().and_then(|name| Some(name.as_str()?.to_owned())).unwrap_or_default()
    }
}

/// The result of one measurement.
pub(crate) struct Finding {
    pub(crate) values: BTreeMap<Metric, f64>,
    /// What other programs and the hypervisor took meanwhile; 100 is one core.
    pub(crate) others_percent: f64,
    pub(crate) failure: Option<String>,
}

impl Finding {
    /// Creates a finding without values.
    pub(crate) fn failed(error: &Error) -> Finding {
        Finding { values: BTreeMap::new(), others_percent: 0.0, failure: Some(format!("{error:#}")) }
    }

    pub(crate) fn is_noisy(&self) -> bool {
        self.others_percent >= NOISY_PERCENT
    }
}

/// A measurement in a round.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Sample {
    pub(crate) experiment: Experiment,
    pub(crate) subject: String,
    /// What the experiment varies: the number of connections, jobs or threads.
    pub(crate) x: u64,
    /// Counts from 1.
    pub(crate) round: u32,
    pub(crate) values: BTreeMap<Metric, f64>,
    /// What other programs and the hypervisor took meanwhile; 100 is one core.
    pub(crate) others_cpu_percent: f64,
    pub(crate) noisy: bool,
    /// What went wrong. The medians leave failed samples out.
    pub(crate) failure: Option<String>,
}

/// A metric's median and spread over all rounds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Statistic {
    pub(crate) median: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
    pub(crate) rounds: usize,
    /// How many rounds were disturbed.
    pub(crate) noisy_rounds: usize,
}

/// A statistic with what it describes, for JSON.
#[derive(Debug, Serialize)]
pub(crate) struct Summary<'a> {
    experiment: Experiment,
    subject: &'a str,
    x: u64,
    metric: Metric,
    #[serde(flatten)]
    statistic: Statistic,
}

/// All samples of a run.
#[derive(Debug, Default)]
pub(crate) struct Study {
    pub(crate) samples: Vec<Sample>,
}

impl Study {
    /// Returns a metric of one subject at one point; `None` if it was never measured without failure.
    pub(crate) fn statistic(
        &self,
        experiment: Experiment,
        subject: &str,
        x: u64,
        metric: Metric,
    ) -> Option<Statistic> {
        let samples = self.samples.iter().filter(|sample| {
            sample.experiment == experiment
                && sample.subject == subject
                && sample.x == x
                && sample.failure.is_none()
        });
        let values: Vec<_> =
            samples.filter_map(|sample| Some((*sample.values.get(&metric)?, sample.noisy))).collect();
        Statistic::of(&values)
    }

    /// Returns the median of a [`statistic`](Study::statistic).
    pub(crate) fn median(
        &self,
        experiment: Experiment,
        subject: &str,
        x: u64,
        metric: Metric,
    ) -> Option<f64> {
        self.statistic(experiment, subject, x, metric).map(|statistic| statistic.median)
    }

    /// Returns a metric of one subject at all points, ascending.
    pub(crate) fn points(
        &self,
        experiment: Experiment,
        subject: &str,
        metric: Metric,
    ) -> Vec<(u64, Statistic)> {
        let statistic = |x| Some((x, self.statistic(experiment, subject, x, metric)?));
        self.xs(experiment).into_iter().filter_map(statistic).collect()
    }

    /// Returns the points of an experiment, ascending.
    pub(crate) fn xs(&self, experiment: Experiment) -> Vec<u64> {
        let samples = self.samples.iter().filter(|sample| sample.experiment == experiment);
        let mut xs: Vec<u64> = samples.map(|sample| sample.x).collect();
        xs.sort_unstable();
        xs.dedup();
        xs
    }

    /// Returns the subjects of an experiment, in the order of their first samples.
    pub(crate) fn subjects(&self, experiment: Experiment) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for sample in self.samples.iter().filter(|sample| sample.experiment == experiment) {
            if !names.contains(&sample.subject.as_str()) {
                names.push(&sample.subject);
            }
        }
        names
    }

    /// Returns how many samples of an experiment were disturbed, and how many there are.
    pub(crate) fn noisy(&self, experiment: Experiment) -> (usize, usize) {
        let samples = self.samples.iter().filter(|sample| sample.experiment == experiment);
        (samples.clone().filter(|sample| sample.noisy).count(), samples.count())
    }

    /// Returns the first failure of each subject at each point.
    pub(crate) fn failures(&self, experiment: Experiment) -> Vec<String> {
        let mut failures: Vec<String> = Vec::new();
        for sample in self.samples.iter().filter(|sample| sample.experiment == experiment) {
            if let Some(failure) = &sample.failure {
                let place = format!("{} at {}:", sample.subject, count(sample.x as f64));
                if !failures.iter().any(|known| known.starts_with(&place)) {
                    failures.push(format!("{place} {failure}"));
                }
            }
        }
        failures
    }

    /// Returns all statistics.
    pub(crate) fn summaries(&self) -> Vec<Summary<'_>> {
        let mut summaries = Vec::new();
        for experiment in Experiment::ALL {
            for subject in self.subjects(experiment) {
                for &metric in Metric::ALL {
                    let points = self.points(experiment, subject, metric);
                    summaries.extend(points.into_iter().map(|(x, statistic)| Summary {
                        experiment,
                        subject,
                        x,
                        metric,
                        statistic,
                    }));
                }
            }
        }
        summaries
    }
}

impl Statistic {
    fn of(values: &[(f64, bool)]) -> Option<Statistic> {
        let mut sorted: Vec<f64> =
            values.iter().map(|(value, _)| *value).filter(|value| value.is_finite()).collect();
        sorted.sort_by(f64::total_cmp);
        let (low, high) = (*sorted.first()?, *sorted.last()?);
        let middle = sorted.len() / 2;
        let median = match sorted.len() % 2 {
            0 => f64::midpoint(sorted[middle - 1], sorted[middle]),
            _ => sorted[middle],
        };
        let noisy_rounds = values.iter().filter(|(_, noisy)| *noisy).count();
        Some(Statistic { median, low, high, rounds: sorted.len(), noisy_rounds })
    }

    pub(crate) fn is_noisy(&self) -> bool {
        self.noisy_rounds > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(round: u32, value: f64, noisy: bool, failure: Option<&str>) -> Sample {
        Sample {
            experiment: Experiment::Idle,
            subject: "epoll".into(),
            x: 10,
            round,
            values: BTreeMap::from([(Metric::SpawnNs, value)]),
            others_cpu_percent: 0.0,
            noisy,
            failure: failure.map(str::to_owned),
        }
    }

    #[test]
    fn medians_keep_noisy_rounds_and_leave_failures_out() {
        let study = Study {
            samples: vec![
                sample(1, 3.0, false, None),
                sample(2, 1.0, true, None),
                sample(3, 8.0, false, None),
                sample(4, 900.0, false, Some("reset")),
            ],
        };
        let found = study.statistic(Experiment::Idle, "epoll", 10, Metric::SpawnNs).unwrap();
        assert_eq!(found, Statistic { median: 3.0, low: 1.0, high: 8.0, rounds: 3, noisy_rounds: 1 });
        assert_eq!(study.statistic(Experiment::Idle, "epoll", 11, Metric::SpawnNs), None);
        assert_eq!(study.failures(Experiment::Idle), ["epoll at 10: reset"]);
    }

    #[test]
    fn an_even_number_of_rounds_has_its_median_between() {
        assert_eq!(Statistic::of(&[(2.0, false), (4.0, false)]).unwrap().median, 3.0);
    }

    #[test]
    fn every_metric_has_a_name() {
        let names: std::collections::BTreeSet<_> = Metric::ALL.iter().copied().map(Metric::name).collect();
        assert_eq!(names.len(), Metric::ALL.len());
        assert!(names.contains("server_cpu_us_per_message"));
    }
}
