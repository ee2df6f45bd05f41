//! `sward compare`, scaled down: what it writes, what it says when something is wrong, and that nothing is left behind.

#[path = "compare/family.rs"]
mod family;
#[path = "compare/markup.rs"]
mod markup;

use std::process::{Command, Output, Stdio};

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use family::{Family, SWARD};

/// Small enough for a test.
const SMALL: &[&str] =
    &["--quick", "--rounds", "1", "--window", "100ms", "--connections", "1,8", "--idle-connections", "0,50"];

const FIGURES: [&str; 16] = [
    "active-rate",
    "active-cpu",
    "active-p50",
    "active-p99",
    "active-p999",
    "active-fairness",
    "idle-cpu",
    "idle-rate",
    "idle-p99",
    "rest-cpu",
    "rest-memory",
    "wakeup",
    "counter",
    "tasks-spawn",
    "tasks-switch",
    "tasks-memory",
];

#[track_caller]
fn succeed(mut command: Command) -> Output {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}\n{}", text(&output.stdout), text(&output.stderr));
    output
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The samples of one subject in one experiment.
fn samples<'a>(report: &'a Value, experiment: &str, subject: &str) -> Vec<&'a Value> {
    let samples = report["samples"].as_array().unwrap().iter();
    samples.filter(|sample| sample["experiment"] == experiment && sample["subject"] == subject).collect()
}

#[test]
fn a_run_leaves_a_page_with_every_picture_and_verdict_and_its_figures() {
    let family = Family::new();
    let subjects = [
        "--subjects",
        "epoll,select,spin,threads,blocking",
        "--json",
        "c.json",
        "--csv",
        "c.csv",
        "--svg",
        ".",
    ];
    let output = succeed(family.compare(&[SMALL, &subjects].concat()));

    let page = family.read("sward-compare.html");
    assert_eq!(markup::complaint(&page), None);
    assert!(!page.contains("<script") && !page.contains("https://"));
    assert_eq!(page.matches("http://").count(), page.matches("xmlns=\"http://www.w3.org/2000/svg\"").count());
    let report: Value = serde_json::from_str(&family.read("c.json")).unwrap();
    for figure in FIGURES {
        // The slowest in a thousand needs more messages than a small run may have.
        if figure != "active-p999" {
            assert!(page.contains(&format!("<figure id=\"{figure}\">")), "{figure} is missing");
            assert_eq!(markup::complaint(&family.read(&format!("{figure}.svg"))), None);
        }
    }
    for word in [
        report["machine"]["kernel"].as_str().unwrap(),
        "sward load HOST:PORT",
        "sward compare <span>--quick</span>",
    ] {
        assert!(page.contains(word), "{word}");
    }

    for sample in report["samples"].as_array().unwrap() {
        assert!(sample["failure"].is_null() || sample["subject"] == "blocking", "{sample}");
    }
    let verdicts = report["verdicts"].as_array().unwrap();
    assert_eq!(verdicts.len(), 10);
    for verdict in verdicts {
        let (claim, sentence) = (verdict["claim"].as_str().unwrap(), verdict["sentence"].as_str().unwrap());
        assert!(page.contains(claim) && text(&output.stdout).contains(sentence), "{verdict}");
        assert!(verdict["answer"] != "not_measured" || claim.contains("GIL"), "{verdict}");
    }
    let lines = family.read("c.csv").lines().count();
    assert_eq!(
        lines,
        report["samples"].as_array().unwrap().len() + 1,
        "a line for each sample, and the head"
    );
    assert!(family.files().iter().all(|name| !name.ends_with(".part")), "{:?}", family.files());
    assert!(family.processes().is_empty());
    render(&family);
}

/// In a browser, if there is one: whether it draws the page without complaint.
fn render(family: &Family) {
    let mut command = family.command("chromium");
    command.args([
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-sync",
    ]);
    command.args([
        "--disable-background-networking",
        "--disable-component-update",
        "--enable-logging=stderr",
    ]);
    command.arg(format!("--user-data-dir={}", family.folder.join("browser").display()));
    command.args(["--dump-dom", &format!("file://{}", family.folder.join("sward-compare.html").display())]);
    let Ok(output) = command.output() else { return eprintln!("there is no chromium to draw the page with") };
    let (dom, log) = (text(&output.stdout), text(&output.stderr));
    assert!(!log.contains("CONSOLE"), "{log}");
    assert!(dom.contains("<figure id=\"tasks-memory\">") && dom.contains("id=\"verdicts\""), "{dom}");
}

#[test]
fn only_the_experiments_and_servers_that_were_asked_for_are_measured() {
    let family = Family::new();
    let flags = ["--wakeup", "--subjects", "poll", "--rounds", "2", "--json", "c.json", "--out", "page.html"];
    let output = succeed(family.compare(&[&SMALL[..1], &SMALL[3..5], &flags].concat()));
    assert!(text(&output.stderr).contains("this takes about 1 s"), "{}", text(&output.stderr));
    assert_eq!(family.files(), ["c.json", "page.html"]);
    let report: Value = serde_json::from_str(&family.read("c.json")).unwrap();
    let rounds: Vec<_> =
        samples(&report, "wakeup", "poll").iter().map(|sample| sample["round"].as_u64()).collect();
    assert_eq!(rounds, [Some(1), Some(2)]);
    assert_eq!(report["samples"].as_array().unwrap().len(), 2);
}

