//! The `sward` command. Each subcommand is a struct in a file of its own: its flags, its help and what it does.

// Allowed where a command starts a runtime: in `serve`, `connect` and `load`.
#![deny(unsafe_code)]

mod compare;
mod connect;
mod duration;
mod engines;
mod interrupt;
mod load;
mod output;
mod serve;
mod top;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use sward_measure::terminal::printable;

/// Green threads for network programs: serve and connect under any I/O model.
#[derive(Parser)]
#[command(version, arg_required_else_help = true, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Serve(serve::Serve),
    Connect(connect::Connect),
    Engines(engines::Engines),
    Load(Box<load::Load>),
    Compare(Box<compare::Compare>),
    Top(top::Top),
    #[command(hide = true)]
    CompareStep(compare::CompareStep),
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Serve(command) => command.run(),
        Command::Connect(command) => command.run(),
        Command::Engines(command) => command.run(),
        Command::Load(command) => command.run(),
        Command::Compare(command) => command.run(),
        Command::Top(command) => command.run(),
        Command::CompareStep(command) => command.run(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if output::is_closed(&error) => ExitCode::SUCCESS,
        Err(error) => {
            sward::report(printable(&format!("error: {error:#}")));
            ExitCode::FAILURE
        }
    }
}
