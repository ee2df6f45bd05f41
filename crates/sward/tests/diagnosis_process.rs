//! What a process says about itself when it is stuck: deadlocks, SIGQUIT, stalls, stack use.
//!
//! A deadlock is certain only in a process without other OS threads, and a test harness has one. So this is a
//! program without a harness, which runs itself once for each scenario and looks at what comes out.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus};

use sward::sync::{Arc, Barrier, Mutex, ReentrantMutex, mpsc};
use sward::thread::{self, JoinHandle};
use sward::time::Duration;
use sward_testing::Scenario;

const SCENARIOS: &[Scenario] = &[
    Scenario::new("join_circle", join_circle, expect_join_circle),
    Scenario::new("no_message", no_message, expect_no_message),
    Scenario::new("scope_without_end", scope_without_end, expect_scope_without_end),
    Scenario::new("locked_twice", locked_twice, expect_locked_twice),
    Scenario::new("reentrant", reentrant, expect_no_report),
    Scenario::new("aborts", no_message, expect_aborts),
    Scenario::new("shielded", shielded, expect_shielded),
    Scenario::new("slow_os_thread", slow_os_thread, expect_no_report),
    Scenario::new("lock_circle", lock_circle, expect_lock_circle),
    Scenario::new("os_thread_circle", os_thread_circle, expect_os_thread_circle),
    Scenario::new("os_thread_quiescence", os_thread_quiescence, expect_os_thread_quiescence),
    Scenario::new("sigquit", until_input_ends, expect_sigquit),
    Scenario::new("stall", stall, expect_stall),
    Scenario::new("stack_use", stack_use, expect_stack_use),
    Scenario::new("bad_setting", no_message, expect_bad_setting),
];

fn main() {
    Scenario::main(SCENARIOS);
}

/// The main closure of a runtime with one worker.
fn on_one_worker<T>(main: impl FnOnce() -> T) -> T {
    // SAFETY: the scenarios hold no scoped thread-local value across a blocking call.
    unsafe { sward::Builder::new().workers(1).run(main) }.unwrap_or_else(|error| panic!("{error}"))
}

#[track_caller]
fn named<T: Send + 'static>(name: &str, body: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    thread::Builder::new().name(name.into()).spawn(body).expect("a green thread")
}

// ---- the parent's side ----------------------------------------------------------------------------------------------

/// How it ended, and its standard error.
fn end(command: &mut Command) -> (ExitStatus, String) {
    let output = command.output().expect("a child");
    (output.status, String::from_utf8(output.stderr).expect("text"))
}

fn expect_no_report(scenario: &Scenario) {
    let (status, errors) = end(scenario.command().env("SWARD_DEADLOCK", "total"));
    assert!(status.success(), "{status}: {errors}");
}

/// Fails unless all parts are in the text, in this order.
#[track_caller]
fn assert_says(text: &str, parts: &[&str]) {
    let mut rest = text;
    for part in parts {
        let Some(found) = rest.find(part) else {
            panic!("{part:?} is missing, or not in its place, in:\n{text}")
        };
        rest = &rest[found + part.len()..];
    }
}

// ---- deadlocks ------------------------------------------------------------------------------------------------------

/// Each of two threads joins the other, and main joins one of them.
fn join_circle() {
    on_one_worker(|| {
        let (sender, receiver) = mpsc::channel::<JoinHandle<()>>();
        let first = named("first", move || receiver.recv().unwrap().join().unwrap());
        let (handle, handles) = mpsc::channel();
        let second = named("second", move || {
            let first: JoinHandle<()> = handles.recv().unwrap();
            first.join().unwrap();
        });
        handle.send(first).unwrap();
        sender.send(second).unwrap();
        thread::park();
    });
}

fn expect_join_circle(scenario: &Scenario) {
    let (status, errors) = end(scenario.command().env("SWARD_DEADLOCK", "total"));
    assert_eq!(status.code(), Some(101), "{errors}");
    assert_says(
        &errors,
        &["deadlock: all 3 green threads wait", "\"main\"", "is parked", "\"first\", spawned at"],
    );
    assert_says(
        &errors,
        &["\"first\", spawned at", "diagnosis_process.rs:", "the end of thread", "\"second\", at"],
    );
    assert_says(&errors, &["\"second\", spawned at", "the end of thread", "\"first\", at"]);
}

