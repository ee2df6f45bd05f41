//! Prints a line of JSON for each snapshot, for scripts.

use std::thread;
use std::time::Instant;

use sward::time::Duration;

use super::client::{Client, ConsoleAnswer};
use super::terminal::End;
use super::watch::Watch;
use crate::output;

/// Prints the first snapshot and those that follow, `count` in all.
///
/// # Errors
/// The program does not answer as it should, or standard output is closed.
pub(super) fn print(
    mut client: Client,
    first: ConsoleAnswer,
    interval: Duration,
    count: Option<u64>,
) -> anyhow::Result<End> {
    let mut watch = Watch::new(first.snapshot.clone());
    print_line(first, &watch)?;
    let mut printed = 1;
    let mut due = Instant::now();
    while count.is_none_or(|count| printed < count) {
        // A missed interval is not made up for.
        due = (due + interval).max(Instant::now());
        thread::sleep(due.saturating_duration_since(Instant::now()));
        let Some(answer) = client.ask()? else { return Ok(End::ProgramEnded) };
        watch.update(answer.snapshot.clone());
        print_line(answer, &watch)?;
        printed += 1;
    }
    Ok(End::Quit)
}

fn print_line(mut answer: ConsoleAnswer, watch: &Watch) -> anyhow::Result<()> {
    answer.value["rates"] = serde_json::to_value(watch.rates())?;
    output::print(&format!("{}\n", answer.value))
}
