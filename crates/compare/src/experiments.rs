//! The experiments. Each has a file that measures it, draws it and tests claims. This file orders them: all experiments run in each
//! round, so that servers are measured close together in time, and again in the next round.

mod active_connections;
mod cpu_work;
mod server_at_rest;
mod silent_connections;
mod thread_capacity;
mod wakeup_latency;

use std::io::{IsTerminal, stderr};

use sward_measure::terminal::notice;

use crate::bench::Bench;
use crate::chapter::{Chapter, Comparison};
use crate::error::Result;
use crate::plan::Experiment;

/// Measures everything in interleaved rounds, so that a temporary disturbance affects all servers alike.
///
/// # Errors
/// [`Error::Interrupted`](crate::Error::Interrupted). A failed measurement is a sample of the study, not an error.
pub(crate) fn measure(bench: &mut Bench) -> Result<()> {
    let (rounds, experiments) = (bench.plan.rounds, bench.plan.experiments.clone());
    for round in 1..=rounds {
        for &experiment in &experiments {
            if !stderr().is_terminal() {
                notice(&format!("round {round} of {rounds}: {}", experiment.name()));
            }
            match experiment {
                Experiment::Active => active_connections::measure(bench, round),
                Experiment::Idle => silent_connections::measure(bench, round),
                Experiment::Rest => server_at_rest::measure(bench, round),
                Experiment::Wakeup => wakeup_latency::measure(bench, round),
                Experiment::Counter => cpu_work::measure(bench, round),
                Experiment::Tasks => thread_capacity::measure(bench, round),
            }?;
        }
    }
    bench.show("");
    Ok(())
}

/// Returns a chapter for each experiment.
pub(crate) fn chapters(comparison: &Comparison) -> Vec<Chapter> {
    let chapter = |experiment: &Experiment| match experiment {
        Experiment::Active => active_connections::chapter(comparison),
        Experiment::Idle => silent_connections::chapter(comparison),
        Experiment::Rest => server_at_rest::chapter(comparison),
        Experiment::Wakeup => wakeup_latency::chapter(comparison),
        Experiment::Counter => cpu_work::chapter(comparison),
        Experiment::Tasks => thread_capacity::chapter(comparison),
    };
    let mut chapters: Vec<_> = comparison.plan.experiments.iter().map(chapter).collect();
    for chapter in &mut chapters {
        chapter.figures.retain(|figure| !figure.chart.is_empty());
        let (noisy, all) = comparison.study.noisy(chapter.experiment);
        chapter.verdicts.iter_mut().for_each(|verdict| verdict.weaken(noisy, all));
    }
    chapters
}
