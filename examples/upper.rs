//! Sends back in upper case what clients send: one handler, any I/O model.
//!
//! ```sh
//! cargo run --example upper -- io_uring      # or another word from the list below
//! printf 'hello\n' | nc -q1 127.0.0.1 8080   # HELLO
//! ```
//!
//! The word is `blocking`, `threads`, `processes` or `green`, or an engine for green threads:
//! `io_uring`, `epoll`, `poll`, `select`, `sigio`, `spin`. A second word is the address.
//!
//! What the originals (a program for each model, with the handler cut into pieces to suit it) get wrong, and
//! what this program does instead:
//! - They call `send` once and assume that it sends everything: data beyond the socket's buffer is
//!   lost. `write_all` continues until all is sent.
//! - They remove dead clients from the list that they iterate over (`for conn in dead: dead.remove(conn)`), so
//!   every other one is skipped and never closed. Here a client's socket is closed when its handler returns,
//!   for whatever reason.
//! - They poll all sockets in a loop, which burns a whole CPU while no client sends. Here only
//!   `spin` does so, as a specimen.
//! - They overwrite a reply that is not yet sent with the next one. Here a handler writes the reply before
//!   it reads again.

use std::env;
use std::error::Error;
use std::io::{self, Read, Write};
use std::process::ExitCode;

use sward::EngineKind;
use sward_server::{Connection, Model, Server, is_child};

/// The handler, the same under every model.
fn upper(mut connection: Connection) -> io::Result<()> {
    let mut buffer = [0; 4096];
    loop {
        let length = connection.read(&mut buffer)?;
        if length == 0 {
            return Ok(());
        }
        buffer[..length].make_ascii_uppercase();
        connection.write_all(&buffer[..length])?;
    }
}

/// Returns the server that the word names.
fn server(word: &str) -> Result<Server, Box<dyn Error>> {
    match (word.parse::<Model>(), word.parse::<EngineKind>()) {
        (Ok(model), _) => Ok(Server::new().model(model)),
        (_, Ok(engine)) => Ok(Server::new().engine(engine)),
        (Err(no_model), Err(no_engine)) => Err(format!("{no_model}; and {no_engine}").into()),
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let word = arguments.next().unwrap_or_else(|| "green".into());
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:8080".into());
    let bound = server(&word)?.address(address).stop_on_signals().bind()?;
    if !is_child() {
        println!("{word}: serving on {}; Ctrl-C ends it", bound.local_addr());
    }
    // SAFETY: the handler holds no thread-local value at all.
    let summary = unsafe { bound.serve(upper)? };
    println!("{} connections, {} bytes in, {} out", summary.connections, summary.bytes_in, summary.bytes_out);
    Ok(())
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
