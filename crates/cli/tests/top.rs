//! `sward top` against `sward serve`, against what is no console, and on a terminal.

#[path = "serve/server.rs"]
#[allow(dead_code)]
mod server;
#[path = "top/terminal.rs"]
mod terminal;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use nix::sys::signal::Signal;
use serde_json::Value;

use server::{SWARD, Server};
use sward_testing::await_that;

/// A directory that goes at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("sward-top-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn serve(console: &Path, flags: &[&str]) -> Server {
    let mut command = Command::new(SWARD);
    command
        .args(["serve", "--addr", "127.0.0.1:0", "--workers", "2"])
        .args(flags)
        .env("SWARD_CONSOLE", console);
    Server::start_command(command)
}

/// A green server, once it has its console.
fn watched(console: &Path) -> Server {
    let server = serve(console, &[]);
    let process = server.process().to_string();
    await_that("it has a console", || top(&process, &["--count", "1"]).status.success());
    server
}

fn top(target: impl AsRef<std::ffi::OsStr>, flags: &[&str]) -> Output {
    Command::new(SWARD).arg("top").arg(target).args(flags).stdin(Stdio::null()).output().unwrap()
}

/// Two snapshots, soon after each other.
fn two_lines(target: impl AsRef<std::ffi::OsStr>) -> [Value; 2] {
    let output = top(target, &["--json", "--count", "2", "--interval", "50ms"]);
    let (text, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && errors.is_empty(), "{errors}");
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    lines.try_into().unwrap_or_else(|lines| panic!("two lines, not {lines:?}"))
}

fn threads_in(snapshot: &Value, what: &str) -> u64 {
    let mut states = snapshot["states"].as_array().unwrap().iter();
    states.find(|row| row["what"] == what).map_or(0, |row| row["threads"].as_u64().unwrap())
}

/// What it says when it fails, which is one line.
fn complaint(output: Output) -> String {
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{errors}");
    assert!(
        output.stdout.is_empty() && errors.starts_with("error: ") && errors.lines().count() == 1,
        "{errors}"
    );
    errors
}

#[track_caller]
fn assert_says(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in {text:?}");
    }
}

// ---- what is there --------------------------------------------------------------------------------------------------

#[test]
fn by_process_by_address_and_by_path() {
    let folder = Folder::new("ways");
    let server = watched(&folder.0);
    let (process, address) = (server.process(), server.address);
    assert_says(&server.banner, &[&format!("watch        sward top {process}\n")]);
    let mut clients: Vec<_> = (0..10).map(|_| TcpStream::connect(address).unwrap()).collect();
    clients.iter_mut().for_each(|client| client.write_all(b"x").unwrap());
    await_that("all wait for more", || threads_in(&two_lines(process.to_string())[1], "recv") == 10);
    let path = folder.file(&format!("{process}.sock"));
    let targets = [
        process.to_string(),
        address.to_string(),
        format!("localhost:{}", address.port()),
        format!(":{}", address.port()),
        path.to_str().unwrap().to_owned(),
        folder.0.to_str().unwrap().to_owned(),
    ];
    for target in targets {
        let [first, second] = two_lines(&target);
        assert_eq!((&first["pid"], &first["program"]), (&process.into(), &"sward".into()), "{target}");
        assert_eq!((threads_in(&first, "recv"), threads_in(&first, "accept")), (10, 2));
        assert!(first["rates"].is_null());
        let (before, now) = (&first["runtimes"][0], &second["runtimes"][0]);
        let seconds = (second["uptime_us"].as_f64().unwrap() - first["uptime_us"].as_f64().unwrap()) / 1e6;
        assert!(seconds >= 0.05, "{seconds}");
        let calls = |runtime: &Value| runtime["system_calls"].as_f64().unwrap();
        let rate = second["rates"]["system_calls"].as_f64().unwrap();
        assert!((rate * seconds - (calls(now) - calls(before))).abs() < 1e-3, "{rate} in {seconds} s");
        let engine = now["engine"].as_str().unwrap();
        assert_eq!(second["rates"]["operations_by_engine"][engine], second["rates"]["operations"]);
    }
    // Without a terminal, the flag may go.
    assert_eq!(
        top(process.to_string(), &["--count", "1"]).stdout.iter().filter(|&&byte| byte == b'\n').count(),
        1
    );
    let other_end = clients[0].local_addr().unwrap().to_string();
    assert_says(&complaint(top(&other_end, &[])), &["nobody listens on"]);
    drop(clients);
    server.interrupt_and_finish();
    assert!(!path.exists());
    assert_says(&complaint(top(&folder.0, &[])), &["no console is in", "SWARD_CONSOLE="]);
}

