//! Whole pictures, compared with those beside this file. `SWARD_PICTURES=write cargo test -p sward-cli top::screen` draws them anew, to be looked at.

use std::path::Path;

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use serde::Deserialize;
use serde_json::{Value, json};
use sward::time::Duration;

use super::{SiteOrder, View, draw, fit, fit_end, sparkline, wrap};
use crate::top::snapshot::Snapshot;
use crate::top::watch::Watch;

/// A program that has something of everything, after so many seconds.
fn snapshot(seconds: u64) -> Snapshot {
    let count = 12_345 * seconds;
    let worker = |live: u64, stall: Value| json!({"live": live, "switches": count, "cpu_us": 430_000 * seconds, "stall": stall});
    let runtime = |main: u64, engine: &str, workers: Value| {
        json!({
            "main": main, "engine": engine, "live": 50_006, "unstarted": 3, "spawned": 123_456 + seconds, "switches": 2 * count,
            "steals": 7 * seconds, "parks": 40, "timers": 1_234_567 * seconds, "operations": count * seconds, "system_calls": 44 * seconds,
            "workers": workers,
        })
    };
    let stall = json!({
        "for_ms": 3_210,
        "by": "thread 17 \"reports\", spawned at crates/shop/src/reports.rs:120:9, which sits in the system call clock_nanosleep \
               (in the kernel: hrtimer_nanosleep)",
    });
    let state = |state: &str, what: Option<&str>, threads: u64| json!({"state": state, "what": what, "threads": threads});
    let site = |line: u64, threads: u64, longest_ms: u64| {
        json!({
            "spawned_at": format!("/home/somebody/projects/shop/crates/shop/src/orders/connection.rs:{line}:13"), "threads": threads,
            "mostly": state("waiting", Some("a message from the channel"), 1), "longest_ms": longest_ms,
        })
    };
    let wait = |thread: u64, name: Option<&str>, doing: &str, for_ms: u64| {
        json!({
            "thread": thread, "name": name, "runtime": 0, "worker": 1, "doing": doing, "for_ms": for_ms,
            "spawned_at": "crates/shop/src/orders/connection.rs:88:13",
        })
    };
    let waits: Vec<Value> = (1..=20)
        .map(|number| match number {
            1 => wait(1, Some("main"), "is parked", 400_000_000),
            2 => wait(
                812,
                None,
                "waits for the Mutex at 0x7f00deadbeef, at crates/shop/src/stock.rs:55:31",
                4_000_000,
            ),
            number => wait(
                100_000 + number,
                Some("127.0.0.1:54321"),
                "is in recv on descriptor 10234",
                200_000 / number,
            ),
        })
        .collect();
    Snapshot::deserialize(json!({
        "pid": 4_194_304, "program": "shop-server", "uptime_us": 1_000_000 * (seconds + 90_000),
        "runtimes": [
            runtime(1, "io_uring", json!([worker(25_000, Value::Null), worker(25_006, stall)])),
            runtime(9, "epoll", json!([worker(0, Value::Null)])),
        ],
        "states": [
            state("system", Some("recv"), 98_765), state("waiting", Some("a message from the channel"), 1200),
            state("sleeping", None, 30), state("parked", None, 9), state("ready", None, 5), state("system", Some("accept"), 2),
        ],
        "unseen": 25_006,
        "sites": [site(88, 98_765, 66), site(90, 1200, 4_000_000), site(120, 41, 400_000_000), site(99, 5, 0)],
        "sites_left_out": 2,
        "waits": waits,
        "memory": {
            "resident_bytes": 460_000_000, "stack_resident_bytes": 410_000_000, "stack_mapped_bytes": 26_000_000_000u64,
        },
    }))
    .unwrap()
}

fn watch() -> Watch {
    let mut watch = Watch::new(snapshot(1));
    for seconds in 2..=9 {
        watch.update(snapshot(seconds));
    }
    watch
}

fn view(watch: &Watch) -> View<'_> {
    View {
        watch,
        interval: Duration::from_secs(1),
        is_paused: false,
        order: SiteOrder::Threads,
        silence: None,
    }
}

/// The picture as text, without spaces at the ends of lines.
fn picture(view: &View<'_>, width: u16, height: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(frame, view)).unwrap();
    let buffer = terminal.backend().buffer();
    let line = |row: u16| {
        let line: String = (0..width).map(|column| buffer[(column, row)].symbol()).collect();
        format!("{}\n", line.trim_end())
    };
    (0..height).map(line).collect()
}

fn check(name: &str, picture: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/top/screen").join(name);
    if std::env::var_os("SWARD_PICTURES").is_some() {
        std::fs::write(path, picture).unwrap();
        return;
    }
    let expected = std::fs::read_to_string(path).unwrap();
    assert!(picture == expected, "{name} has changed. Expected:\n{expected}\nDrawn:\n{picture}");
}

#[test]
fn on_a_small_terminal() {
    check("80x24.txt", &picture(&view(&watch()), 80, 24));
}

#[test]
fn on_a_large_terminal() {
    let watch = watch();
    let view = View { order: SiteOrder::LongestWait, is_paused: true, ..view(&watch) };
    check("120x40.txt", &picture(&view, 120, 40));
}

#[test]
fn before_there_are_rates_and_while_nobody_answers() {
    let watch = Watch::new(snapshot(1));
    let view = View { silence: Some(Duration::from_secs(75)), ..view(&watch) };
    let picture = picture(&view, 80, 24);
    assert!(picture.contains("no answer for 1m 15s") && picture.contains("measuring"), "{picture}");
}

#[test]
fn any_size_will_do() {
    let watch = watch();
    for (width, height) in [(1, 1), (3, 2), (20, 5), (40, 10), (79, 13), (300, 3), (500, 200)] {
        picture(&view(&watch), width, height);
    }
}

#[test]
fn what_is_too_long() {
    assert_eq!([fit("abc", 3), fit("abcd", 3), fit("abc", 0)], ["abc", "ab…", "…"]);
    assert_eq!([fit_end("abc", 3), fit_end("abcd", 3), fit_end("abc", 0)], ["abc", "…cd", "…"]);
    assert_eq!(wrap("one two three-four", 7), ["one two", "…e-four"]);
}

#[test]
fn charts_end_with_the_present() {
    let chart = |values: &[f64], width| sparkline(values.iter().copied(), width);
    assert_eq!(chart(&[0.0, 1.0, 7.0], 9), "▁▂█");
    assert_eq!(chart(&[9.0, 0.0, 0.0], 2), "▁▁");
    assert_eq!(chart(&[5.0], 0), "");
}
