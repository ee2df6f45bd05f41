//! Measures every I/O model on one machine and draws the results. `sward compare` is a command line for this library.
//!
//! ```text
//!   request ──▶ plan ──▶ experiments::measure ──▶ study ──▶ experiments::chapters ──▶ page, table, files
//!                          │                     samples     charts, verdicts
//!                          ▼
//!                        bench ──▶ measured_server ──▶ child ──▶ perform ═▶ sward serve, or the user's server  (a process each)
//!                          └───────────┴─────────────▶ child ──▶ perform ═▶ sward load, counting, threads
//! ```
//!
//! | file | holds |
//! |---|---|
//! | `request.rs` | what a caller asks for |
//! | `plan.rs`, `estimate.rs` | what will be measured; how long that takes |
//! | `subject.rs` | what is compared |
//! | `experiments.rs` | the order of the measurements; below it each experiment: how it is measured, drawn and judged |
//! | `bench.rs` | a run in progress: measurements, repeated if they fail while disturbed |
//! | `measured_server.rs` | a server under comparison, and `sward load` against it |
//! | `background_load.rs` | CPU time of other programs |
//! | `child.rs` | child processes that never outlive this one |
//! | `step.rs`, `perform.rs` | parts that need a process of their own, and how they run there |
//! | `study.rs` | samples and their medians |
//! | `machine.rs` | the kernel, processor and cores |
//! | `chapter.rs`, `verdict.rs` | an experiment's part of the page; whether the numbers support a claim |
//! | `plot.rs`, `page.rs`, `table.rs`, `files.rs` | charts, the page, tables for the terminal, files |
//! | `error.rs` | the error of all functions |
//!
//! The calling program must be `sward`, or have the same commands `serve`, `load` and `compare-step`: it is started again for each
//! server, each run of the generator and each [step](perform).
//!
//! The results show everything: disturbed rounds count and are marked, failures are listed, and omissions are noted.

// Allowed where a step enters green threads.
#![deny(unsafe_code)]

mod background_load;
mod bench;
mod chapter;
mod child;
mod error;
mod estimate;
mod experiments;
mod files;
mod machine;
mod measured_server;
mod page;
mod perform;
mod plan;
mod plot;
mod request;
mod step;
mod study;
mod subject;
mod table;
mod verdict;

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use sward::thread::available_parallelism;
use sward_measure::quantity::about;
use sward_measure::terminal::{notice, printable};

use bench::Bench;
use chapter::{Chapter, Comparison};
use error::Context;
use machine::Machine;
use measured_server::{MeasuredServer, Pinning};
use plan::Plan;

pub use error::{Error, Result};
pub use perform::perform;
pub use plan::{Experiment, Mode};
pub use request::Request;

/// The result of a comparison.
#[derive(Debug)]
pub struct Finished {
    /// The tables and verdicts, for a terminal.
    pub text: String,
    /// Whether the files could be written. Even on a full disk, the results are in `text`.
    pub written: Result<()>,
}

impl Request {
    /// Makes the comparison and writes its files. Shows its progress on standard error.
    ///
    /// # Errors
    /// [`Error::Interrupted`] when `interrupt` is raised. [`Error::Failed`] if nothing is left to measure, the user's server does not start,
    /// or a file could not be written. Failures of single measurements are part of the result.
    pub fn run(&self, interrupt: &Arc<AtomicBool>) -> Result<Finished> {
        let plan = self.plan()?;
        let machine = Machine::here()?;
        for path in [Some(&self.page), self.json.as_ref(), self.csv.as_ref()].into_iter().flatten() {
            files::check(path)?;
        }
        if let Some(folder) = &self.svg {
            files::make_folder(folder)?;
        }
        let cores = machine.two_cores();
        let pinning = Pinning { server: cores.map(|cores| cores.0), generator: cores.map(|cores| cores.1) };
        for subject in plan.subjects.iter().filter(|subject| subject.is_foreign()) {
            MeasuredServer::start(subject, pinning, interrupt)
                .context(format_args!("--with, {}", subject.name))?;
        }
        let notes = notes(&plan, &machine, pinning);
        for note in &notes {
            notice(&format!("note: {note}"));
        }
        let jobs = available_parallelism().map_or(2, |cores| cores.get().clamp(2, 4)) as u32;
        notice(&format!("this takes about {}; Ctrl-C ends it", about(plan.estimate(jobs))));
        let mut bench = Bench::new(plan, pinning, jobs, Arc::clone(interrupt));
        experiments::measure(&mut bench)?;
        let comparison = comparison(bench, machine, notes);
        let chapters = experiments::chapters(&comparison);
        let written = self.write(&comparison, &chapters);
        let text = self.text(&comparison, &chapters, written.is_ok())?;
        Ok(Finished { text: printable(&text).into_owned(), written })
    }

