//! What watching silent connections costs those that send.

use crate::bench::Bench;
use crate::chapter::{Chapter, Comparison, LineFigures, times};
use crate::plan::{ACTIVE_BESIDE_IDLE, Experiment};
use crate::study::Metric;
use crate::verdict::Verdict;
use sward_measure::quantity::{count, digits, micros, short};

const IDLE: Experiment = Experiment::Idle;

/// From this factor on, a cost has grown.
const GROWN: f64 = 1.5;

pub(crate) fn measure(bench: &mut Bench, round: u32) -> anyhow::Result<()> {
    let active = ACTIVE_BESIDE_IDLE.to_string();
    for idle in bench.plan.idle_connections.clone() {
        for subject in bench.plan.subjects.clone() {
            if subject.serves_one() {
                continue;
            }
            bench.serve(IDLE, &subject, idle.into(), round, |bench, server| {
                server.load(&bench.plan, &[("--connections", &active), ("--idle", &idle.to_string())])
            })?;
        }
    }
    Ok(())
}

pub(crate) fn chapter(comparison: &Comparison) -> Chapter {
    let flags = [("--connections", &*ACTIVE_BESIDE_IDLE.to_string()), ("--idle", "N")];
    let command = comparison.plan.load_command(&flags);
    let lines = LineFigures { comparison, experiment: IDLE, x_name: "silent connections", command };
    let table = |metric, caption, show| comparison.table(IDLE, metric, caption, show);
    Chapter {
        experiment: IDLE,
        title: "Watched but silent connections",
        about: format!(
            "{ACTIVE_BESIDE_IDLE} connections send as fast as they can. Beside them are connections that say nothing, but could at any \
             moment, so the server has to watch them."
        ),
        figures: vec![
            lines.figure(
                "idle-cpu",
                "What a message costs the server",
                Metric::ServerCpuUsPerMessage,
                "server CPU, µs per message",
                "User and system time of the server and its children, by message. A flat line means that silent connections cost nothing.",
            ),
            lines.figure(
                "idle-rate",
                "Messages per second",
                Metric::MessagesPerSecond,
                "messages per second",
                "Whole replies that came back to the connections that send. Higher is better.",
            ),
            lines.figure(
                "idle-p99",
                "Latency: the slowest in a hundred",
                Metric::LatencyP99Us,
                "p99 latency",
                "99 of 100 replies took no longer than this.",
            ),
        ],
        verdicts: vec![growth_verdict(comparison)],
        tables: vec![
            table(
                Metric::ServerCpuUsPerMessage,
                "server CPU in µs per message, by silent connections",
                digits,
            ),
            table(Metric::MessagesPerSecond, "messages per second, by silent connections", short),
            table(Metric::LatencyP99Us, "p99 latency, by silent connections", micros),
        ],
    }
}

/// select's cost grows with what it watches, epoll's with what is active.
fn growth_verdict(comparison: &Comparison) -> Verdict {
    let growth = |subject: &str, most: u64| {
        let cost = |x| comparison.median(IDLE, subject, x, Metric::ServerCpuUsPerMessage);
        let least = u64::from(*comparison.plan.idle_connections.first()?);
        let (before, after) = (cost(least)?, cost(most)?);
        Some((
            after / before,
            format!("{subject} from {} to {} µs ({})", digits(before), digits(after), times(after / before)),
        ))
    };
    let judge = || {
        let plan = &comparison.plan;
        let measured =
            |x: &u32| growth("select", u64::from(*x)).is_some() && growth("epoll", u64::from(*x)).is_some();
        let most = u64::from(plan.idle_connections.iter().copied().skip(1).rfind(measured)?);
        let (select, epoll) = (growth("select", most)?, growth("epoll", most)?);
        let others = ["poll", "io_uring"].into_iter().filter_map(|name| Some(growth(name, most)?.1));
        let texts: Vec<_> = [select.1, epoll.1].into_iter().chain(others).collect();
        let sentence = format!(
            "From {} to {} silent connections, the CPU time of a message went: {}.",
            count((*plan.idle_connections.first()?).into()),
            count(most as f64),
            texts.join("; ")
        );
        Some((select.0 >= GROWN && epoll.0 < GROWN && epoll.0 < select.0, sentence))
    };
    Verdict::new(
        IDLE,
        "select's cost grows with what it watches, epoll's with what is active",
        "the servers select and epoll, with few and with many silent connections",
        judge(),
    )
}
