//! Throughput, latency and CPU time per message against the number of connections that send; and how evenly these are served.

use sward_measure::quantity::{count, digits, short};

use crate::bench::Bench;
use crate::chapter::{Chapter, Comparison, Curve, Figure, cell_text, row, times};
use crate::error::Result;
use crate::plan::{Experiment, Plan};
use crate::plot::{Chart, RowChart, Scale};
use crate::study::{Metric, Statistic, Study};
use crate::subject::Subject;
use crate::table::Table;
use crate::verdict::Verdict;

const ACTIVE: Experiment = Experiment::Active;

/// The fewest connections that count as many.
const MANY: u64 = 8;

/// Two rates within this factor count as equal.
const AS_FAST: f64 = 1.1;

/// Service is even if the median connection gets at least this share of what the best served one gets.
const EVEN_PERCENT: f64 = 50.0;

/// Fewer messages than this on the best served connection say nothing about fairness.
const MESSAGES_TO_JUDGE: f64 = 20.0;

/// A connection that gets less than this share is starved.
const STARVED_PERCENT: f64 = 5.0;

const X_NAME: &str = "active connections";

const CURVES: [Curve; 5] = [
    Curve {
        name: "active-rate",
        title: "Messages per second",
        metric: Metric::MessagesPerSecond,
        unit: "messages per second",
        about: "Whole replies on all connections. Higher is better.",
    },
    Curve {
        name: "active-cpu",
        title: "What a message costs the server",
        metric: Metric::ServerCpuUsPerMessage,
        unit: "server CPU, µs per message",
        about: "User and system time of the server and its children, for each message. Lower is better.",
    },
    Curve {
        name: "active-p50",
        title: "Latency: the median",
        metric: Metric::LatencyP50Us,
        unit: "p50 latency",
        about: "Half of the replies took no longer than this. As every connection waits for its reply before it sends again, N \
             connections take at least N times the cost of a message.",
    },
    Curve {
        name: "active-p99",
        title: "Latency: the slowest in a hundred",
        metric: Metric::LatencyP99Us,
        unit: "p99 latency",
        about: "99 of 100 replies took no longer than this.",
    },
    Curve {
        name: "active-p999",
        title: "Latency: the slowest in a thousand",
        metric: Metric::LatencyP999Us,
        unit: "p99.9 latency",
        about: "999 of 1,000 replies took no longer than this. Only where at least 2,000 were measured.",
    },
];

pub(crate) fn measure(bench: &mut Bench, round: u32) -> Result<()> {
    let many = many(&bench.plan);
    for connections in bench.plan.connections.clone() {
        for subject in bench.plan.subjects.clone() {
            // A server of one client at a time makes the others wait for ever: measuring that once is enough.
            if subject.serves_one() && connections != 1 && Some(connections.into()) != many {
                continue;
            }
            bench.serve(ACTIVE, &subject, connections.into(), round, |bench, server| {
                server.load(&bench.plan, &[("--connections", &connections.to_string())])
            })?;
        }
    }
    Ok(())
}

/// Returns the smallest number of connections that counts as many.
fn many(plan: &Plan) -> Option<u64> {
    let several = || plan.connections.iter().copied().map(u64::from).filter(|&connections| connections > 1);
    several().find(|&connections| connections >= MANY).or_else(|| several().next_back())
}

pub(crate) fn chapter(comparison: &Comparison) -> Chapter {
    let command = comparison.plan.load_command(&[("--connections", "N")]);
    let mut figures = comparison.curve_figures(ACTIVE, &CURVES, X_NAME, &command);
    figures.push(fairness_figure(comparison, command));
    let mut tables = comparison.curve_tables(ACTIVE, &CURVES, X_NAME);
    tables.push(fairness_table(comparison));
    Chapter {
        experiment: ACTIVE,
        title: "Active connections",
        about: format!(
            "Every connection sends {} bytes, waits for the reply, and sends again, as fast as it can. Each server uses one core.",
            comparison.plan.size
        ),
        figures,
        verdicts: vec![
            select_verdict(comparison),
            event_loop_verdict(comparison),
            fairness_verdict(comparison),
        ],
        tables,
    }
}

