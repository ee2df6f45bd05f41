//! CPU time and memory of processes, their children and names.
//!
//! CPU time is user and system time of all threads, from the kernel's clock of the process. That clock counts nanoseconds and includes
//! threads that have ended, which `/proc/PID/task` does not. The kernel updates it when a thread is switched out and at each tick
//! (1–4 ms).

use std::collections::HashMap;
use std::time::Duration;

use nix::time::ClockId;
use nix::unistd::Pid;
use procfs::process::Process;

use crate::terminal::printable;

/// The highest process id on Linux. A higher number would overflow the id of a process's clock.
const PROCESS_MAX: u32 = 1 << 22;

/// Returns the CPU time of this process.
#[must_use]
pub fn own_cpu_time() -> Duration {
    ClockId::CLOCK_PROCESS_CPUTIME_ID.now().map_or(Duration::ZERO, Duration::from)
}

/// The CPU times of a process and its descendants at one moment.
#[derive(Debug, Default)]
pub struct ProcessTree(HashMap<u32, Duration>);

impl ProcessTree {
    /// Reads the CPU times now. The tree is empty if there is no such process.
    #[must_use]
    pub fn now(process: u32) -> ProcessTree {
        let mut tree = HashMap::new();
        let mut open = vec![process];
        while let Some(process) = open.pop() {
            if let Some(time) = cpu_time(process)
                && tree.insert(process, time).is_none()
            {
                open.extend(children(process));
            }
        }
        ProcessTree(tree)
    }

    /// Returns whether there was no such process.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the CPU time used since `earlier`, without that of descendants that have ended since.
    #[must_use]
    pub fn since(&self, earlier: &ProcessTree) -> Duration {
        let before = |process| earlier.0.get(process).copied().unwrap_or_default();
        self.0.iter().map(|(process, time)| time.saturating_sub(before(process))).sum()
    }

    /// Returns the memory that its processes hold now, in bytes. See [`memory_bytes`].
    #[must_use]
    pub fn memory_bytes(&self) -> u64 {
        self.0.keys().copied().map(memory_bytes).sum()
    }
}

/// Returns the CPU time of a process; `None` if there is no such process.
fn cpu_time(process: u32) -> Option<Duration> {
    if process > PROCESS_MAX {
        return None;
    }
    let clock = ClockId::pid_cpu_clock_id(Pid::from_raw(process as i32)).ok()?;
    clock.now().ok().map(Duration::from)
}

/// Returns the child processes of all threads of `process`; none if there is no such process.
#[must_use]
pub fn children(process: u32) -> Vec<u32> {
    let threads = open(process).and_then(|process| process.tasks().ok());
    threads.into_iter().flatten().filter_map(|thread| thread.ok()?.children().ok()).flatten().collect()
}

/// Returns the kernel's name for a process, with control characters escaped; empty if there is no such process.
#[must_use]
pub fn name(process: u32) -> String {
    let name = open(process).and_then(|process| Some(process.stat().ok()?.comm)).unwrap_or_default();
    printable(&name).into_owned()
}

/// Returns the memory that a process holds, in bytes: resident pages and page tables. It is 0 if there is no such process.
#[must_use]
pub fn memory_bytes(process: u32) -> u64 {
    let Some(process) = open(process) else { return 0 };
    let rollup = process.smaps_rollup().ok().map(|maps| maps.memory_map_rollup);
    let exact = rollup.and_then(|maps| maps.iter().find_map(|map| map.extension.map.get("Rss").copied()));
    let status = process.status().ok();
    let kibibytes = |field: Option<u64>| field.unwrap_or(0) * 1024;
    let resident = exact.unwrap_or_else(|| kibibytes(status.as_ref().and_then(|status| status.vmrss)));
    resident + kibibytes(status.and_then(|status| status.vmpte))
}

fn open(process: u32) -> Option<Process> {
    Process::new(process.try_into().ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_holds_memory() {
        assert!(memory_bytes(std::process::id()) > 100_000 && memory_bytes(u32::MAX) == 0);
    }

    #[test]
    fn counts_work_and_finds_children() {
        let mut child =
            std::process::Command::new("cat").stdin(std::process::Stdio::piped()).spawn().unwrap();
        let before = ProcessTree::now(std::process::id());
        assert!(before.0.contains_key(&child.id()), "a child is part of the family");
        drop(child.stdin.take());
        child.wait().unwrap();
        let mut work = 0u64;
        while own_cpu_time() < before.0[&std::process::id()] + Duration::from_millis(20) {
            work = std::hint::black_box(work + 1);
        }
        let used = ProcessTree::now(std::process::id()).since(&before);
        assert!(used >= Duration::from_millis(10), "{used:?}");
        assert!(ProcessTree::now(child.id()).is_empty() && ProcessTree::now(i32::MAX as u32).is_empty());
    }
}
