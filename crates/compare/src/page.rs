//! The page: one HTML file with everything in it. No script, nothing from the network. It is well-formed XML, too, but for its first line.

use std::fmt::Write;

use crate::chapter::{Chapter, Comparison, Figure};
use crate::plot::{self, escape};
use crate::table::Table;
use crate::verdict::{Answer, Verdict};
use sward_measure::quantity::count;

const STYLE: &str = include_str!("page/page.css");

/// The width of charts on wide screens, in pixels.
const WIDE: f64 = 720.0;

/// And on phones.
const NARROW: f64 = 350.0;

/// The page of a run.
pub(crate) fn page(comparison: &Comparison, chapters: &[Chapter], command: &str) -> String {
    let mut page = String::new();
    head(&mut page);
    introduction(&mut page, comparison, command);
    summary(&mut page, chapters);
    subjects(&mut page, comparison);
    for chapter in chapters {
        section(&mut page, comparison, chapter);
    }
    page.push_str("</main>\n</body>\n</html>\n");
    page
}

fn head(page: &mut String) {
    add(
        page,
        format_args!(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n\
         <meta name=\"color-scheme\" content=\"light dark\"/>\n<link rel=\"icon\" href=\"data:,\"/>\n\
         <title>I/O models compared</title>\n<style>\n{}{STYLE}</style>\n</head>\n<body>\n<main>",
            plot::STYLE
        ),
    );
}

fn introduction(page: &mut String, comparison: &Comparison, command: &str) {
    let (machine, plan) = (&comparison.machine, &comparison.plan);
    add(page, "<h1>I/O models, compared on this machine</h1>");
    add(
        page,
        "<p>One and the same service (it reads bytes and sends them back in upper case), run under every I/O model and measured side by side.</p>",
    );
    add(page, "<dl class=\"facts\">");
    let rounds = format!(
        "{} {}, interleaved (A B C A B C); {} ms for each measurement; medians, and their spread from the lowest to the highest round",
        plan.rounds,
        if plan.rounds == 1 { "round" } else { "rounds" },
        plan.window.as_millis()
    );
    let facts = [
        ("When", escape(&machine.date)),
        ("Command", code(command)),
        ("Kernel", escape(&machine.kernel)),
        ("CPU", format!("{}, {} of its cores usable", escape(&machine.processor), machine.cores.len())),
        ("Program", escape(&machine.program)),
        ("Rounds", rounds),
        ("Took", format!("{:.0} s", comparison.took.as_secs_f64())),
    ];
    for (name, value) in facts {
        add(page, format_args!("<dt>{name}</dt><dd>{value}</dd>"));
    }
    add(page, "</dl>");
    if !comparison.notes.is_empty() {
        add(page, "<ul class=\"notes\">");
        for note in &comparison.notes {
            add(page, format_args!("<li>{}</li>", escape(note)));
        }
        add(page, "</ul>");
    }
}

fn summary(page: &mut String, chapters: &[Chapter]) {
    add(page, "<section id=\"verdicts\">\n<h2>What people say, and what was measured here</h2>");
    for chapter in chapters {
        for one in &chapter.verdicts {
            verdict(page, one);
        }
    }
    add(page, "</section>");
}

fn verdict(page: &mut String, verdict: &Verdict) {
    let class = match verdict.answer {
        Answer::Holds => "holds",
        Answer::DoesNotHold => "fails",
        Answer::NotClear | Answer::NotMeasured => "open",
    };
    add(
        page,
        format_args!(
            "<div class=\"verdict {class}\"><p class=\"claim\"><span class=\"sign\" aria-hidden=\"true\">{}</span> “{}” <strong>{}.</strong></p><p>{}</p></div>",
            verdict.answer.mark(),
            escape(verdict.claim),
            verdict.answer.words(),
            escape(&verdict.sentence)
        ),
    );
}

