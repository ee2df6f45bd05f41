//! How long a sleeping server takes to reply.

use sward_measure::quantity::micros;

use crate::bench::Bench;
use crate::chapter::{Chapter, Comparison, Figure, cell_text, row, times};
use crate::error::Result;
use crate::plan::Experiment;
use crate::plot::{Chart, RowChart, Scale};
use crate::study::Metric;
use crate::subject::Subject;
use crate::table::Table;
use crate::verdict::Verdict;

const WAKEUP: Experiment = Experiment::Wakeup;

/// Messages per second: so few that the server sleeps before each.
const RATE: u32 = 1000;

/// An event loop within this factor of a blocked read wakes as fast.
const AS_FAST: f64 = 1.25;

pub(crate) fn measure(bench: &mut Bench, round: u32) -> Result<()> {
    for subject in bench.plan.subjects.clone() {
        bench.serve(WAKEUP, &subject, 1, round, |bench, server| {
            server.load(&bench.plan, &[("--connections", "1"), ("--rate", &RATE.to_string())])
        })?;
    }
    Ok(())
}

pub(crate) fn chapter(comparison: &Comparison) -> Chapter {
    let row = |subject: &Subject| {
        let statistic = |metric| comparison.study.statistic(WAKEUP, &subject.name, 1, metric);
        let (p50, p99) = (statistic(Metric::LatencyP50Us)?, statistic(Metric::LatencyP99Us)?);
        Some(row(subject, &[p50, p99], format!("{} · {}", micros(p50.median), micros(p99.median))))
    };
    let cells = |subject: &Subject| {
        let cell = |metric| cell_text(comparison.study.statistic(WAKEUP, &subject.name, 1, metric), micros);
        (subject.name.clone(), vec![cell(Metric::LatencyP50Us), cell(Metric::LatencyP99Us)])
    };
    Chapter {
        experiment: WAKEUP,
        title: "Waking up",
        about: format!(
            "One connection sends a message every {} ms, so every server but spin sleeps before it. Latency counts from when the \
             message was due. It includes the time in which the generator itself wakes, which is the same for all.",
            1000 / RATE
        ),
        figures: vec![Figure {
            name: "wakeup",
            title: "From a message to its reply",
            chart: Chart::Rows(RowChart {
                x_name: "latency".into(),
                scale: Scale::Log,
                label: micros,
                marks: vec!["p50", "p99"],
                rows: comparison.plan.subjects.iter().filter_map(row).collect(),
            }),
            about: "Half of the replies, and 99 of 100, took no longer than this. Lower is better.".into(),
            command: comparison.plan.load_command(&[("--connections", "1"), ("--rate", &RATE.to_string())]),
        }],
        verdicts: vec![verdict(comparison)],
        tables: vec![Table {
            caption: format!("latency of one connection, {RATE} messages per second"),
            columns: vec!["p50".into(), "p99".into()],
            rows: comparison.plan.subjects.iter().map(cells).collect(),
        }],
    }
}

fn verdict(comparison: &Comparison) -> Verdict {
    let judge = || {
        let p50 = |subject: &str| comparison.study.median(WAKEUP, subject, 1, Metric::LatencyP50Us);
        let blocking = p50("blocking")?;
        let loops = ["io_uring", "epoll"].into_iter().filter_map(|name| Some((name, p50(name)?)));
        let (name, best) = loops.min_by(|one, other| one.1.total_cmp(&other.1))?;
        let sentence = format!(
            "A server that sleeps in a blocking read answered after {}, one that sleeps in {name} after {}: {}.",
            micros(blocking),
            micros(best),
            times(best / blocking)
        );
        Some((best <= blocking * AS_FAST, sentence))
    };
    Verdict::new(
        WAKEUP,
        "an event loop wakes about as fast as a thread that is blocked in a read",
        "the servers blocking and epoll or io_uring",
        judge(),
    )
}
