//! What the console answers: the whole process at a moment, in one object whose size does not grow with the number of threads.
//!
//! | field | meaning |
//! |---|---|
//! | `sward_console`, `pid`, `program` | the protocol's version; whose console it is |
//! | `uptime_us` | since the console was opened; rates are differences of counts over differences of this |
//! | `runtimes` | array: `main`, the number of its main thread, which tells one from another (null before that starts); `engine`; `live` green threads and `unstarted` ones; since the start, `spawned`, `switches`, `steals`, `parks`, `timers`, `operations`, `system_calls`; `workers` |
//! | `workers` | array: `live`, `switches`, `cpu_us` of its OS thread (null if the kernel does not say), `stall` |
//! | `stall` | null, or of a worker that does not answer: `for_ms` at least, `by` which thread, doing what |
//! | `states` | array: `state`, `what`, `threads`. `what` is the system call (state `system`), what is waited for (`waiting`), or null (`running`, `ready`, `sleeping`, `parked`) |
//! | `unseen` | threads of workers that do not answer, in none of `states`, `sites` and `waits` |
//! | `sites` | array: where threads were spawned (`spawned_at`), how many live (`threads`), what most of them do (`mostly`), and the longest wait among them (`longest_ms`); the largest first |
//! | `sites_left_out` | how many more spawn sites there are |
//! | `waits` | array: the longest waits: `thread`, `name` (or null), `runtime` and `worker` by index, `doing`, `for_ms`, `spawned_at`; the longest first |
//! | `memory` | `resident_bytes` of the process, `stack_resident_bytes` and `stack_mapped_bytes` of green threads (some seconds old if there are very many) |

use std::cmp::Reverse;
use std::collections::HashMap;
use std::env;
use std::fs;
use std::num::NonZeroU64;
use std::panic::Location;
use std::path::Path;
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use sward_coroutine::StackMemory;

use super::VERSION;
use super::json::{Json, object};
use crate::diagnosis::snapshot::{self, Depth, State, ThreadSnapshot, Unseen, WaitKind};
use crate::diagnosis::{runtimes, stall};
use crate::runtime::counters::Counters;
use crate::runtime::shared::Shared;

/// A worker that has sent nothing for so long does not answer.
const PATIENCE: Duration = Duration::from_millis(250);

/// Stacks are measured again after so many times the time that it took: one percent of a core at most.
const MEASURED_FOR: u32 = 100;

/// How many waits and spawn sites are named.
const WAITS_MAX: usize = 20;
const SITES_MAX: usize = 50;

/// Looks at the process, and remembers what it needs for the next look.
pub(super) struct Observer {
    opened: Instant,
    /// Of each worker (its runtime by address): its progress, and when that was seen first.
    progress: HashMap<(usize, usize), (u64, Instant)>,
    stacks: Option<MeasuredStacks>,
}

/// The memory of stacks, when it was measured last, and how long that took.
struct MeasuredStacks {
    memory: StackMemory,
    at: Instant,
    took: Duration,
}

impl Observer {
    pub(super) fn new() -> Observer {
        Observer { opened: Instant::now(), progress: HashMap::new(), stacks: None }
    }

    /// Looks at all runtimes. Blocks the calling OS thread.
    pub(super) fn look(&mut self) -> Json {
        // One that is over is still there as long as somebody holds a handle.
        let runtimes = runtimes().into_iter().filter(|shared| !shared.is_stopping() || shared.live() > 0);
        let runtimes: Vec<_> = runtimes.collect();
        self.note_progress(&runtimes);
        let mut tally = Tally::default();
        let descriptions: Json = runtimes
            .iter()
            .enumerate()
            .map(|(index, shared)| {
                let rest = snapshot::survey(shared, Depth::States, PATIENCE, |seen| tally.add(index, seen));
                tally.miss(shared, &rest);
                self.describe(shared, &rest)
            })
            .collect();
        tally.waits.truncate(WAITS_MAX);
        let sites = tally.sites();
        let program = env::args_os().next().unwrap_or_default();
        let program = Path::new(&program).file_name().unwrap_or_default().to_string_lossy().into_owned();
        object([
            ("sward_console", VERSION.into()),
            ("pid", u64::from(process::id()).into()),
            ("program", program.into()),
            ("uptime_us", (self.opened.elapsed().as_micros() as u64).into()),
            ("runtimes", descriptions),
            ("states", tally.states()),
            ("unseen", tally.unseen.into()),
            ("sites_left_out", sites.len().saturating_sub(SITES_MAX).into()),
            ("sites", sites.into_iter().take(SITES_MAX).collect()),
            ("waits", tally.longest_waits()),
            ("memory", self.memory()),
        ])
    }