/// A scope waits for a thread that nobody wakes. The thread ends when the report unwinds the scope, which does not pass for done then.
fn scope_without_end() {
    on_one_worker(|| {
        thread::scope(|scope| {
            scope.spawn(thread::park);
        });
        println!("the scope returned");
    });
}

fn expect_scope_without_end(scenario: &Scenario) {
    let output = scenario.command().env("SWARD_DEADLOCK", "total").output().expect("a child");
    let errors = String::from_utf8(output.stderr).expect("text");
    assert_eq!(output.status.code(), Some(101), "{errors}");
    assert!(output.stdout.is_empty(), "the scope returned as if its threads had ended");
    assert_says(
        &errors,
        &[
            "deadlock: all 2 green threads wait",
            "\"main\"",
            "waits for the end of thread",
            "diagnosis_process.rs",
        ],
    );
}

/// The only sender is held by the thread that receives.
fn no_message() {
    on_one_worker(|| {
        let (_sender, receiver) = sward::channel::unbounded::<()>();
        receiver.recv().unwrap();
    });
}

fn expect_no_message(scenario: &Scenario) {
    let (status, errors) = end(scenario.command().env("SWARD_DEADLOCK", "total"));
    assert_eq!(status.code(), Some(101), "{errors}");
    let parts = [
        "deadlock: the only green thread",
        "\"main\"",
        "a message from the channel",
        "diagnosis_process.rs:",
    ];
    assert_says(&errors, &parts);
}

/// The original fault of bank accounts: a method that locks calls another that does.
fn locked_twice() {
    on_one_worker(|| {
        let balance = Mutex::new(10);
        let _outer = balance.lock().unwrap();
        let _inner = balance.lock().unwrap();
    });
}

fn expect_locked_twice(scenario: &Scenario) {
    let (status, errors) = end(scenario.command().env("SWARD_DEADLOCK", "total"));
    assert_eq!(status.code(), Some(101), "{errors}");
    assert_says(
        &errors,
        &["\"main\"", "waits for the Mutex at", ", at ", "which thread", "\"main\" holds, taken at"],
    );
}

fn reentrant() {
    on_one_worker(|| {
        let balance = ReentrantMutex::new(10);
        let _outer = balance.lock();
        let _inner = balance.lock();
    });
}

fn expect_aborts(scenario: &Scenario) {
    let (status, errors) = end(scenario.command().env("SWARD_DEADLOCK", "abort"));
    assert_eq!(status.signal(), Some(libc::SIGABRT), "{errors}");
    assert_says(&errors, &["sward: deadlock: the only green thread"]);
}

/// A thread that must not be interrupted cannot panic, so the report is printed. Nothing else ends it.
fn shielded() {
    on_one_worker(|| thread::shield(|| sward::sync::Event::new().wait()));
}

fn expect_shielded(scenario: &Scenario) {
    let mut child = scenario.command().env("SWARD_DEADLOCK", "total").spawn().unwrap();
    let mut report = String::new();
    let mut errors = BufReader::new(child.stderr.take().unwrap());
    while !report.contains("the Event at") {
        assert_ne!(errors.read_line(&mut report).unwrap(), 0, "{report}");
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert_says(&report, &["sward: deadlock: the only green thread", "\"main\""]);
}

/// All green threads wait for one that is not green, and takes its time.
fn slow_os_thread() {
    on_one_worker(|| {
        let (sender, receiver) = mpsc::channel();
        let slow = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(700));
            sender.send(5).unwrap();
        });
        assert_eq!(receiver.recv(), Ok(5));
        sward::offload(|| slow.join().unwrap());
    });
}

/// Two threads lock two mutexes in opposite order, while others run.
fn lock_circle() {
    on_one_worker(|| {
        let locks = Arc::new((Mutex::new(()), Mutex::new(())));
        let theirs = Arc::clone(&locks);
        let alice = named("alice", move || {
            let _one = theirs.0.lock().unwrap();
            thread::yield_now();
            // Poisoned by the panic of the other one.
            let _two = theirs.1.lock().unwrap_err();
        });
        let bob = named("bob", move || {
            let _two = locks.1.lock().unwrap();
            thread::yield_now();
            let _one = locks.0.lock().unwrap();
        });
        let busy = named("busy", || {
            while !thread::is_cancelled() {
                thread::yield_now()
            }
        });
        thread::yield_now();
        thread::yield_now();
        let found = sward::deadlocks();
        assert_eq!(found.len(), 1, "{found:?}");
        let names: Vec<_> = found[0].threads().iter().map(|thread| thread.name().unwrap()).collect();
        assert!(names == ["alice", "bob"] || names == ["bob", "alice"], "{names:?}");
        assert!(bob.join().is_err(), "the younger one is sacrificed");
        alice.join().expect("and the other one goes on");
        busy.cancel();
    });
}

