//! Throughput, latency and CPU per message against the number of connections that send; and how evenly they are served.

use crate::bench::Bench;
use crate::chapter::{Chapter, Comparison, Figure, LineFigures, cell_text, row, times};
use crate::plan::{Experiment, Plan};
use crate::plot::{Chart, RowChart, Scale};
use crate::study::{Metric, Statistic, Study};
use crate::subject::Subject;
use crate::table::Table;
use crate::verdict::Verdict;
use sward_measure::quantity::{count, digits, micros, short};

const ACTIVE: Experiment = Experiment::Active;

/// From so many connections on, one can speak of many.
const MANY: u32 = 8;

/// A server that reaches this share of another one's rate is as fast.
const AS_FAST: f64 = 1.1;

/// A median connection that gets at least so many percent of what the luckiest gets is served evenly.
const EVEN_PERCENT: f64 = 50.0;

/// Fewer messages than this on the luckiest connection say nothing about fairness.
const MESSAGES_TO_JUDGE: f64 = 20.0;

/// One that gets less than this has been left waiting.
const STARVED_PERCENT: f64 = 5.0;

pub(crate) fn measure(bench: &mut Bench, round: u32) -> anyhow::Result<()> {
    let many = many(&bench.plan);
    for connections in bench.plan.connections.clone() {
        for subject in bench.plan.subjects.clone() {
            // Who serves one client at a time lets the others wait for ever: one look at that is enough.
            if subject.serves_one() && connections != 1 && Some(connections) != many {
                continue;
            }
            bench.serve(ACTIVE, &subject, connections.into(), round, |bench, server| {
                server.load(&bench.plan, &[("--connections", &connections.to_string())])
            })?;
        }
    }
    Ok(())
}

/// The smallest number of connections that are many.
fn many(plan: &Plan) -> Option<u32> {
    let several = || plan.connections.iter().copied().filter(|&connections| connections > 1);
    several().find(|&connections| connections >= MANY).or_else(|| several().next_back())
}

pub(crate) fn chapter(comparison: &Comparison) -> Chapter {
    let table = |metric, caption, show| comparison.table(ACTIVE, metric, caption, show);
    Chapter {
        experiment: ACTIVE,
        title: "Active connections",
        about: format!(
            "Every connection sends {} bytes, waits for the reply, and sends again, as fast as it can. Each server has one core.",
            comparison.plan.size
        ),
        figures: figures(comparison),
        verdicts: vec![
            select_verdict(comparison),
            event_loop_verdict(comparison),
            fairness_verdict(comparison),
        ],
        tables: vec![
            table(Metric::MessagesPerSecond, "messages per second, by active connections", short),
            table(
                Metric::ServerCpuUsPerMessage,
                "server CPU in µs per message, by active connections",
                digits,
            ),
            table(Metric::LatencyP50Us, "p50 latency, by active connections", micros),
            table(Metric::LatencyP99Us, "p99 latency, by active connections", micros),
            table(Metric::LatencyP999Us, "p99.9 latency, by active connections", micros),
            fairness_table(comparison),
        ],
    }
}

fn figures(comparison: &Comparison) -> Vec<Figure> {
    let command = comparison.plan.load_command(&[("--connections", "N")]);
    let lines = LineFigures { comparison, experiment: ACTIVE, x_name: "active connections", command };
    vec![
        lines.figure(
            "active-rate",
            "Messages per second",
            Metric::MessagesPerSecond,
            "messages per second",
            "Whole replies that came back, of all connections together. Higher is better.",
        ),
        lines.figure(
            "active-cpu",
            "What a message costs the server",
            Metric::ServerCpuUsPerMessage,
            "server CPU, µs per message",
            "User and system time of the server and its children, by message. Lower is better.",
        ),
        lines.figure(
            "active-p50",
            "Latency: the median",
            Metric::LatencyP50Us,
            "p50 latency",
            "Half of the replies took no longer than this. As every connection waits for its reply before it sends again, N \
             connections take at least N times the cost of a message.",
        ),
        lines.figure(
            "active-p99",
            "Latency: the slowest in a hundred",
            Metric::LatencyP99Us,
            "p99 latency",
            "99 of 100 replies took no longer than this.",
        ),
        lines.figure(
            "active-p999",
            "Latency: the slowest in a thousand",
            Metric::LatencyP999Us,
            "p99.9 latency",
            "999 of 1,000 replies took no longer than this. Only where at least 2,000 were measured.",
        ),
        fairness_figure(comparison, lines.command.clone()),
    ]
}

/// `select` helps with many clients and not with one.
fn select_verdict(comparison: &Comparison) -> Verdict {
    let judge = || {
        let many = u64::from(many(&comparison.plan)?);
        let rate = |subject, x| comparison.median(ACTIVE, subject, x, Metric::MessagesPerSecond);
        let ratio = rate("select", 1)? / rate("blocking", 1)?;
        let median_share = |subject| found(&comparison.study, subject, many, Metric::MedianServedPercent);
        let (with_select, blocking) = (median_share("select")?, median_share("blocking")?);
        let holds = ratio <= AS_FAST && with_select >= EVEN_PERCENT && blocking < STARVED_PERCENT;
        let most = found(&comparison.study, "blocking", many, Metric::MostServedMessages)?;
        let sentence = format!(
            "With one client, select answered {} as many messages as plain blocking calls ({} against {} per second). With {} \
             clients at once, blocking calls gave one of them {} answers and the median client {}: the others wait until the one \
             has left. Under select the median client got {} % of what the luckiest got, {} messages per second in all.",
            times(ratio),
            short(rate("select", 1)?),
            short(rate("blocking", 1)?),
            count(many as f64),
            count(most),
            count(most * blocking / 100.0),
            digits(with_select),
            rate("select", many).map_or_else(|| "no".to_owned(), short),
        );
        Some((holds, sentence))
    };
    Verdict::new(
        ACTIVE,
        "select helps with many clients, and not with one",
        "the servers select and blocking, at one connection and at several",
        judge(),
    )
}

