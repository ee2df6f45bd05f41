//! CPU time of processes, user and system, all threads.
//!
//! From the process clock of the kernel: it has nanoseconds and keeps the time of threads that have ended, which the files
//! in `/proc/PID/task` do not. The kernel brings it up to date when a thread is switched out and at each tick (1–4 ms).

use std::collections::HashMap;
use std::fs;

use nix::time::ClockId;
use nix::unistd::Pid;
use sward::time::Duration;

/// The highest number that a process can have on Linux. The kernel's numbers of clocks have no room for much more.
const PROCESS_MAX: u32 = 1 << 22;

/// This process.
pub(crate) fn own() -> Duration {
    ClockId::CLOCK_PROCESS_CPUTIME_ID.now().map_or(Duration::ZERO, Duration::from)
}

/// CPU time of a process and its descendants, by process.
#[derive(Default)]
pub(crate) struct Family(HashMap<u32, Duration>);

impl Family {
    /// As it is now; empty if there is no such process.
    pub(crate) fn now(process: u32) -> Family {
        let mut family = HashMap::new();
        let mut open = vec![process];
        while let Some(process) = open.pop() {
            if let Some(time) = clock(process)
                && family.insert(process, time).is_none()
            {
                open.extend(children(process));
            }
        }
        Family(family)
    }

    /// Whether the process is there.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The processes that are part of it.
    pub(crate) fn processes(&self) -> impl Iterator<Item = u32> {
        self.0.keys().copied()
    }

    /// What has been used since `earlier`. What a child used that has ended meanwhile is lost.
    pub(crate) fn since(&self, earlier: &Family) -> Duration {
        let before = |process| earlier.0.get(process).copied().unwrap_or_default();
        self.0.iter().map(|(process, time)| time.saturating_sub(before(process))).sum()
    }
}

/// What a process has used; `None` if there is none of this number.
fn clock(process: u32) -> Option<Duration> {
    if process > PROCESS_MAX {
        return None;
    }
    let clock = ClockId::pid_cpu_clock_id(Pid::from_raw(process as i32)).ok()?;
    clock.now().ok().map(Duration::from)
}

/// The children that any thread of `process` has made.
fn children(process: u32) -> Vec<u32> {
    let threads = fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    let lists = threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    lists
        .flat_map(|list| list.split_whitespace().filter_map(|id| id.parse().ok()).collect::<Vec<_>>())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_work_and_finds_children() {
        let mut child =
            std::process::Command::new("cat").stdin(std::process::Stdio::piped()).spawn().unwrap();
        let before = Family::now(std::process::id());
        assert!(before.0.contains_key(&child.id()), "a child is part of the family");
        drop(child.stdin.take());
        child.wait().unwrap();
        let mut work = 0u64;
        while own() < before.0[&std::process::id()] + Duration::from_millis(20) {
            work = std::hint::black_box(work + 1);
        }
        let used = Family::now(std::process::id()).since(&before);
        assert!(used >= Duration::from_millis(10), "{used:?}");
        assert!(Family::now(child.id()).is_empty() && Family::now(i32::MAX as u32).is_empty());
    }
}
