//! The engines by name: all that there are, and what a user says of them. `open.rs` opens them.

use std::fmt;
use std::str::FromStr;

/// The environment variable that names an engine.
const VARIABLE: &str = "SWARD_ENGINE";

/// The kernel's ways of I/O, one engine each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EngineKind {
    /// True asynchronous I/O: requests and completions in shared rings. Linux 5.11 and newer.
    IoUring,
    /// Edge-triggered readiness.
    Epoll,
    /// Readiness by `ppoll(2)`: the whole set goes to the kernel at each wait.
    Poll,
    /// Readiness by `pselect6(2)`: as poll, in bitmaps.
    Select,
    /// Signal-driven I/O: the kernel queues a real-time signal for each change.
    Sigio,
    /// No waiting at all: every call is tried again and again. Costs a whole CPU.
    Spin,
}

impl EngineKind {
    /// Every kind, the preferred ones first.
    pub const ALL: [EngineKind; 6] = [
        EngineKind::IoUring,
        EngineKind::Epoll,
        EngineKind::Poll,
        EngineKind::Select,
        EngineKind::Sigio,
        EngineKind::Spin,
    ];

    /// The name by which a user asks for it.
    pub const fn name(self) -> &'static str {
        match self {
            EngineKind::IoUring => "io_uring",
            EngineKind::Epoll => "epoll",
            EngineKind::Poll => "poll",
            EngineKind::Select => "select",
            EngineKind::Sigio => "sigio",
            EngineKind::Spin => "spin",
        }
    }
}

impl fmt::Display for EngineKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}

impl FromStr for EngineKind {
    type Err = UnknownEngine;

    fn from_str(name: &str) -> Result<EngineKind, UnknownEngine> {
        let known = EngineKind::ALL.into_iter().find(|kind| kind.name() == name);
        known.ok_or_else(|| UnknownEngine { origin: "", name: name.to_owned() })
    }
}

/// What the user said about the engine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Choice {
    /// Nothing: io_uring, or else epoll.
    #[default]
    Default,
    /// This one and no other.
    Named(EngineKind),
}

impl Choice {
    /// Reads `SWARD_ENGINE`. Unset, empty and `default` are [`Choice::Default`].
    ///
    /// # Errors
    /// It names no engine. The error lists those that there are.
    pub fn from_environment() -> Result<Choice, UnknownEngine> {
        let Some(value) = std::env::var_os(VARIABLE) else { return Ok(Choice::Default) };
        let name = value.to_string_lossy();
        name.parse().map_err(|unknown: UnknownEngine| UnknownEngine { origin: "SWARD_ENGINE: ", ..unknown })
    }
}

impl FromStr for Choice {
    type Err = UnknownEngine;

    /// As [`EngineKind`], and the empty string or `default` for [`Choice::Default`].
    fn from_str(name: &str) -> Result<Choice, UnknownEngine> {
        match name {
            "" | "default" => Ok(Choice::Default),
            name => name.parse().map(Choice::Named),
        }
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Choice::Default => formatter.pad("default"),
            Choice::Named(kind) => kind.fmt(formatter),
        }
    }
}

/// A name that no engine has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownEngine {
    /// Where the name stood, for the message: empty, or ending in `: `.
    origin: &'static str,
    name: String,
}

impl fmt::Display for UnknownEngine {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = EngineKind::ALL.map(EngineKind::name).join(", ");
        write!(
            formatter,
            "{}there is no engine {:?}; the engines are {names}, and default",
            self.origin, self.name
        )
    }
}

impl std::error::Error for UnknownEngine {}
