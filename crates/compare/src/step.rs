//! Steps: parts of a comparison that need a process of their own. A step is passed as JSON on the command line of `compare-step`, and
//! [`perform`](crate::perform()) performs it there.

use serde::{Deserialize, Serialize};

/// This program. It answers to `serve`, `load` and `compare-step`, as `sward` does.
pub(crate) const OURSELVES: &str = "/proc/self/exe";

/// A task for a process of its own.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Step {
    /// Become another program, which dies with its parent and stays on one core.
    Become { parent: u32, core: Option<usize>, command: Vec<String> },
    /// Count to `to` in each of `jobs` jobs.
    Count { way: Way, jobs: u32, to: u64 },
    /// Start threads until `count` of them wait.
    StartThreads { kind: ThreadKind, count: u32 },
}

/// How jobs are run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Way {
    /// One after another.
    Serial,
    /// Each on a green thread, all on one worker.
    Green,
    /// Each on an OS thread, by `offload`.
    Offload,
    /// Each in a process.
    Processes,
}

/// Which threads are started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum ThreadKind {
    /// Green threads on one worker.
    Green,
    /// Threads of the operating system.
    Os,
}

/// What threads cost: the result of [`Step::StartThreads`].
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ThreadCosts {
    /// How many waited at once.
    pub(crate) alive: u32,
    /// Why there are fewer than asked for, if there are.
    pub(crate) limit: Option<String>,
    /// From the first spawn until all have run and wait, per thread.
    pub(crate) spawn_ns: f64,
    /// Resident memory and page tables, per thread.
    pub(crate) memory_bytes: f64,
    /// From one thread to another, by unpark and park.
    pub(crate) switch_ns: f64,
}

impl Step {
    /// Returns a step that becomes `command`, which dies with the calling process.
    pub(crate) fn becoming(command: &[String], core: Option<usize>) -> Step {
        Step::Become { parent: std::process::id(), core, command: command.to_vec() }
    }

    /// Returns the command line that performs the step.
    pub(crate) fn command(&self) -> [String; 3] {
        let step = serde_json::to_string(self).expect("a step is plain data");
        [OURSELVES.to_owned(), "compare-step".to_owned(), step]
    }
}
