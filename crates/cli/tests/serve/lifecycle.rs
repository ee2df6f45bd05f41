//! How a server starts, what it survives, and how it ends.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sward_testing::await_that;

use crate::clients::connect;
use crate::server::{SWARD, Server};

pub(crate) fn ask(stream: &mut TcpStream, question: &[u8]) -> Vec<u8> {
    stream.write_all(question).unwrap();
    let mut answer = vec![0; question.len()];
    stream.read_exact(&mut answer).unwrap();
    answer
}

pub(crate) fn drains_after_a_signal(flags: &[&str]) {
    let server = Server::start(flags);
    let address = server.address;
    let mut client = connect(address);
    assert_eq!(ask(&mut client, b"a"), b"A");
    server.signal(Signal::SIGTERM);
    await_that("nobody listens any more", || TcpStream::connect(address).is_err());
    assert_eq!(ask(&mut client, b"b"), b"B");
    drop(client);
    let (code, summary) = server.finish();
    assert_eq!(code, Some(0));
    assert_eq!((summary.number("messages"), summary.number("bytes")), (2, 2));
    assert!(!summary.text.contains("cut off"), "{}", summary.text);
}

pub(crate) fn a_second_signal_ends_it_at_once(flags: &[&str]) {
    let server = Server::start(flags);
    let mut client = connect(server.address);
    assert_eq!(ask(&mut client, b"a"), b"A");
    server.signal(Signal::SIGINT);
    await_that("it drains", || server.complaints().contains("stopping"));
    let children = server.children();
    server.signal(Signal::SIGTERM);
    let (code, summary) = server.finish();
    assert_eq!((code, summary.text.as_str()), (Some(128 + Signal::SIGTERM as i32), ""));
    assert_gone(&children);
}

pub(crate) fn the_deadline_cuts_off_idle_connections(flags: &[&str]) {
    let server = Server::start(&[flags, &["--drain", "10ms"]].concat());
    let mut client = connect(server.address);
    assert_eq!(ask(&mut client, b"a"), b"A");
    let summary = server.interrupt_and_finish();
    assert!(summary.text.contains("(1 cut off)"), "{}", summary.text);
    assert_eq!(client.read(&mut [0; 1]).unwrap(), 0);
}

pub(crate) fn assert_gone(processes: &[u32]) {
    for id in processes {
        await_that("the children have gone, too", || !is_running(*id));
    }
}

/// A process that has ended and for which nobody has waited yet (a zombie) has no descriptors.
fn is_running(id: u32) -> bool {
    Path::new(&format!("/proc/{id}/fd/0")).exists()
}

#[test]
fn the_banner_says_what_runs_and_why() {
    let server = Server::start(&["--engine", "poll"]);
    assert!(server.banner.contains("green: a green thread per connection"), "{}", server.banner);
    assert!(server.banner.contains("poll (by name)"), "{}", server.banner);
    assert!(
        server.banner.contains(&format!("nc -q1 127.0.0.1 {}", server.address.port())),
        "{}",
        server.banner
    );
    let mut command = Command::new("/usr/bin/env");
    command.args(["SWARD_ENGINE=select", SWARD, "serve", "--addr", "127.0.0.1:0"]);
    let server = Server::start_command(command);
    assert!(server.banner.contains("select (named by SWARD_ENGINE)"), "{}", server.banner);
}

#[test]
fn a_port_in_use_is_an_error_that_names_it() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    assert_refused(&taken.local_addr().unwrap().to_string());
    // Also if it is one of ours, whose listeners would let others join them on the port.
    let server = Server::start(&[]);
    assert_refused(&server.address.to_string());
}

fn assert_refused(address: &str) {
    let output = Command::new(SWARD).args(["serve", "--addr", address]).output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(error.contains(address) && error.contains("--addr"), "{error}");
    assert!(output.stdout.is_empty());
}

#[test]
fn unknown_values_are_answered_with_the_known_ones() {
    for (flag, known) in [("--model", "processes"), ("--engine", "io_uring")] {
        let output = Command::new(SWARD).args(["serve", flag, "none-such"]).output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2));
        assert!(error.contains(known), "{error}");
    }
}

#[test]
fn engines_lists_all_and_one_default() {
    let output = Command::new(SWARD).arg("engines").output().unwrap();
    let table = String::from_utf8(output.stdout).unwrap();
    for kind in sward::EngineKind::ALL {
        assert!(
            table.lines().any(|line| line.starts_with(kind.name()) && line.contains("available")),
            "{table}"
        );
    }
    assert_eq!(table.matches("(default)").count(), 1);
}