    /// Notes how far each worker is, before any is asked.
    fn note_progress(&mut self, runtimes: &[Arc<Shared>]) {
        let before = std::mem::take(&mut self.progress);
        for shared in runtimes {
            for worker in 0..shared.workers() {
                let (key, progress) = (key(shared, worker), shared.counters(worker).progress());
                let seen = before.get(&key).filter(|(then, _)| *then == progress);
                self.progress.insert(key, seen.copied().unwrap_or((progress, Instant::now())));
            }
        }
    }

    fn memory(&mut self) -> Json {
        let StackMemory { mapped_bytes, resident_bytes } = self.stacks();
        object([
            ("resident_bytes", resident_bytes_of_process().into()),
            ("stack_resident_bytes", resident_bytes.into()),
            ("stack_mapped_bytes", mapped_bytes.into()),
        ])
    }

    /// The kernel looks at each page of 100,000 stacks for some 70 ms, so that is not done for each snapshot.
    fn stacks(&mut self) -> StackMemory {
        let is_fresh = |stacks: &&MeasuredStacks| stacks.at.elapsed() < MEASURED_FOR * stacks.took;
        if let Some(stacks) = self.stacks.as_ref().filter(is_fresh) {
            return stacks.memory;
        }
        let begin = Instant::now();
        let memory = StackMemory::of_process();
        let at = Instant::now();
        self.stacks = Some(MeasuredStacks { memory, at, took: at - begin });
        memory
    }

    fn describe(&self, shared: &Arc<Shared>, rest: &Unseen) -> Json {
        let sum = |of: fn(&Counters) -> &AtomicU64| -> Json {
            let counts = (0..shared.workers()).map(|worker| read(of(shared.counters(worker))));
            counts.sum::<u64>().into()
        };
        object([
            ("main", shared.main().map(NonZeroU64::get).into()),
            ("engine", shared.engine().into()),
            ("live", shared.live().into()),
            ("unstarted", rest.unstarted.into()),
            ("spawned", sum(|counters| &counters.spawned)),
            ("switches", sum(|counters| &counters.switches)),
            ("steals", sum(|counters| &counters.steals)),
            ("parks", sum(|counters| &counters.parks)),
            ("timers", sum(|counters| &counters.timers)),
            ("operations", sum(|counters| &counters.operations)),
            ("system_calls", sum(|counters| &counters.system_calls)),
            (
                "workers",
                (0..shared.workers()).map(|worker| self.describe_worker(shared, worker, rest)).collect(),
            ),
        ])
    }

    fn describe_worker(&self, shared: &Arc<Shared>, worker: usize, rest: &Unseen) -> Json {
        let counters = shared.counters(worker);
        // A worker that sleeps or has not begun is not stalled, whatever it has not answered to.
        let is_stalled = rest.silent.contains(&worker) && counters.is_awake();
        let stall = is_stalled.then(|| {
            let (_, since) = self.progress[&key(shared, worker)];
            object([
                ("for_ms", milliseconds(since.elapsed())),
                ("by", stall::what_holds_up(worker, shared).into()),
            ])
        });
        object([
            ("live", live(counters).into()),
            ("switches", read(&counters.switches).into()),
            ("cpu_us", cpu_us(counters.os_thread.load(Ordering::Relaxed)).into()),
            ("stall", stall.into()),
        ])
    }
}

/// What threads do, by where they were spawned; and who has waited longest.
#[derive(Default)]
struct Tally {
    groups: HashMap<(Kind, &'static Location<'static>), Group>,
    /// The longest at the front, once it has grown and been cut.
    waits: Vec<(usize, ThreadSnapshot)>,
    /// How many threads of the present runtime it has.
    seen: usize,
    unseen: usize,
}

/// What a thread does: the fields `state` and `what`.
type Kind = (&'static str, Option<&'static str>);

#[derive(Clone, Copy, Default)]
struct Group {
    threads: usize,
    longest: Duration,
}

impl Group {
    fn add(&mut self, other: Group) {
        self.threads += other.threads;
        self.longest = self.longest.max(other.longest);
    }
}

