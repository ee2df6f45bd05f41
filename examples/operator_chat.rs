//! A chat whose operator answers the clients from the keyboard.
//!
//! ```sh
//! cargo run --example operator_chat   # or another address: -- 127.0.0.1:8801
//! nc 127.0.0.1 8800                   # elsewhere, as often as you like
//! ```
//!
//! What the original (`select`, and `input()` in the middle of it) gets wrong, and this mends:
//! - While the operator thinks, it serves nobody: no client is accepted, nothing is read. Here waiting for
//!   the keyboard suspends the operator's thread only.
//! - It calls a client by its place in a list, which changes when somebody leaves. Here a number stays.
//! - It answers whatever `recv` happened to give, half a question or three at once. Here a question is a
//!   line.
//! - It forgets to close who has left. Here a client's thread ends, and its socket is closed with it.

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

/// Standard input, read when there is something.
struct Keyboard(File);

impl Read for Keyboard {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match wait_readable(&self.0, None) {
            // A regular file is always ready, and some engines refuse to wait for it.
            Err(error) if error.kind() != ErrorKind::PermissionDenied => Err(error),
            _ => self.0.read(buffer),
        }
    }
}

/// A client's thread: passes its questions on, one by one, and the answers back.
fn attend(client: usize, stream: &TcpStream, questions: &Sender<Question>) -> io::Result<()> {
    let mut stream_out = stream;
    for text in stream.reader().lines() {
        let (answer, answers) = channel();
        // Either fails when the operator has gone.
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

/// The operator's thread: answers in the order of arrival, until the keyboard says that it is enough.
fn answer(questions: &Receiver<Question>) -> io::Result<()> {
    let keyboard = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    let mut lines = BufReader::new(Keyboard(keyboard)).lines();
    for Question { client, text, answer } in questions {
        println!("client {client}: {text}");
        print!("answer {client}: >>> ");
        io::stdout().flush()?;
        let Some(line) = lines.next() else { break };
        // It fails if the client has left.
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
