//! A small HTTP/1.1 server: says hello to every request.
//!
//! ```sh
//! cargo run --release --example hello_http -- 8080   # port and, if wanted, number of workers
//! curl -i http://127.0.0.1:8080/
//! ```
//!
//! What the originals' single `recv` and `send` become with a real protocol:
//! - They assume that one `recv` returns one message. Here a request may arrive in pieces, or several
//!   at once (pipelining). All complete requests are answered in one write, and the beginning of the next
//!   one is kept.
//! - They hold a buffer for each connection, or allocate one for each read. Here the reader borrows a
//!   provided buffer only while it holds data; an idle connection has none.

use std::env;
use std::io::{self, BufRead, Write};
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::num::NonZeroUsize;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use httparse::{Header, Request, Status};
use sward::net::{TcpListener, TcpStream};
use sward::sync::Mutex;
use sward::thread;
use sward::time::{interval, timeout};

/// A reply: head, date, end of the head, body.
const HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 13\r\ndate: ";
const END: &str = "\r\n\r\n";
const LAST_END: &str = "\r\nconnection: close\r\n\r\n";
const BODY: &str = "Hello, World!";

/// The longest request, with its body, in bytes.
const REQUEST_BYTES_MAX: usize = 16 * 1024;

const HEADERS_MAX: usize = 64;

/// How long a client may go on sending after the last reply.
const LINGER: Duration = Duration::from_secs(1);

const DATE_BYTES: usize = "Thu, 01 Jan 1970 00:00:00 GMT".len();
const REPLY_BYTES: usize = HEAD.len() + DATE_BYTES + END.len() + BODY.len();

/// The whole reply, updated every second: answering only copies it.
static REPLY: Mutex<[u8; REPLY_BYTES]> = Mutex::new([0; REPLY_BYTES]);

