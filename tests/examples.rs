//! Runs the examples and compares what they print with what they should. `cargo test -p sward-examples` has built them, and so
//! does `cargo build --examples`.

#[path = "examples/upper.rs"]
mod upper;

use std::io::{BufRead, BufReader, Lines, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStdout, Command, Stdio};

use sward::EngineKind;
use sward_testing::Watchdog;

/// The example `name`, as a command.
fn example(name: &str) -> Command {
    let here = std::env::current_exe().expect("a test knows its own path");
    // target/debug/deps/examples-0123 -> target/debug/examples/NAME
    let directory = here.parent().and_then(|deps| deps.parent()).expect("a test lies in target/PROFILE/deps");
    let path = directory.join("examples").join(name);
    assert!(path.exists(), "build {}: cargo build --examples", path.display());
    Command::new(path)
}

/// Runs an example to its end and returns its standard output.
fn output_of(command: &mut Command) -> String {
    let _watchdog = Watchdog::start(&format!("{command:?}"));
    let output = command.output().expect("it can be started");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?} failed ({}): {errors}", output.status);
    String::from_utf8(output.stdout).expect("an example prints text")
}

/// One test for each: the example's name, and all of its output.
macro_rules! examples {
    ($($name:ident: $expected:expr;)*) => {
        $(
            #[test]
            fn $name() {
                assert_eq!(output_of(&mut example(stringify!($name))), $expected);
            }
        )*
    };
}

examples! {
    connection_pool: "\
semaphore: 5 at once, 5 places free at the end
semaphore: adding 1 permits to 5 exceeds the semaphore's bound of 5
thread 1: answer to query 1
thread 2: answer to query 2
thread 3: answer to query 3
thread 4: answer to query 4
thread 5: answer to query 5
thread 6: answer to query 6
thread 7: the database hung up
thread 8: answer to query 8
thread 9: answer to query 9
thread 10: answer to query 10
thread 11: answer to query 11
thread 12: answer to query 12
thread 13: answer to query 13
thread 14: answer to query 14
thread 15: answer to query 15
thread 16: answer to query 16
thread 17: answer to query 17
thread 18: answer to query 18
thread 19: answer to query 19
thread 20: answer to query 20
pool: 5 lent at once, 5 idle at the end
pool: 6 connections made, one of them for the one that broke
";
    generator: "\
[PRODUCER] →→ Producing 1...
[CONSUMER] ←← Consuming 1...
[PRODUCER] Consumer return: 200 OK
[PRODUCER] →→ Producing 2...
[CONSUMER] ←← Consuming 2...
[PRODUCER] Consumer return: 200 OK
[PRODUCER] →→ Producing 3...
[CONSUMER] ←← Consuming 3...
[PRODUCER] Consumer return: 200 OK
[PRODUCER] →→ Producing 4...
[CONSUMER] ←← Consuming 4...
[PRODUCER] Consumer return: 200 OK
[PRODUCER] →→ Producing 5...
[CONSUMER] ←← Consuming 5...
[PRODUCER] Consumer return: 200 OK
[OTHER] Worked on while the consumer slept: true
";
    greenlet: "\
12
56
34
78
first is dead: false, second is dead: true
the first one's resource is released
first is dead: true, second is dead: true
";
    lost_update: "\
without a lock: 99
with a lock: 0
";
    music_and_blog: "\
[lamp] light on
[music] begin listening to FILL ME
[blog] begin writing a day at sea
4 threads are alive: blog, lamp, main, music
[music] end listening
the music is over, the blog is finished: false
main is over
[blog] end writing
[letter] all over
[lamp] light out
";
    queues: "\
fifo: 2 items of at most 2, full: true
fifo: the queue is full, and 30 is still mine
fifo: after a moment the queue is full
fifo: 10, 20
fifo: the queue is empty
fifo: after a moment the queue is empty
lifo: 12
lifo: 56
lifo: 34
lifo: the queue is closed
priority: 3 hello
priority: 4 alex
priority: 5 a hundred
priority: 7 two hundred
join: working on a job
join: the queue is empty: true, the work is done: false
join: the work is done
";
}

