//! Which engine runs. The choice is made at run time, and here alone: in [`EngineKind::open`].
//!
//! An engine that was asked for by name opens or fails with the reason. Only [`Choice::Default`] falls back, and it
//! hands the reason to its caller, who says it once.

use std::fmt;
use std::io;
use std::str::FromStr;

use crate::engine::Engine;
use crate::epoll::Epoll;
use crate::io_uring::IoUring;
use crate::poll::Poll;
use crate::readiness::Readiness;
use crate::select::Select;
use crate::sigio::Sigio;
use crate::spin::Spin;

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

    /// Opens an engine for the calling thread, which is the one that uses and drops it.
    ///
    /// # Errors
    /// The kernel refuses, or has too few resources left.
    pub fn open(self) -> Result<Box<dyn Engine>, OpenError> {
        let failed = |attempted| move |cause| OpenError::new(self, attempted, cause);
        Ok(match self {
            EngineKind::IoUring => Box::new(IoUring::open()?),
            EngineKind::Epoll => Box::new(Readiness::new(Epoll::new().map_err(failed("epoll_create1"))?)),
            EngineKind::Poll => Box::new(Readiness::new(Poll::new().map_err(failed("eventfd"))?)),
            EngineKind::Select => Box::new(Readiness::new(Select::new().map_err(failed("eventfd"))?)),
            EngineKind::Sigio => Box::new(Readiness::new(Sigio::new().map_err(failed("signal set-up"))?)),
            EngineKind::Spin => Box::new(Readiness::new(Spin::new().map_err(failed("set-up"))?)),
        })
    }

    /// Whether [`open`](EngineKind::open) works here and now. It is tried.
    ///
    /// # Errors
    /// The same as those of [`open`](EngineKind::open).
    pub fn available(self) -> Result<(), OpenError> {
        self.open().map(drop)
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

    /// Opens the engine for the calling thread. Beside it stands why the first choice was passed over, if it was.
    ///
    /// # Errors
    /// The named engine does not open; or, by default, epoll does not either.
    pub fn open(self) -> Result<(Box<dyn Engine>, Option<OpenError>), OpenError> {
        match self {
            Choice::Named(kind) => Ok((kind.open()?, None)),
            Choice::Default => match EngineKind::IoUring.open() {
                Ok(engine) => Ok((engine, None)),
                Err(reason) => Ok((EngineKind::Epoll.open()?, Some(reason))),
            },
        }
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

/// Why an engine did not open.
#[derive(Debug)]
pub struct OpenError {
    kind: EngineKind,
    attempted: &'static str,
    cause: io::Error,
}

impl OpenError {
    /// `attempted` is the step, as a system call where it is one.
    pub(crate) fn new(kind: EngineKind, attempted: &'static str, cause: io::Error) -> OpenError {
        OpenError { kind, attempted, cause }
    }

    /// The engine that did not open.
    pub fn kind(&self) -> EngineKind {
        self.kind
    }

    /// What the kernel said.
    pub fn cause(&self) -> &io::Error {
        &self.cause
    }

    /// What the user can do about it.
    fn advice(&self) -> String {
        match (self.cause.raw_os_error(), self.kind) {
            (Some(libc::EMFILE | libc::ENFILE), _) => {
                "no descriptor is left; raise the limit (ulimit -n)".to_owned()
            }
            (Some(libc::EPERM | libc::EACCES), EngineKind::IoUring) => match io_uring_disabled() {
                Some(value) => format!(
                    "the sysctl kernel.io_uring_disabled={value} forbids it; set it to 0, or choose epoll"
                ),
                None => {
                    "a seccomp filter forbids it, as those of containers do; allow it there, or choose epoll"
                        .to_owned()
                }
            },
            (Some(libc::ENOSYS), EngineKind::IoUring) => {
                "this kernel has no io_uring, or hides it; choose epoll".to_owned()
            }
            (Some(libc::ENOMEM), EngineKind::IoUring) => {
                "memory that may be locked is short; raise the limit (ulimit -l), or choose epoll".to_owned()
            }
            (Some(libc::EBUSY), EngineKind::Sigio) => {
                "a thread can have only one, and this one has it already".to_owned()
            }
            (_, EngineKind::Epoll) => "choose poll".to_owned(),
            _ => "choose epoll".to_owned(),
        }
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let OpenError { kind, attempted, cause } = self;
        write!(formatter, "{kind}: {attempted} failed: {cause}; {}", self.advice())
    }
}

// The message has the cause in it already, so it is not a source as well: a report would print it twice.
impl std::error::Error for OpenError {}

/// The sysctl that forbids io_uring, if it does: 1 for processes outside a group, 2 for all.
fn io_uring_disabled() -> Option<String> {
    let value = std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled").ok()?;
    let value = value.trim();
    (value != "0").then(|| value.to_owned())
}
