//! How many threads fit, green ones and those of the OS, and what one costs.

use std::collections::BTreeMap;

use anyhow::Context;
use sward::time::Duration;

use super::{Chapter, Figure, Outcome, cell_text, kibibytes, mark, times};
use crate::compare::bench::Bench;
use crate::compare::child::{self, OURSELVES};
use crate::compare::plan::Experiment;
use crate::compare::plot::{Chart, Kind, Mark, Row, Rows};
use crate::compare::quantity::{bytes, count, nanos, short};
use crate::compare::server::{Bystanders, Finding};
use crate::compare::step::{TasksReport, World};
use crate::compare::study::{Metric, Statistic};
use crate::compare::table::Table;
use crate::compare::verdict::Verdict;

const TASKS: Experiment = Experiment::Tasks;

const PATIENCE: Duration = Duration::from_secs(300);

/// So many are tens of thousands.
const TENS_OF_THOUSANDS: f64 = 20_000.0;

const WORLDS: [(&str, World); 2] = [("green threads", World::Green), ("OS threads", World::Os)];

fn size(outcome: &Outcome, world: World) -> u32 {
    match world {
        World::Green => outcome.plan.tasks.green,
        World::Os => outcome.plan.tasks.os,
    }
}

pub(super) fn measure(bench: &mut Bench, round: u32) -> anyhow::Result<()> {
    for (name, world) in WORLDS {
        let (word, size) = match world {
            World::Green => ("green", bench.plan.tasks.green),
            World::Os => ("os", bench.plan.tasks.os),
        };
        let mut limit = None;
        bench.step(TASKS, name, size.into(), round, |bench| {
            let size = size.to_string();
            let command =
                [OURSELVES, "compare-step", "tasks", "--world", word, "--count", &size].map(str::to_owned);
            let bystanders = Bystanders::watch(None);
            let printed = child::output(bench.pinning.server, &command, &bench.interrupt, PATIENCE)?;
            let report: TasksReport =
                serde_json::from_str(&printed).with_context(|| format!("it printed {printed:?}"))?;
            let values = BTreeMap::from([
                (Metric::TasksAlive, f64::from(report.alive)),
                (Metric::SpawnNs, report.spawn_ns),
                (Metric::SwitchNs, report.switch_ns),
                (Metric::MemoryBytesPerTask, report.memory_bytes),
            ]);
            limit = report.limit;
            Ok(Finding { values, others_percent: bystanders.percent(), failure: None })
        })?;
        if let Some(limit) = limit {
            bench.note(format!(
                "Not all of the {} {name} that were asked for fit: {limit}.",
                count(size.into())
            ));
        }
    }
    Ok(())
}

pub(super) fn chapter(outcome: &Outcome) -> Chapter {
    Chapter {
        experiment: TASKS,
        title: "How many threads fit",
        about: format!(
            "One program starts threads that wait until all are there: up to {} green threads on one worker, and up to {} OS threads. Both run on \
             the same core.",
            count(outcome.plan.tasks.green.into()),
            count(outcome.plan.tasks.os.into())
        ),
        figures: figures(outcome),
        verdicts: vec![verdict(outcome)],
        tables: vec![table(outcome)],
    }
}

fn statistic(outcome: &Outcome, world: World, name: &str, metric: Metric) -> Option<Statistic> {
    outcome.statistic(TASKS, name, size(outcome, world).into(), metric)
}

fn figures(outcome: &Outcome) -> Vec<Figure> {
    let rows = |metric, show: fn(f64) -> String, scale: fn(Mark) -> Mark| -> Vec<Row> {
        let row = |(look, (name, world)): (usize, (&str, World))| {
            let statistic = statistic(outcome, world, name, metric)?;
            let (marks, text) = (vec![scale(mark(statistic))], show(statistic.median));
            Some(Row { name: name.to_owned(), look, marks, text })
        };
        WORLDS.into_iter().enumerate().filter_map(row).collect()
    };
    let figure = |name, title, chart, about: &str| Figure {
        name,
        title,
        chart: Chart::Rows(chart),
        about: about.to_owned(),
        command: "sward compare --tasks".into(),
    };
    let times = |x_name: &str, metric| {
        let rows = rows(metric, nanos, |mark| mark);
        Rows { x_name: x_name.into(), kind: Kind::Log, label: nanos, marks: vec!["median"], rows }
    };
    let memory = Rows {
        x_name: "KiB per thread".into(),
        kind: Kind::Linear,
        label: short,
        marks: vec!["median"],
        rows: rows(Metric::MemoryBytesPerTask, bytes, kibibytes),
    };
    vec![
        figure(
            "tasks-spawn",
            "To start one",
            times("time per thread", Metric::SpawnNs),
            "From the first spawn until all have run and wait, per thread. Lower is better.",
        ),
        figure(
            "tasks-switch",
            "To switch to another",
            times("time per switch", Metric::SwitchNs),
            "Two threads that take turns, by unpark and park. Lower is better.",
        ),
        figure(
            "tasks-memory",
            "Memory for each",
            memory,
            "Resident memory and page tables while all wait, without the kernel stack that an OS thread has, too (16 KiB \
             on most kernels). Lower is better.",
        ),
    ]
}

fn table(outcome: &Outcome) -> Table {
    let rows = WORLDS.into_iter().map(|(name, world)| {
        let cell = |metric, show| cell_text(statistic(outcome, world, name, metric), show);
        let asked = count(size(outcome, world).into());
        let cells = vec![
            asked,
            cell(Metric::TasksAlive, count),
            cell(Metric::SpawnNs, nanos),
            cell(Metric::SwitchNs, nanos),
            cell(Metric::MemoryBytesPerTask, bytes),
        ];
        (name.to_owned(), cells)
    });
    let columns = ["asked for", "ran at once", "start", "switch", "memory each"].map(str::to_owned).to_vec();
    Table { caption: "threads that wait".into(), columns, rows: rows.collect() }
}

/// One CPU holds tens of thousands of coroutines.
fn verdict(outcome: &Outcome) -> Verdict {
    let judge = || {
        let value = |world: World, name: &str, metric| {
            outcome.median(TASKS, name, size(outcome, world).into(), metric)
        };
        let green = |metric| value(World::Green, "green threads", metric);
        let alive = green(Metric::TasksAlive)?;
        let os = value(World::Os, "OS threads", Metric::TasksAlive).zip(value(
            World::Os,
            "OS threads",
            Metric::SpawnNs,
        ));
        let os = os.map_or_else(String::new, |(alive, spawn_ns)| {
            let ratio = spawn_ns / green(Metric::SpawnNs).unwrap_or(f64::NAN);
            format!(" {} OS threads ran at once; to start one took {} as long.", count(alive), times(ratio))
        });
        let sentence = format!(
            "{} green threads waited on one worker at once, with {} each.{os}",
            count(alive),
            bytes(green(Metric::MemoryBytesPerTask)?)
        );
        Some((alive >= TENS_OF_THOUSANDS, sentence))
    };
    Verdict::new(
        TASKS,
        "one CPU holds tens of thousands of coroutines",
        "the green threads of this experiment",
        judge(),
    )
}