#[test]
fn other_work_is_done_on_every_engine() {
    for engine in EngineKind::ALL {
        let output = output_of(example("other_work").env("SWARD_ENGINE", engine.name()));
        let expected = "\
starting...
doing other work: prime number 1000 is 7919
client 1 says hello and hears HELLO
client 2 says hello and hears HELLO
client 3 says hello and hears HELLO
the other work still goes on: true
3 clients, 3 calls of accept
";
        assert_eq!(output, expected, "{engine}");
    }
}

#[test]
fn foo_bar() {
    let output = output_of(&mut example("foo_bar"));
    let (text, time) = output.trim_end().rsplit_once('\n').unwrap();
    let expected = "\
running in foo
switch to bar
switch to baz
switch to foo again
switch to bar again
joined: foo's value
joined: bar's value
not joined in time: cancelled
baz's resource is released
joined: cancelled, true
switch to baz
baz's resource is released
Err(Elapsed { duration: 10ms })";
    assert_eq!(text, expected);
    assert!(time.ends_with('s'), "{time} is a time");
}

#[test]
fn a_million_threads_on_a_small_scale() {
    let output = output_of(example("million").arg("10000"));
    let lines: Vec<_> = output.lines().collect();
    let [alive, resident, _started, _slept, ended] = lines[..] else { panic!("{output}") };
    assert_eq!((alive, ended), ("10000 threads are alive", "all have ended: true"));
    // A page of stack, and in a debug build often a second one; the rest is what the heap has of each.
    let bytes: usize = resident.split(' ').next().unwrap().parse().unwrap();
    assert!((4096..=12 * 1024).contains(&bytes), "{resident}");
}

#[test]
fn producer_consumer() {
    let output = output_of(&mut example("producer_consumer"));
    let output = output.replace("\x1b[32;1m", "").replace("\x1b[0m", "");
    let lines: Vec<_> = output.lines().collect();
    let place = |what: &str| {
        lines.iter().position(|line| line.ends_with(what)).unwrap_or_else(|| panic!("{what}: {output}"))
    };
    for baozi in 1..=10 {
        assert!(
            place(&format!("making baozi {baozi}...")) < place(&format!("eats baozi {baozi}")),
            "{output}"
        );
    }
    for name in ["B", "C", "D"] {
        assert!(place("the shop closes") < place(&format!("{name} goes home")), "{output}");
    }
    assert_eq!(lines.last(), Some(&"10 baozi were eaten, 0 are left"));
    // Each is made once and eaten once; the shop closes, three go home, and that was it.
    assert_eq!(lines.len(), 10 + 10 + 1 + 3 + 1, "{output}");
}

/// With a redis-server, where there is one, and without.
#[test]
fn wait_for_redis() {
    let expected = [
        "(main) first of all, check redis server, make sure it is OK, and then trigger the redis ready event",
        "(t1) Waiting for redis ready...",
        "(t1) redis ready, connected, and did some work: work-of-t1",
        "(t2) Waiting for redis ready...",
        "(t2) redis ready, connected, and did some work: work-of-t2",
    ];
    for path in [std::env::var_os("PATH").unwrap_or_default(), "nowhere".into()] {
        let output = output_of(example("wait_for_redis").env("PATH", path));
        let optional = |line: &&str| line.contains("Still waiting") || line.contains("a stand-in will do");
        let mut lines: Vec<_> = output.lines().filter(|line| !optional(line)).collect();
        lines.sort();
        assert_eq!(lines, expected);
    }
}

/// An example that does not end by itself, nor outlives its test.
struct Running {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    _watchdog: Watchdog,
}

impl Running {
    fn start(command: &mut Command) -> Running {
        let watchdog = Watchdog::start(&format!("{command:?}"));
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it can be started");
        let lines = BufReader::new(child.stdout.take().expect("it is a pipe")).lines();
        Running { child, lines, _watchdog: watchdog }
    }