/// Judges whether `select` helps with many clients and not with one.
fn select_verdict(comparison: &Comparison) -> Verdict {
    let judge = || {
        let many = many(&comparison.plan)?;
        let rate = |subject, x| comparison.study.median(ACTIVE, subject, x, Metric::MessagesPerSecond);
        let ratio = rate("select", 1)? / rate("blocking", 1)?;
        let median_share = |subject| found(&comparison.study, subject, many, Metric::MedianServedPercent);
        let (with_select, blocking) = (median_share("select")?, median_share("blocking")?);
        let holds = ratio <= AS_FAST && with_select >= EVEN_PERCENT && blocking < STARVED_PERCENT;
        let most = found(&comparison.study, "blocking", many, Metric::MostServedMessages)?;
        let sentence = format!(
            "With one client, select answered {} as many messages as plain blocking calls ({} against {} per second). With {} \
             clients at once, blocking calls gave one of them {} answers and the median client {}: the others wait until the one \
             has left. Under select the median client got {} % of what the best served one got; all together, {} messages per second.",
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

/// Returns what the first round measured, even if connections failed: clients that wait for ever may count as failures.
fn found(study: &Study, subject: &str, x: u64, metric: Metric) -> Option<f64> {
    let sample = study
        .samples
        .iter()
        .find(|sample| sample.experiment == ACTIVE && sample.subject == subject && sample.x == x)?;
    sample.values.get(&metric).copied()
}

fn event_loop_verdict(comparison: &Comparison) -> Verdict {
    let judge = || {
        let cost = |subject, x| comparison.study.median(ACTIVE, subject, x, Metric::ServerCpuUsPerMessage);
        let is_known =
            |x: &u64| cost("threads", *x).and(cost("epoll", *x).or(cost("io_uring", *x))).is_some();
        let xs = comparison.plan.connections.iter().copied().map(u64::from);
        let x = xs.filter(|&x| x >= MANY).filter(is_known).max()?;
        let threads = cost("threads", x)?;
        let loops = ["io_uring", "epoll"].into_iter().filter_map(|name| Some((name, cost(name, x)?)));
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

fn fairness_verdict(comparison: &Comparison) -> Verdict {
    let judge = || {
        let x = many(&comparison.plan)?;
        let least = |subject: &str| {
            let most = comparison.study.median(ACTIVE, subject, x, Metric::MostServedMessages)?;
            let least = comparison.study.median(ACTIVE, subject, x, Metric::LeastServedPercent)?;
            (most >= MESSAGES_TO_JUDGE).then_some(least)
        };
        let subjects = comparison.plan.subjects.iter().filter(|subject| subject.engine().is_some());
        let shares: Vec<_> =
            subjects.filter_map(|subject| Some((subject.name.as_str(), least(&subject.name)?))).collect();
        let (name, worst) = shares.iter().min_by(|one, other| one.1.total_cmp(&other.1))?;
        let sentence = format!(
            "Of {} connections to {name}, the worst served got {} % of what the best served got. That is the widest gap of the \
             {} engines.",
            count(x as f64),
            digits(*worst),
            shares.len()
        );
        Some((*worst >= EVEN_PERCENT, sentence))
    };
    Verdict::new(
        ACTIVE,
        "no engine starves a connection: each gets at least half of what the best served one gets",
        "an engine at several connections, with enough messages for each",
        judge(),
    )
}

/// Returns the shares of the worst served and of the median connection.
fn shares(comparison: &Comparison, subject: &Subject) -> Option<[Statistic; 2]> {
    let share = |metric| comparison.study.statistic(ACTIVE, &subject.name, many(&comparison.plan)?, metric);
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
            x_name: "messages, % of the best served connection".into(),
            scale: Scale::Linear,
            label: short,
            marks: vec!["least served", "median"],
            rows: comparison.plan.subjects.iter().filter_map(row).collect(),
        }),
        about: format!(
            "Messages of {} connections, over all phases of a run. Perfectly even service is 100 % for each.",
            count(many(&comparison.plan).unwrap_or(0) as f64)
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
            "messages of a connection as % of the best served one, {} connections",
            count(many(&comparison.plan).unwrap_or(0) as f64)
        ),
        columns: vec!["least served".into(), "median".into()],
        rows: rows.collect(),
    }
}
