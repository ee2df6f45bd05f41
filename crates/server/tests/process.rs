//! A server as a process of its own, under every model: whatever becomes of its standard error (closed, on a full disk, a pipe without a
//! reader, or one whose reader does not read), it goes on serving, drains in time, and ends as it should; and so if it may drain without end.
//!
//! This is a program without a harness, which runs itself once for each scenario.

use std::env;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sward_server::{Connection, Model, Server};
use sward_testing::{Scenario, await_that, full_pipe};

const MODEL: &str = "SWARD_TEST_MODEL";

/// There: the drain has no end.
const ENDLESS: &str = "SWARD_TEST_ENDLESS";

/// How many clients make their handlers fail; each leaves a report.
const FAILURES: usize = 40;

/// How many clients make their handlers panic.
const PANICS: usize = 5;

macro_rules! for_each_model {
    ($($name:literal $check:ident)*) => {
        &[$(
            Scenario::new(concat!("green_", $name), serve, |scenario| $check(scenario, Model::Green)),
            Scenario::new(concat!("blocking_", $name), serve, |scenario| $check(scenario, Model::Blocking)),
            Scenario::new(concat!("threads_", $name), serve, |scenario| $check(scenario, Model::Threads)),
            Scenario::new(concat!("processes_", $name), serve, |scenario| $check(scenario, Model::Processes)),
        )*]
    };
}

const SCENARIOS: &[Scenario] = for_each_model! {
    "healthy" expect_everything_is_said
    "closed" expect_no_harm_when_closed
    "full_disk" expect_no_harm_on_a_full_disk
    "without_reader" expect_no_harm_without_a_reader
    "unread" expect_no_harm_when_unread
    "endless" expect_an_endless_drain_to_end
};

fn main() {
    Scenario::main(SCENARIOS);
}

// ---- the child's side -----------------------------------------------------------------------------------------------

fn serve() {
    let model = env::var(MODEL).unwrap().parse().unwrap();
    let server = Server::new().address("127.0.0.1:0").model(model).workers(2);
    let drain = if env::var_os(ENDLESS).is_some() { Duration::MAX } else { Duration::from_millis(50) };
    let bound = server.drain(drain).stop_on_signals().bind().unwrap();
    let address = bound.local_addr();
    let bound = bound.announce(move || writeln!(io::stdout(), "{address}"));
    // SAFETY: the handler holds no scoped thread-local value across a blocking call.
    let summary = unsafe { bound.serve(obey) }.unwrap();
    println!("{} {} {}", summary.failed, summary.panicked, summary.cut_off);
}

/// Does what the client asks for.
fn obey(mut connection: Connection) -> io::Result<()> {
    let mut request = [0];
    while connection.read(&mut request)? == 1 {
        match &request {
            b"f" => return Err(io::Error::other("the client wanted this error\nand \u{1b}[31mits colour")),
            b"p" => panic!("the client wanted this panic\nand \u{1b}[31mits colour"),
            _ => connection.write_all(&request)?,
        }
    }
    Ok(())
}

// ---- the parent's side ----------------------------------------------------------------------------------------------

struct Program {
    child: Child,
    output: BufReader<ChildStdout>,
    address: SocketAddr,
}

impl Program {
    fn start(mut command: Command, model: Model) -> Program {
        let mut child = command.env(MODEL, model.name()).spawn().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut address = String::new();
        output.read_line(&mut address).unwrap();
        Program { child, output, address: address.trim().parse().unwrap() }
    }

    /// A client that says this byte.
    fn connect(&self, request: &[u8; 1]) -> TcpStream {
        let mut client = TcpStream::connect(self.address).unwrap();
        client.write_all(request).unwrap();
        client
    }

