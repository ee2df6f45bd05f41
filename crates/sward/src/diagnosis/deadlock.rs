//! Circles of threads that wait for each other, and what is done about them.
//!
//! A thread *depends* on those without whom its wait cannot end: the thread that it joins, all unfinished threads of its scope, all
//! holders of the lock that it wants. (Anybody may send into a channel or notify a condvar, so such a wait depends on nobody.)
//! A circle of dependencies never ends by itself.
//!
//! A census looks at each thread at its own moment. So a circle is believed only if a second census finds that none of its threads
//! has run since the first: then all these waits were there at once.

use std::collections::{HashMap, HashSet};
use std::fmt::{self, Write as _};
use std::num::NonZeroU64;
use std::sync::{Arc, Mutex, PoisonError};

use super::census::{self, Census, Depth, Named, Short, Sighting, WaitKind};
use super::{holds, runtimes};
use crate::runtime::mailbox::{Message, Progress};
use crate::runtime::offload::offload;
use crate::runtime::shared::Shared;
use crate::runtime::task::Task;
use crate::runtime::wait;
use crate::runtime::worker::Worker;
use crate::thread::Thread;

/// How many threads a report describes at most.
const DESCRIBED_MAX: usize = 100;

/// Green threads that wait for each other in a circle. Its text is the report: who waits for what, held by whom, taken where,
/// spawned where.
#[derive(Clone, Debug)]
pub struct Deadlock {
    threads: Vec<Thread>,
    report: String,
}

impl Deadlock {
    /// The threads of the circle: each waits for the next, and the last for the first.
    pub fn threads(&self) -> &[Thread] {
        &self.threads
    }
}

impl fmt::Display for Deadlock {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.report)
    }
}

/// Looks for green threads that wait for each other in a circle, in the calling thread's runtime; on an OS thread, in all of the
/// process. Everything else goes on meanwhile.
///
/// Joins and scopes are always known. Who holds a lock is known in debug builds, and if `SWARD_DEADLOCK` is `total`, `partial`
/// or `abort`. With `SWARD_DEADLOCK=partial` this is done each second, and a thread of each circle panics with the report.
///
/// ```
/// // SAFETY: nothing here holds a scoped thread-local value across a blocking call.
/// let deadlocks = unsafe { sward::run(sward::deadlocks) };
/// assert!(deadlocks.unwrap().is_empty());
/// ```
#[track_caller]
pub fn deadlocks() -> Vec<Deadlock> {
    let runtimes = runtimes();
    let look = move || {
        let found = runtimes.iter().flat_map(|shared| {
            let circles = confirmed(shared);
            circles.iter().map(|circle| Deadlock::new(circle)).collect::<Vec<_>>()
        });
        found.collect()
    };
    if wait::is_green() { offload(look) } else { look() }
}

impl Deadlock {
    fn new(circle: &[Sighting]) -> Deadlock {
        let threads = circle.iter().map(|sighting| sighting.snapshot.thread().clone()).collect();
        Deadlock { threads, report: circle_report(circle) }
    }
}

/// The circles that are really there. Blocks the calling OS thread.
pub(super) fn confirmed(shared: &Arc<Shared>) -> Vec<Vec<Sighting>> {
    let census = census::take(shared, Depth::States);
    let suspects = circles(&census);
    if suspects.is_empty() {
        return Vec::new();
    }
    let later = census::take(shared, Depth::States);
    let waiting: HashSet<_> =
        later.threads.iter().filter(|seen| seen.wait().is_some()).map(identity).collect();
    let stood_still = |circle: &Vec<&Sighting>| circle.iter().all(|seen| waiting.contains(&identity(seen)));
    let circles = suspects.into_iter().filter(stood_still);
    circles.map(|circle| circle.into_iter().cloned().collect()).collect()
}

fn identity(sighting: &Sighting) -> (NonZeroU64, u64) {
    (sighting.task().id(), sighting.stamp)
}

/// Circles in what a census saw. No thread is in two of them.
pub(super) fn circles(census: &Census) -> Vec<Vec<&Sighting>> {
    let threads = &census.threads;
    let places: HashMap<_, _> =
        threads.iter().enumerate().map(|(place, seen)| (seen.task().id(), place)).collect();
    let depends = |seen: &Sighting| -> Vec<usize> {
        dependencies(seen).iter().filter_map(|task| places.get(&task.id()).copied()).collect()
    };
    let edges: Vec<_> = threads.iter().map(depends).collect();
    let circles = circles_of(&edges).into_iter();
    circles.map(|circle| circle.into_iter().map(|place| &threads[place]).collect()).collect()
}

/// Those without whom the thread's wait cannot end.
fn dependencies(sighting: &Sighting) -> Vec<Arc<Task>> {
    match sighting.wait().map(|wait| &wait.kind) {
        Some(WaitKind::Ends(tasks)) => tasks.clone(),
        Some(WaitKind::Lock(_, address)) => holds::of(*address).into_iter().map(|hold| hold.holder).collect(),
        _ => Vec::new(),
    }
}

