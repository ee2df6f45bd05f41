//! `sward load` against servers that behave, servers that do not, and `sward serve`.

#[path = "load/server.rs"]
mod server;

use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use server::{Manner, Server};

const SWARD: &str = env!("CARGO_BIN_EXE_sward");

fn command(address: impl ToString, flags: &[&str]) -> Command {
    let mut command = Command::new(SWARD);
    command.args(["load", &address.to_string()]).args(flags).env_remove("SWARD_ENGINE").stdin(Stdio::null());
    command
}

/// A short run with these flags.
fn load(server: &Server, flags: &[&str]) -> Output {
    command(server.address, flags).args(["--duration", "300ms", "--warmup", "50ms"]).output().unwrap()
}

/// The JSON of a short run, and whether it ended well.
fn measure(server: &Server, flags: &[&str]) -> (Value, bool) {
    let output = load(server, &[flags, &["--json", "--quiet"]].concat());
    (json(&output), output.status.success())
}

fn json(output: &Output) -> Value {
    let (text, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(text.lines().count(), 1, "{text}\n{errors}");
    serde_json::from_str(&text).unwrap()
}

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The only kind of error that there was: its name, how often, and the first in words.
fn only_error(report: &Value) -> (&str, u64, &str) {
    let list = report["errors"].as_array().unwrap();
    assert_eq!(list.len(), 1, "{list:?}");
    let text = |field: &str| list[0][field].as_str().unwrap();
    (text("kind"), list[0]["count"].as_u64().unwrap(), text("first"))
}

#[track_caller]
fn assert_clean(report: &Value, succeeded: bool) {
    assert!(succeeded, "{report}");
    assert_eq!(report["errors"].as_array().unwrap().len(), 0, "{report}");
    assert_eq!(report["unanswered"], 0, "{report}");
    assert!(report["messages"].as_u64().unwrap() > 0, "{report}");
}

// ---- what it measures ---------------------------------------------------------------------------------------------

#[test]
fn closed_loop_numbers_agree_with_each_other() {
    let server = Server::start(Manner::Upper);
    let (report, succeeded) = measure(&server, &["--connections", "10", "--idle", "7", "--pipeline", "3"]);
    assert_clean(&report, succeeded);
    let number = |field: &str| report[field].as_f64().unwrap();
    let messages = number("messages");
    assert!((number("messages_per_second") * number("seconds") / messages - 1.0).abs() < 0.02);
    assert!((number("bytes_per_second") / number("messages_per_second") / 64.0 - 1.0).abs() < 1e-6);
    let buckets = report["histogram"].as_array().unwrap();
    assert_eq!(buckets.iter().map(|bucket| bucket["messages"].as_f64().unwrap()).sum::<f64>(), messages);
    let latency = &report["latency_us"];
    let quantiles = ["p50", "p90", "p99", "p999", "max"].map(|name| latency[name].as_f64().unwrap());
    assert!(quantiles.is_sorted() && quantiles[0] > 0.0, "{latency}");
    let spread = ["min", "median", "max"].map(|name| report["connection_messages"][name].as_u64().unwrap());
    assert!(spread.is_sorted() && spread.iter().all(|count| count % 3 == 0), "{spread:?}: whole batches");
    assert!(report["sent_late_us"].is_null() && report["rate"].is_null());
    assert_eq!((server.accepted(), server.resets()), (17, 0), "every connection is ended properly");
    assert_eq!(report["idle_closed"], 0);
}

#[test]
fn an_open_loop_sends_what_is_due_and_no_more() {
    let server = Server::start(Manner::Upper);
    let (report, succeeded) = measure(&server, &["--rate", "2000", "--connections", "8"]);
    assert_clean(&report, succeeded);
    let due = 2000.0 * report["seconds"].as_f64().unwrap();
    // Replies to what was sent before the window may come in it.
    assert!(report["messages"].as_f64().unwrap() <= due + 8.0 + 2000.0 * 0.1, "{report}");
    assert!(report["sent_late_us"]["max"].as_f64().unwrap() > 0.0);
    assert_eq!(server.resets(), 0);
}

/// If latencies counted from when messages were sent, and not from when they were due, one message would show the stall.
#[test]
fn a_stall_counts_for_every_message_that_was_due_meanwhile() {
    let server = Server::start(Manner::StallAt(6400, Duration::from_millis(400)));
    let flags =
        ["--rate", "1000", "--connections", "1", "--duration", "1s", "--warmup", "0s", "--json", "--quiet"];
    let output = command(server.address, &flags).output().unwrap();
    let report = json(&output);
    assert_clean(&report, output.status.success());
    let buckets = report["histogram"].as_array().unwrap();
    let late = buckets.iter().filter(|bucket| bucket["from_us"].as_f64().unwrap() >= 50_000.0);
    let late: u64 = late.map(|bucket| bucket["messages"].as_u64().unwrap()).sum();
    assert!(late >= 250, "{late} messages were late");
}

/// Batches that do not fit into the buffers on the way would stop both sides for ever if they were written first, then read.
#[test]
fn sizes_from_one_byte_to_megabytes() {
    let server = Server::start(Manner::Upper);
    for (size, pipeline) in [("1", "1"), ("1", "5000"), ("65536", "1"), ("100000", "40"), ("8388608", "1")] {
        let flags = ["--size", size, "--pipeline", pipeline, "--connections", "2", "--duration", "1s"];
        let output = command(server.address, &flags).args(["--json", "--quiet"]).output().unwrap();
        assert_clean(&json(&output), output.status.success());
    }
    let (report, succeeded) = measure(&server, &["--size", "70000", "--rate", "100", "--connections", "2"]);
    assert_clean(&report, succeeded);
    assert_eq!(server.resets(), 0);
}

#[test]
fn every_engine_and_several_workers() {
    let server = Server::start(Manner::Upper);
    for engine in sward::EngineKind::ALL.map(sward::EngineKind::name) {
        for flags in [["--pipeline", "2"], ["--rate", "3000"], ["--ramp", "100ms"]] {
            let (report, succeeded) =
                measure(&server, &[&["--engine", engine, "--workers", "2"], &flags[..]].concat());
            assert_clean(&report, succeeded);
            assert_eq!(report["engine"], engine);
        }
    }
    assert_eq!(server.resets(), 0);
}

#[test]
fn measures_the_processor_time_of_a_process() {
    let server = Server::start(Manner::Upper);
    let this = std::process::id().to_string();
    let (report, succeeded) = measure(&server, &["--pid", &this]);
    assert_clean(&report, succeeded);
    for field in ["server_cpu_us_per_message", "generator_cpu_us_per_message"] {
        assert!(report[field].as_f64().unwrap() > 0.0, "{field}: {report}");
    }
    let output = load(&server, &["--pid", "2147483647"]);
    assert!(!output.status.success() && errors(&output).contains("no such process"), "{}", errors(&output));
}

// ---- what can go wrong ---------------------------------------------------------------------------------------------

#[test]
fn wrong_bytes_are_found_and_named() {
    let server = Server::start(Manner::WrongAt(1000));
    let (report, succeeded) = measure(&server, &["--connections", "3"]);
    let (kind, count, first) = only_error(&report);
    assert_eq!((kind, count, succeeded), ("wrong_bytes", 3, false));
    assert!(first.contains("message 15, byte 40 (") && first.contains("expected '"), "{first}");

    let server = Server::start(Manner::Echo);
    assert_clean(&measure(&server, &["--verify", "echo"]).0, true);
    assert_clean(&measure(&server, &["--verify", "none"]).0, true);
    let (report, succeeded) = measure(&server, &["--rate", "5000"]);
    assert_eq!((only_error(&report).0, succeeded), ("wrong_bytes", false));
}

/// A check that looked at each message alone would let these pass.
#[test]
fn doubled_and_missing_replies_are_found() {
    for manner in [Manner::Twice(64), Manner::Swallow(64)] {
        let server = Server::start(manner);
        let (report, succeeded) = measure(&server, &["--connections", "1", "--pipeline", "4"]);
        assert_eq!((only_error(&report).0, succeeded), ("wrong_bytes", false));
    }
}

/// A server that says more than it was asked for is ahead of the next message, so it would look fast.
#[test]
fn bytes_that_were_not_asked_for_are_found_without_verifying() {
    const ALL: usize = usize::MAX;
    for flags in [
        &["--connections", "2"][..],
        &["--connections", "2", "--pipeline", "3"],
        &["--connections", "2", "--pipeline", "2000"],
        &["--connections", "2", "--rate", "500"],
    ] {
        let server = Server::start(Manner::Twice(ALL));
        let (report, succeeded) = measure(&server, &[flags, &["--verify", "none"]].concat());
        assert_eq!((only_error(&report).0, succeeded), ("surplus_bytes", false), "{flags:?}: {report}");
    }
    for verify in ["none", "upper"] {
        let server = Server::start(Manner::Greet);
        let (report, succeeded) =
            measure(&server, &["--connections", "1", "--idle", "3", "--verify", verify]);
        let kinds: Vec<_> = report["errors"].as_array().unwrap().iter().map(|error| &error["kind"]).collect();
        assert!(kinds.contains(&&Value::from("surplus_bytes")) && !succeeded, "{verify}: {report}");
    }
}

#[test]
fn connections_that_the_server_ends() {
    for (manner, expected) in [(Manner::ResetAfter(640), "reset"), (Manner::CloseAfter(640), "closed")] {
        for flags in [["--pipeline", "1"], ["--rate", "9000"]] {
            let server = Server::start(manner);
            let (report, succeeded) = measure(&server, &[&["--connections", "5"], &flags[..]].concat());
            let kinds: Vec<_> = report["errors"]
                .as_array()
                .unwrap()
                .iter()
                .map(|error| error["kind"].as_str().unwrap())
                .collect();
            // A write that crosses the close is answered by a reset.
            assert!(
                !kinds.is_empty() && kinds.iter().all(|kind| [expected, "reset"].contains(kind)),
                "{kinds:?}"
            );
            assert!(!succeeded);
        }
    }
}

#[test]
fn a_server_that_never_replies() {
    let server = Server::start(Manner::Silent);
    let (report, succeeded) = measure(&server, &["--connections", "4", "--pipeline", "2"]);
    let (kind, count, _) = only_error(&report);
    assert_eq!((kind, count, succeeded), ("no_reply", 4, false));
    assert_eq!(report["unanswered"], 8);
    assert!(report["latency_us"].is_null() && report["histogram"].as_array().unwrap().is_empty());
    let (report, _) = measure(&server, &["--connections", "4", "--rate", "100"]);
    assert_eq!(only_error(&report).0, "no_reply");
}

#[test]
fn nothing_listens() {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let output = command(address, &[]).output().unwrap();
    let text = errors(&output);
    assert!(text.contains(&address.to_string()) && text.contains("nothing listens there"), "{text}");
    assert_eq!(output.status.code(), Some(1));
    let output = command("127.0.0.1", &[]).output().unwrap();
    assert!(errors(&output).contains("HOST:PORT"), "{}", errors(&output));
}

#[test]
fn the_limit_of_descriptors() {
    let server = Server::start(Manner::Upper);
    let limited = |limit: &str| {
        let script = format!("ulimit {limit} && exec \"$0\" \"$@\"");
        let mut command = Command::new("sh");
        command.args(["-c", &script, SWARD, "load", &server.address.to_string()]);
        command.args(["--connections", "200", "--duration", "100ms", "--quiet", "--json"]).output().unwrap()
    };
    let output = limited("-Sn 70");
    assert_clean(&json(&output), output.status.success());
    let output = limited("-n 100");
    let text = errors(&output);
    assert_eq!(output.status.code(), Some(1));
    for part in ["200 connections", "may open 100", "at most 36", "ulimit -n 264"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let text = errors(&limited("-n 20"));
    for part in ["may open 20", "Not one connection fits", "ulimit -n 264"] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn a_report_that_cannot_be_printed_is_an_error() {
    let server = Server::start(Manner::Upper);
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let mut command = command(server.address, &["--duration", "100ms", "--quiet"]);
    let output = command.stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(errors(&output).contains("writing to standard output: No space left"), "{}", errors(&output));
}

#[test]
fn an_interrupt_ends_it_with_what_there_is() {
    let server = Server::start(Manner::Upper);
    let mut command = command(server.address, &["--duration", "1h", "--json"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let line = lines.find(|line| line.as_ref().unwrap().starts_with("measure")).unwrap().unwrap();
    assert!(line.contains("/s  p50 ") && line.contains(" 0 errors"), "{line}");
    kill(Pid::from_raw(child.id().try_into().unwrap()), Signal::SIGINT).unwrap();
    let mut text = String::new();
    child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    assert!(child.wait().unwrap().success());
    let report: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(report["interrupted"], true);
    assert_clean(&report, true);
}

#[test]
fn interrupted_before_its_window_it_has_nothing_to_report() {
    let server = Server::start(Manner::Upper);
    for phase in ["--ramp", "--warmup"] {
        let flags = [phase, "1h", "--duration", "1h", "--json", "--connections", "2"];
        let mut child =
            command(server.address, &flags).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        lines.next().unwrap().unwrap();
        kill(Pid::from_raw(child.id().try_into().unwrap()), Signal::SIGINT).unwrap();
        let said: Vec<_> = lines.map(Result::unwrap).collect();
        let output = child.wait_with_output().unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), "", "{phase}");
        assert_eq!(output.status.code(), Some(1), "{phase}");
        let last = said.last().unwrap();
        assert!(last.contains("before the measured window began: there is nothing to report"), "{last}");
    }
    assert_eq!(server.resets(), 0, "the connections are ended properly");
}

/// What came before the window is no figure of the window.
#[test]
fn a_run_that_ends_before_its_window_has_errors_and_no_figures() {
    let server = Server::start(Manner::CloseAfter(640));
    let flags = ["--warmup", "1h", "--connections", "3", "--json", "--quiet"];
    let output = command(server.address, &flags).output().unwrap();
    let (report, succeeded) = (json(&output), output.status.success());
    assert!(!succeeded && !report["errors"].as_array().unwrap().is_empty(), "{report}");
    for field in ["seconds", "messages", "messages_per_second", "generator_cpu_percent"] {
        assert_eq!(report[field].as_f64(), Some(0.0), "{field}: {report}");
    }
    assert!(report["latency_us"].is_null(), "{report}");
}

#[test]
fn flags_that_make_no_sense() {
    for (flags, complaint) in [
        (&["--rate", "5", "--pipeline", "2"][..], "cannot be used with"),
        (&["--rate=-1"], "from 0.001 to 1000000000"),
        (&["--rate", "0"], "from 0.001 to 1000000000"),
        (&["--rate", "1e-300"], "from 0.001 to 1000000000"),
        (&["--rate", "1e18"], "from 0.001 to 1000000000"),
        (&["--rate", "inf"], "from 0.001 to 1000000000"),
        (&["--rate", "nan"], "from 0.001 to 1000000000"),
        (&["--warmup", "18446744073709551615s"], "at most 876000h"),
        (&["--ramp", "18446744073709551615"], "at most 876000h"),
        (&["--engine", "kqueue"], "io_uring, epoll, poll, select, sigio, spin"),
        (&["--connections", "0"], "--connections"),
        (&["--duration", "0s"], "more than 0"),
        (&["--duration", "18446744073709551615ms"], "at most 876000h"),
        (&["--size", "67108864", "--pipeline", "100"], "lower --pipeline or --size"),
    ] {
        let output = command("127.0.0.1:1", flags).output().unwrap();
        assert!(
            !output.status.success() && errors(&output).contains(complaint),
            "{flags:?}: {}",
            errors(&output)
        );
    }
}

// ---- for people, and against our own server ---------------------------------------------------------------------

#[test]
fn the_report_for_people() {
    let server = Server::start(Manner::Upper);
    let output = load(&server, &["--quiet", "--connections", "2"]);
    let text = String::from_utf8(output.stdout).unwrap();
    for part in [
        "2 connections, 64 bytes, closed loop",
        "p99.9 ",
        "µs CPU per message",
        "errors      none",
        "latency up to",
        "█",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(output.stderr.is_empty(), "quiet");
}

#[test]
fn our_own_server_under_each_model() {
    for model in ["blocking", "threads", "green", "processes"] {
        let mut serve = Command::new(SWARD);
        serve
            .args(["serve", "--addr", "127.0.0.1:0", "--workers", "2", "--model", model])
            .stdout(Stdio::piped());
        let mut serve = serve.env_remove("SWARD_ENGINE").spawn().unwrap();
        let mut banner = BufReader::new(serve.stdout.take().unwrap()).lines();
        let first = banner.next().unwrap().unwrap();
        let pid = serve.id().to_string();
        let flags = ["--connections", "20", "--duration", "300ms", "--json", "--quiet", "--pid", &pid];
        let output = command(first.rsplit(' ').next().unwrap(), &flags).output().unwrap();
        kill(Pid::from_raw(serve.id().try_into().unwrap()), Signal::SIGINT).unwrap();
        let closing: Vec<_> = banner.map_while(Result::ok).collect();
        serve.wait().unwrap();
        assert_clean(&json(&output), output.status.success());
        assert!(closing.iter().any(|line| line.trim() == "connections  20"), "{model}: {closing:?}");
    }
}
