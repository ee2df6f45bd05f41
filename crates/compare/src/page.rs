//! The page: one HTML file with everything in it. It has no script and loads nothing from the network. But for its first line, it is
//! also well-formed XML.

use std::fmt::{self, Write};

use sward_measure::quantity::count;

use crate::chapter::{Chapter, Comparison, Figure};
use crate::plot::{self, escape};
use crate::table::Table;
use crate::verdict::{Answer, Verdict};

const STYLE: &str = include_str!("page/page.css");

/// The width of charts on wide screens, in pixels.
const WIDE: f64 = 720.0;

/// The width of charts on phones, in pixels.
const NARROW: f64 = 350.0;

/// Returns the page of a comparison that `command` asked for.
pub(crate) fn page(
    comparison: &Comparison,
    chapters: &[Chapter],
    command: &str,
) -> Result<String, fmt::Error> {
    let mut page = String::new();
    head(&mut page)?;
    introduction(&mut page, comparison, command)?;
    summary(&mut page, chapters)?;
    subjects(&mut page, comparison)?;
    for chapter in chapters {
        section(&mut page, comparison, chapter)?;
    }
    page.push_str("</main>\n</body>\n</html>\n");
    Ok(page)
}

fn head(page: &mut String) -> fmt::Result {
    writeln!(
        page,
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n\
         <meta name=\"color-scheme\" content=\"light dark\"/>\n<link rel=\"icon\" href=\"data:,\"/>\n\
         <title>I/O models compared</title>\n<style>\n{}{STYLE}</style>\n</head>\n<body>\n<main>",
        plot::STYLE
    )
}

fn introduction(page: &mut String, comparison: &Comparison, command: &str) -> fmt::Result {
    let (machine, plan) = (&comparison.machine, &comparison.plan);
    writeln!(page, "<h1>I/O models, compared on this machine</h1>")?;
    writeln!(
        page,
        "<p>The same service, which sends back in upper case what it reads, runs under every I/O model; all are measured side by side.</p>"
    )?;
    writeln!(page, "<dl class=\"facts\">")?;
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
        writeln!(page, "<dt>{name}</dt><dd>{value}</dd>")?;
    }
    writeln!(page, "</dl>")?;
    if comparison.notes.is_empty() { Ok(()) } else { list(page, &comparison.notes) }
}

fn list(page: &mut String, items: &[String]) -> fmt::Result {
    let items: String = items.iter().map(|item| format!("<li>{}</li>\n", escape(item))).collect();
    writeln!(page, "<ul class=\"notes\">\n{items}</ul>")
}

fn summary(page: &mut String, chapters: &[Chapter]) -> fmt::Result {
    writeln!(page, "<section id=\"verdicts\">\n<h2>Claims, and what was measured here</h2>")?;
    for chapter in chapters {
        for one in &chapter.verdicts {
            verdict(page, one)?;
        }
    }
    writeln!(page, "</section>")
}

fn verdict(page: &mut String, verdict: &Verdict) -> fmt::Result {
    let class = match verdict.answer {
        Answer::Holds => "holds",
        Answer::DoesNotHold => "fails",
        Answer::NotClear | Answer::NotMeasured => "open",
    };
    writeln!(
        page,
        "<div class=\"verdict {class}\"><p class=\"claim\"><span class=\"sign\" aria-hidden=\"true\">{}</span> “{}” <strong>{}.</strong></p><p>{}</p></div>",
        verdict.answer.mark(),
        escape(verdict.claim),
        verdict.answer.words(),
        escape(&verdict.sentence)
    )
}

