//! What a panic prints. A program without a harness, since hook and standard error are the whole process's.

use std::fs::File;
use std::io;
use std::panic::{self, PanicHookInfo};
use std::process::Command;

use sward::thread::{self, Builder};
use sward_testing::{Scenario, full_pipe};

const SCENARIOS: &[Scenario] = &[
    Scenario::new("names", names, expect_names),
    Scenario::new("main_panics", main_panics, expect_main),
    Scenario::new("backtrace", backtrace, expect_backtrace),
    Scenario::new("hook_before", hook_before, expect_hook_before),
    Scenario::new("hook_meanwhile", hook_meanwhile, expect_hook_meanwhile),
    Scenario::new("while_a_cancel_unwinds", while_a_cancel_unwinds, expect_once),
    Scenario::new("hook_that_blocks", hook_that_blocks, expect_success),
    Scenario::new("beside_one_that_unwinds", beside_one_that_unwinds, expect_its_name_once),
    Scenario::new("full_stream", names, expect_no_more_than_errors),
    Scenario::new("unread", many, expect_no_harm_when_unread),
];

fn main() {
    Scenario::main(SCENARIOS);
}

/// The main closure of a runtime with that many workers.
fn on_workers<T>(workers: usize, main: impl FnOnce() -> T) -> T {
    // SAFETY: the scenarios hold no scoped thread-local value across a blocking call.
    unsafe { sward::Builder::new().workers(workers).run(main) }.unwrap_or_else(|error| panic!("{error}"))
}

/// The child's standard error.
fn errors_of(command: &mut Command) -> String {
    let output = command.output().expect("a child");
    String::from_utf8(output.stderr).expect("text")
}

/// Without the numbers of threads, lines and columns.
fn without_numbers(text: &str) -> String {
    let mut text: String = text.chars().map(|c| if c.is_ascii_digit() { '#' } else { c }).collect();
    while text.contains("##") {
        text = text.replace("##", "#");
    }
    text
}

const NOTE: &str = "note: run with `RUST_BACKTRACE=#` environment variable to display a backtrace\n";

fn message(name: &str, what: &str) -> String {
    format!("\nthread '{name}' (#) panicked at crates/sward/tests/panic_message.rs:#:#:\n{what}\n")
}

fn names() {
    let panics = |name: Option<&str>| {
        let builder = name.map_or(Builder::new(), |name| Builder::new().name(name.into()));
        assert!(builder.spawn(|| panic!("lost {}", "it")).unwrap().join().is_err());
    };
    let main = || {
        panics(Some("alice"));
        panics(None);
        thread::spawn(|| panic::panic_any(())).join().unwrap_err();
        sward::offload(|| {
            let os_thread = std::thread::Builder::new().name("os".into());
            os_thread.spawn(|| panic!("so")).unwrap().join().unwrap_err();
        });
    };
    on_workers(1, main);
    on_workers(2, main);
    // Without a runtime, too.
    panics(Some("bob"));
}

fn expect_names(scenario: &Scenario) {
    let errors = errors_of(scenario.command().env_remove("RUST_BACKTRACE"));
    let green = message("alice", "lost it");
    let rest = message("<unnamed>", "lost it") + &message("<unnamed>", "Box<dyn Any>");
    let os = message("os", "so");
    let expected = format!("{green}{NOTE}{rest}{os}{NOTE}{green}{rest}{os}{}", message("bob", "lost it"));
    assert_eq!(without_numbers(&errors), expected);
}

fn main_panics() {
    on_workers(1, || panic!("at once"));
}

fn expect_main(scenario: &Scenario) {
    let errors = errors_of(scenario.command().env("RUST_BACKTRACE", "0"));
    assert_eq!(without_numbers(&errors), message("main", "at once") + NOTE);
}

fn backtrace() {
    #[inline(never)]
    fn who_did_it() {
        panic!("look")
    }
    on_workers(1, || thread::spawn(who_did_it).join().unwrap_err());
}

fn expect_backtrace(scenario: &Scenario) {
    let errors = errors_of(scenario.command().env("RUST_BACKTRACE", "1"));
    let parts: Vec<_> = errors.split("\nstack backtrace:\n").collect();
    let [_, frames] = parts[..] else { panic!("{errors}") };
    assert!(frames.starts_with("   0: ") && frames.contains("who_did_it"), "{errors}");
    assert!(!frames.contains("run_ready") && !frames.contains("panic_hook"), "{errors}");
    assert!(frames.lines().count() < 30, "{errors}");
    assert!(errors.ends_with("run with `RUST_BACKTRACE=full` for a verbose backtrace.\n"), "{errors}");
    let full = errors_of(scenario.command().env("RUST_BACKTRACE", "full"));
    assert!(full.contains("who_did_it") && full.contains("run_ready"), "{full}");
}

fn say_who(info: &PanicHookInfo<'_>) {
    eprintln!("{:?} says {:?}", thread::current().name().unwrap_or("?"), info.payload_as_str().unwrap());
}

