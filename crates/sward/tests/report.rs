//! What the process says of itself, when standard error is well and when it is of no use.
//!
//! Standard error is the process's, so this is a program without a harness, which runs itself once for each scenario.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::Command;

use sward::thread;
use sward::time::{Duration, Instant};
use sward_testing::{Scenario, full_pipe};

const SCENARIOS: &[Scenario] = &[
    Scenario::new("exit", exit, expect_all_before_the_exit),
    Scenario::new("end_of_run", end_of_run, expect_reports_before_what_follows_the_run),
    Scenario::new("flood", flood, expect_a_count_of_what_is_missing),
    Scenario::new("unread", say_all_kinds, expect_no_harm_when_unread),
    Scenario::new("full_disk", say_all_kinds, expect_no_harm_on_a_full_disk),
    Scenario::new("without_reader", say_all_kinds, expect_no_harm_without_a_reader),
    Scenario::new("monitor_full_disk", stall_and_deadlock, expect_the_monitor_to_go_on),
    Scenario::new("abort_unread", deadlock, expect_an_abort_when_unread),
];

/// Reports of the scenario `flood`; more than may wait to be written.
const FLOOD: u64 = 50_000;

fn main() {
    Scenario::main(SCENARIOS);
}

// ---- the child's side -----------------------------------------------------------------------------------------------

fn in_runtime<T>(main: impl FnOnce() -> T) -> T {
    // SAFETY: the scenarios hold no scoped thread-local value across a blocking call.
    unsafe { sward::Builder::new().workers(2).run(main) }.unwrap_or_else(|error| panic!("{error}"))
}

fn exit() {
    in_runtime(|| {
        for number in 0..1000 {
            sward::report(number);
        }
        std::process::exit(3);
    });
}

fn end_of_run() {
    in_runtime(|| sward::report("from inside"));
    eprintln!("from outside");
}

fn flood() {
    in_runtime(|| {
        for number in 0..FLOOD {
            sward::report(format_args!("{number} {:100}", ""));
        }
    });
    println!("said");
    std::io::stdin().lock().read_line(&mut String::new()).unwrap();
    sward::report("the last one");
}

/// Reports, dumps and stalls; then the program ends as it should.
fn say_all_kinds() {
    in_runtime(|| {
        let waiting = thread::spawn(thread::park);
        for _ in 0..100 {
            sward::report("something");
            sward::dump();
            thread::yield_now();
        }
        stall();
        waiting.thread().unpark();
        waiting.join().unwrap();
    });
    println!("over");
}

/// Computes until the monitor has looked a few times.
fn stall() {
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_millis(100) {}
}

fn stall_and_deadlock() {
    in_runtime(|| {
        stall();
        thread::spawn(|| ()).join().unwrap();
        stall();
        receive_for_ever();
    });
}

fn deadlock() {
    in_runtime(receive_for_ever);
}

fn receive_for_ever() {
    let (_sender, receiver) = sward::channel::unbounded::<()>();
    receiver.recv().unwrap();
}

// ---- the parent's side ----------------------------------------------------------------------------------------------

fn expect_all_before_the_exit(scenario: &Scenario) {
    let output = scenario.command().output().unwrap();
    let numbers: Vec<String> = (0..1000).map(|number| format!("{number}\n")).collect();
    assert_eq!(String::from_utf8(output.stderr).unwrap(), numbers.concat());
    assert_eq!(output.status.code(), Some(3));
}

fn expect_reports_before_what_follows_the_run(scenario: &Scenario) {
    let output = scenario.command().output().unwrap();
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "from inside\nfrom outside\n");
}

fn expect_a_count_of_what_is_missing(scenario: &Scenario) {
    let mut child = scenario.command().spawn().unwrap();
    let mut said = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut said).unwrap();
    assert_eq!(said, "said\n");
    let (mut written, mut missing) = (0, 0);
    let mut errors = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    while written + missing < FLOOD {
        let line = errors.next().unwrap();
        match line.strip_prefix("sward: ") {
            None => written += 1,
            Some(gap) => {
                let number = gap.strip_suffix(" reports are missing here: standard error did not take them");
                missing += number.unwrap().parse::<u64>().unwrap();
            }
        }
    }
    assert!(missing > 0);
    // There is room again.
    child.stdin.take().unwrap().write_all(b"\n").unwrap();
    assert_eq!(errors.collect::<Vec<_>>(), ["the last one"]);
    assert!(child.wait().unwrap().success());
}

/// As the library's own watches find it.
fn watched(scenario: &Scenario) -> Command {
    let mut command = scenario.command();
    command.env("SWARD_STALL_MS", "5").env("SWARD_DEADLOCK", "total").env("SWARD_STACK_REPORT", "1");
    command
}

fn expect_a_good_end(mut command: Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", output.status);
    assert_eq!(output.stdout, b"over\n");
}

fn expect_no_harm_when_unread(scenario: &Scenario) {
    let (_reader, writer) = full_pipe();
    let mut command = watched(scenario);
    command.stderr(writer);
    expect_a_good_end(command);
}

fn expect_no_harm_on_a_full_disk(scenario: &Scenario) {
    let mut command = watched(scenario);
    command.stderr(File::options().write(true).open("/dev/full").unwrap());
    expect_a_good_end(command);
}

fn expect_no_harm_without_a_reader(scenario: &Scenario) {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = watched(scenario);
    command.stderr(writer);
    expect_a_good_end(command);
}

/// It finds the deadlock after it could not report a stall.
fn expect_the_monitor_to_go_on(scenario: &Scenario) {
    let mut command = watched(scenario);
    command.stderr(File::options().write(true).open("/dev/full").unwrap());
    assert_eq!(command.status().unwrap().code(), Some(101));
}

fn expect_an_abort_when_unread(scenario: &Scenario) {
    let (_reader, writer) = full_pipe();
    let mut command = watched(scenario);
    let status = command.env("SWARD_DEADLOCK", "abort").stderr(writer).status().unwrap();
    assert_eq!(status.signal(), Some(6), "{status}");
}