/// Circles in a graph, by depth-first search; none of those found shares a node with another.
fn circles_of(edges: &[Vec<usize>]) -> Vec<Vec<usize>> {
    #[derive(Clone, Copy, PartialEq)]
    enum Mark {
        New,
        OnPath,
        Left,
    }
    let mut marks = vec![Mark::New; edges.len()];
    let mut circles = Vec::new();
    for root in 0..edges.len() {
        if marks[root] != Mark::New {
            continue;
        }
        // Each node on the path, with the number of its edges that have been looked at.
        let mut path = vec![(root, 0)];
        marks[root] = Mark::OnPath;
        while let Some((node, looked_at)) = path.last_mut() {
            let Some(&next) = edges[*node].get(*looked_at) else {
                marks[*node] = Mark::Left;
                path.pop();
                continue;
            };
            *looked_at += 1;
            match marks[next] {
                Mark::Left => {}
                Mark::New => {
                    marks[next] = Mark::OnPath;
                    path.push((next, 0));
                }
                Mark::OnPath => {
                    let start = path.iter().position(|&(node, _)| node == next).expect("it is on the path");
                    circles.push(path[start..].iter().map(|&(node, _)| node).collect());
                    // Whoever leads here only waits for the circle.
                    path.drain(..).for_each(|(node, _)| marks[node] = Mark::Left);
                }
            }
        }
    }
    circles
}

// ---- reports ------------------------------------------------------------------------------------------------------

fn circle_report(circle: &[Sighting]) -> String {
    let mut report = match circle {
        [_] => String::from("deadlock: a green thread waits for itself\n"),
        circle => format!("deadlock: {} green threads wait for each other in a circle\n", circle.len()),
    };
    circle.iter().for_each(|sighting| describe(&mut report, sighting));
    report.trim_end().into()
}

/// What to say when nothing can run any more.
pub(super) fn standstill_report(census: &Census) -> String {
    let count = census.threads.len();
    let mut report = match count {
        1 => String::from("deadlock: the only green thread waits, and nothing is left that could wake it\n"),
        _ => format!("deadlock: all {count} green threads wait, and nothing is left that could wake one\n"),
    };
    census.threads.iter().take(DESCRIBED_MAX).for_each(|sighting| describe(&mut report, sighting));
    if count > DESCRIBED_MAX {
        let _ = writeln!(report, "  and {} more", count - DESCRIBED_MAX);
    }
    report.trim_end().into()
}

fn describe(report: &mut String, sighting: &Sighting) {
    let _ = writeln!(report, "  {}", Named(sighting.task()));
    let _ = writeln!(report, "    {} for {:?}", sighting.snapshot.state(), sighting.snapshot.since());
    if let Some(WaitKind::Lock(_, address)) = sighting.wait().map(|wait| &wait.kind) {
        for hold in holds::of(*address) {
            let _ = writeln!(report, "    which {} holds, taken at {}", Short(&hold.holder), hold.at);
        }
    }
}

// ---- ending a thread that would wait for ever -----------------------------------------------------------------------

/// What a thread is to panic with.
struct Sentence {
    report: String,
    /// It has been printed, since the thread does not hear: it is shielded.
    is_printed: bool,
}

/// The sentences that have not been heard, by the thread's number.
static SENTENCES: Mutex<Option<HashMap<NonZeroU64, Sentence>>> = Mutex::new(None);

/// The report with which the calling thread, `task`, shall panic.
pub(crate) fn sentence_of(task: &Task) -> Option<String> {
    let mut sentences = SENTENCES.lock().unwrap_or_else(PoisonError::into_inner);
    Some(sentences.as_mut()?.remove(&task.id())?.report)
}

/// Makes a thread's wait panic with `report`, if it has not run since it was seen. If that was tried before, and the thread has not
/// panicked, the report is printed instead, once.
pub(super) fn sentence(shared: &Shared, seen: &Sighting, report: &str) {
    let id = seen.task().id();
    let mut sentences = SENTENCES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(unheard) = sentences.get_or_insert_default().get_mut(&id) {
        if !std::mem::replace(&mut unheard.is_printed, true) {
            eprintln!("sward: {report}");
        }
        return;
    }
    drop(sentences);
    let (thread, stamp, report) = (seen.thread.clone(), seen.stamp, report.to_owned());
    let errand = move |worker: &Worker| {
        if worker.interrupt_parked(&thread, stamp) {
            // In time: the thread does not run before the errand is done.
            let sentence = Sentence { report: report.clone(), is_printed: false };
            let mut sentences = SENTENCES.lock().unwrap_or_else(PoisonError::into_inner);
            sentences.get_or_insert_default().insert(id, sentence);
        }
        Progress::Done
    };
    shared.send(seen.snapshot.worker(), Message::Errand(Box::new(errand)));
}

/// Makes a thread of the circle panic, which lets the others go on: the youngest, which has the least to lose.
pub(super) fn break_up(shared: &Shared, circle: &[Sighting]) {
    if let Some(youngest) = circle.iter().max_by_key(|seen| seen.task().id()) {
        sentence(shared, youngest, &circle_report(circle));
    }
}

#[cfg(test)]
mod tests {
    use super::circles_of;

    #[test]
    fn finds_circles_and_nothing_else() {
        assert!(circles_of(&[vec![1], vec![2], vec![]]).is_empty());
        assert!(circles_of(&[vec![1, 2], vec![2], vec![]]).is_empty(), "a diamond is no circle");
        assert_eq!(circles_of(&[vec![0]]), [[0]]);
        assert_eq!(circles_of(&[vec![1], vec![2], vec![1]]), [[1, 2]], "without the one that leads there");
        assert_eq!(circles_of(&[vec![1], vec![0], vec![3], vec![2]]), [[0, 1], [2, 3]]);
    }
}