impl Tally {
    fn add(&mut self, runtime: usize, seen: ThreadSnapshot) {
        self.seen += 1;
        let kind = kind(&seen.snapshot.state);
        let waits = !matches!(kind.0, "running" | "ready");
        let longest = if waits { seen.snapshot.since } else { Duration::ZERO };
        let group = self.groups.entry((kind, seen.task().spawned_at())).or_default();
        group.add(Group { threads: 1, longest });
        if waits {
            self.waits.push((runtime, seen));
            // Seldom, so that it costs little.
            if self.waits.len() >= 10 * WAITS_MAX {
                self.cut_waits();
            }
        }
    }

    /// The runtime has been looked at: counts those that could not be seen.
    fn miss(&mut self, shared: &Shared, rest: &Unseen) {
        let seen = std::mem::take(&mut self.seen);
        if !rest.silent.is_empty() {
            self.unseen += shared.live().saturating_sub(seen);
        }
    }

    fn cut_waits(&mut self) {
        self.waits.sort_by_key(|(_, seen)| (Reverse(seen.snapshot.since), seen.task().id()));
        self.waits.truncate(WAITS_MAX);
    }

    fn states(&self) -> Json {
        let mut states: HashMap<Kind, usize> = HashMap::new();
        for ((kind, _), group) in &self.groups {
            *states.entry(*kind).or_default() += group.threads;
        }
        let mut states: Vec<_> = states.into_iter().collect();
        states.sort_by_key(|&(kind, threads)| (Reverse(threads), kind));
        let describe = |((state, what), threads): (Kind, usize)| {
            object([("state", state.into()), ("what", what.into()), ("threads", threads.into())])
        };
        states.into_iter().map(describe).collect()
    }

    fn sites(&self) -> Vec<Json> {
        let mut sites: HashMap<_, (Group, usize, Kind)> = HashMap::new();
        for (&(kind, site), &group) in &self.groups {
            let (all, most, mostly) = sites.entry(site).or_insert((Group::default(), 0, kind));
            all.add(group);
            // By name among equals, so that it does not flicker.
            if (group.threads, Reverse(kind)) > (*most, Reverse(*mostly)) {
                (*most, *mostly) = (group.threads, kind);
            }
        }
        let mut sites: Vec<_> = sites.into_iter().collect();
        sites.sort_by_key(|&(site, (all, ..))| {
            (Reverse(all.threads), site.file(), site.line(), site.column())
        });
        let describe = |(site, (all, _, mostly)): (&Location<'_>, (Group, usize, Kind))| {
            object([
                ("spawned_at", site.to_string().into()),
                ("threads", all.threads.into()),
                ("mostly", object([("state", mostly.0.into()), ("what", mostly.1.into())])),
                ("longest_ms", milliseconds(all.longest)),
            ])
        };
        sites.into_iter().map(describe).collect()
    }

    fn longest_waits(&mut self) -> Json {
        self.cut_waits();
        let describe = |(runtime, seen): &(usize, ThreadSnapshot)| {
            object([
                ("thread", seen.task().id().get().into()),
                ("name", seen.task().name().into()),
                ("runtime", (*runtime).into()),
                ("worker", seen.snapshot.worker.into()),
                ("doing", seen.snapshot.state.to_string().into()),
                ("for_ms", milliseconds(seen.snapshot.since)),
                ("spawned_at", seen.task().spawned_at().to_string().into()),
            ])
        };
        self.waits.iter().map(describe).collect()
    }
}

fn kind(state: &State) -> Kind {
    match state {
        State::Running => ("running", None),
        State::Ready => ("ready", None),
        State::Sleeping => ("sleeping", None),
        State::Parked => ("parked", None),
        State::System(call) => ("system", Some(call.name())),
        State::Waiting(wait) => match wait.kind {
            WaitKind::Unknown => ("waiting", Some("another thread")),
            WaitKind::Ends(_) => ("waiting", Some("the end of threads")),
            WaitKind::Lock(what, _) | WaitKind::Object(what, _) => ("waiting", Some(what)),
        },
    }
}

fn key(shared: &Arc<Shared>, worker: usize) -> (usize, usize) {
    (Arc::as_ptr(shared).addr(), worker)
}

fn live(counters: &Counters) -> usize {
    counters.live.load(Ordering::Relaxed)
}

fn read(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

fn milliseconds(duration: Duration) -> Json {
    (duration.as_millis() as u64).into()
}

/// The processor time of an OS thread of this process, if the kernel counts it.
fn cpu_us(os_thread: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/self/task/{os_thread}/schedstat")).ok()?;
    let nanoseconds: u64 = text.split(' ').next()?.parse().ok()?;
    Some(nanoseconds / 1000)
}

fn resident_bytes_of_process() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kibibytes * 1024)
}
