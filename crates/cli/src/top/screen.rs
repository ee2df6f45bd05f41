//! Draws a watched program on the whole terminal. Each row starts with its number, aligned to the right.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Modifier, Style, Stylize};
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;
use sward::time::Duration;
use sward_measure::quantity::{bytes, digits, short};

use super::snapshot::{RuntimeSnapshot, Snapshot, SpawnSite, ThreadWait};
use super::watch::Watch;

/// The width of the first column, which holds the numbers.
const NUMBER: usize = 14;

/// The width of the rates, below "PER SECOND".
const RATE: usize = 10;

/// The number of rates, unless there are several engines.
const RATES: usize = 7;

const HEADING: Style = Style::new().add_modifier(Modifier::BOLD.union(Modifier::UNDERLINED));

/// What is drawn.
pub(super) struct View<'a> {
    pub(super) watch: &'a Watch,
    pub(super) interval: Duration,
    pub(super) is_paused: bool,
    pub(super) order: SiteOrder,
    /// How long the program has not answered, if that is long enough to show.
    pub(super) silence: Option<Duration>,
}

/// The order of spawn sites.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum SiteOrder {
    Threads,
    LongestWait,
}

impl SiteOrder {
    pub(super) fn next(self) -> SiteOrder {
        match self {
            SiteOrder::Threads => SiteOrder::LongestWait,
            SiteOrder::LongestWait => SiteOrder::Threads,
        }
    }

    fn name(self) -> &'static str {
        match self {
            SiteOrder::Threads => "threads",
            SiteOrder::LongestWait => "longest wait",
        }
    }
}

/// Draws everything.
pub(super) fn draw(frame: &mut Frame<'_>, view: &View<'_>) {
    let area = frame.area();
    let (width, snapshot) = (usize::from(area.width), view.watch.snapshot());
    let workers = workers(view.watch, width, usize::from(area.height / 4));
    let rates_height = 1 + view.watch.rows().len().max(RATES);
    // Waits and spawn sites share the rest three to two, unless one of them needs less. At least one site is visible.
    let left_over = usize::from(area.height).saturating_sub(2 + rates_height + workers.len() + 1);
    let share = (left_over * 2 / 5).max(left_over.saturating_sub(snapshot.waits.len() + 1));
    let sites = (snapshot.sites.len() + 2).min(share).max(3);
    let [top, middle, below, waits, sites, bottom] = Layout::vertical([
        Constraint::Length(2),
        Constraint::Length(rates_height as u16),
        Constraint::Length(workers.len() as u16),
        Constraint::Fill(1),
        Constraint::Length(sites as u16),
        Constraint::Length(1),
    ])
    .areas(area);
    let [left, right] = Layout::horizontal([Constraint::Fill(5), Constraint::Fill(4)]).areas(middle);
    frame.render_widget(Paragraph::new(summary(view, width)), top);
    frame.render_widget(Paragraph::new(states(snapshot, left)), left);
    frame.render_widget(Paragraph::new(rates(view.watch, right)), right);
    frame.render_widget(Paragraph::new(workers), below);
    frame.render_widget(Paragraph::new(longest_waits(&snapshot.waits, width)), waits);
    frame.render_widget(Paragraph::new(spawn_sites(snapshot, view.order, sites)), sites);
    frame.render_widget(Paragraph::new(keys(view)), bottom);
}

fn summary<'a>(view: &View<'_>, width: usize) -> Vec<Line<'a>> {
    let snapshot = view.watch.snapshot();
    let up = duration(Duration::from_micros(snapshot.uptime_us));
    let what = format!(" {}, process {}, up {up}", snapshot.program, snapshot.pid);
    let how = match (view.silence, view.is_paused) {
        (Some(silence), _) => format!("no answer for {} ", duration(silence)),
        (None, true) => "paused ".to_owned(),
        (None, false) => format!("every {} ", duration(view.interval)),
    };
    let gap = " ".repeat(width.saturating_sub(what.chars().count() + how.chars().count()));
    let how = if view.silence.is_some() || view.is_paused { how.yellow() } else { how.into() };
    let memory = &snapshot.memory;
    let mut second = Vec::new();
    if let Some(resident) = memory.resident_bytes {
        second.push(format!("memory {}", bytes(resident as f64)));
    }
    let stacks = [memory.stack_resident_bytes, memory.stack_mapped_bytes].map(|size| bytes(size as f64));
    second.push(format!("stacks {} of {}", stacks[0], stacks[1]));
    if let Some(rates) = view.watch.rates() {
        second.push(format!("cpu {} %", digits(rates.cpu_percent)));
    }
    second.push(format!("{} spawned", short(total(snapshot, |runtime| runtime.spawned) as f64)));
    vec![
        Line::from(vec![what.into(), gap.into(), how]).bold().reversed(),
        Line::from(format!(" {}", second.join("   "))),
    ]
}

