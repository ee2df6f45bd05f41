//! What watching silent connections costs those that send.

use super::{Chapter, Figure, Outcome, load_flags, times};
use crate::compare::bench::Bench;
use crate::compare::plan::{ACTIVE_BESIDE_IDLE, Experiment, Plan};
use crate::compare::quantity::{count, digits, micros, short};
use crate::compare::study::Metric;
use crate::compare::verdict::Verdict;

const IDLE: Experiment = Experiment::Idle;

/// From this factor on, a cost has grown.
const GROWN: f64 = 1.5;

pub(super) fn measure(bench: &mut Bench, round: u32) -> anyhow::Result<()> {
    for idle in bench.plan.idle_connections.clone() {
        for subject in bench.plan.subjects.clone() {
            if subject.serves_one() {
                continue;
            }
            bench.serve(IDLE, &subject, idle.into(), round, |bench, server| {
                server.load(&flags(&bench.plan, &idle.to_string()), bench.plan.window + bench.plan.warmup)
            })?;
        }
    }
    Ok(())
}

/// The flags of `sward load` for so many silent connections.
fn flags(plan: &Plan, idle: &str) -> Vec<String> {
    load_flags(plan, &[("--connections", &ACTIVE_BESIDE_IDLE.to_string()), ("--idle", idle)])
}

pub(super) fn chapter(outcome: &Outcome) -> Chapter {
    let command = format!("sward load HOST:PORT {}", flags(&outcome.plan, "N").join(" "));
    let figure = |name, title, metric, unit, about: &str| Figure {
        name,
        title,
        chart: outcome.lines(IDLE, metric, "silent connections", unit),
        about: about.to_owned(),
        command: command.clone(),
    };
    let table = |metric, caption, show| outcome.table(IDLE, metric, caption, show);
    Chapter {
        experiment: IDLE,
        title: "Watched but silent connections",
        about: format!(
            "{ACTIVE_BESIDE_IDLE} connections send as fast as they can. Beside them are connections that say nothing, but could at any \
             moment, so the server has to watch them."
        ),
        figures: vec![
            figure(
                "idle-cpu",
                "What a message costs the server",
                Metric::ServerCpuUsPerMessage,
                "server CPU, µs per message",
                "User and system time of the server and its children, by message. A flat line means that silent connections cost nothing.",
            ),
            figure(
                "idle-rate",
                "Messages per second",
                Metric::MessagesPerSecond,
                "messages per second",
                "Whole replies that came back to the connections that send. Higher is better.",
            ),
            figure(
                "idle-p99",
                "Latency: the slowest in a hundred",
                Metric::LatencyP99Us,
                "p99 latency",
                "99 of 100 replies took no longer than this.",
            ),
        ],
        verdicts: vec![growth_verdict(outcome)],
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
fn growth_verdict(outcome: &Outcome) -> Verdict {
    let growth = |subject: &str, most: u64| {
        let cost = |x| outcome.median(IDLE, subject, x, Metric::ServerCpuUsPerMessage);
        let least = u64::from(*outcome.plan.idle_connections.first()?);
        let (before, after) = (cost(least)?, cost(most)?);
        Some((
            after / before,
            format!("{subject} from {} to {} µs ({})", digits(before), digits(after), times(after / before)),
        ))
    };
    let judge = || {
        let plan = &outcome.plan;
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