fn hook_before() {
    panic::set_hook(Box::new(say_who));
    on_workers(1, || {
        Builder::new().name("alice".into()).spawn(|| panic!("lost")).unwrap().join().unwrap_err();
    });
}

fn expect_hook_before(scenario: &Scenario) {
    assert_eq!(errors_of(&mut scenario.command()), "\"alice\" says \"lost\"\n");
}

fn hook_meanwhile() {
    on_workers(1, || {
        let hook = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            say_who(info);
            hook(info);
        }));
        Builder::new().name("alice".into()).spawn(|| panic!("lost")).unwrap().join().unwrap_err();
    });
    on_workers(1, || thread::spawn(|| panic!("again")).join().unwrap_err());
}

fn expect_hook_meanwhile(scenario: &Scenario) {
    let errors = errors_of(scenario.command().env_remove("RUST_BACKTRACE"));
    let (first, second) = (message("alice", "lost"), message("<unnamed>", "again"));
    let expected = format!("\"alice\" says \"lost\"\n{first}{NOTE}\"?\" says \"again\"\n{second}");
    assert_eq!(without_numbers(&errors), expected);
}

/// A panic in the middle of a cancel's unwinding, which is caught.
fn while_a_cancel_unwinds() {
    struct Panics;
    impl Drop for Panics {
        fn drop(&mut self) {
            panic::catch_unwind(|| panic!("lost")).unwrap_err();
        }
    }
    on_workers(1, || {
        let unwinds = Builder::new().name("alice".into()).spawn(|| {
            let _panics = Panics;
            thread::park();
        });
        let unwinds = unwinds.unwrap();
        thread::yield_now();
        unwinds.cancel();
        unwinds.join().unwrap_err();
    });
}

fn expect_once(scenario: &Scenario) {
    let errors = errors_of(scenario.command().env_remove("RUST_BACKTRACE"));
    assert_eq!(without_numbers(&errors), message("alice", "lost") + NOTE);
}

/// Longer messages, and more of them, than a pipe has room for.
fn many() {
    on_workers(1, || {
        for _ in 0..200 {
            thread::spawn(|| panic!("{:3000}", "lost")).join().unwrap_err();
        }
    });
}

/// Nobody reads standard error: no worker is held up.
fn expect_no_harm_when_unread(scenario: &Scenario) {
    let (_reader, writer) = io::pipe().expect("a pipe");
    let status = scenario.command().stderr(writer).status().expect("a child");
    assert!(status.success(), "{status}");
    let (_reader, writer) = full_pipe();
    let status = scenario.command().stderr(writer).status().expect("a child");
    assert!(status.success(), "{status}");
}

/// Standard error takes nothing: the panics are caught all the same.
fn expect_no_more_than_errors(scenario: &Scenario) {
    let full = File::options().write(true).open("/dev/full").expect("a stream that is full");
    let status = scenario.command().stderr(full).status().expect("a child");
    assert!(status.success(), "{status}");
}

/// Hooks that wait for a neighbour, on one worker: each lets the others run, and they panic in the meantime.
fn hook_that_blocks() {
    static LOG: sward::sync::Mutex<u32> = sward::sync::Mutex::new(0);
    panic::set_hook(Box::new(|_| {
        let mut log = LOG.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        thread::yield_now();
        thread::sleep(std::time::Duration::from_millis(1));
        *log += 1;
    }));
    on_workers(1, || {
        let threads: Vec<_> = (0..20).map(|n| thread::spawn(move || panic!("expected: {n}"))).collect();
        let panicked = threads.into_iter().map(|thread| thread.join()).filter(Result::is_err).count();
        assert_eq!((panicked, *LOG.lock().unwrap()), (20, 20));
        assert!(!std::thread::panicking());
    });
}

fn expect_success(scenario: &Scenario) {
    let output = scenario.command().output().expect("a child");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// A panic while another thread of the worker is suspended in the middle of its own unwinding.
fn beside_one_that_unwinds() {
    struct Waits(sward::channel::Receiver<()>);
    impl Drop for Waits {
        fn drop(&mut self) {
            self.0.recv().unwrap();
        }
    }
    on_workers(1, || {
        let (sender, receiver) = sward::channel::unbounded();
        let unwinds = thread::spawn(move || {
            let _waits = Waits(receiver);
            thread::park();
        });
        thread::yield_now();
        unwinds.cancel();
        (0..10).for_each(|_| thread::yield_now());
        assert!(!unwinds.is_finished() && !std::thread::panicking());
        let panics = Builder::new().name("bob".into()).spawn(|| panic!("beside")).unwrap();
        assert!(panics.join().is_err());
        sender.send(()).unwrap();
        assert!(unwinds.join().is_err());
    });
}

fn expect_its_name_once(scenario: &Scenario) {
    let errors = errors_of(&mut scenario.command());
    assert_eq!(without_numbers(&errors), message("bob", "beside") + NOTE, "{errors}");
}
