//! The CPU time of other programs during a measurement.

use nix::sys::resource::{UsageWho, getrusage};
use procfs::{CurrentSI, KernelStats};
use sward::time::{Duration, Instant};
use sward_measure::process::{ProcessTree, own_cpu_time};

/// Measures the CPU time of all other programs.
pub(crate) struct BackgroundLoad {
    begun: Instant,
    busy: Duration,
    ours: Duration,
    /// A child that outlives the measurement, and the CPU times of its process tree at the start.
    server: Option<(u32, ProcessTree)>,
}

impl BackgroundLoad {
    /// Starts the measurement. `server` is a child that will still run when [`percent`](BackgroundLoad::percent) is called.
    pub(crate) fn watch(server: Option<u32>) -> BackgroundLoad {
        let server = server.map(|process| (process, ProcessTree::now(process)));
        BackgroundLoad { begun: Instant::now(), busy: busy(), ours: ours(), server }
    }

    /// Returns what others have used since the start, as a share of one core.
    pub(crate) fn percent(&self) -> f64 {
        let server = self.server.as_ref().map(|(process, before)| ProcessTree::now(*process).since(before));
        let ours = ours().saturating_sub(self.ours) + server.unwrap_or_default();
        let others = busy().saturating_sub(self.busy).saturating_sub(ours);
        (others.as_secs_f64() / self.begun.elapsed().as_secs_f64().max(1e-3) * 100.0).round()
    }
}

/// Returns the CPU time of this process and of its children that have ended.
fn ours() -> Duration {
    let children = getrusage(UsageWho::RUSAGE_CHILDREN).map_or(Duration::ZERO, |usage| {
        let micros = |time: nix::sys::time::TimeVal| {
            Duration::new(time.tv_sec().unsigned_abs(), time.tv_usec().unsigned_abs() as u32 * 1000)
        };
        micros(usage.user_time()) + micros(usage.system_time())
    });
    own_cpu_time() + children
}

/// Returns the CPU time of all programs since the machine started, and what the hypervisor has withheld.
fn busy() -> Duration {
    let Ok(KernelStats { total, .. }) = KernelStats::current() else { return Duration::ZERO };
    let interrupts = [total.irq_ms(), total.softirq_ms(), total.steal_ms()].into_iter().flatten();
    Duration::from_millis(total.user_ms() + total.nice_ms() + total.system_ms() + interrupts.sum::<u64>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_that_runs_is_busy() {
        assert!(busy() > Duration::ZERO);
    }
}