/// What was measured in the first round, even if connections failed: clients that wait for ever may count as failures.
fn found(study: &Study, subject: &str, x: u64, metric: Metric) -> Option<f64> {
    let sample = study
        .samples
        .iter()
        .find(|sample| sample.experiment == ACTIVE && sample.subject == subject && sample.x == x)?;
    sample.values.get(&metric).copied()
}

fn event_loop_verdict(comparison: &Comparison) -> Verdict {
    let judge = || {
        let x = u64::from(*comparison.plan.connections.iter().filter(|&&x| x >= MANY).max_by_key(|&&x| {
            let has = |subject| {
                comparison.median(ACTIVE, subject, x.into(), Metric::ServerCpuUsPerMessage).is_some()
            };
            if has("threads") && (has("epoll") || has("io_uring")) { x } else { 0 }
        })?);
        let cost = |subject| comparison.median(ACTIVE, subject, x, Metric::ServerCpuUsPerMessage);
        let threads = cost("threads")?;
        let loops = ["io_uring", "epoll"].into_iter().filter_map(|name| Some((name, cost(name)?)));
        let (name, best) = loops.min_by(|one, other| one.1.total_cmp(&other.1))?;
        let sentence = format!(
            "With {} active connections, {name} took {} µs of CPU per message and an OS thread for each connection {} µs: {}.",
            count(x as f64),
            digits(best),
            digits(threads),
            times(threads / best)
        );
        Some((best < threads, sentence))
    };
    Verdict::new(
        ACTIVE,
        "an event loop carries many connections for less CPU than an OS thread for each",
        "the servers threads and epoll or io_uring, at eight connections or more",
        judge(),
    )
}

/// The number of connections at which fairness is looked at: many, and served long enough to count.
fn fairness_place(comparison: &Comparison) -> Option<u64> {
    many(&comparison.plan).map(u64::from)
}

fn fairness_verdict(comparison: &Comparison) -> Verdict {
    let judge = || {
        let x = fairness_place(comparison)?;
        let least = |subject: &str| {
            let most = comparison.median(ACTIVE, subject, x, Metric::MostServedMessages)?;
            let least = comparison.median(ACTIVE, subject, x, Metric::LeastServedPercent)?;
            (most >= MESSAGES_TO_JUDGE).then_some(least)
        };
        let subjects = comparison.plan.subjects.iter().filter(|subject| subject.engine().is_some());
        let shares: Vec<_> =
            subjects.filter_map(|subject| Some((subject.name.as_str(), least(&subject.name)?))).collect();
        let (name, worst) = shares.iter().min_by(|one, other| one.1.total_cmp(&other.1))?;
        let sentence = format!(
            "Of {} connections to {name}, the one that got least got {} % of what the luckiest got; that is the widest gap of the \
             {} engines.",
            count(x as f64),
            digits(*worst),
            shares.len()
        );
        Some((*worst >= EVEN_PERCENT, sentence))
    };
    Verdict::new(
        ACTIVE,
        "no engine starves a connection: each gets at least half of what the luckiest gets",
        "an engine at several connections, with enough messages for each",
        judge(),
    )
}

/// The shares of the connection that got least and of the median one.
fn shares(comparison: &Comparison, subject: &Subject) -> Option<[Statistic; 2]> {
    let share = |metric| comparison.statistic(ACTIVE, &subject.name, fairness_place(comparison)?, metric);
    Some([share(Metric::LeastServedPercent)?, share(Metric::MedianServedPercent)?])
}

fn fairness_figure(comparison: &Comparison, command: String) -> Figure {
    let row = |subject: &Subject| {
        let shares = shares(comparison, subject)?;
        Some(row(subject, &shares, format!("{} · {} %", digits(shares[0].median), digits(shares[1].median))))
    };
    Figure {
        name: "active-fairness",
        title: "How evenly connections are served",
        chart: Chart::Rows(RowChart {
            x_name: "messages, % of what the luckiest connection got".into(),
            scale: Scale::Linear,
            label: short,
            marks: vec!["least served", "median"],
            rows: comparison.plan.subjects.iter().filter_map(row).collect(),
        }),
        about: format!(
            "Messages by connection, {} connections, over all phases of a run. 100 % for all would be perfectly even.",
            count(fairness_place(comparison).unwrap_or(0) as f64)
        ),
        command,
    }
}

fn fairness_table(comparison: &Comparison) -> Table {
    let rows = comparison.plan.subjects.iter().filter_map(|subject| {
        let cells = shares(comparison, subject)?.map(|share| cell_text(Some(share), digits));
        Some((subject.name.clone(), cells.to_vec()))
    });
    Table {
        caption: format!(
            "messages of a connection as % of what the luckiest got, {} connections",
            count(fairness_place(comparison).unwrap_or(0) as f64)
        ),
        columns: vec!["least served".into(), "median".into()],
        rows: rows.collect(),
    }
}
