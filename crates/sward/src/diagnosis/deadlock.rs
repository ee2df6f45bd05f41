//! Circles of threads that wait for each other, and what is done about them.
//!
//! A thread *depends* on those without whom its wait cannot end: the thread that it joins, all unfinished threads of its scope, all
//! holders of the lock that it wants. (Anybody may send into a channel or notify a condvar, so such a wait depends on nobody.)
//! A circle of dependencies never ends by itself. A wait under a deadline does, so it depends on nobody.
//!
//! A circle may lead through OS threads, as far as these say what they wait for (`outside.rs`); at least one of its threads is green.
//!
//! A snapshot looks at each thread at its own moment. So a circle is believed only if a second snapshot finds that none of its threads
//! has run since the first: then all these waits were there at once.

use std::collections::{HashMap, HashSet};
use std::fmt::{self, Write as _};
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use super::outside::{self, Outside};
use super::snapshot::{self, Depth, Named, RuntimeSnapshot, Short, State, ThreadSnapshot, Wait, WaitKind};
use super::{holds, runtimes};
use crate::runtime::inspection::Progress;
use crate::runtime::message::Message;
use crate::runtime::offload::offload;
use crate::runtime::pending_panic;
use crate::runtime::shared::Shared;
use crate::runtime::span;
use crate::runtime::task::Task;
use crate::runtime::wait;
use crate::runtime::worker::Worker;
use crate::thread::Thread;

/// How many threads a report describes at most.
const DESCRIBED_MAX: usize = 100;

/// Threads that wait for each other in a circle, at least one of them green. Its text is the report: who waits for what, held by whom, taken where,
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

/// Looks for threads that wait for each other in a circle, in the calling thread's runtime; on an OS thread, in all of the
/// process. Everything else goes on meanwhile.
///
/// Joins and scopes are always known. Who holds a lock is known in debug builds, and if `SWARD_DEADLOCK` is `total`, `partial`
/// or `abort`; so is what OS threads wait for, as far as it is a lock, a thread or a scope of sward's. What waits under a deadline
/// is in no circle. With `SWARD_DEADLOCK=partial` this is done each second, and a thread of each circle panics with the report.
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
    fn new(circle: &[Link]) -> Deadlock {
        let threads = circle.iter().map(|link| Thread::new(Arc::clone(link.task()))).collect();
        Deadlock { threads, report: circle_report(circle) }
    }
}

/// A thread that waits.
#[derive(Clone)]
pub(super) enum Link {
    Green(ThreadSnapshot),
    Os(Outside),
}

impl Link {
    /// All who wait: green threads, as the snapshot saw them, and OS threads now.
    fn all(snapshot: &RuntimeSnapshot) -> Vec<Link> {
        let green = snapshot.threads.iter().filter(|seen| seen.wait().is_some()).cloned().map(Link::Green);
        green.chain(outside::waiting().into_iter().map(Link::Os)).collect()
    }

    fn task(&self) -> &Arc<Task> {
        match self {
            Link::Green(seen) => seen.task(),
            Link::Os(outside) => &outside.task,
        }
    }

    fn wait(&self) -> Option<&Wait> {
        match self {
            Link::Green(seen) => seen.wait(),
            Link::Os(outside) => Some(&outside.wait),
        }
    }

    /// The thread, and this wait of its.
    fn identity(&self) -> (NonZeroU64, u64) {
        let stamp = match self {
            Link::Green(seen) => seen.stamp,
            Link::Os(outside) => outside.stamp,
        };
        (self.task().id(), stamp)
    }

    /// Those without whom the wait cannot end.
    fn dependencies(&self) -> Vec<Arc<Task>> {
        match self.wait().filter(|wait| !wait.has_deadline).map(|wait| &wait.kind) {
            Some(WaitKind::Ends(tasks)) => tasks.clone(),
            Some(WaitKind::Lock(_, address)) => {
                holds::of(*address).into_iter().map(|hold| hold.holder).collect()
            }
            _ => Vec::new(),
        }
    }
}

/// The circles that are really there. Blocks the calling OS thread.
pub(super) fn confirmed(shared: &Arc<Shared>) -> Vec<Vec<Link>> {
    let mut circles = circles(&snapshot::take(shared, Depth::States));
    if !circles.is_empty() {
        let later = Link::all(&snapshot::take(shared, Depth::States));
        let waiting: HashSet<_> = later.iter().map(Link::identity).collect();
        circles.retain(|circle| circle.iter().all(|link| waiting.contains(&link.identity())));
    }
    circles
}

