//! The plan of a run: what is measured, how often, and for how long.

use nix::sys::resource::{Resource, getrlimit};
use serde::Serialize;
use sward::time::Duration;

use crate::error::{Context, Result, bail};
use crate::subject::Subject;

/// Descriptors that a server or the generator needs besides its connections. (The generator reserves 64.)
const OTHER_DESCRIPTORS: u64 = 128;

/// Connections that send while others are silent.
pub(crate) const ACTIVE_BESIDE_IDLE: u32 = 16;

/// How thorough a comparison is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Mode {
    /// Done within a minute.
    Quick,
    /// Several minutes.
    Default,
    /// About a quarter of an hour.
    Full,
}

/// An experiment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Experiment {
    /// Throughput, latency, CPU against active connections; and how evenly connections are served.
    Active,
    /// Throughput, latency, CPU against silent connections.
    Idle,
    /// CPU while nothing happens, memory per connection.
    Rest,
    /// The latency of a sleeping server.
    Wakeup,
    /// CPU work: jobs that count in a loop.
    Counter,
    /// How many threads fit, and what each costs.
    Tasks,
}

impl Experiment {
    /// All experiments, in the order of the page.
    pub const ALL: [Experiment; 6] = [
        Experiment::Active,
        Experiment::Idle,
        Experiment::Rest,
        Experiment::Wakeup,
        Experiment::Counter,
        Experiment::Tasks,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Experiment::Active => "active",
            Experiment::Idle => "idle",
            Experiment::Rest => "rest",
            Experiment::Wakeup => "wakeup",
            Experiment::Counter => "counter",
            Experiment::Tasks => "tasks",
        }
    }
}

/// How many threads are started, at most.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct ThreadCounts {
    pub(crate) green: u32,
    pub(crate) os: u32,
}

/// The plan of a run. Durations are those of one measurement.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) mode: Mode,
    pub(crate) experiments: Vec<Experiment>,
    pub(crate) subjects: Vec<Subject>,
    /// What is left out, and why.
    pub(crate) notes: Vec<String>,
    /// Numbers of active connections, ascending.
    pub(crate) connections: Vec<u32>,
    /// Numbers of silent connections, ascending.
    pub(crate) idle_connections: Vec<u32>,
    /// Silent connections of a server at rest.
    pub(crate) silent: u32,
    /// Bytes of a message.
    pub(crate) size: u32,
    pub(crate) rounds: u32,
    pub(crate) window: Duration,
    pub(crate) warmup: Duration,
    /// When it is used up, the remaining measurements are skipped.
    pub(crate) budget: Option<Duration>,
    /// About how long one job of the CPU experiment counts.
    pub(crate) count: Duration,
    pub(crate) tasks: ThreadCounts,
}

impl Plan {
    /// Returns flags for `sward load`: an experiment's own, and those that all experiments share.
    pub(crate) fn load_flags(&self, own: &[(&str, &str)]) -> Vec<String> {
        let millis = |duration: Duration| format!("{}ms", duration.as_millis());
        let (size, window, warmup) = (self.size.to_string(), millis(self.window), millis(self.warmup));
        let common = [("--size", &*size), ("--duration", &window), ("--warmup", &warmup)];
        own.iter()
            .chain(&common)
            .flat_map(|(flag, value)| [(*flag).to_owned(), (*value).to_owned()])
            .collect()
    }

    /// Returns the command that a reader types to measure the same.
    pub(crate) fn load_command(&self, own: &[(&str, &str)]) -> String {
        format!("sward load HOST:PORT {}", self.load_flags(own).join(" "))
    }

    /// Removes numbers of connections that exceed the limit of descriptors, and notes that.
    ///
    /// # Errors
    /// No number is left.
    pub(crate) fn skip_what_cannot_be_opened(&mut self) -> Result<()> {
        let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).context("asking for the limit of descriptors")?;
        let room = hard.saturating_sub(OTHER_DESCRIPTORS).min(u64::from(u32::MAX)) as u32;
        self.skip_beyond(room, hard)
    }

    fn skip_beyond(&mut self, room: u32, hard: u64) -> Result<()> {
        let mut skipped = Vec::new();
        self.connections.retain(|count| keep(*count, room, "active", &mut skipped));
        let room_beside = room.saturating_sub(ACTIVE_BESIDE_IDLE);
        self.idle_connections.retain(|count| keep(*count, room_beside, "silent", &mut skipped));
        self.silent = self.silent.min(room);
        if !skipped.is_empty() {
            self.notes.push(format!(
                "Left out: {}. A process may open {hard} descriptors here (hard limit); as root, `ulimit -Hn 65536` in \
                 the shell raises it.",
                skipped.join(", ")
            ));
        }
        if self.connections.is_empty() || self.idle_connections.is_empty() || self.silent == 0 {
            bail!(
                "a process may open {hard} descriptors here (hard limit), which is too few for any measurement; raise it \
             first: as root, `ulimit -Hn 65536` in the shell"
            );
        }
        Ok(())
    }
}

fn keep(count: u32, room: u32, kind: &str, skipped: &mut Vec<String>) -> bool {
    if count > room {
        skipped.push(format!("{count} {kind} connections"));
    }
    count <= room
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> Plan {
        Plan {
            mode: Mode::Default,
            experiments: Vec::new(),
            subjects: Vec::new(),
            notes: Vec::new(),
            connections: vec![1, 1000, 10_000],
            idle_connections: vec![0, 890],
            silent: 1000,
            size: 64,
            rounds: 1,
            window: Duration::from_millis(1),
            warmup: Duration::ZERO,
            budget: None,
            count: Duration::from_millis(1),
            tasks: ThreadCounts { green: 1, os: 1 },
        }
    }

    #[test]
    fn points_beyond_the_limit_are_skipped_and_named() {
        let mut plan = plan();
        plan.skip_beyond(1000, 1128).unwrap();
        assert_eq!((plan.connections, plan.idle_connections), (vec![1, 1000], vec![0, 890]));
        assert_eq!(plan.notes.len(), 1);
        assert!(
            plan.notes[0].contains("10000 active") && plan.notes[0].contains("1128"),
            "{}",
            plan.notes[0]
        );
    }

    #[test]
    fn nothing_left_is_an_error() {
        assert!(plan().skip_beyond(0, 64).is_err());
    }
}
