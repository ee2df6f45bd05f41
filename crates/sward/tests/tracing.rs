//! With the feature `tracing`: what green threads log stands in their spans, and the runtime logs what happens to them.
//!
//! ```text
//! cargo test -p sward --features tracing --test tracing
//! ```

use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard};

use sward::thread::{self, JoinHandle};
use sward::time::Duration;
use sward_testing::alone;
use tracing::{Level, info, info_span};
use tracing_subscriber::fmt::format::FmtSpan;

/// What has been logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for &Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Runs `main` on one worker, and gives the lines that were logged meanwhile: each with its spans, and one more for the end of a span.
fn logged(main: impl FnOnce()) -> Vec<String> {
    /// The worker is the test's own OS thread, so the subscriber is, too.
    fn run(main: impl FnOnce()) {
        // SAFETY: the subscriber is the same for all green threads.
        unsafe { sward::Builder::new().workers(1).run(main) }.unwrap();
    }
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(Level::TRACE)
        .with_span_events(FmtSpan::CLOSE)
        .without_time()
        .with_ansi(false)
        .with_writer(move || Lent(writer.clone()))
        .finish();
    tracing::subscriber::with_default(subscriber, || run(main));
    let bytes: MutexGuard<'_, Vec<u8>> = log.0.lock().unwrap();
    String::from_utf8(bytes.clone()).unwrap().lines().map(str::to_owned).collect()
}

struct Lent(Log);

impl Write for Lent {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (&self.0).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[track_caller]
fn named(name: &str, body: impl FnOnce() + Send + 'static) -> JoinHandle<()> {
    thread::Builder::new().name(name.into()).spawn(body).unwrap()
}

/// The one line that has `text` in it.
#[track_caller]
fn line<'a>(lines: &'a [String], text: &str) -> &'a str {
    let found: Vec<_> = lines.iter().filter(|line| line.contains(text)).collect();
    assert_eq!(found.len(), 1, "{text:?} in {lines:#?}");
    found[0]
}

#[test]
fn each_line_stands_in_the_span_of_its_thread() {
    let lines = logged(|| {
        let _around = info_span!("around").entered();
        let threads = ["alice", "bob"].map(|name| {
            named(name, move || {
                for turn in 0..3 {
                    info!("{name}, turn {turn}");
                    thread::yield_now();
                }
            })
        });
        info!("main waits");
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        info!("main goes on");
    });
    for name in ["alice", "bob"] {
        for turn in 0..3 {
            let line = line(&lines, &format!("{name}, turn {turn}"));
            assert_eq!(line.matches("thread{").count(), 1, "{line}");
            assert!(
                line.contains(&format!("name=\"{name}\" spawned_at=")) && line.contains("tracing.rs:"),
                "{line}"
            );
            assert!(!line.contains("around"), "{line}");
        }
    }
    for text in ["main waits", "main goes on"] {
        let line = line(&lines, text);
        assert!(line.contains("name=\"main\"") && line.contains("around"), "{line}");
    }
}

