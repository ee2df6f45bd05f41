//! Every green thread as text: [`dump`], and what SIGQUIT prints.
//!
//! Threads whose stacks are alike stand together, with the stack once below them, so a hundred thousand connections are a hundred
//! thousand lines and a handful of stacks, and names are looked up a handful of times.

use std::collections::HashMap;
use std::fmt::{self, Write as _};
use std::sync::Arc;

use super::snapshot::{self, Depth, Named, RuntimeSnapshot, ThreadSnapshot};
use super::{runtimes, trace};
use crate::report;
use crate::runtime::offload::offload;
use crate::runtime::shared::Shared;
use crate::runtime::wait;

/// Prints every green thread to standard error: name, number, worker, what it waits for and for how long, where it was spawned,
/// and the stack of those that are suspended. As with [`report`](crate::report()), nobody waits until it is written. SIGQUIT (Ctrl-\ on a terminal) does the same.
///
/// Called on an OS thread, it prints all runtimes of the process. Everything else goes on meanwhile: workers look at some threads between
/// turns. A worker that does not switch is named, and not waited for.
///
/// ```
/// // SAFETY: nothing here holds a scoped thread-local value across a blocking call.
/// unsafe {
///     sward::run(|| {
///         let thread = sward::thread::Builder::new().name("patient".into()).spawn(sward::thread::park)?;
///         sward::thread::yield_now();
///         let dump = sward::Dump::take().to_string();
///         assert!(dump.contains("\"patient\""), "{dump}");
///         thread.thread().unpark();
///         std::io::Result::Ok(())
///     })
/// }
/// # .unwrap().unwrap();
/// ```
#[track_caller]
pub fn dump() {
    report::post(Dump::take().0);
}

/// The text of a [`dump`], to print elsewhere.
#[derive(Clone, Debug)]
pub struct Dump(String);

impl Dump {
    /// Looks at every green thread, as [`dump`] does.
    #[track_caller]
    pub fn take() -> Dump {
        let runtimes = runtimes();
        let describe = move || Dump(runtimes.iter().map(describe).collect());
        if wait::is_green() { offload(describe) } else { describe() }
    }
}

impl fmt::Display for Dump {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// One runtime's part of a dump. Blocks the calling OS thread.
pub(super) fn describe(shared: &Arc<Shared>) -> String {
    let snapshot = snapshot::take(shared, Depth::Stacks);
    let mut text = heading(&snapshot);
    for group in groups(snapshot.threads) {
        text.push('\n');
        for seen in &group {
            let _ = writeln!(text, "{}", seen.snapshot);
        }
        if let Some(stack) = &group[0].stack {
            text.push_str(&trace::describe(stack));
        }
    }
    text
}

fn heading(snapshot: &RuntimeSnapshot) -> String {
    let RuntimeSnapshot { shared, threads, unstarted, silent } = snapshot;
    let mut text = format!(
        "sward: green threads: {}, not started: {unstarted}, workers: {}, engine: {}\n",
        threads.len(),
        shared.workers(),
        shared.engine(),
    );
    for &worker in silent {
        let _ = write!(text, "worker {worker} does not answer, since it does not switch");
        if let Some(task) = shared.last_resumed(worker) {
            let _ = write!(text, ": it runs {}", Named(&task));
        }
        text.push('\n');
    }
    text
}

/// Threads with the same stack, the largest group last, next to the prompt.
fn groups(threads: Vec<ThreadSnapshot>) -> Vec<Vec<ThreadSnapshot>> {
    let mut by_stack: HashMap<Option<Arc<[usize]>>, Vec<ThreadSnapshot>> = HashMap::new();
    for seen in threads {
        by_stack.entry(seen.stack.clone()).or_default().push(seen);
    }
    let mut groups: Vec<_> = by_stack.into_values().collect();
    for group in &mut groups {
        group.sort_by_key(|seen| seen.task().id());
    }
    groups.sort_by_key(|group| (std::cmp::Reverse(group.len()), group[0].task().id()));
    groups
}