#[test]
fn processes_have_a_console_each() {
    let folder = Folder::new("processes");
    for console in [folder.0.clone(), folder.file("shop")] {
        let server = serve(&console, &["--model", "processes"]);
        let answers = |&child: &u32| top(child.to_string(), &["--count", "1"]).status.success();
        await_that("each child answers", || {
            server.children().len() == 2 && server.children().iter().all(answers)
        });
        let mut children = server.children();
        children.sort_unstable();
        for child in &children {
            assert_eq!(two_lines(child.to_string())[0]["pid"], *child);
        }
        let choice = format!("choose one: sward top {}, sward top {}", children[0], children[1]);
        assert_says(&complaint(top(server.process().to_string(), &[])), &["several children", &choice]);
        assert_says(&complaint(top(server.address.to_string(), &[])), &["several processes listen", &choice]);
        if console == folder.file("shop") {
            let paths = [folder.file("shop.0"), folder.file("shop.1")];
            let mut found = paths.map(|path| two_lines(path)[0]["pid"].as_u64().unwrap() as u32);
            found.sort_unstable();
            assert_eq!(found, children[..]);
        }
        let summary = server.interrupt_and_finish();
        assert_eq!(summary.complaints, "");
    }
}

// ---- what ends ------------------------------------------------------------------------------------------------------

#[test]
fn the_end_of_the_program() {
    for (count, code, said) in [(None, 0, "has ended"), (Some("1000000"), 1, "ended before that")] {
        let folder = Folder::new(&format!("end{code}"));
        let server = watched(&folder.0);
        let mut command = Command::new(SWARD);
        command.args(["top", &server.process().to_string(), "--json", "--interval", "10ms"]);
        command.args(count.map(|count| ["--count", count]).into_iter().flatten());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        lines.next().unwrap().unwrap();
        let process = server.process();
        server.interrupt_and_finish();
        assert!(lines.all(|line| line.is_ok()), "whole lines, until the end");
        let output = child.wait_with_output().unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{errors}");
        assert_says(&errors, &[&format!("sward (process {process})"), said]);
    }
}