    /// Writes all files that were asked for, also after one that could not be written.
    ///
    /// # Errors
    /// The first that could not.
    fn write(&self, comparison: &Comparison, chapters: &[Chapter]) -> Result<()> {
        let mut results = vec![files::write(&self.page, &page::page(comparison, chapters, &self.command)?)];
        if let Some(path) = &self.json {
            results.push(files::write(path, &files::json(comparison, chapters)?));
        }
        if let Some(path) = &self.csv {
            results.push(files::write(path, &files::csv(comparison)));
        }
        if let Some(folder) = &self.svg {
            for figure in chapters.iter().flat_map(|chapter| &chapter.figures) {
                let path = folder.join(format!("{}.svg", figure.name));
                results.push(files::write(&path, &page::standalone(figure)));
            }
        }
        results.into_iter().collect()
    }

    /// The tables and verdicts for the terminal, and where the page is.
    fn text(&self, comparison: &Comparison, chapters: &[Chapter], has_page: bool) -> Result<String> {
        let mut text = String::new();
        for chapter in chapters {
            writeln!(text, "{}\n", chapter.title)?;
            for table in &chapter.tables {
                writeln!(text, "{}", table.to_text())?;
            }
            for failure in comparison.study.failures(chapter.experiment) {
                writeln!(text, "  failed: {failure}")?;
            }
            for verdict in &chapter.verdicts {
                let (mark, answer) = (verdict.answer.mark(), verdict.answer.words());
                writeln!(text, "  {mark} \"{}\" {answer}. {}\n", verdict.claim, verdict.sentence)?;
            }
        }
        writeln!(text, "~ disturbed by other programs; ± half of the spread of the rounds")?;
        for note in &comparison.notes {
            writeln!(text, "note: {note}")?;
        }
        if has_page {
            let path = std::path::absolute(&self.page).context("finding the page")?;
            writeln!(text, "The pictures: file://{}", path.display())?;
        }
        Ok(text)
    }
}

/// Returns remarks that hold before anything is measured.
fn notes(plan: &Plan, machine: &Machine, pinning: Pinning) -> Vec<String> {
    let mut notes = plan.notes.clone();
    notes.push(match (pinning.server, pinning.generator) {
        (Some(server), Some(generator)) => {
            format!("The server runs on core {server}, the generator on core {generator}.")
        }
        _ => "There is one core only: server and generator share it, so rates are lower and latencies longer than with two."
            .to_owned(),
    });
    if cfg!(debug_assertions) {
        notes.push("This is a debug build: build with --release before you believe a figure.".to_owned());
    }
    if machine.cores.len() > 2 {
        notes.push(
            "Each server may use one core only, so that models are compared and not numbers of cores."
                .to_owned(),
        );
    }
    notes
}

fn comparison(bench: Bench, machine: Machine, mut notes: Vec<String>) -> Comparison {
    let took = bench.elapsed();
    notes.extend(bench.notes);
    if bench.left_out > 0 {
        notes.push(format!(
            "{} measurements were skipped because the time was up; without --quick, none is.",
            bench.left_out
        ));
    }
    let noisy = bench.study.samples.iter().filter(|sample| sample.noisy).count();
    if noisy > 0 {
        notes.push(format!(
            "Other programs disturbed {noisy} of {} measurements, which are marked. On a quiet machine the figures are better.",
            bench.study.samples.len()
        ));
    }
    Comparison { plan: bench.plan, machine, study: bench.study, took, notes }
}
