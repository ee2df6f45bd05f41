//! Compares sward with its peers: the same echo server on each runtime, and on two hand-written loops, which show the limit.
//!
//! ```text
//! cargo run --release --manifest-path peers/Cargo.toml -- [--quick] [--rounds N] [--only NAME,...] [--configurations 64x64x1,...]
//! ```
//!
//! A server accepts, reads at most 4096 bytes, upper-cases ASCII in place, and writes all of it back. A configuration
//! is CONNECTIONS x BYTES x PIPELINE. The figure is *server CPU time per message*: user and system time of the whole
//! process, which the generator reads before and after the measured window.
//!
//! ```text
//!   core 1: this process                            core 0: this program again, as `serve NAME` or `micro NAME`
//!   run.rs ── load.rs (generator) ── TCP ────────── server/*.rs
//!     └── table.rs                                  micro/*.rs
//! ```
//!
//! Contenders are interleaved: each round runs each of them once, in a new process. The tables show medians and the lowest values.

mod configuration;
mod contender;
mod load;
mod machine;
mod micro;
mod ring;
mod run;
mod server;
mod table;

use std::error::Error;
use std::time::Duration;

use configuration::Configuration;
use contender::{CONTENDERS, Contender};
use run::Plan;

/// What is measured unless the command line says otherwise.
const CONFIGURATIONS: &str = "64x64x1,1000x64x1,64x64x16,1000x64x16,1x64x1,64x16384x1";

/// With `--quick`.
const QUICK: &str = "64x64x1,1000x64x1";

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["serve", name] => {
            Ok(server::run(Contender::named(name)?.serve.ok_or_else(|| format!("{name} has no server"))?)?)
        }
        ["micro", name] => {
            Contender::named(name)?.micro.into_iter().for_each(micro::run);
            Ok(())
        }
        _ => Ok(run::run(&plan(arguments)?)?),
    }
}

fn plan(arguments: Vec<String>) -> Result<Plan, Box<dyn Error>> {
    let quick = arguments.iter().any(|argument| argument == "--quick");
    let mut plan = Plan {
        contenders: CONTENDERS.iter().collect(),
        configurations: Configuration::list(if quick { QUICK } else { CONFIGURATIONS })?,
        rounds: if quick { 3 } else { 5 },
        warm_up: Duration::from_millis(300),
        window: Duration::from_millis(if quick { 500 } else { 1000 }),
    };
    let mut arguments = arguments.into_iter().filter(|argument| argument != "--quick");
    while let Some(option) = arguments.next() {
        let value = arguments.next().ok_or_else(|| format!("{option} needs a value"))?;
        match option.as_str() {
            "--rounds" => plan.rounds = value.parse::<usize>()?.max(1),
            "--configurations" => plan.configurations = Configuration::list(&value)?,
            "--only" => plan.contenders = value.split(',').map(Contender::named).collect::<Result<_, _>>()?,
            _ => {
                return Err(format!(
                    "unknown option {option}; known are --quick, --rounds, --configurations and --only"
                )
                .into());
            }
        }
    }
    Ok(plan)
}