/// Circles in what a snapshot saw, and in what OS threads say now. No thread is in two of them.
pub(super) fn circles(snapshot: &RuntimeSnapshot) -> Vec<Vec<Link>> {
    let links = Link::all(snapshot);
    let places: HashMap<_, _> =
        links.iter().enumerate().map(|(place, link)| (link.task().id(), place)).collect();
    let depends = |link: &Link| -> Vec<usize> {
        link.dependencies().iter().filter_map(|task| places.get(&task.id()).copied()).collect()
    };
    let edges: Vec<_> = links.iter().map(depends).collect();
    let circles = circles_of(&edges).into_iter();
    let circles = circles.map(|circle| circle.into_iter().map(|place| links[place].clone()).collect());
    circles.filter(|circle: &Vec<Link>| circle.iter().any(|link| matches!(link, Link::Green(_)))).collect()
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

fn circle_report(circle: &[Link]) -> String {
    let mut report = match circle {
        [_] => String::from("deadlock: a green thread waits for itself\n"),
        circle => {
            let only_green = circle.iter().all(|link| matches!(link, Link::Green(_)));
            let kind = if only_green { "green threads" } else { "threads" };
            format!("deadlock: {} {kind} wait for each other in a circle\n", circle.len())
        }
    };
    circle.iter().for_each(|link| describe_link(&mut report, link));
    report.trim_end().into()
}

/// What to say when nothing can run any more.
pub(super) fn quiescence_report(snapshot: &RuntimeSnapshot) -> String {
    let count = snapshot.threads.len();
    let mut report = match count {
        1 => String::from("deadlock: the only green thread waits, and nothing is left that could wake it\n"),
        _ => format!("deadlock: all {count} green threads wait, and nothing is left that could wake one\n"),
    };
    for seen in snapshot.threads.iter().take(DESCRIBED_MAX) {
        describe(&mut report, seen.task(), seen.snapshot.state(), seen.snapshot.since());
    }
    if count > DESCRIBED_MAX {
        let _ = writeln!(report, "  and {} more", count - DESCRIBED_MAX);
    }
    outside::waiting().into_iter().for_each(|outside| describe_link(&mut report, &Link::Os(outside)));
    report.trim_end().into()
}

fn describe_link(report: &mut String, link: &Link) {
    match link {
        Link::Green(seen) => describe(report, seen.task(), seen.snapshot.state(), seen.snapshot.since()),
        Link::Os(outside) => {
            describe(report, &outside.task, &State::Waiting(outside.wait.clone()), outside.since());
        }
    }
}

fn describe(report: &mut String, task: &Task, state: &State, since: Duration) {
    let _ = match task.shared() {
        Some(_) => writeln!(report, "  {}", Named(task)),
        None => writeln!(report, "  {}, an OS thread", Short(task)),
    };
    let _ = writeln!(report, "    {state} for {since:?}");
    if let State::Waiting(Wait { kind: WaitKind::Lock(_, address), .. }) = state {
        for hold in holds::of(*address) {
            let _ = writeln!(report, "    which {} holds, taken at {}", Short(&hold.holder), hold.at);
        }
    }
}

// ---- ending a thread that would wait for ever -----------------------------------------------------------------------

/// Makes a thread's wait panic with `report`, if it has not run since it was seen. If that was tried before, and the thread has not
/// panicked, the report is printed instead, once.
pub(super) fn request_panic(shared: &Shared, seen: &ThreadSnapshot, report: &str) {
    let id = seen.task().id();
    match pending_panic::repeat(id) {
        None => {}
        Some(1) => return crate::report(format_args!("sward: {report}")),
        Some(_) => return,
    }
    span::found(report);
    let (thread, stamp, report) = (seen.thread.clone(), seen.stamp, report.to_owned());
    let inspection = move |worker: &Worker| {
        if worker.interrupt_parked(&thread, stamp) {
            // In time: the thread does not run before the inspection is done.
            pending_panic::request(id, report.clone());
        }
        Progress::Done
    };
    shared.send(seen.snapshot.worker(), Message::Inspect(Box::new(inspection)));
}

/// Makes a green thread of the circle panic, which lets the others go on: the youngest, which has the least to lose.
pub(super) fn break_up(shared: &Shared, circle: &[Link]) {
    let green = circle.iter().filter_map(|link| match link {
        Link::Green(seen) => Some(seen),
        Link::Os(_) => None,
    });
    if let Some(youngest) = green.max_by_key(|seen| seen.task().id()) {
        request_panic(shared, youngest, &circle_report(circle));
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
