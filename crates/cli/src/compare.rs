//! `sward compare`: measures every I/O model on this machine, and draws what came out.
//!
//! ```text
//!   options ──▶ plan ──▶ bench ──▶ study ──▶ experiment::chapters ──▶ page, table, files
//!   flags                  │       samples    pictures, verdicts
//!                          ▼
//!      experiment ──▶ server ──▶ child ──▶ step run ═▶ sward serve, or the user's server       (a process each)
//!                          └───▶ child ──▶ step run ═▶ sward load, step count, step tasks
//! ```
//!
//! | file | holds |
//! |---|---|
//! | `options.rs`, `plan.rs`, `estimate.rs` | the flags; what is to be measured; how long that takes |
//! | `subject.rs` | what is compared |
//! | `bench.rs` | the order of the measurements |
//! | `experiment.rs` | each experiment: how it is measured, drawn and judged |
//! | `server.rs` | a server under comparison, and `sward load` against it |
//! | `child.rs` | child processes that never outlive us |
//! | `step.rs` | what needs a process of its own |
//! | `study.rs`, `quantity.rs` | samples and medians; numbers in words |
//! | `machine.rs` | what it is measured on, and what else runs there |
//! | `verdict.rs` | what the numbers say about a claim |
//! | `plot.rs`, `page.rs`, `table.rs`, `files.rs` | pictures, the page, tables for the terminal, files |
//!
//! Nothing is hidden: rounds that were disturbed count, and are marked; what failed is listed; what was left out is said.

mod bench;
mod child;
mod estimate;
mod experiment;
mod files;
mod machine;
mod options;
mod page;
mod plan;
mod plot;
pub(crate) mod quantity;
mod server;
mod step;
mod study;
mod subject;
mod table;
mod verdict;

use std::fmt::{self, Write};

use anyhow::Context;
use sward::thread::available_parallelism;

use crate::{load, output};
use bench::Bench;
use experiment::{Chapter, Outcome};
use machine::Machine;
use plan::Plan;
use quantity::{about, printable};
use server::{Pinning, Server};

pub(crate) use options::Compare;
pub(crate) use step::Step;

/// Ctrl-C.
#[derive(Debug)]
struct Interrupted;

impl fmt::Display for Interrupted {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("interrupted; nothing has been written")
    }
}

impl std::error::Error for Interrupted {}

impl Compare {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let interrupt = load::interrupt()?;
        let plan = self.plan()?;
        let machine = Machine::here()?;
        for path in [Some(&self.out), self.json.as_ref(), self.csv.as_ref()].into_iter().flatten() {
            files::check(path)?;
        }
        if let Some(folder) = &self.svg {
            files::make_folder(folder)?;
        }
        let cores = machine.two_cores();
        let pinning = Pinning { server: cores.map(|cores| cores.0), generator: cores.map(|cores| cores.1) };
        for subject in plan.subjects.iter().filter(|subject| subject.is_foreign()) {
            Server::start(subject, pinning, &interrupt)
                .with_context(|| format!("--with, {}", subject.name))?;
        }
        let notes = notes(&plan, &machine, pinning);
        for note in &notes {
            sward::report(format_args!("note: {}", printable(note)));
        }
        let jobs = available_parallelism().map_or(2, |cores| cores.get().clamp(2, 4)) as u32;
        let estimate = about(plan.estimate(jobs));
        sward::report(format_args!("this takes about {estimate}; Ctrl-C ends it"));
        let mut bench = Bench::new(plan, pinning, jobs, interrupt);
        bench.run()?;
        let outcome = outcome(bench, machine, notes);
        let chapters = experiment::chapters(&outcome);
        // A full disk must not cost what has been measured: the tables are printed all the same.
        let written = self.write(&outcome, &chapters);
        output::print(&printable(&self.text(&outcome, &chapters, written.is_ok())?))?;
        written
    }

    /// Writes all files that were asked for, also after one that could not be written.
    ///
    /// # Errors
    /// The first that could not.
    fn write(&self, outcome: &Outcome, chapters: &[Chapter]) -> anyhow::Result<()> {
        let mut results = vec![files::write(&self.out, &page::page(outcome, chapters, &typed_command()))];
        if let Some(path) = &self.json {
            results.push(files::write(path, &files::json(outcome, chapters)?));
        }
        if let Some(path) = &self.csv {
            results.push(files::write(path, &files::csv(outcome)));
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
    fn text(&self, outcome: &Outcome, chapters: &[Chapter], has_page: bool) -> anyhow::Result<String> {
        let mut text = String::new();
        for chapter in chapters {
            writeln!(text, "{}\n", chapter.title)?;
            for table in &chapter.tables {
                writeln!(text, "{}", table.to_text())?;
            }
            for failure in outcome.study.failures(chapter.experiment) {
                writeln!(text, "  failed: {failure}")?;
            }
            for verdict in &chapter.verdicts {
                let (mark, answer) = (verdict.answer.mark(), verdict.answer.words());
                writeln!(text, "  {mark} \"{}\" {answer}. {}\n", verdict.claim, verdict.sentence)?;
            }
        }
        writeln!(text, "~ disturbed by other programs; ± half of the spread of the rounds")?;
        for note in &outcome.notes {
            writeln!(text, "note: {note}")?;
        }
        if has_page {
            let path = std::path::absolute(&self.out).context("finding the page")?;
            writeln!(text, "The pictures: file://{}", path.display())?;
        }
        Ok(text)
    }
}

/// What a reader has to know before anything is measured.
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
        notes.push("Each server may use one core, however many there are, so that models are compared and not cores.".to_owned());
    }
    notes
}

fn outcome(bench: Bench, machine: Machine, mut notes: Vec<String>) -> Outcome {
    let took = bench.elapsed();
    notes.extend(bench.notes);
    if bench.left_out > 0 {
        notes.push(format!(
            "{} measurements were left out, since the time was up; without --quick all are made.",
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
    Outcome { plan: bench.plan, machine, study: bench.study, took, notes }
}

/// The command as it was typed, but for the path of the program.
fn typed_command() -> String {
    let quoted = |argument: String| {
        let plain = |letter: char| letter.is_alphanumeric() || "-_=./,:+%@".contains(letter);
        if argument.chars().all(plain) && !argument.is_empty() {
            argument
        } else {
            format!("'{}'", argument.replace('\'', "'\\''"))
        }
    };
    let arguments =
        std::env::args_os().skip(1).map(|argument| quoted(argument.to_string_lossy().into_owned()));
    ["sward".to_owned()].into_iter().chain(arguments).collect::<Vec<_>>().join(" ")
}
