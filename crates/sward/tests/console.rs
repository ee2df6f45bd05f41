//! `SWARD_CONSOLE`: what the console of a process says, to whom, and when it comes and goes.
//!
//! The variable is the process's, so this is a program without a harness, which runs itself once for each scenario and talks to its
//! console.

use std::env;
use std::fs;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command};

use serde_json::Value;
use socket2::{Domain, SockAddr, Socket, Type};
use sward::sync::{Arc, Mutex, mpsc};
use sward::thread;
use sward::time::Duration;
use sward_testing::Scenario;

const WORKERS: &str = "SWARD_TEST_WORKERS";

/// Threads of the scenario `many`.
const MANY: u64 = 5000;

const SCENARIOS: &[Scenario] = &[
    Scenario::new("crowd", crowd, expect_crowd),
    Scenario::new("many", many, expect_many),
    Scenario::new("stall", stall, expect_stall),
    Scenario::new("quiet", quiet, expect_clients_that_harm_nobody),
    Scenario::new("runs", runs, expect_one_console_for_all_runs),
    Scenario::new("places", quiet, expect_places),
    Scenario::new("heirs", quiet, expect_one_heir),
    Scenario::new("taken", two_in_a_row, expect_taken),
    Scenario::new("crowded", two_in_a_row, expect_no_wait),
    Scenario::new("early", two_in_a_row, expect_no_theft),
    Scenario::new("deadlock", deadlock, expect_deadlock),
    Scenario::new("none", quiet, expect_none),
];

fn main() {
    Scenario::main(SCENARIOS);
}

// ---- the child's side -----------------------------------------------------------------------------------------------

/// The main closure of a runtime with as many workers as the parent wants.
fn in_runtime<T>(main: impl FnOnce() -> T) -> T {
    let workers = env::var(WORKERS).map_or(1, |workers| workers.parse().unwrap());
    // SAFETY: the scenarios hold no scoped thread-local value across a blocking call.
    unsafe { sward::Builder::new().workers(workers).run(main) }.unwrap_or_else(|error| panic!("{error}"))
}

/// Tells the parent where the child is, and waits for its leave to go on.
fn pause(at: &str) {
    println!("{at}");
    sward::offload(|| std::io::stdin().lock().read_line(&mut String::new()).unwrap());
}

/// Some of each kind.
fn crowd() {
    in_runtime(|| {
        let locked = Arc::new(Mutex::new(()));
        let lock = locked.lock().unwrap();
        let listener = sward::net::TcpListener::bind("127.0.0.1:0").unwrap();
        thread::Builder::new().name("says \"hi\"\n".into()).spawn(thread::park).unwrap();
        // So that it has waited for longer than the others by any clock.
        thread::sleep(Duration::from_millis(300));
        for _ in 0..3 {
            thread::spawn(thread::park);
        }
        let theirs = Arc::clone(&locked);
        thread::spawn(move || drop(theirs.lock()));
        thread::spawn(move || listener.accept().map(drop));
        thread::spawn(|| thread::sleep(Duration::from_secs(1000)));
        pause("ready");
        drop(lock);
    });
}

fn many() {
    in_runtime(|| {
        for _ in 0..MANY {
            thread::spawn(thread::park);
        }
        pause("ready");
    });
}

/// A green thread blocks its worker in a read that sward does not know of.
fn stall() {
    in_runtime(|| {
        let lazy = || {
            println!("ready");
            std::io::stdin().lock().read_line(&mut String::new()).unwrap()
        };
        thread::Builder::new().name("lazy".into()).spawn(lazy).unwrap().join().unwrap();
        pause("over");
    });
}

/// A run, and some time afterwards.
fn quiet() {
    in_runtime(|| pause("ready"));
    pause("over");
}

/// Each of them finds its console's place taken.
fn two_in_a_row() {
    in_runtime(|| ());
    quiet();
}

/// Two runs at once, which end one after the other.
fn runs() {
    let (end_first, first_ends) = mpsc::channel::<()>();
    let first = std::thread::spawn(|| in_runtime(move || first_ends.recv().unwrap_err()));
    in_runtime(|| pause("two"));
    pause("one");
    drop(end_first);
    first.join().unwrap();
    pause("none");
}

