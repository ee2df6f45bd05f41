//! A `sward serve` under test: started, asked, looked at through /proc, ended.

use std::collections::HashSet;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

pub(crate) const SWARD: &str = env!("CARGO_BIN_EXE_sward");

/// How long anything may take before it counts as lost. Generous: the machine may be busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) banner: String,
    child: Child,
    output: BufReader<ChildStdout>,
    complaints: Arc<Mutex<String>>,
    complaints_reader: Option<JoinHandle<()>>,
}

impl Server {
    /// Starts `sward serve` with these flags, two workers and a port of its own.
    pub(crate) fn start(flags: &[&str]) -> Server {
        let mut command = Command::new(SWARD);
        command.args(["serve", "--addr", "127.0.0.1:0", "--workers", "2"]).args(flags);
        Server::start_command(command)
    }

    /// Starts a command that becomes `sward serve`, and reads its banner.
    pub(crate) fn start_command(mut command: Command) -> Server {
        raise_descriptor_limit();
        command.env_remove("SWARD_ENGINE").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let complaints: Arc<Mutex<String>> = Arc::default();
        let (heard, errors) = (Arc::clone(&complaints), BufReader::new(child.stderr.take().unwrap()));
        let complaints_reader = std::thread::spawn(move || {
            for line in errors.lines().map_while(Result::ok) {
                eprintln!("[server] {line}");
                heard.lock().unwrap().push_str(&format!("{line}\n"));
            }
        });
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut banner = String::new();
        while !banner.contains("stop  ") {
            assert_ne!(output.read_line(&mut banner).unwrap(), 0, "no banner: {banner}");
        }
        let first = banner.lines().next().unwrap();
        let address = first.rsplit(' ').next().unwrap().parse().unwrap();
        Server { address, banner, child, output, complaints, complaints_reader: Some(complaints_reader) }
    }

    /// What it has said on standard error.
    pub(crate) fn complaints(&self) -> String {
        self.complaints.lock().unwrap().clone()
    }

    pub(crate) fn process(&self) -> u32 {
        self.child.id()
    }

    /// The processes that serve: its children, or itself.
    pub(crate) fn children(&self) -> Vec<u32> {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap();
        let lists = tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("children")).ok());
        lists
            .flat_map(|list| list.split_whitespace().map(|id| id.parse().unwrap()).collect::<Vec<_>>())
            .collect()
    }

    fn processes(&self) -> Vec<u32> {
        let mut processes = self.children();
        processes.push(self.child.id());
        processes
    }

    /// Everything that is open in it and its children.
    fn open(&self) -> Vec<PathBuf> {
        let directories =
            self.processes().into_iter().filter_map(|id| fs::read_dir(format!("/proc/{id}/fd")).ok());
        directories.flatten().filter_map(|entry| fs::read_link(entry.ok()?.path()).ok()).collect()
    }

    pub(crate) fn descriptors(&self) -> usize {
        self.open().len()
    }

    pub(crate) fn os_threads(&self) -> usize {
        let tasks =
            self.processes().into_iter().filter_map(|id| fs::read_dir(format!("/proc/{id}/task")).ok());
        tasks.flatten().count()
    }

    /// How many of its sockets are connections to its port, or wait in its backlog.
    pub(crate) fn connections(&self) -> usize {
        let ours: HashSet<PathBuf> = self.open().into_iter().collect();
        let local = format!(":{:04X}", self.address.port());
        let table = fs::read_to_string("/proc/net/tcp").unwrap();
        // sl local remote state ... inode: 01 is ESTABLISHED, 0A is LISTEN; who waits to be accepted has inode 0.
        let sockets = table.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
        sockets
            .filter(|socket| socket[1].ends_with(&local) && socket[3] != "0A")
            .filter(|socket| match socket[9] {
                "0" => socket[3] == "01",
                inode => ours.contains(&PathBuf::from(format!("socket:[{inode}]"))),
            })
            .count()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).unwrap();
    }

    /// Ends it as Ctrl-C does, and gives what it says at the end.
    pub(crate) fn interrupt_and_finish(self) -> Summary {
        self.signal(Signal::SIGINT);
        let (code, summary) = self.finish();
        assert_eq!(code, Some(0), "{}", summary.text);
        summary
    }

    /// Waits for its end: exit code, summary.
    pub(crate) fn finish(mut self) -> (Option<i32>, Summary) {
        let mut text = String::new();
        self.output.read_to_string(&mut text).unwrap();
        let status = self.child.wait().unwrap();
        self.complaints_reader.take().unwrap().join().unwrap();
        (status.code(), Summary { text, complaints: self.complaints() })
    }
}

/// A thousand clients need more descriptors than many systems grant unasked.
fn raise_descriptor_limit() {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap();
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What it said at its end.
pub(crate) struct Summary {
    pub(crate) text: String,
    pub(crate) complaints: String,
}

impl Summary {
    /// The first number of a line.
    pub(crate) fn number(&self, name: &str) -> u64 {
        let line = self.text.lines().find_map(|line| line.trim_start().strip_prefix(name));
        let line = line.unwrap_or_else(|| panic!("no {name} in {:?}", self.text));
        line.split_whitespace().next().unwrap().parse().unwrap()
    }
}