fn expect_lock_circle(scenario: &Scenario) {
    let (status, errors) = end(scenario.command().env("SWARD_DEADLOCK", "partial"));
    assert!(status.success(), "{errors}");
    assert_says(
        &errors,
        &["deadlock: 2 green threads wait for each other in a circle", "waits for the Mutex at"],
    );
    for (waits, holds) in [("alice", "bob"), ("bob", "alice")] {
        let waits = format!("\"{waits}\", spawned at");
        let holds = format!("\"{holds}\" holds, taken at");
        assert_says(
            &errors,
            &[&waits, "diagnosis_process.rs:", "waits for the Mutex at", &holds, "diagnosis_process.rs:"],
        );
    }
}

/// A green thread and an OS thread lock two mutexes in opposite order. Gives both, when each holds its first.
fn green_and_native() -> (JoinHandle<()>, std::thread::JoinHandle<()>) {
    let locks = Arc::new((Mutex::new(()), Mutex::new(())));
    let meeting = Arc::new(Barrier::new(3));
    let (theirs, there) = (Arc::clone(&locks), Arc::clone(&meeting));
    let native = std::thread::Builder::new().name("native".into()).spawn(move || {
        let _two = theirs.1.lock().unwrap();
        there.wait();
        // Poisoned by the panic of the other one.
        let _one = theirs.0.lock().unwrap_err();
    });
    let here = Arc::clone(&meeting);
    let green = named("green", move || {
        let _one = locks.0.lock().unwrap();
        here.wait();
        let _two = locks.1.lock().unwrap();
    });
    meeting.wait();
    (green, native.unwrap())
}

fn os_thread_circle() {
    on_one_worker(|| {
        let (green, native) = green_and_native();
        let busy = named("busy", || {
            while !thread::is_cancelled() {
                thread::yield_now()
            }
        });
        let found = loop {
            let found = sward::deadlocks();
            if !found.is_empty() {
                break found;
            }
        };
        let names: Vec<_> = found[0].threads().iter().map(|thread| thread.name().unwrap()).collect();
        assert!(names == ["green", "native"] || names == ["native", "green"], "{names:?}");
        assert!(green.join().is_err(), "the green one is sacrificed");
        sward::offload(|| native.join()).expect("and the other one goes on");
        busy.cancel();
        assert!(sward::deadlocks().is_empty());
    });
}

fn expect_os_thread_circle(scenario: &Scenario) {
    let (status, errors) = end(scenario.command().env("SWARD_DEADLOCK", "partial"));
    assert!(status.success(), "{errors}");
    assert_says(&errors, &["deadlock: 2 threads wait for each other in a circle"]);
    let native =
        ["\"native\", an OS thread", "the Mutex at", "diagnosis_process.rs:", "\"green\" holds, taken at"];
    assert_says(&errors, &native);
    assert_says(&errors, &["\"green\", spawned at", "the Mutex at", "\"native\" holds, taken at"]);
}

/// The same, and nothing else: the OS thread cannot end it either.
fn os_thread_quiescence() {
    on_one_worker(|| {
        let (green, _native) = green_and_native();
        green.join().unwrap();
    });
}

fn expect_os_thread_quiescence(scenario: &Scenario) {
    let (status, errors) = end(scenario.command().env("SWARD_DEADLOCK", "total"));
    assert_eq!(status.code(), Some(101), "{errors}");
    let parts = [
        "deadlock: all 2 green threads wait",
        "\"main\"",
        "\"green\", spawned at",
        "\"native\" holds, taken at",
        "\"native\", an OS thread",
        "\"green\" holds, taken at",
    ];
    assert_says(&errors, &parts);
}

// ---- SIGQUIT --------------------------------------------------------------------------------------------------------