fn total(snapshot: &Snapshot, count: fn(&RuntimeSnapshot) -> u64) -> u64 {
    snapshot.runtimes.iter().map(count).sum()
}

fn states<'a>(snapshot: &Snapshot, area: Rect) -> Vec<Line<'a>> {
    let width = usize::from(area.width).saturating_sub(NUMBER + 3);
    let mut rows: Vec<Line<'_>> = Vec::new();
    let mut row = |threads: u64, label: &str| {
        rows.push(Line::from(format!("{threads:>NUMBER$}  {}", fit(label, width))));
    };
    if snapshot.unseen > 0 {
        row(snapshot.unseen, "on stalled workers");
    }
    for state in &snapshot.states {
        row(state.threads, &state.doing.to_string());
    }
    let (live, unstarted) =
        (total(snapshot, |runtime| runtime.live), total(snapshot, |runtime| runtime.unstarted));
    if unstarted > 0 {
        row(unstarted, "not started");
    }
    let title = heading("GREEN THREADS", &format!("{live} in all"), usize::from(area.width));
    with_rest(title, rows, 0, usize::from(area.height), "states")
}

fn rates<'a>(watch: &Watch, area: Rect) -> Vec<Line<'a>> {
    let width = usize::from(area.width);
    const NAME: usize = 13;
    let chart = width.saturating_sub(RATE + NAME + 4);
    let rows = watch.rows().iter().map(|row| {
        let present = row.values.back().copied().unwrap_or_default();
        let text = format!("{:>RATE$}  {:NAME$} ", short(present), fit(&row.name, NAME));
        Line::from(vec![Span::raw(text), sparkline(row.values.iter().copied(), chart).cyan()])
    });
    let text = if watch.rates().is_none() { "PER SECOND  measuring" } else { "PER SECOND" };
    let title = Line::styled(format!("{text:width$}"), HEADING);
    std::iter::once(title).chain(rows).collect()
}

/// Draws the last values as bars, scaled to the highest.
fn sparkline(values: impl DoubleEndedIterator<Item = f64> + ExactSizeIterator, width: usize) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let shown: Vec<f64> = values.rev().take(width).collect();
    let highest = shown.iter().copied().fold(0.0, f64::max);
    let bar = |&value: &f64| match highest {
        0.0 => BARS[0],
        _ => BARS[((value / highest * 7.0).round() as usize).min(7)],
    };
    shown.iter().rev().map(bar).collect()
}

/// Returns a line for each worker, and several for one that does not answer. Stalled workers come first.
fn workers<'a>(watch: &Watch, width: usize, height_max: usize) -> Vec<Line<'a>> {
    let title =
        heading("WORKERS", &format!("{:>8} {:>12} {:>7}  ENGINE", "THREADS", "SWITCHES/S", "CPU"), width);
    let (mut stalled, mut others) = (Vec::new(), Vec::new());
    for (runtime_index, runtime) in watch.snapshot().runtimes.iter().enumerate() {
        for (index, worker) in runtime.workers.iter().enumerate() {
            let number = format!("{index:>NUMBER$}");
            if let Some(stall) = &worker.stall {
                let lasting = duration(Duration::from_millis(stall.for_ms));
                stalled.push(Line::from(format!("{number}  does not answer for {lasting}:")).red().bold());
                let lines = wrap(&stall.by, width.saturating_sub(NUMBER + 3));
                stalled.extend(
                    lines.into_iter().map(|line| Line::from(format!("{:NUMBER$}  {line}", "")).red()),
                );
                continue;
            }
            let rates = watch.rates().and_then(|rates| rates.workers.get(runtime_index)?.get(index));
            let switches = rates.map_or_else(String::new, |rates| short(rates.switches));
            let cpu = rates.and_then(|rates| rates.cpu_percent);
            let cpu = cpu.map_or_else(String::new, |percent| format!("{} %", digits(percent)));
            let text = format!("{number}  {:>8} {switches:>12} {cpu:>7}  {}", worker.live, runtime.engine);
            others.push(Line::from(text));
        }
    }
    let room = (stalled.len() + 2).max(height_max);
    with_rest(title, stalled.into_iter().chain(others).collect(), 0, room, "workers")
}

