//! Jobs that only compute, run in every way there is; also in Python, if it is installed, since the claim comes from there.

use std::collections::BTreeMap;

use sward::time::Duration;
use sward_measure::quantity::digits;

use crate::background_load::BackgroundLoad;
use crate::bench::Bench;
use crate::chapter::{Chapter, Comparison, Figure, cell_text, mark, times};
use crate::child;
use crate::error::{Context, Result, check};
use crate::perform::steps_for;
use crate::plan::Experiment;
use crate::plot::{Chart, Row};
use crate::step::{Step, Way};
use crate::study::{Finding, Metric, Statistic};
use crate::table::Table;
use crate::verdict::Verdict;

const COUNTER: Experiment = Experiment::Counter;

const TIMEOUT: Duration = Duration::from_secs(120);

/// The smallest speed-up that counts as one.
const FASTER: f64 = 1.3;

/// What runs the jobs.
#[derive(Clone, Copy)]
enum Count {
    /// This program.
    Here(Way),
    /// The Python program, with this argument.
    Python(&'static str),
}

/// The ways to run the jobs, by name.
const WAYS: [(&str, Count); 7] = [
    ("serial", Count::Here(Way::Serial)),
    ("green threads", Count::Here(Way::Green)),
    ("OS threads", Count::Here(Way::Offload)),
    ("processes", Count::Here(Way::Processes)),
    ("Python, serial", Count::Python("serial")),
    ("Python, threads", Count::Python("threads")),
    ("Python, processes", Count::Python("processes")),
];

/// How far Python counts, as a share of how far we do.
const PYTHON_SHARE: f64 = 0.03;

/// The same jobs in Python. Prints the seconds.
const PYTHON: &str = "\
import sys, time, threading, multiprocessing
def count(to):
    n = 0
    while n < to: n += 1
way, jobs, to = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
begun = time.perf_counter()
if way == 'serial':
    for _ in range(jobs): count(to)
else:
    kind = threading.Thread if way == 'threads' else multiprocessing.get_context('fork').Process
    all = [kind(target=count, args=(to,)) for _ in range(jobs)]
    for each in all: each.start()
    for each in all: each.join()
print(time.perf_counter() - begun)
";

pub(crate) fn measure(bench: &mut Bench, round: u32) -> Result<()> {
    let jobs = bench.jobs;
    let to = steps_for(bench.plan.count.as_secs_f64());
    let with_python = has_python(bench)?;
    for (name, count) in WAYS {
        let command: Vec<String> = match count {
            Count::Here(way) => Step::Count { way, jobs, to }.command().to_vec(),
            Count::Python(word) if with_python => {
                let to = (to as f64 * PYTHON_SHARE) as u64;
                ["python3", "-c", PYTHON, word, &jobs.to_string(), &to.to_string()]
                    .map(str::to_owned)
                    .to_vec()
            }
            Count::Python(_) => continue,
        };
        bench.step(COUNTER, name, jobs.into(), round, |bench| {
            let background = BackgroundLoad::watch(None);
            let printed = child::output(None, &command, &bench.interrupt, TIMEOUT)?;
            let seconds: f64 = printed.trim().parse().context(format_args!("it printed {printed:?}"))?;
            Ok(Finding {
                values: BTreeMap::from([(Metric::Seconds, seconds)]),
                others_percent: background.percent(),
                failure: None,
            })
        })?;
    }
    Ok(())
}

fn has_python(bench: &Bench) -> Result<bool> {
    let command = ["python3", "-c", "print('here')"].map(str::to_owned);
    let answer = child::output(None, &command, &bench.interrupt, TIMEOUT);
    check(&bench.interrupt)?;
    Ok(answer.is_ok_and(|answer| answer.trim() == "here"))
}

/// Returns a way's speed relative to serial execution in the same language, with its spread.
fn speedup(comparison: &Comparison, name: &str) -> Option<Statistic> {
    let jobs = *comparison.study.xs(COUNTER).first()?;
    let serial = if name.starts_with("Python") { "Python, serial" } else { "serial" };
    let serial = comparison.study.median(COUNTER, serial, jobs, Metric::Seconds)?;
    let seconds = comparison.study.statistic(COUNTER, name, jobs, Metric::Seconds)?;
    let Statistic { median, low, high, .. } = seconds;
    Some(Statistic { median: serial / median, low: serial / high, high: serial / low, ..seconds })
}

pub(crate) fn chapter(comparison: &Comparison) -> Chapter {
    let jobs = comparison.study.xs(COUNTER).first().copied().unwrap_or(0);
    let rows = WAYS.into_iter().enumerate().filter_map(|(look, (name, ..))| {
        let speedup = speedup(comparison, name)?;
        let text = format!("{}×", digits(speedup.median));
        Some(Row { name: name.to_owned(), look, marks: vec![mark(speedup)], text })
    });
    let cells = WAYS.into_iter().filter_map(|(name, ..)| {
        let seconds = comparison.study.statistic(COUNTER, name, jobs, Metric::Seconds)?;
        let speedup = speedup(comparison, name);
        Some((name.to_owned(), vec![cell_text(Some(seconds), digits), cell_text(speedup, digits)]))
    });
    Chapter {
        experiment: COUNTER,
        title: "Work that only computes",
        about: format!(
            "{jobs} jobs, each of which counts to a large number in a loop: one after another; on green threads of one worker; on OS \
             threads, by sward::offload; in processes. The same in Python, if it is installed, with a smaller number. All cores may be used."
        ),
        figures: vec![Figure {
            name: "counter",
            title: "Speed against one job after another",
            chart: Chart::bars("times as fast as serial", rows.collect()),
            about: format!(
                "From the start of the first job to the end of the last. {jobs} cores could reach {jobs} at most."
            ),
            command: "sward compare --cpu".into(),
        }],
        verdicts: vec![threads_verdict(comparison), python_verdict(comparison)],
        tables: vec![Table {
            caption: format!("{jobs} jobs that count"),
            columns: vec!["seconds".into(), "times as fast as serial".into()],
            rows: cells.collect(),
        }],
    }
}

/// Judges whether green threads on one worker share a core, as Python's threads share the GIL, while OS threads and processes do not.
fn threads_verdict(comparison: &Comparison) -> Verdict {
    let judge = || {
        let speed = |name| Some(speedup(comparison, name)?.median);
        let (green, threads, processes) =
            (speed("green threads")?, speed("OS threads")?, speed("processes")?);
        let cores = comparison.machine.cores.len();
        let single = if cores < 2 { " There is one core only, on which nothing can be faster." } else { "" };
        let sentence = format!(
            "On {cores} {}, green threads of one worker were {} as fast as one job after another, OS threads {}, processes {}.{single}",
            if cores == 1 { "core" } else { "cores" },
            times(green),
            times(threads),
            times(processes)
        );
        Some((green < FASTER && threads >= FASTER && processes >= FASTER, sentence))
    };
    Verdict::new(
        COUNTER,
        "green threads on one worker cannot speed up CPU work; OS threads and processes can",
        "all four ways to count",
        judge(),
    )
}

/// Judges whether, under a GIL, only processes speed up CPU work.
fn python_verdict(comparison: &Comparison) -> Verdict {
    let judge = || {
        let speed = |name| Some(speedup(comparison, name)?.median);
        let (threads, processes) = (speed("Python, threads")?, speed("Python, processes")?);
        let sentence = format!(
            "In Python on this machine, threads were {} as fast as one job after another, processes {}.",
            times(threads),
            times(processes)
        );
        Some((threads < FASTER && processes >= FASTER, sentence))
    };
    Verdict::new(
        COUNTER,
        "threads cannot speed up CPU work under a GIL, processes can",
        "python3 on the PATH",
        judge(),
    )
}