/// Says that it is ready, and waits for the end of its standard input.
fn until_input_ends() {
    on_one_worker(|| {
        let parked = named("parked", parked_for_long);
        thread::yield_now();
        println!("ready");
        sward::offload(|| std::io::stdin().read_to_end(&mut Vec::new()).unwrap());
        parked.thread().unpark();
        parked.join().unwrap();
    });
}

#[inline(never)]
fn parked_for_long() {
    thread::park();
    std::hint::black_box(());
}

fn expect_sigquit(scenario: &Scenario) {
    for engine in sward::EngineKind::ALL {
        let mut child = scenario.command().env("SWARD_ENGINE", engine.name()).spawn().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        output.read_line(&mut String::new()).unwrap();
        // SAFETY: the child has not been waited for, so the number is still its own.
        assert_eq!(unsafe { libc::kill(child.id().cast_signed(), libc::SIGQUIT) }, 0);
        let mut errors = BufReader::new(child.stderr.take().unwrap());
        let mut dump = String::new();
        while !dump.contains("\"parked\"") || !dump.contains("parked_for_long") {
            assert_ne!(errors.read_line(&mut dump).unwrap(), 0, "the dump ended too early: {dump}");
        }
        drop(child.stdin.take());
        let status = child.wait().unwrap();
        assert!(status.success(), "SIGQUIT ended it: {status}");
        assert_says(&dump, &["sward: green threads: 2, not started: 0, workers: 1, engine: ", engine.name()]);
        assert_says(&dump, &["\"parked\", spawned at", "diagnosis_process.rs:", "worker 0, is parked for"]);
    }
}

// ---- stalls ---------------------------------------------------------------------------------------------------------

/// A green thread blocks its worker in a read that sward does not know of.
fn stall() {
    on_one_worker(|| {
        let lazy = named("lazy", || std::io::stdin().read_to_end(&mut Vec::new()).unwrap());
        lazy.join().unwrap();
    });
}

fn expect_stall(scenario: &Scenario) {
    let mut child = scenario.command().env("SWARD_STALL_MS", "10").spawn().unwrap();
    let mut errors = BufReader::new(child.stderr.take().unwrap());
    let mut report = String::new();
    errors.read_line(&mut report).unwrap();
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
    let parts = [
        "worker 0 has not switched for",
        "\"lazy\", spawned at",
        "diagnosis_process.rs:",
        "system call read",
    ];
    assert_says(&report, &parts);
    let mut rest = String::new();
    errors.read_to_string(&mut rest).unwrap();
    assert!(!rest.contains("\"lazy\""), "a stall is reported once: {rest}");
}

// ---- stack use ------------------------------------------------------------------------------------------------------

fn stack_use() {
    on_one_worker(|| {
        named("deep", || std::hint::black_box([1u8; 40 * 1024]).len()).join().unwrap();
        // On the same stack, which must not look deep any more.
        for _ in 0..3 {
            named("shallow", || ()).join().unwrap();
        }
    });
}

fn expect_stack_use(scenario: &Scenario) {
    let (status, errors) = end(scenario.command().env("SWARD_STACK_REPORT", "1"));
    assert!(status.success(), "{errors}");
    let line = |of: &str| errors.lines().find(|line| line.contains(of)).unwrap_or_else(|| panic!("{errors}"));
    let depth = |line: &str| -> usize {
        let (_, rest) = line.split_once(": ").unwrap();
        rest.split_once(" KiB of 256 KiB").unwrap().0.parse().unwrap()
    };
    let deep =
        errors.lines().find(|line| line.contains("in 1 threads") && line.contains("of 256 KiB")).unwrap();
    assert!((40..100).contains(&depth(deep)), "{errors}");
    assert_says(deep, &["diagnosis_process.rs:", "Builder::stack_size(", " * 1024)"]);
    assert!(depth(line("in 3 threads")) < 40, "{errors}");
}

// ---- settings -------------------------------------------------------------------------------------------------------

fn expect_bad_setting(scenario: &Scenario) {
    let (status, errors) = end(scenario.command().env("SWARD_DEADLOCK", "sometimes"));
    assert_eq!(status.code(), Some(101));
    assert_says(&errors, &["SWARD_DEADLOCK is \"sometimes\", but should be off, total, partial or abort"]);
}