#[test]
fn a_server_of_the_users_is_measured_beside_ours() {
    let family = Family::new();
    let mine = format!("mine={SWARD} serve echo --addr 127.0.0.1:{{port}}");
    let flags = ["--active", "--subjects", "epoll", "--json", "c.json", "--with", &mine];
    succeed(family.compare(&[SMALL, &flags].concat()));
    let report: Value = serde_json::from_str(&family.read("c.json")).unwrap();
    for subject in ["mine", "epoll"] {
        let samples = samples(&report, "active", subject);
        assert_eq!(samples.len(), 2);
        for sample in samples {
            assert!(sample["failure"].is_null(), "{sample}");
            assert!(sample["values"]["messages_per_second"].as_f64().unwrap() > 0.0, "{sample}");
        }
    }
    assert!(family.processes().is_empty());
}

#[test]
fn a_server_of_the_users_that_does_not_start_or_does_not_answer_is_named_at_once() {
    let family = Family::new();
    let wrong = format!("wrong={SWARD} serve chargen --addr 127.0.0.1:{{port}}");
    for (with, words) in [("broken=no-such-program {port}", "no-such-program"), (&wrong, "it answered")] {
        let output = family.compare(&[SMALL, &["--with", with]].concat()).output().unwrap();
        assert!(!output.status.success());
        assert!(text(&output.stderr).contains(words), "{}", text(&output.stderr));
        assert!(family.processes().is_empty());
        assert_eq!(family.files(), [""; 0]);
    }
}

/// A disk that is full at the end costs neither what was measured nor the other files, and a device stays one.
#[test]
fn what_cannot_be_written_costs_nothing_else() {
    let family = Family::new();
    std::os::unix::fs::symlink("/dev/full", family.folder.join("full")).unwrap();
    std::os::unix::fs::symlink("there.csv", family.folder.join("link.csv")).unwrap();
    std::fs::write(family.folder.join("there.csv"), "old").unwrap();
    let flags = ["--active", "--subjects", "epoll", "--json", "full", "--csv", "link.csv"];
    let output = family.compare(&[SMALL, &flags].concat()).output().unwrap();
    let (tables, errors) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(1));
    assert!(errors.contains("writing full: No space left on device"), "{errors}");
    assert!(tables.contains("messages per second") && !tables.contains("file://"), "{tables}");
    assert_eq!(family.files(), ["full", "link.csv", "sward-compare.html", "there.csv"]);
    assert!(
        family.read("there.csv").starts_with("experiment,") && family.folder.join("link.csv").is_symlink()
    );
    assert!(family.folder.join("full").is_symlink() && !std::fs::metadata("/dev/full").unwrap().is_file());
}

/// Another user of the folder can plant a link under a name that can be guessed.
#[test]
fn a_planted_link_is_not_written_through() {
    let family = Family::new();
    std::fs::write(family.folder.join("victim"), "precious").unwrap();
    let mut command = family.command("sh");
    let plant =
        "for name in sward-compare.html c.csv; do ln -s victim .$name.$$.part; done; exec \"$0\" \"$@\"";
    command.args(["-c", plant, SWARD, "compare"]).args(SMALL);
    succeed({
        command.args(["--wakeup", "--subjects", "epoll", "--csv", "c.csv"]);
        command
    });
    assert_eq!(family.read("victim"), "precious");
    assert!(family.read("c.csv").starts_with("experiment,"));
    assert!(!family.folder.join("sward-compare.html").is_symlink());
}

#[test]
fn measured_programs_inherit_no_settings() {
    let family = Family::new();
    let mine = format!("mine=env > variables; exec {SWARD} serve upper --addr 127.0.0.1:{{port}}");
    let mut command =
        family.compare(&[SMALL, &["--wakeup", "--subjects", "epoll", "--with", &mine]].concat());
    command.env("SWARD_CONSOLE", "console").env("SWARD_STALL_MS", "1").env("RUST_MIN_STACK", "123456");
    std::fs::create_dir(family.folder.join("console")).unwrap();
    succeed(command);
    let variables = family.read("variables");
    assert!(variables.contains("PATH="), "{variables}");
    assert!(!variables.contains("SWARD_") && !variables.contains("RUST_MIN_STACK"), "{variables}");
}

