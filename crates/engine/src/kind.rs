//! The list of engines, their names, and how users name one. `open.rs` opens them.

use std::fmt;
use std::str::FromStr;

/// The environment variable that names an engine.
const VARIABLE: &str = "SWARD_ENGINE";

/// Passes the list of engines to a macro: the only place where it is written down.
///
/// To add an engine, write its file, with a function `open`, and its line here: the module, which is also the name that users
/// know, then the variant of [`EngineKind`] and a description for help texts. The preferred engines come first.
///
/// `for_each_engine!(callback, context…)` expands to `callback! { (context…) line; line; … }`, where each line is
/// `/// documentation`, `module Variant "description"`. It stands where items stand, not in an expression.
#[macro_export]
macro_rules! for_each_engine {
    ($callback:path $(, $($context:tt)*)?) => {
        $callback! {
            ($($($context)*)?)
            /// True asynchronous I/O: requests and completions in shared rings. Linux 5.11 and newer.
            io_uring IoUring "the kernel completes reads and writes";
            /// Edge-triggered readiness: a descriptor is registered once.
            epoll Epoll "the kernel remembers what is watched";
            /// Readiness by `ppoll(2)`: the whole set goes to the kernel at each wait.
            poll Poll "the whole list goes to the kernel each time";
            /// Readiness by `pselect6(2)`: like poll, with bitmaps.
            select Select "a bit for each descriptor, both ways, each time";
            /// Signal-driven I/O: the kernel queues a real-time signal for each change.
            sigio Sigio "a real-time signal says which descriptor is ready";
            /// Busy polling: tries every call again and again, never sleeps, and costs a whole CPU.
            spin Spin "asks every descriptor again and again, never sleeps";
        }
    };
}

macro_rules! define_engine_kind {
    (() $($(#[$documentation:meta])* $module:ident $Kind:ident $description:literal;)*) => {
        /// The kernel's ways of I/O. There is one engine for each.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum EngineKind {
            $($(#[$documentation])* $Kind,)*
        }

        impl EngineKind {
            /// All kinds, the preferred ones first.
            pub const ALL: [EngineKind; [$(EngineKind::$Kind),*].len()] = [$(EngineKind::$Kind),*];

            /// Returns the name by which users ask for this kind, such as `io_uring`.
            pub const fn name(self) -> &'static str {
                match self {
                    $(EngineKind::$Kind => stringify!($module),)*
                }
            }

            /// Returns what sets this kind apart, in a few words.
            pub const fn description(self) -> &'static str {
                match self {
                    $(EngineKind::$Kind => $description,)*
                }
            }
        }
    };
}

for_each_engine!(define_engine_kind);

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

/// The engine that a user asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Choice {
    /// The best engine that opens: io_uring, or else epoll.
    #[default]
    Default,
    /// This engine and no other.
    Named(EngineKind),
}

impl Choice {
    /// Reads the environment variable `SWARD_ENGINE`. Unset, empty and `default` mean [`Choice::Default`].
    ///
    /// # Errors
    /// The variable names no engine. The error lists the names.
    pub fn from_environment() -> Result<Choice, UnknownEngine> {
        let Some(value) = std::env::var_os(VARIABLE) else { return Ok(Choice::Default) };
        let name = value.to_string_lossy();
        name.parse().map_err(|unknown: UnknownEngine| UnknownEngine { origin: "SWARD_ENGINE: ", ..unknown })
    }
}

impl FromStr for Choice {
    type Err = UnknownEngine;

    /// Parses the name of an engine; the empty string and `default` mean [`Choice::Default`].
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

/// The error of parsing a name that no engine has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownEngine {
    /// The source of the name, for the message: empty, or ending in `: `.
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
