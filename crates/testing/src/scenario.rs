//! Tests of a whole process: what it writes to standard error, how it ends, what all its threads share. Such a test runs its own
//! program again, as a child. An environment variable tells the child what to do.

use std::env;
use std::process::{Command, Output, Stdio};

use crate::Watchdog;

/// Returns whether a seed determines the schedules (the feature `stress` of `sward`). Threads then do not run in the order in which
/// they became ready, and a test of that order has to be skipped.
pub fn is_stressed() -> bool {
    env::var_os("SWARD_STRESS").is_some()
}

/// Tells a child what it is: the name of a scenario, or of a test.
const CHILD: &str = "SWARD_TEST_CHILD";

/// What a child process does, and what its parent expects of it. It is for a program without a test harness, whose OS threads a
/// deadlock report would count.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    name: &'static str,
    child: fn(),
    parent: fn(&Scenario),
}

impl Scenario {
    /// The child runs `child`; `parent` starts it, with [`command`](Scenario::command), and panics at what it does not expect.
    pub const fn new(name: &'static str, child: fn(), parent: fn(&Scenario)) -> Scenario {
        Scenario { name, child, parent }
    }

    /// The `main` of a test program without a harness: each scenario whose name contains one of the arguments, or all of
    /// them. In a child, the child's part of its scenario.
    ///
    /// # Panics
    /// A scenario fails.
    pub fn main(scenarios: &[Scenario]) {
        if let Ok(name) = env::var(CHILD) {
            let scenario = scenarios.iter().find(|scenario| scenario.name == name);
            return (scenario.expect("a scenario's name").child)();
        }
        let arguments: Vec<String> = env::args().skip(1).collect();
        if arguments.iter().any(|argument| argument == "--list") {
            return;
        }
        let filters: Vec<_> = arguments.iter().filter(|argument| !argument.starts_with('-')).collect();
        for scenario in scenarios {
            let name = scenario.name;
            if filters.is_empty() || filters.iter().any(|filter| name.contains(filter.as_str())) {
                let _watchdog = Watchdog::start(name);
                (scenario.parent)(scenario);
                println!("{name} ... ok");
            }
        }
    }

    /// A child in this scenario, not started yet: all three streams are pipes, and whatever watches it is switched off.
    ///
    /// # Panics
    /// The program does not know its path.
    pub fn command(&self) -> Command {
        let mut command = this_program_as(self.name);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        for variable in ["SWARD_DEADLOCK", "SWARD_STALL_MS", "SWARD_STACK_REPORT"] {
            command.env(variable, "off");
        }
        command.env_remove("SWARD_CONSOLE");
        command
    }
}

/// Runs the calling test again in a process of its own, under a harness. Returns `None` in that process and its output here.
/// `test` is the test's path as the harness prints it; `variables` are set in the environment.
///
/// ```no_run
/// if let Some(output) = sward_testing::alone("epoll_is_what_was_asked_for", &[("SWARD_ENGINE", "epoll")]) {
///     assert!(output.status.success(), "{output:?}");
///     return;
/// }
/// ```
///
/// # Panics
/// The process cannot be started.
pub fn alone(test: &str, variables: &[(&str, &str)]) -> Option<Output> {
    if env::var_os(CHILD).is_some() {
        return None;
    }
    let mut command = this_program_as(test);
    command.args(["--exact", test, "--nocapture", "--include-ignored", "--test-threads=1"]);
    command.envs(variables.iter().copied());
    Some(command.output().expect("a process can be started"))
}

fn this_program_as(child: &str) -> Command {
    let mut command = Command::new(env::current_exe().expect("a program knows its path"));
    command.env(CHILD, child);
    command
}