/// A server under comparison, its errors and the kernel choose these texts; a terminal or a browser must not obey them.
#[test]
fn control_characters_from_outside_become_visible() {
    let family = Family::new();
    let bell = "mine=: \u{1b}]0;pwned\u{7} \u{202e}; exec ";
    let mine = format!("{bell}{SWARD} serve echo --addr 127.0.0.1:{{port}}");
    let flags = ["--wakeup", "--subjects", "epoll", "--csv", "c.csv", "--svg", ".", "--with", &mine];
    let output = succeed(family.compare(&[SMALL, &flags].concat()));
    let outputs = [text(&output.stdout), text(&output.stderr)];
    let files = ["sward-compare.html", "c.csv", "wakeup.svg"].map(|name| family.read(name));
    for text in outputs.into_iter().chain(files) {
        let raw = text.chars().find(|&each| (each.is_control() && each != '\n') || each == '\u{202e}');
        assert_eq!(raw, None, "{text:?}");
    }
    assert!(family.read("sward-compare.html").contains("\\u{1b}]0;pwned\\u{7}"));

    let broken = "broken=printf '\\033[2J' >&2; exit 3 # {port}";
    let output = family.compare(&[SMALL, &["--with", broken]].concat()).output().unwrap();
    let complaint = text(&output.stderr);
    assert!(!output.status.success() && complaint.contains("\\u{1b}[2J"), "{complaint:?}");
}

#[test]
fn interrupted_it_leaves_no_file_and_no_process() {
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGKILL] {
        let family = Family::new();
        let flags = ["--subjects", "epoll,processes", "--active", "--window", "60s", "--json", "c.json"];
        let mut child = family.compare(&flags).spawn().unwrap();
        family.await_measuring(&mut child);
        kill(Pid::from_raw(child.id() as i32), signal).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(!output.status.success());
        if signal != Signal::SIGKILL {
            assert!(family.processes().is_empty(), "{signal}: {:?}", family.processes());
            assert!(
                text(&output.stderr).contains("interrupted; nothing has been written"),
                "{}",
                text(&output.stderr)
            );
        }
        family.await_end();
        assert_eq!(family.files(), [""; 0]);
    }
}

#[test]
fn on_one_core_it_says_that_server_and_generator_share_it() {
    let family = Family::new();
    let mut command = family.compare(&[SMALL, &["--active", "--subjects", "epoll"]].concat());
    let run = move || {
        let allowed = sched_getaffinity(Pid::from_raw(0)).unwrap();
        let first = (0..CpuSet::count()).find(|&core| allowed.is_set(core).unwrap()).unwrap();
        let mut only = CpuSet::new();
        only.set(first).unwrap();
        // Of this thread alone, and of what it starts.
        sched_setaffinity(Pid::from_raw(0), &only).unwrap();
        command.output().unwrap()
    };
    let output = std::thread::spawn(run).join().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    for place in [text(&output.stderr), text(&output.stdout), family.read("sward-compare.html")] {
        assert!(place.contains("server and generator share it"), "{place}");
    }
}

#[test]
fn points_for_which_there_are_no_descriptors_are_left_out_and_named() {
    let family = Family::new();
    let mut command = family.command("sh");
    command.args([
        "-c",
        "ulimit -n 400 && exec \"$0\" \"$@\"",
        SWARD,
        "compare",
        "--quick",
        "--rounds",
        "1",
        "--window",
        "50ms",
    ]);
    command.args(["--subjects", "epoll", "--active", "--connections", "1,200,10000", "--json", "c.json"]);
    let output = succeed(command);
    assert!(text(&output.stderr).contains("10000 active connections"), "{}", text(&output.stderr));
    let report: Value = serde_json::from_str(&family.read("c.json")).unwrap();
    let points: Vec<_> =
        samples(&report, "active", "epoll").iter().map(|sample| sample["x"].as_u64().unwrap()).collect();
    assert_eq!(points, [1, 200]);
    assert!(family.read("sward-compare.html").contains("10000 active connections"));
}

#[test]
fn wrong_flags_are_refused_before_anything_is_measured() {
    let family = Family::new();
    for (flags, words) in [
        (&["--with", "mine=./server 8080"][..], "no {port}"),
        (&["--subjects", "epol"], "there is no server epol; there are io_uring, epoll"),
        (
            &["--out", "no/such/folder/page.html"],
            "cannot be written: No such file or directory (os error 2); make the folder",
        ),
        (&["--csv", "/proc/figures.csv"], "/proc/figures.csv: this file cannot be written: "),
        (&["--json", "."], "that is a directory"),
        (&["--svg", "/proc/pictures"], "this folder cannot be made"),
        (&["--svg", "/proc"], "cannot be written"),
        (&["--with", "epoll=./server {port}"], "the name epoll is taken"),
        (&["--with", "mine= "], "there is no command; as in 'mine="),
        (&["--window", "18446744073709551615s"], "at most 876000h"),
    ] {
        let mut command = family.compare(flags);
        let output = command.stdout(Stdio::null()).output().unwrap();
        assert!(!output.status.success());
        assert!(text(&output.stderr).contains(words), "{flags:?}: {}", text(&output.stderr));
    }
    assert_eq!(family.files(), [""; 0]);
}