fn deadlock() {
    in_runtime(|| {
        let (_sender, receiver) = sward::channel::unbounded::<()>();
        receiver.recv().unwrap();
    });
}

// ---- the parent's side ----------------------------------------------------------------------------------------------

/// A directory that goes at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = env::temp_dir().join(format!("sward-console-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn socket(&self) -> PathBuf {
        self.0.join("console.sock")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A child in a scenario.
struct Program {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Program {
    fn start(scenario: &Scenario, console: &Path, workers: usize) -> Program {
        Program::start_with(scenario, |command| {
            command.env("SWARD_CONSOLE", console).env(WORKERS, workers.to_string());
        })
    }

    fn start_with(scenario: &Scenario, change: impl FnOnce(&mut Command)) -> Program {
        let mut command = scenario.command();
        change(&mut command);
        let mut child = command.spawn().expect("a child");
        let output = BufReader::new(child.stdout.take().unwrap());
        Program { child, output }
    }

    /// Waits until it says this.
    #[track_caller]
    fn expect(&mut self, line: &str) {
        let mut said = String::new();
        self.output.read_line(&mut said).unwrap();
        assert_eq!(said.trim(), line);
    }

    /// Gives it leave to go on.
    fn go_on(&mut self) {
        self.child.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
    }

    /// Lets it run to its end, and gives its standard error.
    #[track_caller]
    fn end(mut self) -> String {
        drop(self.child.stdin.take());
        let mut errors = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
        assert!(self.child.wait().unwrap().success(), "{errors}");
        errors
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A client that keeps its connection.
struct Client(BufReader<UnixStream>);

impl Client {
    fn connect(path: &Path) -> Client {
        let stream = UnixStream::connect(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Client(BufReader::new(stream))
    }

    /// Sends this and reads a line.
    fn ask(&mut self, request: &[u8]) -> Value {
        self.0.get_mut().write_all(request).unwrap();
        let mut answer = String::new();
        assert_ne!(self.0.read_line(&mut answer).unwrap(), 0, "no answer");
        let value: Value = serde_json::from_str(&answer).unwrap_or_else(|error| panic!("{error}: {answer}"));
        assert_eq!(value["sward_console"], 1, "{value}");
        value
    }

    /// Asks until the answer is as expected; fails by the watchdog.
    fn ask_until(&mut self, holds: impl Fn(&Value) -> bool) -> Value {
        loop {
            let snapshot = self.ask(b"snapshot\n");
            if holds(&snapshot) {
                return snapshot;
            }
        }
    }

    fn is_dismissed(&mut self) -> bool {
        // An error says so, too.
        self.0.read(&mut [0]).unwrap_or(0) == 0
    }
}

fn list<'a>(value: &'a Value, field: &str) -> &'a [Value] {
    value[field].as_array().unwrap_or_else(|| panic!("no list {field} in {value}"))
}

fn sum(values: &[Value], field: &str) -> u64 {
    values.iter().map(|value| value[field].as_u64().unwrap()).sum()
}

/// How many threads are in a state.
fn threads_in(snapshot: &Value, state: &str, what: Option<&str>) -> u64 {
    let is_it = |row: &&Value| row["state"] == state && row["what"].as_str() == what;
    list(snapshot, "states").iter().find(is_it).map_or(0, |row| row["threads"].as_u64().unwrap())
}

// ---- what it says ---------------------------------------------------------------------------------------------------

fn expect_crowd(scenario: &Scenario) {
    for (engine, workers) in [("io_uring", 1), ("io_uring", 2), ("epoll", 1), ("epoll", 2)] {
        let folder = Folder::new("crowd");
        let mut program = Program::start_with(scenario, |command| {
            command.env("SWARD_CONSOLE", folder.socket()).env(WORKERS, workers.to_string());
            command.env("SWARD_ENGINE", engine);
        });
        program.expect("ready");
        let mut client = Client::connect(&folder.socket());
        let expected = [
            ("parked", None, 4),
            ("sleeping", None, 1),
            ("system", Some("accept"), 1),
            ("waiting", Some("the Mutex"), 1),
            ("waiting", Some("an offloaded call"), 1),
        ];
        let snapshot = client.ask_until(|snapshot| {
            // Counts and threads are looked at one after the other.
            expected.iter().all(|&(state, what, count)| threads_in(snapshot, state, what) == count)
                && snapshot["runtimes"][0]["unstarted"] == 0
        });
        assert_eq!(snapshot["pid"], program.child.id());
        assert!(snapshot["program"].as_str().unwrap().starts_with("console"), "{snapshot}");
        let [runtime] = list(&snapshot, "runtimes") else { panic!("{snapshot}") };
        assert_eq!(
            (&runtime["engine"], &runtime["live"], &runtime["unstarted"]),
            (&engine.into(), &8.into(), &0.into())
        );
        assert_eq!(runtime["spawned"], 8);
        let each = list(runtime, "workers");
        assert_eq!((each.len(), sum(each, "live")), (workers, 8));
        assert_eq!(sum(each, "switches"), runtime["switches"].as_u64().unwrap());
        assert!(each.iter().all(|worker| worker["stall"].is_null()), "{runtime}");
        assert_eq!((sum(list(&snapshot, "sites"), "threads"), &snapshot["unseen"]), (8, &0.into()));
        let largest = &list(&snapshot, "sites")[0];
        assert_eq!((&largest["threads"], &largest["mostly"]["state"]), (&3.into(), &"parked".into()));
        assert!(largest["spawned_at"].as_str().unwrap().contains("console.rs:"), "{largest}");
        let waits = list(&snapshot, "waits");
        assert_eq!(waits.len(), 8, "all of them wait");
        assert!(waits.is_sorted_by_key(|wait| std::cmp::Reverse(wait["for_ms"].as_u64())), "{waits:?}");
        assert_eq!((&waits[0]["name"], &waits[0]["doing"]), (&"says \"hi\"\n".into(), &"is parked".into()));
        assert!(
            snapshot["memory"]["resident_bytes"].as_u64()
                > snapshot["memory"]["stack_resident_bytes"].as_u64()
        );
        // Another client sees the same, and later.
        let later = Client::connect(&folder.socket()).ask(b"\n");
        assert!(later["uptime_us"].as_u64() > snapshot["uptime_us"].as_u64());
        assert_eq!(later["states"], snapshot["states"]);
        program.end();
    }
}

fn expect_many(scenario: &Scenario) {
    let folder = Folder::new("many");
    let mut program = Program::start(scenario, &folder.socket(), 2);
    program.expect("ready");
    let mut client = Client::connect(&folder.socket());
    let snapshot = client.ask_until(|snapshot| threads_in(snapshot, "parked", None) == MANY);
    assert_eq!(sum(list(&snapshot, "sites"), "threads"), MANY + 1, "and main");
    assert_eq!(list(&snapshot, "waits").len(), 20);
    assert!(snapshot.to_string().len() < 10_000, "its size does not grow with the number of threads");
    program.end();
}

fn expect_stall(scenario: &Scenario) {
    for workers in [1, 2] {
        let folder = Folder::new("stall");
        let mut program = Program::start(scenario, &folder.socket(), workers);
        program.expect("ready");
        let mut client = Client::connect(&folder.socket());
        let stalled = |snapshot: &Value| {
            let runtime = snapshot["runtimes"][0].clone();
            list(&runtime, "workers").iter().find(|worker| !worker["stall"].is_null()).cloned()
        };
        let snapshot = client.ask_until(|snapshot| stalled(snapshot).is_some());
        let worker = stalled(&snapshot).unwrap();
        let by = worker["stall"]["by"].as_str().unwrap();
        assert!(by.contains("\"lazy\", spawned at") && by.contains("console.rs:"), "{by}");
        // The worker may say that it is awake a moment before the thread is in its call.
        let snapshot = client.ask(b"snapshot\n");
        let later = stalled(&snapshot).expect("nothing has changed");
        assert!(later["stall"]["by"].as_str().unwrap().contains("the system call read"), "{later}");
        assert!(later["stall"]["for_ms"].as_u64() > worker["stall"]["for_ms"].as_u64(), "{worker} {later}");
        let seen = sum(list(&snapshot, "sites"), "threads");
        assert_eq!(snapshot["unseen"].as_u64().unwrap() + seen, 2, "{snapshot}");
        assert!(snapshot["unseen"].as_u64().unwrap() >= 1, "{snapshot}");
        program.go_on();
        program.expect("over");
        client.ask_until(|snapshot| stalled(snapshot).is_none() && snapshot["unseen"] == 0);
        program.end();
    }
}

/// Otherwise the console's own OS threads would count as some that may still wake somebody.
fn expect_deadlock(scenario: &Scenario) {
    let folder = Folder::new("deadlock");
    let mut program = Program::start_with(scenario, |command| {
        command.env("SWARD_CONSOLE", folder.socket()).env("SWARD_DEADLOCK", "total");
    });
    let mut errors = String::new();
    program.child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
    assert_eq!(program.child.wait().unwrap().code(), Some(101), "{errors}");
    assert!(errors.contains("deadlock: the only green thread"), "{errors}");
    assert!(!folder.socket().exists());
}

// ---- to whom --------------------------------------------------------------------------------------------------------

fn expect_clients_that_harm_nobody(scenario: &Scenario) {
    let folder = Folder::new("clients");
    let mut program = Program::start(scenario, &folder.socket(), 1);
    program.expect("ready");
    let path = folder.socket();
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    for garbage in ["nonsense\n", "snapshot snapshot\n", "\u{0}\n"] {
        let mut client = Client::connect(&path);
        let error = client.ask(garbage.as_bytes());
        assert!(error["error"].as_str().unwrap().contains("snapshot"), "{error}");
        assert!(client.ask(b"snapshot\n")["error"].is_null(), "it may try again");
    }
    let mut endless = Client::connect(&path);
    let error = endless.ask(&[b'x'; 300]);
    assert!(!error["error"].is_null());
    assert!(endless.is_dismissed());
    // Asks and is gone.
    drop(UnixStream::connect(&path).unwrap().write_all(b"snapshot\n"));
    // Asks, and never reads the answers.
    let deaf = UnixStream::connect(&path).unwrap();
    deaf.set_nonblocking(true).unwrap();
    while (&deaf).write(&[b'\n'; 1000]).is_ok() {}
    // Say nothing.
    let mut silent: Vec<_> = (0..40).map(|_| Client::connect(&path)).collect();
    let mut client = Client::connect(&path);
    client.ask(b"snapshot\n");
    assert!(silent[0].is_dismissed(), "the oldest make room");
    let mut other = Client::connect(&path);
    other.ask(b"\r\n");
    client.ask(b"\n");

    program.go_on();
    program.expect("over");
    assert!(client.is_dismissed() && other.is_dismissed() && silent.pop().unwrap().is_dismissed());
    assert!(!path.exists(), "the socket goes with the run");
    program.end();
}

// ---- when it comes and goes -----------------------------------------------------------------------------------------

fn expect_one_console_for_all_runs(scenario: &Scenario) {
    let folder = Folder::new("runs");
    let mut program = Program::start(scenario, &folder.socket(), 1);
    program.expect("two");
    let mut client = Client::connect(&folder.socket());
    let snapshot = client.ask_until(|snapshot| {
        list(snapshot, "runtimes").len() == 2 && sum(list(snapshot, "runtimes"), "live") == 2
    });
    assert_eq!(sum(list(&snapshot, "states"), "threads"), 2);
    program.go_on();
    program.expect("one");
    client.ask_until(|snapshot| list(snapshot, "runtimes").len() == 1);
    program.go_on();
    program.expect("none");
    assert!(client.is_dismissed() && !folder.socket().exists());
    assert_eq!(program.end(), "");
}

fn expect_places(scenario: &Scenario) {
    let folder = Folder::new("places");
    // A directory.
    let mut program = Program::start(scenario, &folder.0, 1);
    program.expect("ready");
    let path = folder.0.join(format!("{}.sock", program.child.id()));
    assert_eq!(Client::connect(&path).ask(b"\n")["pid"], program.child.id());
    // It has put something else there, which is not the console's to remove.
    fs::remove_file(&path).unwrap();
    fs::write(&path, "mine").unwrap();
    program.go_on();
    program.expect("over");
    assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
    program.end();
    // What a process leaves that is killed.
    let mut killed = Program::start(scenario, &folder.socket(), 1);
    killed.expect("ready");
    killed.child.kill().unwrap();
    killed.child.wait().unwrap();
    assert!(folder.socket().exists());
    let mut program = Program::start(scenario, &folder.socket(), 1);
    program.expect("ready");
    assert_eq!(Client::connect(&folder.socket()).ask(b"\n")["pid"], program.child.id());
    assert_eq!(program.end(), "");
}

/// Several programs at once, where a dead one has left its console.
fn expect_one_heir(scenario: &Scenario) {
    for _ in 0..10 {
        let folder = Folder::new("heirs");
        drop(bound_socket(&folder.socket()));
        let mut programs: Vec<_> = (0..6).map(|_| Program::start(scenario, &folder.socket(), 1)).collect();
        for program in &mut programs {
            program.expect("ready");
        }
        assert_eq!(fs::read_dir(&folder.0).unwrap().count(), 1, "nothing else is left there");
        let owner = Client::connect(&folder.socket()).ask(b"\n")["pid"].clone();
        for program in programs {
            let is_owner = owner == program.child.id();
            assert_eq!(program.end().contains("no console at"), !is_owner);
        }
        assert_eq!(fs::read_dir(&folder.0).unwrap().count(), 0);
    }
}

/// A socket that does not listen.
fn bound_socket(path: &Path) -> Socket {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
    socket.bind(&SockAddr::unix(path).unwrap()).unwrap();
    socket
}

fn expect_taken(scenario: &Scenario) {
    let folder = Folder::new("taken");
    let refused = |path: &Path| refusal(scenario, path);
    let path = folder.socket();
    let listener = UnixListener::bind(&path).unwrap();
    assert!(refused(&path).contains("another program listens there"));
    // It has been looked at, and left alone.
    drop(listener.accept().unwrap());
    assert!(UnixStream::connect(&path).is_ok());
    let file = folder.0.join("file");
    fs::write(&file, "mine").unwrap();
    assert!(refused(&file).contains("something is there that is no socket"));
    assert_eq!(fs::read_to_string(&file).unwrap(), "mine");
    assert!(refused(&folder.0.join("nowhere/console.sock")).contains("make the folder"));
    assert!(refused(&folder.0.join("long".repeat(40))).contains("choose a shorter path"));
}

/// Nobody accepts there, and no more clients may wait.
fn expect_no_wait(scenario: &Scenario) {
    let folder = Folder::new("crowded");
    let path = folder.socket();
    let listener = bound_socket(&path);
    listener.listen(0).unwrap();
    let mut clients = Vec::new();
    let full = loop {
        let client = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None).unwrap();
        match client.connect(&SockAddr::unix(&path).unwrap()) {
            Ok(()) => clients.push(client),
            Err(error) => break error,
        }
    };
    assert_eq!(full.kind(), ErrorKind::WouldBlock);
    assert!(refusal(scenario, &path).contains("another program listens there"));
}

/// Somebody is about to listen there.
fn expect_no_theft(scenario: &Scenario) {
    let folder = Folder::new("early");
    let path = folder.socket();
    let socket = bound_socket(&path);
    let refusal = refusal(scenario, &path);
    socket.listen(1).unwrap();
    assert!(UnixStream::connect(&path).is_ok(), "it is gone");
    assert!(refusal.contains("another program has bound it, and does not listen yet"), "{refusal}");
}

/// What a program says that gets no console at `path`.
fn refusal(scenario: &Scenario, path: &Path) -> String {
    let mut program = Program::start(scenario, path, 1);
    program.expect("ready");
    let errors = program.end();
    assert_eq!(errors.lines().count(), 1, "{errors}");
    assert!(
        errors.starts_with(&format!("sward: no console at {} (SWARD_CONSOLE): ", path.display())),
        "{errors}"
    );
    errors
}

fn expect_none(scenario: &Scenario) {
    let mut program = Program::start_with(scenario, |_| ());
    program.expect("ready");
    let folder = format!("/proc/{}/task", program.child.id());
    let names = || -> Vec<String> {
        let threads = fs::read_dir(&folder).unwrap();
        threads.filter_map(|thread| fs::read_to_string(thread.ok()?.path().join("comm")).ok()).collect()
    };
    // It would be started after the monitor, and before the main closure.
    while !names().iter().any(|name| name.starts_with("sward-monitor")) {}
    let names = names();
    assert!(!names.iter().any(|name| name.starts_with("sward-console")), "{names:?}");
    assert_eq!(program.end(), "");
}
