//! How many green threads and OS threads fit, and what each costs.

use std::collections::BTreeMap;

use sward::time::Duration;
use sward_measure::quantity::{bytes, count, nanos};

use crate::background_load::BackgroundLoad;
use crate::bench::Bench;
use crate::chapter::{Chapter, Comparison, Figure, cell_text, kibibytes, mark, times};
use crate::child;
use crate::error::{Context, Result};
use crate::plan::{Experiment, Plan};
use crate::plot::{Chart, Mark, Row, RowChart, Scale};
use crate::step::{Step, ThreadCosts, ThreadKind};
use crate::study::{Finding, Metric, Statistic};
use crate::table::Table;
use crate::verdict::Verdict;

const TASKS: Experiment = Experiment::Tasks;

const TIMEOUT: Duration = Duration::from_secs(300);

/// The fewest threads that count as tens of thousands.
const TENS_OF_THOUSANDS: f64 = 20_000.0;

const KINDS: [(&str, ThreadKind); 2] = [("green threads", ThreadKind::Green), ("OS threads", ThreadKind::Os)];

fn size(plan: &Plan, kind: ThreadKind) -> u32 {
    match kind {
        ThreadKind::Green => plan.tasks.green,
        ThreadKind::Os => plan.tasks.os,
    }
}

pub(crate) fn measure(bench: &mut Bench, round: u32) -> Result<()> {
    for (name, kind) in KINDS {
        let size = size(&bench.plan, kind);
        let mut limit = None;
        bench.step(TASKS, name, size.into(), round, |bench| {
            let command = Step::StartThreads { kind, count: size }.command();
            let background = BackgroundLoad::watch(None);
            let printed = child::output(bench.pinning.server, &command, &bench.interrupt, TIMEOUT)?;
            let report: ThreadCosts =
                serde_json::from_str(&printed).context(format_args!("it printed {printed:?}"))?;
            let values = BTreeMap::from([
                (Metric::TasksAlive, f64::from(report.alive)),
                (Metric::SpawnNs, report.spawn_ns),
                (Metric::SwitchNs, report.switch_ns),
                (Metric::MemoryBytesPerTask, report.memory_bytes),
            ]);
            limit = report.limit;
            Ok(Finding { values, others_percent: background.percent(), failure: None })
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

pub(crate) fn chapter(comparison: &Comparison) -> Chapter {
    Chapter {
        experiment: TASKS,
        title: "How many threads fit",
        about: format!(
            "One program starts threads that wait until all are there: up to {} green threads on one worker, and up to {} OS threads. Both run on \
             the same core.",
            count(comparison.plan.tasks.green.into()),
            count(comparison.plan.tasks.os.into())
        ),
        figures: figures(comparison),
        verdicts: vec![verdict(comparison)],
        tables: vec![table(comparison)],
    }
}

fn statistic(comparison: &Comparison, kind: ThreadKind, name: &str, metric: Metric) -> Option<Statistic> {
    comparison.study.statistic(TASKS, name, size(&comparison.plan, kind).into(), metric)
}

fn figures(comparison: &Comparison) -> Vec<Figure> {
    let rows = |metric, show: fn(f64) -> String, scale: fn(Mark) -> Mark| -> Vec<Row> {
        let row = |(look, (name, kind)): (usize, (&str, ThreadKind))| {
            let statistic = statistic(comparison, kind, name, metric)?;
            let (marks, text) = (vec![scale(mark(statistic))], show(statistic.median));
            Some(Row { name: name.to_owned(), look, marks, text })
        };
        KINDS.into_iter().enumerate().filter_map(row).collect()
    };
    let figure = |name, title, chart, about: &str| Figure {
        name,
        title,
        chart,
        about: about.to_owned(),
        command: "sward compare --tasks".into(),
    };
    let times = |x_name: &str, metric| {
        let rows = rows(metric, nanos, |mark| mark);
        Chart::Rows(RowChart {
            x_name: x_name.into(),
            scale: Scale::Log,
            label: nanos,
            marks: vec!["median"],
            rows,
        })
    };
    let memory = Chart::bars("KiB per thread", rows(Metric::MemoryBytesPerTask, bytes, kibibytes));
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
            "Resident memory and page tables while all wait, without the kernel stack that an OS thread also has (16 KiB \
             on most kernels). Lower is better.",
        ),
    ]
}

fn table(comparison: &Comparison) -> Table {
    let rows = KINDS.into_iter().map(|(name, kind)| {
        let cell = |metric, show| cell_text(statistic(comparison, kind, name, metric), show);
        let asked = count(size(&comparison.plan, kind).into());
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

/// Judges whether one CPU holds tens of thousands of coroutines.
fn verdict(comparison: &Comparison) -> Verdict {
    let judge = || {
        let value = |kind: ThreadKind, name: &str, metric| {
            comparison.study.median(TASKS, name, size(&comparison.plan, kind).into(), metric)
        };
        let green = |metric| value(ThreadKind::Green, "green threads", metric);
        let alive = green(Metric::TasksAlive)?;
        let os = value(ThreadKind::Os, "OS threads", Metric::TasksAlive).zip(value(
            ThreadKind::Os,
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
