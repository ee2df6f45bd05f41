//! A program under observation: its latest snapshot, its rates, and their history.

use std::collections::VecDeque;

use super::rates::Rates;
use super::snapshot::Snapshot;

/// The length of a rate's history: as many values as a wide screen shows.
const HISTORY_MAX: usize = 200;

/// A program under observation.
pub(super) struct Watch {
    snapshot: Snapshot,
    rates: Option<Rates>,
    rows: Vec<RateRow>,
}

/// A rate with its history, latest value last. It is empty until the second snapshot.
pub(super) struct RateRow {
    pub(super) name: String,
    pub(super) values: VecDeque<f64>,
}

impl Watch {
    pub(super) fn new(snapshot: Snapshot) -> Watch {
        Watch { snapshot, rates: None, rows: Vec::new() }
    }

    /// Adds the next snapshot.
    pub(super) fn update(&mut self, snapshot: Snapshot) {
        self.rates = Rates::between(&self.snapshot, &snapshot);
        self.snapshot = snapshot;
        let Some(rates) = &self.rates else { return };
        for (name, value) in named(rates) {
            let index = self.rows.iter().position(|row| row.name == name).unwrap_or_else(|| {
                self.rows.push(RateRow { name, values: VecDeque::new() });
                self.rows.len() - 1
            });
            let values = &mut self.rows[index].values;
            values.push_back(value);
            if values.len() > HISTORY_MAX {
                values.pop_front();
            }
        }
    }

    pub(super) fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// Returns the rates; `None` after a single snapshot.
    pub(super) fn rates(&self) -> Option<&Rates> {
        self.rates.as_ref()
    }

    pub(super) fn rows(&self) -> &[RateRow] {
        &self.rows
    }
}

/// Returns the rates that are shown. Operations are split by engine if there are several.
fn named(rates: &Rates) -> Vec<(String, f64)> {
    let mut named: Vec<(String, f64)> = match rates.operations_by_engine.len() {
        0 | 1 => vec![("operations".to_owned(), rates.operations)],
        _ => {
            rates.operations_by_engine.iter().map(|(engine, &rate)| (format!("ops {engine}"), rate)).collect()
        }
    };
    let others = [
        ("system calls", rates.system_calls),
        ("switches", rates.switches),
        ("parks", rates.parks),
        ("steals", rates.steals),
        ("timers", rates.timers),
        ("spawns", rates.spawned),
    ];
    named.extend(others.map(|(name, rate)| (name.to_owned(), rate)));
    named
}
