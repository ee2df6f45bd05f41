//! `sward connect` in a pipe.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::process::{Command, Output, Stdio};

use crate::server::{SWARD, Server};

fn connect(address: &str, engine: &str) -> Command {
    let mut command = Command::new(SWARD);
    command
        .args(["connect", address])
        .env("SWARD_ENGINE", engine)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn text(output: Output) -> (Option<i32>, String, String) {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn lines_go_in_and_replies_come_out_on_every_engine() {
    let server = Server::start(&[]);
    for engine in sward::EngineKind::ALL {
        let mut command = connect(&server.address.to_string(), engine.name());
        let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
        let mut input = child.stdin.take().unwrap();
        let mut replies = BufReader::new(child.stdout.take().unwrap());
        // A reply comes while the input is still open: neither direction waits for the other.
        for (line, reply) in [("a\n", "A\n"), ("b\n", "B\n")] {
            input.write_all(line.as_bytes()).unwrap();
            let mut heard = String::new();
            replies.read_line(&mut heard).unwrap();
            assert_eq!(heard, reply, "{engine}");
        }
        drop(input);
        let mut rest = String::new();
        replies.read_to_string(&mut rest).unwrap();
        let (code, _, error) = text(child.wait_with_output().unwrap());
        assert_eq!((code, rest.as_str(), error.as_str()), (Some(0), "", ""), "{engine}");
    }
}

#[test]
fn a_regular_file_is_input_as_well_on_every_engine() {
    let server = Server::start(&[]);
    for engine in sward::EngineKind::ALL {
        let mut command = connect(&server.address.to_string(), engine.name());
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
        let output = command.stdin(File::open(file).unwrap()).output().unwrap();
        let expected = std::fs::read_to_string(file).unwrap().to_ascii_uppercase();
        assert_eq!(text(output), (Some(0), expected, String::new()), "{engine}");
    }
}

/// The server says something and closes, while the input stays open: that ends the program.
#[test]
fn it_ends_when_the_server_closes() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut command = connect(&listener.local_addr().unwrap().to_string(), "default");
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    let input = child.stdin.take().unwrap();
    listener.accept().unwrap().0.write_all(b"bye\n").unwrap();
    assert_eq!(text(child.wait_with_output().unwrap()), (Some(0), "bye\n".into(), String::new()));
    drop(input);
}

#[test]
fn a_closed_output_ends_it_quietly() {
    let server = Server::start(&["chargen"]);
    let mut child = connect(&server.address.to_string(), "default").stdin(Stdio::piped()).spawn().unwrap();
    let input = child.stdin.take().unwrap();
    child.stdout.take().unwrap().read_exact(&mut [0; 100]).unwrap();
    let (code, _, error) = text(child.wait_with_output().unwrap());
    assert_eq!((code, error.as_str()), (Some(0), ""));
    drop(input);
}

/// The server waits for input for ever, so the program has to end by itself.
#[test]
fn an_input_that_cannot_be_read_ends_it() {
    let server = Server::start(&[]);
    let address = server.address.to_string();
    for engine in sward::EngineKind::ALL {
        let directory = File::open("/").unwrap();
        let (code, _, error) = text(connect(&address, engine.name()).stdin(directory).output().unwrap());
        assert_eq!(code, Some(1), "{engine}");
        assert!(error.contains("reading standard input: Is a directory"), "{engine}: {error}");
    }
}

#[test]
fn nobody_listening_is_an_error_that_says_so() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    let (code, _, error) = text(connect(&address, "default").stdin(Stdio::null()).output().unwrap());
    assert_eq!(code, Some(1));
    assert!(error.contains(&address) && error.contains("nobody listens"), "{error}");
    for wrong in ["nonsense", "127.0.0.1:80000"] {
        let (code, _, error) = text(connect(wrong, "default").stdin(Stdio::null()).output().unwrap());
        assert_eq!(code, Some(1));
        assert!(error.contains(wrong) && error.contains("HOST:PORT"), "{error}");
    }
}
