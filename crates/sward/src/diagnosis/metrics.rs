//! The counters that every worker keeps, summed.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use sward_coroutine::StackMemory;

use super::runtimes;
use crate::runtime::counters::Counters;

/// What stands for the engine's name where there are several.
const SEVERAL: &str = "several";

/// What a runtime has done so far. Always counted: a few plain stores by the worker that it is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metrics {
    /// How many workers there are.
    pub workers: usize,
    /// The engine's name; `several` if these are the counts of runtimes on different engines, and empty if there is no runtime.
    pub engine: &'static str,
    /// Green threads that have started.
    pub spawned: u64,
    /// Those of them that are not over.
    pub live: usize,
    /// How often a green thread was resumed.
    pub switches: u64,
    /// How often an idle worker took an unstarted thread from another.
    pub steals: u64,
    /// How often a green thread was suspended until another woke it.
    pub parks: u64,
    /// Timers started.
    pub timers: u64,
    /// I/O requests made to the engine.
    pub operations: u64,
    /// System calls that the engine has made.
    pub system_calls: u64,
    /// Address space of all green threads' stacks of the process, in bytes.
    pub mapped_stack_bytes: usize,
    /// Memory behind it, in bytes.
    pub resident_stack_bytes: usize,
}

/// The counts of a runtime. From any thread.
///
/// On a green thread, these are the counts of its own runtime, whatever else runs in the process. An OS thread belongs to no runtime (neither does a closure
/// in [`offload`](crate::offload())): there they are the sums over all runtimes of the process that are not over. The memory of stacks is always that of the process.
///
/// Cheap but for [`resident_stack_bytes`](Metrics::resident_stack_bytes), which takes some milliseconds when there are 100,000 stacks.
///
/// ```
/// // SAFETY: nothing here holds a scoped thread-local value across a blocking call.
/// let metrics = unsafe {
///     sward::run(|| {
///         sward::thread::spawn(|| ()).join().unwrap();
///         sward::metrics()
///     })
/// };
/// assert_eq!(metrics.unwrap().spawned, 2); // and the main thread
/// ```
pub fn metrics() -> Metrics {
    let StackMemory { mapped_bytes, resident_bytes } = StackMemory::of_process();
    let mut metrics = Metrics {
        mapped_stack_bytes: mapped_bytes,
        resident_stack_bytes: resident_bytes,
        ..Metrics::default()
    };
    for shared in runtimes() {
        metrics.engine = match (metrics.engine, shared.engine()) {
            ("", name) => name,
            (known, name) if known == name => name,
            _ => SEVERAL,
        };
        metrics.workers += shared.workers();
        metrics.live += shared.live();
        for worker in 0..shared.workers() {
            metrics.add(shared.counters(worker));
        }
    }
    metrics
}

impl Metrics {
    fn add(&mut self, counters: &Counters) {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        self.spawned += read(&counters.spawned);
        self.switches += read(&counters.switches);
        self.steals += read(&counters.steals);
        self.parks += read(&counters.parks);
        self.timers += read(&counters.timers);
        self.operations += read(&counters.operations);
        self.system_calls += read(&counters.system_calls);
    }
}

/// A line for each, name and value.
impl fmt::Display for Metrics {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "workers {}", self.workers)?;
        writeln!(formatter, "engine {}", self.engine)?;
        writeln!(formatter, "spawned {}", self.spawned)?;
        writeln!(formatter, "live {}", self.live)?;
        writeln!(formatter, "switches {}", self.switches)?;
        writeln!(formatter, "steals {}", self.steals)?;
        writeln!(formatter, "parks {}", self.parks)?;
        writeln!(formatter, "timers {}", self.timers)?;
        writeln!(formatter, "operations {}", self.operations)?;
        writeln!(formatter, "system_calls {}", self.system_calls)?;
        writeln!(formatter, "mapped_stack_bytes {}", self.mapped_stack_bytes)?;
        writeln!(formatter, "resident_stack_bytes {}", self.resident_stack_bytes)
    }
}
