//! What can go wrong with a connection, and what the user can do about it.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, ErrorKind};

use nix::errno::Errno;
use serde::Serialize;
use sward::time::Duration;

/// Why a connection ended before the run did.
#[derive(Debug)]
pub(super) enum Failure {
    /// It could not be opened.
    Connect { connection: usize, error: io::Error },
    /// A read or a write failed, after `messages` whole replies.
    Broken { connection: usize, messages: u64, error: io::Error },
    /// The server closed it, after `messages` whole replies.
    Closed { connection: usize, messages: u64 },
    /// A reply is wrong. `offset` is the position of the byte in the message.
    WrongBytes { connection: usize, message: u64, offset: usize, expected: u8, got: u8 },
    /// The server sent more than the replies to `messages` messages.
    Surplus { connection: usize, messages: u64 },
    /// It sent messages and never got a whole reply.
    NoReply { connection: usize, waited: Duration },
}

/// The kinds of failures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum FailureKind {
    /// Nothing listens.
    Refused,
    /// The server reset the connection.
    Reset,
    /// The server closed the connection.
    Closed,
    /// It could not be opened in time.
    TimedOut,
    /// A reply is wrong.
    WrongBytes,
    /// More bytes came than were asked for.
    SurplusBytes,
    /// No descriptor is left.
    DescriptorLimit,
    /// No port is left on our side.
    NoLocalPort,
    /// Nothing came back.
    NoReply,
    /// Something else.
    Other,
}

impl Failure {
    pub(super) fn kind(&self) -> FailureKind {
        let error = match self {
            Failure::Closed { .. } => return FailureKind::Closed,
            Failure::WrongBytes { .. } => return FailureKind::WrongBytes,
            Failure::Surplus { .. } => return FailureKind::SurplusBytes,
            Failure::NoReply { .. } => return FailureKind::NoReply,
            Failure::Connect { error, .. } | Failure::Broken { error, .. } => error,
        };
        match error.kind() {
            ErrorKind::ConnectionRefused => FailureKind::Refused,
            ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted | ErrorKind::BrokenPipe => {
                FailureKind::Reset
            }
            ErrorKind::TimedOut => FailureKind::TimedOut,
            ErrorKind::AddrNotAvailable => FailureKind::NoLocalPort,
            _ => match error.raw_os_error().map(Errno::from_raw) {
                Some(Errno::EMFILE | Errno::ENFILE) => FailureKind::DescriptorLimit,
                _ => FailureKind::Other,
            },
        }
    }

    /// Returns what the user can do about it; empty if there is nothing to say.
    fn advice(&self) -> &'static str {
        match self.kind() {
            FailureKind::Refused => ": nothing listens there; start a server, as with `sward serve`",
            FailureKind::DescriptorLimit => {
                ": too many open files; raise the limit (ulimit -n), or use fewer connections"
            }
            FailureKind::NoLocalPort => {
                ": every local port is in use; widen net.ipv4.ip_local_port_range, wait a minute, or use fewer connections"
            }
            FailureKind::TimedOut => {
                ": the server does not answer; is its backlog full, or a firewall between?"
            }
            _ => "",
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Connect { connection, error } => {
                write!(formatter, "opening connection {connection}: {error}{}", self.advice())
            }
            Failure::Broken { connection, messages, error } => {
                write!(
                    formatter,
                    "connection {connection}, after {messages} messages: {error}{}",
                    self.advice()
                )
            }
            Failure::Closed { connection, messages } => {
                write!(formatter, "connection {connection}: the server closed it after {messages} messages")
            }
            Failure::WrongBytes { connection, message, offset, expected, got } => write!(
                formatter,
                "connection {connection}, message {message}, byte {offset} (all counted from 0): expected {}, got {}",
                Byte(*expected),
                Byte(*got)
            ),
            Failure::Surplus { connection, messages } => write!(
                formatter,
                "connection {connection}: the server sent more bytes than the replies to {messages} messages"
            ),
            Failure::NoReply { connection, waited } => write!(
                formatter,
                "connection {connection}: no reply in {:.1} s; does the server serve so many connections at once, and \
                 does it reply as soon as it has read?",
                waited.as_secs_f64()
            ),
        }
    }
}

/// A byte for people: `'A' (0x41)`.
struct Byte(u8);

impl fmt::Display for Byte {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "'{}' (0x{:02x})", self.0.escape_ascii(), self.0)
    }
}

impl fmt::Display for FailureKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            FailureKind::Refused => "refused",
            FailureKind::Reset => "reset by the server",
            FailureKind::Closed => "closed by the server",
            FailureKind::TimedOut => "timed out",
            FailureKind::WrongBytes => "wrong bytes",
            FailureKind::SurplusBytes => "more bytes than asked for",
            FailureKind::DescriptorLimit => "descriptor limit",
            FailureKind::NoLocalPort => "no local port",
            FailureKind::NoReply => "no reply",
            FailureKind::Other => "other",
        })
    }
}

/// Failures of one kind.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct FailureCount {
    /// Their kind.
    pub(crate) kind: FailureKind,
    /// The number of connections.
    pub(crate) count: u64,
    /// A description of the first one.
    pub(crate) first: String,
}

/// All failures of a run so far.
#[derive(Default)]
pub(super) struct Failures(BTreeMap<FailureKind, FailureCount>);

impl Failures {
    pub(super) fn add(&mut self, failure: &Failure) {
        let kind = failure.kind();
        let entry =
            self.0.entry(kind).or_insert_with(|| FailureCount { kind, count: 0, first: failure.to_string() });
        entry.count += 1;
    }

    /// Returns how many connections have failed.
    pub(super) fn total(&self) -> u64 {
        self.0.values().map(|entry| entry.count).sum()
    }

    pub(super) fn into_counts(self) -> Vec<FailureCount> {
        self.0.into_values().collect()
    }
}
