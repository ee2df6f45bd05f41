//! What a server consumes while no client says anything: CPU time, and memory for each connection.

use std::collections::BTreeMap;

use sward::thread;
use sward::time::Instant;
use sward_measure::descriptors;
use sward_measure::quantity::{bytes, count, digits};

use crate::background_load::BackgroundLoad;
use crate::bench::Bench;
use crate::chapter::{Chapter, Comparison, Figure, kibibytes, row, times};
use crate::error::Result;
use crate::measured_server::MeasuredServer;
use crate::plan::Experiment;
use crate::plot::{Chart, Row};
use crate::study::{Finding, Metric};
use crate::subject::Subject;
use crate::verdict::Verdict;

const REST: Experiment = Experiment::Rest;

/// A server that uses at least this share of a core at rest polls busily.
const BUSY_PERCENT: f64 = 50.0;

/// A server that uses at most this share of a core is at rest.
const AT_REST_PERCENT: f64 = 2.0;

pub(crate) fn measure(bench: &mut Bench, round: u32) -> Result<()> {
    let silent = bench.plan.silent;
    descriptors::reserve(silent as usize)?;
    for subject in bench.plan.subjects.clone() {
        bench.serve(REST, &subject, silent.into(), round, |bench, server| rest(bench, server, &subject))?;
    }
    Ok(())
}

fn rest(bench: &Bench, server: &MeasuredServer, subject: &Subject) -> Result<Finding> {
    // With the first connection the server allocates what it needs once.
    let first = server.connect()?;
    let before = server.tree().memory_bytes();
    let count = if subject.serves_one() { 0 } else { bench.plan.silent - 1 };
    let connections = (0..count).map(|_| server.connect()).collect::<Result<Vec<_>>>()?;
    let memory = server.tree().memory_bytes().saturating_sub(before);
    let (tree, begun) = (server.tree(), Instant::now());
    let background = BackgroundLoad::watch(Some(server.process()));
    thread::sleep(bench.plan.window);
    let (used, took) = (server.tree().since(&tree), begun.elapsed());
    let others_percent = background.percent();
    drop((first, connections));
    let percent = used.as_secs_f64() / took.as_secs_f64() * 100.0;
    let mut values = BTreeMap::from([(Metric::ServerCpuPercent, percent)]);
    if count > 0 {
        values.insert(Metric::MemoryBytesPerConnection, memory as f64 / f64::from(count));
    }
    Ok(Finding { values, others_percent, failure: None })
}

pub(crate) fn chapter(comparison: &Comparison) -> Chapter {
    let silent = u64::from(comparison.plan.silent);
    let command = "sward compare --rest".to_owned();
    let rows = |metric, show: fn(f64) -> String| -> Vec<Row> {
        let row = |subject: &Subject| {
            let statistic = comparison.study.statistic(REST, &subject.name, silent, metric)?;
            Some(row(subject, &[statistic], show(statistic.median)))
        };
        comparison.plan.subjects.iter().filter_map(row).collect()
    };
    let mut memory = rows(Metric::MemoryBytesPerConnection, bytes);
    for mark in memory.iter_mut().flat_map(|row| &mut row.marks) {
        *mark = kibibytes(*mark);
    }
    Chapter {
        experiment: REST,
        title: "At rest",
        about: format!(
            "{} connections are open. Each has received one reply and says nothing more. (The server blocking has one connection, since it serves one at a time.)",
            count(silent as f64)
        ),
        figures: vec![
            Figure {
                name: "rest-cpu",
                title: "CPU while nothing happens",
                chart: Chart::bars("server CPU, % of one core", rows(Metric::ServerCpuPercent, |value| format!("{} %", digits(value)))),
                about: "User and system time of the server and its children while no connection says anything. Lower is better.".into(),
                command: command.clone(),
            },
            Figure {
                name: "rest-memory",
                title: "Memory for each connection",
                chart: Chart::bars("KiB per connection", memory),
                about: "Resident memory and page tables of the server and its children, without what the kernel keeps for sockets and, for OS \
                        threads, kernel stacks (16 KiB each on most kernels). Lower is better."
                    .into(),
                command,
            },
        ],
        verdicts: vec![busy_verdict(comparison), memory_verdict(comparison)],
        tables: vec![
            comparison.table(REST, Metric::ServerCpuPercent, "CPU at rest in % of a core, by silent connections".into(), digits),
            comparison.table(REST, Metric::MemoryBytesPerConnection, "memory per connection, by silent connections".into(), bytes),
        ],
    }
}

/// Judges whether busy polling burns CPU, and nothing else does.
fn busy_verdict(comparison: &Comparison) -> Verdict {
    let judge = || {
        let silent = comparison.plan.silent.into();
        let percent =
            |subject: &str| comparison.study.median(REST, subject, silent, Metric::ServerCpuPercent);
        let spin = percent("spin")?;
        let sleepers = comparison
            .plan
            .subjects
            .iter()
            .filter(|subject| subject.name != "spin" && subject.engine().is_some());
        let sleepers = sleepers.filter_map(|subject| Some((subject.name.as_str(), percent(&subject.name)?)));
        let (name, most) = sleepers.max_by(|one, other| one.1.total_cmp(&other.1))?;
        let sentence = format!(
            "With {} silent connections, spin used {} % of a core. Of the engines that sleep, {name} used most: {} %.",
            count(silent as f64),
            digits(spin),
            digits(most)
        );
        Some((spin >= BUSY_PERCENT && most <= AT_REST_PERCENT, sentence))
    };
    Verdict::new(
        REST,
        "busy polling burns CPU, and nothing else does",
        "the server spin and another engine",
        judge(),
    )
}

fn memory_verdict(comparison: &Comparison) -> Verdict {
    let judge = || {
        let silent = comparison.plan.silent.into();
        let memory =
            |subject: &str| comparison.study.median(REST, subject, silent, Metric::MemoryBytesPerConnection);
        let threads = memory("threads")?;
        let green = comparison.plan.subjects.iter().filter(|subject| subject.engine().is_some());
        let green = green.filter_map(|subject| Some((subject.name.as_str(), memory(&subject.name)?)));
        let (name, most) = green.max_by(|one, other| one.1.total_cmp(&other.1))?;
        let sentence = format!(
            "A connection took {} with an OS thread of its own, and {} with a green thread on {name}, which takes most of the \
             engines: {}.",
            bytes(threads),
            bytes(most),
            times(threads / most.max(1.0))
        );
        Some((most < threads, sentence))
    };
    Verdict::new(
        REST,
        "a connection takes less memory on a green thread than on an OS thread",
        "the server threads and an engine",
        judge(),
    )
}
