//! A console's answer: the fields that `sward top` shows. The library's `diagnosis/console/snapshot.rs` explains each.

use std::fmt;

use serde::Deserialize;

/// The state of a program at one moment.
#[derive(Clone, Deserialize)]
pub(super) struct Snapshot {
    pub(super) pid: u32,
    pub(super) program: String,
    pub(super) uptime_us: u64,
    pub(super) runtimes: Vec<RuntimeSnapshot>,
    pub(super) states: Vec<StateCount>,
    pub(super) unseen: u64,
    pub(super) sites: Vec<SpawnSite>,
    pub(super) sites_left_out: u64,
    pub(super) waits: Vec<ThreadWait>,
    pub(super) memory: Memory,
}

#[derive(Clone, Deserialize)]
pub(super) struct RuntimeSnapshot {
    pub(super) main: Option<u64>,
    pub(super) engine: String,
    pub(super) live: u64,
    pub(super) unstarted: u64,
    pub(super) spawned: u64,
    pub(super) switches: u64,
    pub(super) steals: u64,
    pub(super) parks: u64,
    pub(super) timers: u64,
    pub(super) operations: u64,
    pub(super) system_calls: u64,
    pub(super) workers: Vec<WorkerSnapshot>,
}

#[derive(Clone, Deserialize)]
pub(super) struct WorkerSnapshot {
    pub(super) live: u64,
    pub(super) switches: u64,
    pub(super) cpu_us: Option<u64>,
    pub(super) stall: Option<Stall>,
}

#[derive(Clone, Deserialize)]
pub(super) struct Stall {
    pub(super) for_ms: u64,
    pub(super) by: String,
}

/// The number of threads in one state.
#[derive(Clone, Deserialize)]
pub(super) struct StateCount {
    #[serde(flatten)]
    pub(super) doing: Doing,
    pub(super) threads: u64,
}

#[derive(Clone, Deserialize)]
pub(super) struct Doing {
    state: String,
    what: Option<String>,
}

impl fmt::Display for Doing {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.state.as_str(), &self.what) {
            ("system", Some(call)) => write!(formatter, "in {call}"),
            ("waiting", Some(what)) => write!(formatter, "waiting for {what}"),
            (state, Some(what)) => write!(formatter, "{state} {what}"),
            (state, None) => formatter.write_str(state),
        }
    }
}

#[derive(Clone, Deserialize)]
pub(super) struct SpawnSite {
    pub(super) spawned_at: String,
    pub(super) threads: u64,
    pub(super) mostly: Doing,
    pub(super) longest_ms: u64,
}

#[derive(Clone, Deserialize)]
pub(super) struct ThreadWait {
    pub(super) thread: u64,
    pub(super) name: Option<String>,
    pub(super) doing: String,
    pub(super) for_ms: u64,
    pub(super) spawned_at: String,
}

#[derive(Clone, Deserialize)]
pub(super) struct Memory {
    pub(super) resident_bytes: Option<u64>,
    pub(super) stack_resident_bytes: u64,
    pub(super) stack_mapped_bytes: u64,
}