    /// The next line that it prints.
    fn line(&mut self) -> String {
        self.lines.next().expect("it prints another line").expect("an example prints text")
    }

    fn type_line(&mut self, line: &str) {
        let keyboard = self.child.stdin.as_mut().expect("it is a pipe");
        keyboard.write_all(format!("{line}\n").as_bytes()).unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It fails if the example has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn operator_chat() {
    let mut chat = Running::start(example("operator_chat").arg("127.0.0.1:0"));
    let address = chat.line().strip_prefix("listening on ").unwrap().to_owned();
    let call = || BufReader::new(TcpStream::connect(&address).unwrap());
    let write =
        |stream: &mut BufReader<TcpStream>, text: &str| stream.get_mut().write_all(text.as_bytes()).unwrap();
    let read_line = |stream: &mut BufReader<TcpStream>| {
        let mut line = String::new();
        stream.read_line(&mut line).unwrap();
        line
    };
    // Two questions in one piece are two questions.
    let mut first = call();
    write(&mut first, "how much?\nand how many?\n");
    assert_eq!(chat.line(), "client 1 has come");
    assert_eq!(chat.line(), "client 1: how much?");
    // While the operator is asked, others are let in.
    let mut second = call();
    write(&mut second, "hel");
    assert_eq!(chat.line(), "answer 1: >>> client 2 has come");
    chat.type_line("one apple");
    assert_eq!(read_line(&mut first), "one apple\n");
    assert_eq!(chat.line(), "client 1: and how many?");
    // Half a question is one when its end has come.
    write(&mut second, "lo\n");
    chat.type_line("two of them");
    assert_eq!(read_line(&mut first), "two of them\n");
    assert_eq!(chat.line(), "answer 1: >>> client 2: hello");
    // Who stays keeps the number.
    drop(first);
    assert_eq!(chat.line(), "answer 2: >>> client 1 has left");
    chat.type_line("hello yourself");
    assert_eq!(read_line(&mut second), "hello yourself\n");
    write(&mut second, "still there?\n");
    assert_eq!(chat.line(), "client 2: still there?");
    // No more input: the operator goes, and the program ends with its clients connected.
    drop(chat.child.stdin.take());
    assert!(chat.child.wait().unwrap().success());
    assert_eq!(read_line(&mut second), "");
}

/// A server on one worker, and the address that it has chosen.
fn hello_http_server() -> (Running, String) {
    let mut server = Running::start(example("hello_http").args(["0", "1"]));
    let banner = server.line();
    let address = banner.strip_prefix("serving on http://").and_then(|rest| rest.split('/').next()).unwrap();
    let address = address.to_owned();
    (server, address)
}

/// Everything that comes back for `pieces`, until the server closes. After each piece the server has another
/// client's request to answer, so it has taken notice of the piece.
fn ask(address: &str, pieces: &[&[u8]]) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_nodelay(true).unwrap();
    for (place, piece) in pieces.iter().enumerate() {
        if place > 0 {
            assert!(ask(address, &[b"GET / HTTP/1.0\r\n\r\n"]).starts_with("HTTP/1.1 200 OK"));
        }
        stream.write_all(piece).unwrap();
    }
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply).unwrap();
    without_date(String::from_utf8(reply).unwrap())
}

/// A reply without its date, which has to look like one.
fn without_date(mut reply: String) -> String {
    while let Some(start) = reply.find("date: ") {
        let end = start + reply[start..].find("\r\n").unwrap() + 2;
        let date = &reply[start..end];
        assert!(
            date.ends_with(" GMT\r\n") && date.len() == "date: Sun, 06 Nov 1994 08:49:37 GMT\r\n".len(),
            "{date}"
        );
        assert!(!date.contains(" 1970 "), "nobody has set the clock: {date}");
        reply.replace_range(start..end, "");
    }
    reply
}

