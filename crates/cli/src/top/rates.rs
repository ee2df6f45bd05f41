//! Rates: events per second between two snapshots.

use std::collections::BTreeMap;

use serde::Serialize;

use super::snapshot::{RuntimeSnapshot, Snapshot};

/// Events per second, of all runtimes.
#[derive(Clone, Default, Serialize)]
pub(super) struct Rates {
    pub(super) operations: f64,
    pub(super) system_calls: f64,
    pub(super) switches: f64,
    pub(super) parks: f64,
    pub(super) steals: f64,
    pub(super) timers: f64,
    pub(super) spawned: f64,
    pub(super) operations_by_engine: BTreeMap<String, f64>,
    /// Of all workers: 100 is one core.
    pub(super) cpu_percent: f64,
    /// Of each worker of each runtime, in the snapshot's order.
    pub(super) workers: Vec<Vec<WorkerRates>>,
}

#[derive(Clone, Default, Serialize)]
pub(super) struct WorkerRates {
    pub(super) switches: f64,
    /// `None` if the kernel does not say.
    pub(super) cpu_percent: Option<f64>,
}

impl Rates {
    /// Returns the rates between two snapshots; `None` if no time has passed. A runtime that started in between counts from 0.
    pub(super) fn between(before: &Snapshot, now: &Snapshot) -> Option<Rates> {
        let elapsed_us = now.uptime_us.checked_sub(before.uptime_us).filter(|&elapsed| elapsed > 0)?;
        let seconds = elapsed_us as f64 / 1e6;
        let mut rates = Rates::default();
        for runtime in &now.runtimes {
            let earlier = before.runtimes.iter().find(|earlier| earlier.main == runtime.main);
            let rate = |count: fn(&RuntimeSnapshot) -> u64| {
                count(runtime).saturating_sub(earlier.map_or(0, count)) as f64 / seconds
            };
            let operations = rate(|runtime| runtime.operations);
            rates.operations += operations;
            *rates.operations_by_engine.entry(runtime.engine.clone()).or_default() += operations;
            rates.system_calls += rate(|runtime| runtime.system_calls);
            rates.switches += rate(|runtime| runtime.switches);
            rates.parks += rate(|runtime| runtime.parks);
            rates.steals += rate(|runtime| runtime.steals);
            rates.timers += rate(|runtime| runtime.timers);
            rates.spawned += rate(|runtime| runtime.spawned);
            rates.workers.push(workers(earlier, runtime, seconds));
        }
        let each = rates.workers.iter().flatten();
        rates.cpu_percent = each.filter_map(|worker| worker.cpu_percent).sum();
        Some(rates)
    }
}

fn workers(before: Option<&RuntimeSnapshot>, now: &RuntimeSnapshot, seconds: f64) -> Vec<WorkerRates> {
    let each = now.workers.iter().enumerate().map(|(index, worker)| {
        let earlier = before.and_then(|runtime| runtime.workers.get(index));
        let switches = worker.switches.saturating_sub(earlier.map_or(0, |earlier| earlier.switches));
        let cpu_us = worker
            .cpu_us
            .map(|cpu_us| cpu_us.saturating_sub(earlier.and_then(|earlier| earlier.cpu_us).unwrap_or(0)));
        WorkerRates {
            switches: switches as f64 / seconds,
            cpu_percent: cpu_us.map(|cpu_us| cpu_us as f64 / 1e6 / seconds * 100.0),
        }
    });
    each.collect()
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::{Value, json};

    use super::*;

    fn runtime(main: u64, engine: &str, count: u64) -> Value {
        json!({
            "main": main, "engine": engine, "live": 1, "unstarted": 0, "spawned": count, "switches": 2 * count,
            "steals": count, "parks": count, "timers": count, "operations": count, "system_calls": 3 * count,
            "workers": [{"live": 1, "switches": 2 * count, "cpu_us": 1000 * count, "stall": null}],
        })
    }

    fn snapshot(uptime_us: u64, runtimes: &[Value]) -> Snapshot {
        let value = json!({
            "pid": 1, "program": "p", "uptime_us": uptime_us, "runtimes": runtimes, "states": [], "unseen": 0,
            "sites": [], "sites_left_out": 0, "waits": [],
            "memory": {"resident_bytes": null, "stack_resident_bytes": 0, "stack_mapped_bytes": 0},
        });
        Snapshot::deserialize(value).unwrap()
    }

    #[test]
    fn runtimes_come_and_go() {
        let before = snapshot(1_000_000, &[runtime(1, "epoll", 900), runtime(2, "spin", 100)]);
        // The first runtime has ended, the second goes on, a third has started.
        let now = snapshot(3_000_000, &[runtime(2, "spin", 300), runtime(7, "io_uring", 50)]);
        let rates = Rates::between(&before, &now).unwrap();
        assert_eq!((rates.operations, rates.switches, rates.system_calls), (125.0, 250.0, 375.0));
        let engines: Vec<_> = rates.operations_by_engine.into_iter().collect();
        assert_eq!(engines, [("io_uring".to_owned(), 25.0), ("spin".to_owned(), 100.0)]);
        assert_eq!(rates.workers[0][0].cpu_percent, Some(10.0));
        assert_eq!(rates.cpu_percent, 12.5);
        assert!(Rates::between(&now, &now).is_none());
    }
}