/// What the input begins with.
enum Parsed {
    Whole {
        bytes: usize,
        wants_body: bool,
        is_last: bool,
    },
    Partial,
    /// A request that is refused with this status.
    Refused(&'static str),
}

fn parse(input: &[u8]) -> Parsed {
    let mut headers = [const { MaybeUninit::uninit() }; HEADERS_MAX];
    let mut request = Request::new(&mut []);
    let head_bytes = match request.parse_with_uninit_headers(input, &mut headers) {
        Ok(Status::Complete(bytes)) => bytes,
        Ok(Status::Partial) if input.len() < REQUEST_BYTES_MAX => return Parsed::Partial,
        Ok(Status::Partial) | Err(httparse::Error::TooManyHeaders) => {
            return Parsed::Refused("431 Request Header Fields Too Large");
        }
        Err(_) => return Parsed::Refused("400 Bad Request"),
    };
    let is_old = request.version == Some(0);
    let (mut is_last, mut body_bytes, mut hosts) = (is_old, None, 0);
    for Header { name, value } in request.headers.iter() {
        if name.eq_ignore_ascii_case("host") {
            hosts += 1;
        } else if name.eq_ignore_ascii_case("connection") {
            is_last |= value
                .split(|&byte| byte == b',')
                .any(|word| word.trim_ascii().eq_ignore_ascii_case(b"close"));
        } else if name.eq_ignore_ascii_case("content-length") {
            // With two lengths or an invalid one, the beginning of the next request is unknown.
            match (body_bytes, length(value)) {
                (None, Some(bytes)) => body_bytes = Some(bytes),
                _ => return Parsed::Refused("400 Bad Request"),
            }
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            return Parsed::Refused("501 Not Implemented");
        }
    }
    if hosts != 1 && !is_old {
        return Parsed::Refused("400 Bad Request");
    }
    let bytes = head_bytes.saturating_add(body_bytes.unwrap_or(0));
    if bytes > REQUEST_BYTES_MAX {
        return Parsed::Refused("413 Content Too Large");
    }
    if bytes > input.len() {
        return Parsed::Partial;
    }
    Parsed::Whole { bytes, wants_body: request.method != Some("HEAD"), is_last }
}

/// Parses the value of Content-Length: digits only. (`parse` alone would accept a sign.)
fn length(value: &[u8]) -> Option<usize> {
    let digits = value.iter().all(u8::is_ascii_digit).then_some(value)?;
    str::from_utf8(digits).ok()?.parse().ok()
}

/// Appends a reply for each complete request in `input`. Returns how many bytes these take, and whether the
/// connection must be closed.
fn answer(input: &[u8], replies: &mut Vec<u8>) -> (usize, bool) {
    let reply = *REPLY.lock().expect("nobody panics with it");
    let mut taken = 0;
    while taken < input.len() {
        match parse(&input[taken..]) {
            Parsed::Whole { bytes, wants_body, is_last } => {
                taken += bytes;
                let body = if wants_body { BODY } else { "" };
                if is_last {
                    replies.extend_from_slice(&reply[..HEAD.len() + DATE_BYTES]);
                    replies.extend_from_slice(LAST_END.as_bytes());
                    replies.extend_from_slice(body.as_bytes());
                    return (taken, true);
                }
                replies.extend_from_slice(&reply[..REPLY_BYTES - BODY.len() + body.len()]);
            }
            Parsed::Partial => break,
            Parsed::Refused(status) => {
                let refusal = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
                replies.extend_from_slice(refusal.as_bytes());
                return (input.len(), true);
            }
        }
    }
    (taken, false)
}

/// Serves one connection to its end.
fn converse(stream: &TcpStream) -> io::Result<()> {
    let (mut reader, mut writer) = (stream.reader(), stream);
    let mut replies = Vec::new();
    // The beginning of an incomplete request. It is usually empty.
    let mut partial = Vec::new();
    loop {
        let received = reader.fill_buf()?;
        let received_bytes = received.len();
        if received_bytes == 0 {
            return Ok(());
        }
        let input = if partial.is_empty() {
            received
        } else {
            partial.extend_from_slice(received);
            &partial
        };
        let (taken, is_last) = answer(input, &mut replies);
        partial = input[taken..].to_vec();
        reader.consume(received_bytes);
        writer.write_all(&replies)?;
        replies.clear();
        if is_last {
            stream.shutdown(Shutdown::Write)?;
            // Closing while the client still sends would reset the connection, and the client would lose the reply.
            let _ = timeout(LINGER, || io::copy(&mut reader, &mut io::sink()));
            return Ok(());
        }
    }
}

/// Updates the date in [`REPLY`].
fn update_date() {
    let date = httpdate::fmt_http_date(SystemTime::now());
    let reply = [HEAD, &date, END, BODY].concat();
    *REPLY.lock().expect("nobody panics with it") =
        reply.into_bytes().try_into().expect("such a date has 29 letters");
}

fn program(port: u16) -> io::Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", port))?;
    println!("serving on http://{}/; Ctrl-C ends it", listener.local_addr()?);
    update_date();
    thread::spawn(|| {
        let mut seconds = interval(Duration::from_secs(1));
        loop {
            seconds.tick();
            update_date();
        }
    });
    for stream in listener.incoming() {
        match stream {
            Ok(stream) => drop(thread::spawn(move || {
                stream.set_nodelay(true)?;
                converse(&stream)
            })),
            Err(error) => {
                // If descriptors were exhausted, some may be free again soon.
                eprintln!("accepting: {error}");
                thread::sleep(Duration::from_millis(100));
            }
        }
    }
    Ok(())
}

/// Parses the argument with this index.
fn argument<T: FromStr>(index: usize) -> io::Result<Option<T>> {
    let Some(text) = env::args().nth(index) else { return Ok(None) };
    text.parse().map(Some).map_err(|_| io::Error::other(format!("{text}: not PORT [WORKERS]")))
}

fn main() -> io::Result<()> {
    let port = argument(1)?.unwrap_or(8080);
    let workers = argument::<NonZeroUsize>(2)?;
    let builder =
        workers.map_or(sward::Builder::new(), |workers| sward::Builder::new().workers(workers.get()));
    // SAFETY: nothing here holds a scoped thread-local value across a blocking call.
    unsafe { builder.run(|| program(port))? }
}
