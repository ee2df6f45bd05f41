//! How `sward serve` ends under a supervisor: signals to all its processes at once, children that are stopped, drains without end.

use std::fs;
use std::net::TcpStream;
use std::process::Command;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sward_testing::{Watchdog, await_that};

use crate::clients::connect;
use crate::lifecycle::{ask, assert_gone};
use crate::server::{SWARD, Server};

fn send(process: u32, signal: Signal) {
    kill(Pid::from_raw(process as i32), signal).unwrap();
}

/// Whether a signal is on its way to the process, which is there.
fn is_pending(process: u32, signal: Signal) -> bool {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let sets = status
        .lines()
        .filter_map(|line| line.strip_prefix("SigPnd:").or(line.strip_prefix("ShdPnd:")).map(str::trim));
    let bit = 1 << (signal as u32 - 1);
    sets.into_iter().any(|set| u64::from_str_radix(set, 16).unwrap() & bit != 0)
}

fn is_stopped(process: u32) -> bool {
    fs::read_to_string(format!("/proc/{process}/status")).unwrap().contains("State:\tT")
}

fn start_with_children(flags: &[&str]) -> (Server, Vec<u32>) {
    let server = Server::start(&[&["--model", "processes"], flags].concat());
    await_that("both children serve", || {
        // A child that accepts has answered by then.
        ask(&mut connect(server.address), b"x") == b"X" && server.children().len() == 2
    });
    let children = server.children();
    (server, children)
}

/// What systemd does: SIGTERM to each process of the service.
#[test]
fn a_signal_to_all_processes_drains_them() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        for engine in ["io_uring", "epoll"] {
            let (server, children) = start_with_children(&["--engine", engine]);
            let mut clients: Vec<TcpStream> = (0..8).map(|_| connect(server.address)).collect();
            for client in &mut clients {
                assert_eq!(ask(client, b"a"), b"A");
            }
            for &process in &children {
                send(process, signal);
            }
            await_that("the children have got it", || {
                !children.iter().any(|&child| is_pending(child, signal))
            });
            server.signal(signal);
            let address = server.address;
            await_that("nobody listens any more", || TcpStream::connect(address).is_err());
            for mut client in clients {
                assert_eq!(ask(&mut client, b"b"), b"B");
            }
            let (code, summary) = server.finish();
            assert_eq!(code, Some(0), "{}", summary.complaints);
            assert!(summary.number("messages") >= 17, "{}", summary.text);
            for word in ["cut off", "left over", "restarts"] {
                assert!(!summary.text.contains(word), "{}", summary.text);
            }
        }
    }
}

#[test]
fn a_stopped_child_is_killed_after_the_deadline() {
    let _watchdog = Watchdog::start("a_stopped_child_is_killed_after_the_deadline");
    let (server, children) = start_with_children(&["--drain", "10ms"]);
    send(children[0], Signal::SIGSTOP);
    await_that("it is stopped", || is_stopped(children[0]));
    let summary = server.interrupt_and_finish();
    assert_gone(&children);
    assert!(
        summary.complaints.contains("ended without a report: signal: 9 (SIGKILL)"),
        "{}",
        summary.complaints
    );
}

#[test]
fn a_second_signal_leaves_no_stopped_child_behind() {
    let _watchdog = Watchdog::start("a_second_signal_leaves_no_stopped_child_behind");
    for (second, code) in [(Signal::SIGTERM, 143), (Signal::SIGINT, 130)] {
        let (server, children) = start_with_children(&["--drain", "876000h"]);
        send(children[0], Signal::SIGSTOP);
        await_that("it is stopped", || is_stopped(children[0]));
        server.signal(Signal::SIGTERM);
        let address = server.address;
        await_that("it drains", || TcpStream::connect(address).is_err());
        server.signal(second);
        assert_eq!(server.finish().0, Some(code));
        assert_gone(&children);
    }
}

#[test]
fn a_stopped_child_does_not_outlive_its_parent() {
    let (server, children) = start_with_children(&[]);
    for &child in &children {
        send(child, Signal::SIGSTOP);
        await_that("it is stopped", || is_stopped(child));
    }
    server.signal(Signal::SIGKILL);
    assert_gone(&children);
}

#[test]
fn the_banner_counts_what_runs() {
    let server = Server::start(&["--model", "processes", "--max-connections", "1"]);
    assert!(server.banner.contains("  processes    1\n"), "{}", server.banner);
    await_that("its child is there", || server.children().len() == 1);
}

#[test]
fn an_error_is_an_exit_code_even_if_nobody_hears_it() {
    for redirection in ["2>/dev/full", "2>&-"] {
        let script = format!("exec {SWARD} serve --addr 203.0.113.7:1 {redirection}");
        let status = Command::new("sh").args(["-c", &script]).status().unwrap();
        assert_eq!(status.code(), Some(1), "{redirection}");
    }
}
