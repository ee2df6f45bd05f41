//! `upper` under every model: what one client sends comes back whole.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::Output;
use std::thread;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{Running, example};

/// More than the sockets' buffers hold, so that reads and writes are partial.
const BYTES: usize = 8 * 1024 * 1024;

/// One client sends much and reads it back; then the server is told to stop.
fn serves(word: &str) {
    let mut server = Running::start(example("upper").args([word, "127.0.0.1:0"]));
    let banner = server.line();
    let address =
        banner.strip_prefix(&format!("{word}: serving on ")).and_then(|rest| rest.split(';').next());

    let question: Vec<u8> = (0..=u8::MAX).cycle().take(BYTES).collect();
    let expected = question.to_ascii_uppercase();
    let mut stream = TcpStream::connect(address.unwrap()).unwrap();
    let mut writing = stream.try_clone().unwrap();
    let writer = thread::spawn(move || {
        writing.write_all(&question).unwrap();
        writing.shutdown(Shutdown::Write).unwrap();
    });
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    writer.join().unwrap();
    assert!(answer == expected, "{word}: {} bytes came back, and not the right ones", answer.len());

    let process = Pid::from_raw(server.child.id().try_into().unwrap());
    kill(process, Signal::SIGTERM).unwrap();
    assert_eq!(server.line(), format!("1 connections, {BYTES} bytes in, {BYTES} out"));
    assert!(server.child.wait().unwrap().success());
}

macro_rules! upper_serves {
    ($($word:ident),* $(,)?) => {
        mod upper_serves {
            $(
                #[test]
                fn $word() {
                    super::serves(stringify!($word));
                }
            )*
        }
    };
}

upper_serves!(blocking, threads, processes, green, io_uring, epoll, poll, select, sigio, spin);

#[test]
fn upper_lists_its_words() {
    let Output { status, stderr, .. } = example("upper").arg("telepathy").output().unwrap();
    assert!(!status.success());
    let error = String::from_utf8(stderr).unwrap();
    for word in ["telepathy", "processes", "io_uring", "sigio"] {
        assert!(error.contains(word), "{error}");
    }
}