/// However the requests are cut: with a body, without, three in a row, the last of which wants to be the
/// last.
#[test]
fn hello_http_answers_requests_and_not_pieces() {
    let (_server, address) = hello_http_server();
    let requests = b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n\
        POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nGET / HTT\
        GET / HTTP/1.1\r\nHost: x\r\nConnection: Keep-Alive, Close\r\n\r\n";
    let expected = "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 13\r\n\r\n\
        HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 13\r\n\r\nHello, World!\
        HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 13\r\nconnection: close\r\n\r\nHello, World!";
    assert_eq!(ask(&address, &[requests]), expected);
    for cut in 1..requests.len() {
        let (start, end) = requests.split_at(cut);
        assert_eq!(ask(&address, &[start, end]), expected, "cut at {cut}");
    }
}

#[test]
fn hello_http_refuses_what_it_cannot_answer() {
    let (_server, address) = hello_http_server();
    let endless = format!("GET / HTTP/1.1\r\nHost: x\r\nCookie: {}", "x".repeat(64 * 1024));
    let many = format!("GET / HTTP/1.1\r\nHost: x\r\n{}\r\n", "a: b\r\n".repeat(100));
    for (request, status) in [
        ("hello\r\n\r\n", "400 Bad Request"),
        ("GET / HTTP/1.1\r\n\r\n", "400 Bad Request"),
        ("GET / HTTP/1.1\r\nHost: x\r\nContent-Length: +3\r\n\r\nabc", "400 Bad Request"),
        ("GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc", "400 Bad Request"),
        ("PUT / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "501 Not Implemented"),
        (
            "PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 18446744073709551615\r\n\r\n",
            "413 Content Too Large",
        ),
        (&endless, "431 Request Header Fields Too Large"),
        (&many, "431 Request Header Fields Too Large"),
    ] {
        let refusal = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        assert_eq!(ask(&address, &[request.as_bytes()]), refusal, "{request:.80}");
    }
}

/// A connection lives on after a pause, as long as nobody asks for its end.
#[test]
fn hello_http_keeps_a_connection() {
    let (_server, address) = hello_http_server();
    let mut stream = BufReader::new(TcpStream::connect(&address).unwrap());
    for _ in 0..3 {
        stream.get_mut().write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        let mut reply = String::new();
        while !reply.ends_with("\r\n\r\n") {
            assert!(stream.read_line(&mut reply).unwrap() > 0, "{reply}");
        }
        let mut body = [0; 13];
        stream.read_exact(&mut body).unwrap();
        assert_eq!((reply.lines().next(), &body), (Some("HTTP/1.1 200 OK"), b"Hello, World!"));
        assert!(stream.buffer().is_empty(), "one request, one reply");
    }
}

#[test]
fn deadlock() {
    // As in a debug build, if this is none.
    let output = output_of(example("deadlock").env("SWARD_DEADLOCK", "total"));
    let expected = "\
-- two Mutexes
I am Thread-1, got ResA
I am Thread-2, got ResB
2 of 2 threads are late
deadlock: 2 green threads wait for each other in a circle
I am Thread-2, got ResA as well
Thread-1 was cancelled
Thread-2 is done
-- one ReentrantMutex
I am Thread-1, got ResA
I am Thread-1, got ResB as well
I am Thread-2, got ResB
I am Thread-2, got ResA as well
2 of 2 threads are done
";
    let (report, rest): (Vec<_>, Vec<_>) = output.lines().partition(|line| line.starts_with("  "));
    assert_eq!(rest, expected.lines().collect::<Vec<_>>());
    for (waiting, holding) in [("Thread-1", "Thread-2"), ("Thread-2", "Thread-1")] {
        let mut lines =
            report.iter().skip_while(|line| !line.contains(&format!("\"{waiting}\", spawned at ")));
        assert!(lines.next().is_some_and(|line| line.contains("examples/deadlock.rs:")), "{output}");
        assert!(lines.next().is_some_and(|line| line.contains("waits for the Mutex at")), "{output}");
        assert!(
            lines.next().is_some_and(|line| line.contains(&format!("\"{holding}\" holds, taken at "))),
            "{output}"
        );
    }
}
