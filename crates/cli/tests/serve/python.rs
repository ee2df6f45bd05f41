//! The clients of the texts that the project began with, unmodified but for the port. Skipped, with a word, where there is no python3.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};

use crate::server::Server;

/// How many answers of the client that never stops are read.
const FLOOD: usize = 500;

/// Asks the user for a line, says it, prints the answer.
const INTERACTIVE: &str = r#"
import socket

client = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
client.connect(("127.0.0.1", PORT))

while True:
    msg = input(">>>:").strip()
    if not msg:
        continue
    client.send(msg.encode("utf-8"))
    data = client.recv(1024)
    print(data.decode("utf-8"))
"#;

/// Says the same thing as fast as it is answered.
const ENDLESS: &str = r"
import socket
import os

client=socket.socket()
client.connect(('127.0.0.1',PORT))

while 1:
    res = f'{os.getpid()} hello'.encode('utf-8')
    client.send(res)
    data=client.recv(1024)

    print(data.decode('utf-8'))
";

fn python(source: &str, server: &Server) -> Option<Child> {
    let source = source.replace("PORT", &server.address.port().to_string());
    let mut command = Command::new("python3");
    command.args(["-u", "-c", &source]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    command.spawn().inspect_err(|_| eprintln!("skipped: there is no python3")).ok()
}

pub(crate) fn the_clients_of_the_texts(flags: &[&str]) {
    let server = Server::start(flags);
    let Some(mut interactive) = python(INTERACTIVE, &server) else { return };
    interactive.stdin.take().unwrap().write_all("hello\n\nwörld\n".as_bytes()).unwrap();
    let output = interactive.wait_with_output().unwrap();
    // The server's business is ASCII. The end of the input ends the client, with an exception.
    assert_eq!(String::from_utf8(output.stdout).unwrap(), ">>>:HELLO\n>>>:>>>:WöRLD\n>>>:");

    let mut endless = python(ENDLESS, &server).unwrap();
    let expected = format!("{} HELLO", endless.id());
    let lines = BufReader::new(endless.stdout.take().unwrap()).lines().map_while(Result::ok);
    let count = lines.take(FLOOD).filter(|line| *line == expected).count();
    endless.kill().unwrap();
    endless.wait().unwrap();
    assert_eq!(count, FLOOD);
    assert_eq!(server.interrupt_and_finish().number("connections"), 2);
}