#[test]
fn a_span_may_stay_entered_across_a_blocking_call() {
    let lines = logged(|| {
        let threads = ["alice", "bob"].map(|name| {
            named(name, move || {
                let outer = info_span!("outer", name).entered();
                let inner = info_span!("inner", name).entered();
                thread::yield_now();
                info!("{name}, inside both");
                drop(inner);
                info!("{name}, inside one");
                thread::yield_now();
                info!("{name}, still inside one");
                drop(outer);
                info!("{name}, outside");
                thread::yield_now();
                info!("{name}, still outside");
            })
        });
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
    for (name, other) in [("alice", "bob"), ("bob", "alice")] {
        let (outer, inner) = (format!("outer{{name={name:?}}}"), format!("inner{{name={name:?}}}"));
        let both = [outer.as_str(), &inner];
        let depths = [
            ("inside both", 2),
            ("inside one", 1),
            ("still inside one", 1),
            ("outside", 0),
            ("still outside", 0),
        ];
        for (place, depth) in depths {
            let line = line(&lines, &format!("{name}, {place}"));
            let (_, spans) = line.split_once("}:").unwrap();
            let expected: String = both[..depth].iter().map(|span| format!("{span}:")).collect();
            assert!(spans.starts_with(&format!("{expected} ")) && !line.contains(other), "{line}");
        }
    }
}

#[test]
fn the_life_of_a_thread_is_logged_and_its_span_ends_with_it() {
    let lines = logged(|| {
        let short = named("short", || ());
        let cancelled = named("cancelled", thread::park);
        thread::yield_now();
        info!("the handle is still there");
        cancelled.cancel();
        short.join().unwrap();
        cancelled.join().unwrap_err();
    });
    let place = |text: &str, name: &str| {
        let is_it = |line: &String| line.contains(text) && line.contains(&format!("name=\"{name}\""));
        lines.iter().position(is_it).unwrap_or_else(|| panic!("{text} {name}: {lines:#?}"))
    };
    for name in ["short", "cancelled", "main"] {
        assert!(place("a green thread is spawned", name) < place("a green thread has ended", name));
        assert!(place("a green thread has ended", name) < place("close", name));
    }
    let spawned = &lines[place("a green thread is spawned", "short")];
    assert!(
        spawned.contains("thread{") && spawned.contains("name=\"main\""),
        "in its spawner's span: {spawned}"
    );
    let still = lines.iter().position(|line| line.contains("the handle is still there")).unwrap();
    assert!(place("close", "short") < still, "{lines:#?}");
}

#[test]
fn stalls_and_deadlocks_are_logged() {
    let variables = [("SWARD_DEADLOCK", "partial"), ("SWARD_STALL_MS", "20")];
    if let Some(output) = alone("stalls_and_deadlocks_are_logged", &variables) {
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{text}");
        let has = |parts: [&str; 2]| text.lines().any(|line| parts.iter().all(|part| line.contains(part)));
        assert!(has(["DEBUG sward: ", "has not switched for"]), "{text}");
        assert!(has(["DEBUG sward: ", "deadlock: a green thread waits for itself"]), "{text}");
        return;
    }
    tracing_subscriber::fmt().with_max_level(Level::DEBUG).with_ansi(false).init();
    let main = || {
        let (sender, receiver) = sward::channel::unbounded::<JoinHandle<()>>();
        let (never, end) = sward::channel::bounded::<()>(0);
        let itself = named("itself", move || {
            let _until_the_end = never;
            receiver.recv().unwrap().join().unwrap();
        });
        let busy = named("busy", || {
            std::thread::sleep(Duration::from_millis(300));
            while !thread::is_cancelled() {
                thread::yield_now();
            }
        });
        sender.send(itself).unwrap();
        end.recv().unwrap_err();
        busy.cancel();
    };
    // SAFETY: nothing here holds a scoped thread-local value across a blocking call.
    unsafe { sward::Builder::new().workers(1).run(main) }.unwrap();
}

/// A subscriber that blocks by sward's own means whenever it is called.
struct Blocks;

impl Blocks {
    fn block(&self) {
        static LOCK: sward::sync::Mutex<u64> = sward::sync::Mutex::new(0);
        let mut count = LOCK.lock().unwrap();
        *count += 1;
        thread::yield_now();
        thread::sleep(Duration::from_micros(1));
        let (sender, receiver) = sward::channel::bounded(1);
        sender.send(*count).unwrap();
        receiver.recv().unwrap();
    }
}

impl tracing::Subscriber for Blocks {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        self.block();
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, _: &tracing::Event<'_>) {
        self.block();
    }

    fn enter(&self, _: &tracing::span::Id) {
        self.block();
    }

    fn exit(&self, _: &tracing::span::Id) {
        self.block();
    }
}

/// Also where the scheduler calls it, which is no green thread.
#[test]
fn a_subscriber_may_block() {
    let watchdog = sward_testing::Watchdog::start("a_subscriber_may_block");
    tracing::subscriber::with_default(Blocks, || {
        let main = || {
            let threads: Vec<_> =
                (0..3).map(|_| thread::spawn(|| (0..5).for_each(|_| thread::yield_now()))).collect();
            threads.into_iter().for_each(|thread| thread.join().unwrap());
        };
        // SAFETY: the subscriber is the same for all green threads.
        unsafe { sward::Builder::new().workers(1).run(main) }.unwrap();
    });
    drop(watchdog);
}

/// Panics where the scheduler calls it.
struct Fails;

impl tracing::Subscriber for Fails {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, _: &tracing::Event<'_>) {}

    fn enter(&self, _: &tracing::span::Id) {
        panic!("expected: a subscriber that fails");
    }

    fn exit(&self, _: &tracing::span::Id) {}
}

/// With two workers, the other one would wait for ever.
#[test]
fn a_subscriber_that_panics_in_the_scheduler_ends_the_process() {
    let Some(output) = alone("a_subscriber_that_panics_in_the_scheduler_ends_the_process", &[]) else {
        let _watchdog = sward_testing::Watchdog::start("a subscriber that fails");
        tracing::subscriber::set_global_default(Fails).unwrap();
        // SAFETY: the subscriber is the same for all green threads.
        unsafe { sward::Builder::new().workers(2).run(|| thread::spawn(thread::yield_now).join()) }
            .unwrap()
            .unwrap();
        return;
    };
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(said.contains("fatal runtime error: a worker's scheduler panicked"), "{said}");
}