#[test]
fn a_reader_that_goes_ends_it_quietly() {
    let folder = Folder::new("reader");
    let server = watched(&folder.0);
    let mut command = Command::new(SWARD);
    command.args(["top", &server.process().to_string(), "--json", "--interval", "10ms"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
}

// ---- what is not there ----------------------------------------------------------------------------------------------

#[test]
fn what_has_no_console() {
    let folder = Folder::new("nothing");
    let path = folder.file("console.sock");
    let shown = path.to_str().unwrap();
    assert_says(&complaint(top(&path, &[])), &["no console is at", &format!("SWARD_CONSOLE={shown}")]);
    fs::write(&path, "").unwrap();
    assert_says(&complaint(top(&path, &[])), &["is not a socket", "give the path"]);
    fs::remove_file(&path).unwrap();
    drop(UnixListener::bind(&path).unwrap());
    assert_says(&complaint(top(&path, &[])), &["nobody listens at", "is dead", "start it again"]);
    // No process has this number: it is above the kernel's own limit.
    assert_says(&complaint(top("4294967295", &[])), &["there is no process 4294967295; give", "pgrep"]);
    assert_says(
        &complaint(top("99999999999", &[])),
        &["is neither a process, nor a console's path, nor HOST:PORT"],
    );
    assert_says(
        &complaint(top("nonsense", &[])),
        &["\"nonsense\" is neither a process", "as in `sward top 127.0.0.1:8080`"],
    );
    // This very test listens, and has no console.
    let own = std::process::id().to_string();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    for target in [&own, &address] {
        let parts = [&format!("process {own} ("), "has no console; start it with SWARD_CONSOLE=PATH"];
        assert_says(&complaint(top(target, &[])), &parts);
    }
    drop(listener);
    assert_says(&complaint(top(&address, &[])), &["nobody listens on", "this machine", "ss -ltn"]);
}

#[test]
fn models_without_green_threads_say_so() {
    let folder = Folder::new("threads");
    let server = serve(&folder.0, &["--model", "threads"]);
    assert_says(&server.banner, &["SWARD_CONSOLE is of no use here: there are no green threads"]);
    let complaint = complaint(top(server.address.to_string(), &[]));
    assert_says(&complaint, &["has no console at", "its model has no green threads"]);
}

#[test]
fn the_console_of_another_process_is_not_taken_for_its_own() {
    let folder = Folder::new("inherited");
    let path = folder.file("console.sock");
    let first = watched(&path);
    let second = serve(&path, &[]);
    let refused =
        format!("sward: no console at {} (SWARD_CONSOLE): another program listens there", path.display());
    await_that("the second says that it has none", || second.complaints().contains(&refused));
    let parts =
        [&format!("process {} has no console", second.process()), &format!("process {}", first.process())];
    assert_says(&complaint(top(second.process().to_string(), &[])), &parts.map(|part| part.as_str()));
    assert_eq!(two_lines(first.process().to_string())[0]["pid"], first.process());
    second.signal(Signal::SIGINT);
    let (code, _) = second.finish();
    assert_eq!(code, Some(0), "it serves all the same");
    assert_eq!(two_lines(&path)[0]["pid"], first.process(), "and leaves the other's console alone");
}

/// A stranger at the path of a program's console, that says it is that program.
#[test]
fn what_lies_is_not_believed() {
    let folder = Folder::new("liar");
    let path = folder.file("console.sock");
    let truth = folder.file("truth.sock");
    let server = watched(&truth);
    let snapshot = two_lines(&truth)[0].to_string();
    // It is to have its console where somebody else is.
    let listener = UnixListener::bind(&path).unwrap();
    let victim = serve(&path, &[]);
    let lie = snapshot.replace(&server.process().to_string(), &victim.process().to_string());
    let liar = std::thread::spawn(move || {
        for client in listener.incoming() {
            let mut client = client.unwrap();
            let _ = client.write_all(format!("{lie}\n").as_bytes());
            let mut request = String::new();
            // The victim only tries whether somebody is there.
            if BufReader::new(client).read_line(&mut request).is_ok_and(|_| request == "end\n") {
                return;
            }
        }
    });
    let own = std::process::id();
    let parts =
        [&format!("process {} has no console", victim.process()), &format!("is that of process {own} (")];
    let complaint = complaint(top(victim.process().to_string(), &["--count", "1"]));
    UnixStream::connect(&path).unwrap().write_all(b"end\n").unwrap();
    liar.join().unwrap();
    assert_says(&complaint, &parts.map(|part| part.as_str()));
}

#[test]
fn what_listens_may_be_something_else() {
    let folder = Folder::new("strangers");
    let answers: [(&[u8], &[&str]); 6] = [
        (b"220 mail.example.org ready\n", &["is not the console of a sward program"]),
        (b"{}\n", &["is not the console of a sward program"]),
        (b"\xff\xfe\n", &["is not the console of a sward program"]),
        (b"{\"sward_console\":2,\"pid\":1}\n", &["speaks version 2", "version 1", "use the sward top that"]),
        (b"{\"sward_console\":1,\"error\":\"too tired\"}\n", &["says: too tired"]),
        (b"{\"sward_console\":1,\"pid\":1}\n", &["sends an answer of another form", "missing field"]),
    ];
    for (number, (answer, parts)) in answers.into_iter().enumerate() {
        let path = folder.file(&number.to_string());
        let listener = UnixListener::bind(&path).unwrap();
        let stranger = std::thread::spawn(move || {
            let (mut client, _) = listener.accept().unwrap();
            client.write_all(answer).unwrap();
            // Until it goes.
            let _ = std::io::copy(&mut client, &mut std::io::sink());
        });
        assert_says(&complaint(top(&path, &["--json"])), parts);
        stranger.join().unwrap();
    }
    let path = folder.file("hangs-up");
    let listener = UnixListener::bind(&path).unwrap();
    let stranger = std::thread::spawn(move || drop(listener.accept().unwrap()));
    assert_says(&complaint(top(&path, &["--json"])), &["has just ended"]);
    stranger.join().unwrap();
}