fn longest_waits<'a>(waits: &[ThreadWait], width: usize) -> Vec<Line<'a>> {
    let rest = width.saturating_sub(NUMBER + 7);
    let thread = (rest * 3 / 10).min(24);
    let doing = (rest - thread) / 2;
    let site = rest - thread - doing;
    let title = format!("{:thread$}  {:doing$}  SPAWNED AT", "THREAD", "DOING");
    let rows = waits.iter().map(|wait| {
        let name = wait.name.as_deref().unwrap_or_default();
        let what =
            wait.doing.strip_prefix("is ").unwrap_or(&wait.doing).replace(" on descriptor ", " on fd ");
        Line::from(format!(
            "{:>NUMBER$}  {:thread$}  {:doing$}  {}",
            duration(Duration::from_millis(wait.for_ms)),
            fit(&format!("{} {name}", wait.thread), thread),
            fit(&what, doing),
            fit_end(&wait.spawned_at, site),
        ))
    });
    std::iter::once(heading("LONGEST WAITS", &title, width)).chain(rows).collect()
}

fn spawn_sites<'a>(snapshot: &Snapshot, order: SiteOrder, area: Rect) -> Vec<Line<'a>> {
    const LONGEST: usize = 12;
    let width = usize::from(area.width);
    let rest = width.saturating_sub(NUMBER + LONGEST + 7);
    let mostly = rest * 2 / 5;
    let site = rest - mostly;
    let mut sites: Vec<&SpawnSite> = snapshot.sites.iter().collect();
    if order == SiteOrder::LongestWait {
        sites.sort_by_key(|site| std::cmp::Reverse(site.longest_ms));
    }
    let rows = sites
        .iter()
        .map(|row| {
            Line::from(format!(
                "{:>NUMBER$}  {:>LONGEST$}  {:mostly$}  {}",
                row.threads,
                duration(Duration::from_millis(row.longest_ms)),
                fit(&row.mostly.to_string(), mostly),
                fit_end(&row.spawned_at, site),
            ))
        })
        .collect();
    let title = heading(
        "SPAWN SITES",
        &format!("{:>LONGEST$}  {:mostly$}  SPAWNED AT", "LONGEST WAIT", "MOSTLY"),
        width,
    );
    with_rest(title, rows, snapshot.sites_left_out as usize, usize::from(area.height), "spawn sites")
}

fn keys<'a>(view: &View<'_>) -> Line<'a> {
    let pause = if view.is_paused { "go on" } else { "pause" };
    let order = view.order.next().name();
    Line::from(format!(" q quit   p {pause}   + - interval   s sort spawn sites by {order}")).dim()
}

// ---- pieces ---------------------------------------------------------------------------------------------------------

/// Returns a heading: the name of the numbers, then the other columns.
fn heading<'a>(name: &str, columns: &str, width: usize) -> Line<'a> {
    let text = format!("{name:>NUMBER$}  {columns}");
    Line::styled(format!("{text:width$}"), HEADING)
}

/// Returns the title and as many rows as fit. The last row says how many are left out, together with `unknown` ones.
fn with_rest<'a>(
    title: Line<'a>,
    mut rows: Vec<Line<'a>>,
    unknown: usize,
    height: usize,
    what: &str,
) -> Vec<Line<'a>> {
    let room = height.saturating_sub(1);
    if (rows.len() > room || unknown > 0) && room > 0 {
        let shown = rows.len().min(room - 1);
        let left_out = rows.len() + unknown - shown;
        rows.truncate(shown);
        rows.push(Line::from(format!("{:NUMBER$}  and {left_out} more {what}", "")).dim());
    }
    rows.insert(0, title);
    rows
}

/// Shortens a long text to its beginning.
fn fit(text: &str, width: usize) -> String {
    match text.chars().count() <= width {
        true => text.to_owned(),
        false => text.chars().take(width.saturating_sub(1)).chain(['…']).collect(),
    }
}

/// Shortens a long text to its end, which is the part of a path that matters.
fn fit_end(text: &str, width: usize) -> String {
    let length = text.chars().count();
    match length <= width {
        true => text.to_owned(),
        false => ['…'].into_iter().chain(text.chars().skip(length + 1 - width.max(1))).collect(),
    }
}

/// Breaks a text into lines of whole words, unless a word is longer than a line.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let line = lines.last_mut().expect("there is one always");
        if line.is_empty() {
            *line = fit_end(word, width);
        } else if line.chars().count() + 1 + word.chars().count() <= width {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(fit_end(word, width));
        }
    }
    lines
}

/// Formats a duration briefly.
fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0 => format!("{} ms", duration.as_millis()),
        1..60 => format!("{} s", digits((duration.as_secs_f64() * 10.0).floor() / 10.0)),
        60..3600 => format!("{}m {:02}s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{}h {:02}m", seconds / 3600, seconds / 60 % 60),
        _ => format!("{}d {:02}h", seconds / 86_400, seconds / 3600 % 24),
    }
}

#[cfg(test)]
#[path = "screen/tests.rs"]
mod tests;
