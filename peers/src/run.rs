//! Rounds: each measures every contender once in every configuration, in a new process.

use std::io::{self, BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::configuration::Configuration;
use crate::contender::Contender;
use crate::load;
use crate::machine;
use crate::micro::COSTS;
use crate::table::{self, Results};

/// What is to be measured.
pub(crate) struct Plan {
    pub(crate) contenders: Vec<&'static Contender>,
    pub(crate) configurations: Vec<Configuration>,
    pub(crate) rounds: usize,
    pub(crate) warm_up: Duration,
    pub(crate) window: Duration,
}

/// Measures, and prints the tables.
pub(crate) fn run(plan: &Plan) -> io::Result<()> {
    machine::pin(machine::GENERATOR_CORE)?;
    machine::raise_descriptor_limit();
    let awake = machine::keep_cores_awake();
    if awake.is_none() {
        eprintln!(
            "idle cores cannot be kept awake here (/dev/cpu_dma_latency), so wake-ups are slow and the figures noisy"
        );
    }
    let mut echo = Results::new();
    let mut micro = Results::new();
    for round in 1..=plan.rounds {
        for configuration in &plan.configurations {
            for contender in plan.contenders.iter().filter(|contender| contender.serve.is_some()) {
                match echo_once(plan, contender, configuration) {
                    Ok(cpu_us) => echo.add(contender.name, &configuration.to_string(), cpu_us),
                    Err(error) => eprintln!("{} {configuration}: {error}", contender.name),
                }
            }
        }
        for contender in plan.contenders.iter().filter(|contender| contender.micro.is_some()) {
            micro_once(contender, &mut micro)?;
        }
        eprintln!("round {round} of {} is over", plan.rounds);
    }
    let columns: Vec<String> = plan.configurations.iter().map(Configuration::to_string).collect();
    println!(
        "Server CPU µs per message, median / lowest of {} rounds (in brackets: the lowest, divided by the first row's)\n",
        plan.rounds
    );
    println!("{}", table::markdown(&echo, "server", &columns, 3));
    println!(
        "ns per operation, median / lowest of {} rounds (in brackets: the lowest, divided by the first row's)\n",
        plan.rounds
    );
    println!("{}", table::markdown(&micro, "runtime", &COSTS.map(String::from), 1));
    Ok(())
}

/// Returns server CPU time per message, in microseconds.
fn echo_once(plan: &Plan, contender: &Contender, configuration: &Configuration) -> io::Result<f64> {
    let mut server = Process::start("serve", contender)?;
    let mut line = String::new();
    BufReader::new(server.0.stdout.take().expect("it is a pipe")).read_line(&mut line)?;
    let address: SocketAddr =
        line.trim().parse().map_err(|_| io::Error::other("the server has not started"))?;
    let measured = load::generate(address, server.0.id(), configuration, plan.warm_up, plan.window)?;
    Ok(measured.cpu_us())
}

/// Adds the output of a micro-benchmark's process: lines with a cost's name, a tab, and nanoseconds.
fn micro_once(contender: &Contender, results: &mut Results) -> io::Result<()> {
    let mut process = Process::start("micro", contender)?;
    let mut lines = String::new();
    process.0.stdout.take().expect("it is a pipe").read_to_string(&mut lines)?;
    for (cost, ns) in lines.lines().filter_map(|line| line.split_once('\t')) {
        results.add(contender.name, cost, ns.parse().map_err(io::Error::other)?);
    }
    Ok(())
}

/// This program, started again. Killed when dropped.
struct Process(Child);

impl Process {
    fn start(role: &str, contender: &Contender) -> io::Result<Process> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args([role, contender.name]).stdin(Stdio::null()).stdout(Stdio::piped());
        command.spawn().map(Process)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