fn subjects(page: &mut String, comparison: &Comparison) -> fmt::Result {
    writeln!(
        page,
        "<section id=\"subjects\">\n<h2>What was compared</h2>\n<div class=\"scroll\"><table><thead><tr><th>name</th><th>what it is</th><th>command</th></tr></thead><tbody>"
    )?;
    for subject in &comparison.plan.subjects {
        writeln!(
            page,
            "<tr><th scope=\"row\">{}</th><td>{}</td><td>{}</td></tr>",
            escape(&subject.name),
            escape(&subject.description),
            code(&subject.command)
        )?;
    }
    writeln!(
        page,
        "</tbody></table></div>\n<p>In the charts each has its own colour, marker and dash. A hollow marker, and <b>~</b> in tables, means that other programs \
               or the hypervisor took more than a fifth of a core during at least one of the rounds; such rounds count like all others. \
               Upright strokes, and ± in tables, are the spread of the rounds.</p>\n</section>"
    )
}

fn section(page: &mut String, comparison: &Comparison, chapter: &Chapter) -> fmt::Result {
    let name = chapter.experiment.name();
    writeln!(
        page,
        "<section id=\"{name}\">\n<h2>{}</h2>\n<p>{}</p>",
        escape(chapter.title),
        escape(&chapter.about)
    )?;
    for figure in &chapter.figures {
        draw(page, comparison, figure)?;
    }
    for one in &chapter.verdicts {
        verdict(page, one)?;
    }
    let failures = comparison.study.failures(chapter.experiment);
    if !failures.is_empty() {
        writeln!(
            page,
            "<details open=\"open\"><summary>Failed measurements, which the charts leave out</summary>"
        )?;
        list(page, &failures)?;
        writeln!(page, "</details>")?;
    }
    let (noisy, all) = comparison.study.noisy(chapter.experiment);
    writeln!(
        page,
        "<p class=\"faint\">{} of {} measurements were disturbed by other programs.</p>",
        count(noisy as f64),
        count(all as f64)
    )?;
    writeln!(page, "<details><summary>The figures as tables</summary>")?;
    for one in &chapter.tables {
        table(page, one)?;
    }
    writeln!(page, "</details>\n</section>")
}

fn draw(page: &mut String, comparison: &Comparison, figure: &Figure) -> fmt::Result {
    let machine = &comparison.machine;
    writeln!(page, "<figure id=\"{}\">\n<h3>{}</h3>", figure.name, escape(figure.title))?;
    for (class, width) in [("wide", WIDE), ("narrow", NARROW)] {
        writeln!(page, "<div class=\"{class}\">{}</div>", figure.chart.draw(width, figure.title))?;
    }
    writeln!(
        page,
        "<figcaption>{} <span class=\"faint\">Measured with {} on {}, {}, {}.</span></figcaption>\n</figure>",
        escape(&figure.about),
        code(&figure.command),
        escape(&machine.kernel),
        escape(&machine.processor),
        escape(&machine.date)
    )
}

fn table(page: &mut String, table: &Table) -> fmt::Result {
    writeln!(
        page,
        "<div class=\"scroll\"><table><caption>{}</caption><thead><tr><th></th>",
        escape(&table.caption)
    )?;
    for column in &table.columns {
        writeln!(page, "<th>{}</th>", escape(column))?;
    }
    writeln!(page, "</tr></thead><tbody>")?;
    for (name, cells) in &table.rows {
        let cells: Vec<_> = cells.iter().map(|cell| format!("<td>{}</td>", escape(cell))).collect();
        writeln!(page, "<tr><th scope=\"row\">{}</th>{}</tr>", escape(name), cells.concat())?;
    }
    writeln!(page, "</tbody></table></div>")
}

/// Marks up a command. Its flags are not broken at their hyphens.
fn code(command: &str) -> String {
    let word = |word: &str| match word.starts_with('-') {
        true => format!("<span>{}</span>", escape(word)),
        false => escape(word),
    };
    format!("<code>{}</code>", command.split(' ').map(word).collect::<Vec<_>>().join(" "))
}

/// Returns a chart as a file of its own, with its style sheet inside.
pub(crate) fn standalone(figure: &Figure) -> String {
    let picture = figure.chart.draw(WIDE, figure.title);
    let (start, rest) = picture.split_once('\n').unwrap_or((&picture, ""));
    format!("{start}\n<style>\n{}</style>\n{rest}", plot::STYLE)
}