fn subjects(page: &mut String, comparison: &Comparison) {
    add(
        page,
        "<section id=\"subjects\">\n<h2>What was compared</h2>\n<div class=\"scroll\"><table><thead><tr><th>name</th><th>what it is</th><th>command</th></tr></thead><tbody>",
    );
    for subject in &comparison.plan.subjects {
        add(
            page,
            format_args!(
                "<tr><th scope=\"row\">{}</th><td>{}</td><td>{}</td></tr>",
                escape(&subject.name),
                escape(&subject.description),
                code(&subject.command)
            ),
        );
    }
    add(
        page,
        "</tbody></table></div>\n<p>In the plots each has its own colour, marker and dash. A hollow marker, and <b>~</b> in tables, means that other programs \
               or the hypervisor took more than a fifth of a core during at least one of the rounds; such rounds count like all others. \
               Upright strokes, and ± in tables, are the spread of the rounds.</p>\n</section>",
    );
}

fn section(page: &mut String, comparison: &Comparison, chapter: &Chapter) {
    let name = chapter.experiment.name();
    add(
        page,
        format_args!(
            "<section id=\"{name}\">\n<h2>{}</h2>\n<p>{}</p>",
            escape(chapter.title),
            escape(&chapter.about)
        ),
    );
    for figure in &chapter.figures {
        draw(page, comparison, figure);
    }
    for one in &chapter.verdicts {
        verdict(page, one);
    }
    let failures = comparison.study.failures(chapter.experiment);
    if !failures.is_empty() {
        add(
            page,
            "<details open=\"open\"><summary>What failed, and is not in the plots</summary><ul class=\"notes\">",
        );
        for failure in failures {
            add(page, format_args!("<li>{}</li>", escape(&failure)));
        }
        add(page, "</ul></details>");
    }
    let (noisy, all) = comparison.study.noisy(chapter.experiment);
    add(
        page,
        format_args!(
            "<p class=\"faint\">{} of {} measurements were disturbed by other programs.</p>",
            count(noisy as f64),
            count(all as f64)
        ),
    );
    add(page, "<details><summary>The figures as tables</summary>");
    for one in &chapter.tables {
        table(page, one);
    }
    add(page, "</details>\n</section>");
}

fn draw(page: &mut String, comparison: &Comparison, figure: &Figure) {
    let machine = &comparison.machine;
    add(page, format_args!("<figure id=\"{}\">\n<h3>{}</h3>", figure.name, escape(figure.title)));
    for (class, width) in [("wide", WIDE), ("narrow", NARROW)] {
        add(page, format_args!("<div class=\"{class}\">{}</div>", figure.chart.draw(width, figure.title)));
    }
    add(
        page,
        format_args!(
            "<figcaption>{} <span class=\"faint\">Measured with {} on {}, {}, {}.</span></figcaption>\n</figure>",
            escape(&figure.about),
            code(&figure.command),
            escape(&machine.kernel),
            escape(&machine.processor),
            escape(&machine.date)
        ),
    );
}

fn table(page: &mut String, table: &Table) {
    add(
        page,
        format_args!(
            "<div class=\"scroll\"><table><caption>{}</caption><thead><tr><th></th>",
            escape(&table.caption)
        ),
    );
    for column in &table.columns {
        add(page, format_args!("<th>{}</th>", escape(column)));
    }
    add(page, "</tr></thead><tbody>");
    for (name, cells) in &table.rows {
        let cells: Vec<_> = cells.iter().map(|cell| format!("<td>{}</td>", escape(cell))).collect();
        add(page, format_args!("<tr><th scope=\"row\">{}</th>{}</tr>", escape(name), cells.concat()));
    }
    add(page, "</tbody></table></div>");
}

/// A command. Its flags are kept from being broken at their hyphens.
fn code(command: &str) -> String {
    let word = |word: &str| match word.starts_with('-') {
        true => format!("<span>{}</span>", escape(word)),
        false => escape(word),
    };
    format!("<code>{}</code>", command.split(' ').map(word).collect::<Vec<_>>().join(" "))
}

/// A chart as a file of its own, with its style sheet inside.
pub(crate) fn standalone(figure: &Figure) -> String {
    let picture = figure.chart.draw(WIDE, figure.title);
    let (start, rest) = picture.split_once('\n').unwrap_or((&picture, ""));
    format!("{start}\n<style>\n{}</style>\n{rest}", plot::STYLE)
}

fn add(page: &mut String, element: impl std::fmt::Display) {
    writeln!(page, "{element}").expect("a string takes everything");
}
