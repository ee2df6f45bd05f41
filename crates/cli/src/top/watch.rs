//! What has been seen of a program: its present state, what happens each second, and how that was before.

use std::collections::VecDeque;

use super::rates::Rates;
use super::snapshot::Snapshot;

/// How many rates are remembered: as many as a wide screen shows.
const REMEMBERED: usize = 200;

/// A program that is being watched.
pub(super) struct Watch {
    snapshot: Snapshot,
    rates: Option<Rates>,
    rows: Vec<Row>,
}

/// A rate by name, with those before: the present one last. None is known at first.
pub(super) struct Row {
    pub(super) name: String,
    pub(super) values: VecDeque<f64>,
}

impl Watch {
    pub(super) fn new(snapshot: Snapshot) -> Watch {
        Watch { snapshot, rates: None, rows: Vec::new() }
    }

    /// Takes in the next snapshot.
    pub(super) fn update(&mut self, snapshot: Snapshot) {
        self.rates = Rates::between(&self.snapshot, &snapshot);
        self.snapshot = snapshot;
        let Some(rates) = &self.rates else { return };
        for (name, value) in named(rates) {
            let place = self.rows.iter().position(|row| row.name == name).unwrap_or_else(|| {
                self.rows.push(Row { name, values: VecDeque::new() });
                self.rows.len() - 1
            });
            let values = &mut self.rows[place].values;
            values.push_back(value);
            if values.len() > REMEMBERED {
                values.pop_front();
            }
        }
    }

    pub(super) fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// What happens each second; `None` as long as there is one snapshot only.
    pub(super) fn rates(&self) -> Option<&Rates> {
        self.rates.as_ref()
    }

    pub(super) fn rows(&self) -> &[Row] {
        &self.rows
    }
}

/// The rates that are shown. Operations are told apart by engine if there are several.
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