    /// A client that is served.
    fn ask(&self) -> TcpStream {
        let mut client = self.connect(b"x");
        let mut answer = [0];
        client.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"x");
        client
    }

    fn children(&self) -> Vec<i32> {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap();
        let lists = tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("children")).ok());
        lists.collect::<String>().split_whitespace().map(|id| id.parse().unwrap()).collect()
    }

    /// Kills one of two children, and waits until there are two again.
    fn crash_a_child(&self) {
        await_that("both children are there", || self.children().len() == 2);
        let before = self.children();
        kill(Pid::from_raw(before[0]), Signal::SIGKILL).unwrap();
        await_that("there is a new child", || {
            let now = self.children();
            now.len() == 2 && !now.contains(&before[0])
        });
    }

    /// Stops it while a client is there that does not go, and gives its last line.
    fn stop(mut self) -> String {
        let _busy = self.ask();
        kill(Pid::from_raw(self.child.id() as i32), Signal::SIGTERM).unwrap();
        self.end()
    }

    fn end(&mut self) -> String {
        let mut summary = String::new();
        self.output.read_to_string(&mut summary).unwrap();
        assert_eq!(self.child.wait().unwrap().code(), Some(0), "{summary}");
        summary
    }
}

/// Clients are served, and handlers fail and panic, whatever becomes of what is said about it.
fn check(command: Command, model: Model) {
    let program = Program::start(command, model);
    for (request, count) in [(b"f", FAILURES), (b"p", PANICS)] {
        for _ in 0..count {
            let mut rest = Vec::new();
            // The handler ends the connection.
            let _ = program.connect(request).read_to_end(&mut rest);
            program.ask();
        }
    }
    assert_eq!(program.stop().trim(), format!("{FAILURES} {PANICS} 1"));
}

/// As [`check`], and a child dies.
fn check_crash(command: Command, model: Model) {
    if model == Model::Processes {
        let program = Program::start(command, model);
        program.crash_a_child();
        program.crash_a_child();
        program.ask();
        assert_eq!(program.stop().trim(), "0 0 1");
    }
}

/// Runs both checks, each with a command of its own.
fn check_both(model: Model, command: impl Fn() -> Command) {
    check(command(), model);
    check_crash(command(), model);
}

fn expect_everything_is_said(scenario: &Scenario, model: Model) {
    let mut program = Program::start(scenario.command(), model);
    let mut errors = program.child.stderr.take().unwrap();
    let reader = std::thread::spawn(move || {
        let mut said = String::new();
        errors.read_to_string(&mut said).map(|_| said)
    });
    for request in [b"f", b"p"] {
        let _ = program.connect(request).read_to_end(&mut Vec::new());
    }
    assert_eq!(program.stop().trim(), "1 1 1");
    let said = reader.join().unwrap().unwrap();
    for report in [
        r"the client wanted this error\nand \u{1b}[31mits colour",
        r"the handler panicked: the client wanted this panic\nand \u{1b}[31mits colour",
        "stopping; waiting up to 50ms for ",
    ] {
        assert!(said.contains(report), "{report}: {said}");
    }
}

fn expect_no_harm_when_closed(scenario: &Scenario, model: Model) {
    check_both(model, || {
        let scenario = scenario.command();
        let mut command = Command::new("sh");
        command.args(["-c", "exec \"$0\" 2>&-"]).arg(scenario.get_program());
        for (variable, value) in scenario.get_envs() {
            match value {
                Some(value) => command.env(variable, value),
                None => command.env_remove(variable),
            };
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        command
    });
}

fn expect_no_harm_on_a_full_disk(scenario: &Scenario, model: Model) {
    check_both(model, || {
        let mut command = scenario.command();
        command.stderr(File::options().write(true).open("/dev/full").unwrap());
        command
    });
}

fn expect_no_harm_without_a_reader(scenario: &Scenario, model: Model) {
    check_both(model, || {
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        let mut command = scenario.command();
        command.stderr(writer);
        command
    });
}

fn expect_no_harm_when_unread(scenario: &Scenario, model: Model) {
    let (_reader, writer) = full_pipe();
    check_both(model, || {
        let mut command = scenario.command();
        command.stderr(writer.try_clone().unwrap());
        command
    });
}

fn expect_an_endless_drain_to_end(scenario: &Scenario, model: Model) {
    let mut command = scenario.command();
    command.env(ENDLESS, "").stderr(Stdio::null());
    let mut program = Program::start(command, model);
    let client = program.ask();
    kill(Pid::from_raw(program.child.id() as i32), Signal::SIGTERM).unwrap();
    await_that("it drains", || TcpStream::connect(program.address).is_err());
    drop(client);
    assert_eq!(program.end().trim(), "0 0 0");
}
