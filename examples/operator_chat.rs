//! A chat whose operator answers the clients from the keyboard.
//!
//! ```sh
//! cargo run --example operator_chat   # or another address: -- 127.0.0.1:8801
//! nc 127.0.0.1 8800                   # elsewhere, as often as you like
//! ```
//!
//! What the original (`select`, with `input()` inside its loop) gets wrong, and what this program does instead:
//! - While the operator thinks, it accepts no client and reads nothing. Here waiting for the keyboard
//!   suspends only the operator's thread.
//! - It identifies clients by their index in a list, which changes when one leaves. Here numbers are stable.
//! - It answers whatever `recv` returns, half a question or three at once. Here a question is a line.
//! - It does not close the sockets of clients that have left. Here a socket is closed when its client's
//!   thread ends.

use std::env;
use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::os::fd::AsFd;

use sward::net::{TcpListener, TcpStream};
use sward::os::fd::wait_readable;
use sward::sync::mpsc::{Receiver, Sender, channel};
use sward::thread;

struct Question {
    client: usize,
    text: String,
    answer: Sender<String>,
}

/// Standard input. Reading it suspends the green thread until there is input.
struct Keyboard(File);

impl Read for Keyboard {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match wait_readable(&self.0, None) {
            // Some engines refuse to wait for a regular file, which is always ready.
            Err(error) if error.kind() != ErrorKind::PermissionDenied => Err(error),
            _ => self.0.read(buffer),
        }
    }
}

/// A client's thread: passes on its questions one by one, and sends the answers back.
fn attend(client: usize, stream: &TcpStream, questions: &Sender<Question>) -> io::Result<()> {
    let mut stream_out = stream;
    for text in stream.reader().lines() {
        let (answer, answers) = channel();
        // Both fail after the operator has left.
        let Ok(()) = questions.send(Question { client, text: text?, answer }) else { break };
        let Ok(answer) = answers.recv() else { break };
        stream_out.write_all(format!("{answer}\n").as_bytes())?;
    }
    Ok(())
}

fn accept(listener: &TcpListener, questions: &Sender<Question>) -> io::Result<()> {
    for (client, stream) in (1..).zip(listener.incoming()) {
        let (stream, questions) = (stream?, questions.clone());
        println!("client {client} has come");
        thread::spawn(move || {
            let result = attend(client, &stream, &questions);
            let reason = result.err().map_or(String::new(), |error| format!(": {error}"));
            println!("client {client} has left{reason}");
        });
    }
    Ok(())
}

/// The operator's thread: answers questions in order of arrival, until the end of standard input.
fn answer(questions: &Receiver<Question>) -> io::Result<()> {
    let keyboard = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    let mut lines = BufReader::new(Keyboard(keyboard)).lines();
    for Question { client, text, answer } in questions {
        println!("client {client}: {text}");
        print!("answer {client}: >>> ");
        io::stdout().flush()?;
        let Some(line) = lines.next() else { break };
        // Fails if the client has left.
        let _ = answer.send(line?);
    }
    Ok(())
}

fn program(address: &str) -> io::Result<()> {
    let listener = TcpListener::bind(address)?;
    println!("listening on {}", listener.local_addr()?);
    let (sender, questions) = channel();
    thread::spawn(move || accept(&listener, &sender));
    answer(&questions)
}

fn main() -> io::Result<()> {
    let address = env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8800".into());
    // SAFETY: nothing here holds a scoped thread-local value across a blocking call.
    unsafe { sward::Builder::new().workers(1).run(|| program(&address))? }
}
