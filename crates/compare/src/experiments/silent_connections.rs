//! What watching silent connections costs the connections that send.

use sward_measure::quantity::{count, digits};

use crate::bench::Bench;
use crate::chapter::{Chapter, Comparison, Curve, times};
use crate::error::Result;
use crate::plan::{ACTIVE_BESIDE_IDLE, Experiment};
use crate::study::Metric;
use crate::verdict::Verdict;

const IDLE: Experiment = Experiment::Idle;

/// The smallest factor that counts as growth.
const GROWN: f64 = 1.5;

const X_NAME: &str = "silent connections";

const CURVES: [Curve; 3] = [
    Curve {
        name: "idle-cpu",
        title: "What a message costs the server",
        metric: Metric::ServerCpuUsPerMessage,
        unit: "server CPU, µs per message",
        about: "User and system time of the server and its children, for each message. A flat line means that silent connections cost nothing.",
    },
    Curve {
        name: "idle-rate",
        title: "Messages per second",
        metric: Metric::MessagesPerSecond,
        unit: "messages per second",
        about: "Whole replies that came back to the connections that send. Higher is better.",
    },
    Curve {
        name: "idle-p99",
        title: "Latency: the slowest in a hundred",
        metric: Metric::LatencyP99Us,
        unit: "p99 latency",
        about: "99 of 100 replies took no longer than this.",
    },
];

pub(crate) fn measure(bench: &mut Bench, round: u32) -> Result<()> {
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
    Chapter {
        experiment: IDLE,
        title: "Watched but silent connections",
        about: format!(
            "{ACTIVE_BESIDE_IDLE} connections send as fast as they can. Others say nothing, but might at any \
             moment, so the server has to watch them."
        ),
        figures: comparison.curve_figures(IDLE, &CURVES, X_NAME, &command),
        verdicts: vec![growth_verdict(comparison)],
        tables: comparison.curve_tables(IDLE, &CURVES, X_NAME),
    }
}

/// Judges whether select's cost grows with what it watches, and epoll's with what is active.
fn growth_verdict(comparison: &Comparison) -> Verdict {
    let growth = |subject: &str, most: u64| {
        let cost = |x| comparison.study.median(IDLE, subject, x, Metric::ServerCpuUsPerMessage);
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