/// With each number of descriptors it either serves, or says what is short, and then has not said that it serves.
#[test]
fn what_keeps_it_from_serving_is_said_instead_of_the_banner() {
    for (model, limits) in [("green", 5..24), ("threads", 5..10), ("processes", 5..10)] {
        for limit in limits {
            let mut command = Command::new("sh");
            let flags = format!("--workers 2 --model {model}");
            let script = format!("ulimit -n {limit}; exec {SWARD} serve --addr 127.0.0.1:0 {flags}");
            command.args(["-c", &script]).env("SWARD_DEADLOCK", "off").env("SWARD_STALL_MS", "off");
            let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
            let mut said = String::new();
            BufReader::new(child.stdout.take().unwrap()).read_line(&mut said).unwrap();
            kill(Pid::from_raw(child.id() as i32), Signal::SIGKILL).unwrap();
            let output = child.wait_with_output().unwrap();
            let errors = String::from_utf8(output.stderr).unwrap();
            if said.is_empty() {
                assert!(
                    errors.contains("error: ") && errors.contains("ulimit -n"),
                    "{model}, {limit}: {errors}"
                );
            } else {
                assert_eq!(output.status.code(), None, "{model}, {limit}: {errors}");
            }
        }
    }
}

#[test]
fn a_setting_that_means_nothing_is_said_instead_of_the_banner() {
    let mut command = Command::new(SWARD);
    command.args(["serve", "--addr", "127.0.0.1:0"]).env("SWARD_STALL_MS", "soon");
    let output = command.output().unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(errors.contains("SWARD_STALL_MS is \"soon\", but should be a number"), "{errors}");
    assert!(output.stdout.is_empty());
}

/// More clients than descriptors: the first ones are served, the others wait for them to leave, and all get their turn.
#[test]
fn without_descriptors_it_goes_on_serving() {
    for flags in ["--model green --engine io_uring", "--model green --engine epoll", "--model threads"] {
        let mut command = Command::new("sh");
        let script = format!("ulimit -n 40; exec {SWARD} serve --addr 127.0.0.1:0 --workers 1 {flags}");
        command.args(["-c", &script]);
        let server = Server::start_command(command);
        assert!(server.banner.contains("40; few"), "{}", server.banner);
        let mut clients: Vec<TcpStream> = (0..100).map(|_| connect(server.address)).collect();
        await_that("it runs out of descriptors", || server.complaints().contains("serving goes on"));
        for mut client in clients.drain(..) {
            assert_eq!(ask(&mut client, b"x"), b"X");
        }
        let summary = server.interrupt_and_finish();
        assert_eq!(summary.number("connections"), 100);
        assert_eq!(summary.complaints.matches("serving goes on").count(), 1, "{}", summary.complaints);
    }
}

#[test]
fn a_crashed_child_is_started_again() {
    let server = Server::start(&["--model", "processes"]);
    await_that("both children are there", || server.children().len() == 2);
    let before = server.children();
    kill(Pid::from_raw(before[0] as i32), Signal::SIGKILL).unwrap();
    await_that("there is a new child", || {
        let now = server.children();
        now.len() == 2 && !now.contains(&before[0])
    });
    assert!(server.complaints().contains("crashed"), "{}", server.complaints());
    for _ in 0..20 {
        assert_eq!(ask(&mut connect(server.address), b"x"), b"X");
    }
    let summary = server.interrupt_and_finish();
    assert_eq!(summary.number("restarts"), 1);
}

#[test]
fn children_do_not_outlive_their_parent() {
    let server = Server::start(&["--model", "processes"]);
    await_that("both children are there", || server.children().len() == 2);
    let children = server.children();
    kill(Pid::from_raw(server.process() as i32), Signal::SIGKILL).unwrap();
    assert_gone(&children);
}

#[test]
fn chargen_and_discard_serve() {
    let server = Server::start(&["chargen"]);
    let mut line = [0; 74];
    connect(server.address).read_exact(&mut line).unwrap();
    assert!(line.starts_with(b" !\"#$%&'()") && line.ends_with(b"\r\n"));
    let server = Server::start(&["discard"]);
    let mut client = connect(server.address);
    client.write_all(b"to nobody").unwrap();
    client.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(client.read(&mut [0; 1]).unwrap(), 0);
}
