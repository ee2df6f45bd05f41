//! What to watch, from the environment: `SWARD_DEADLOCK`, `SWARD_STALL_MS`, `SWARD_STACK_REPORT`, `SWARD_CONSOLE`.

use std::env;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// What is done about deadlocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum DeadlockWatch {
    Off,
    /// When nothing can run any more, the main thread panics with the report.
    Total,
    /// Also when some wait in a circle while others run: then one of these panics.
    Partial,
    /// As `Total`, but the process is aborted.
    Abort,
}

/// What is watched in one runtime.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) deadlocks: DeadlockWatch,
    /// A worker that has not switched for so long is reported. `None`: none is.
    pub(crate) stall_after: Option<Duration>,
    pub(crate) stack_report: bool,
    /// SIGQUIT prints a dump.
    pub(crate) dump_on_quit: bool,
    /// Where the console is to be: its socket, or the directory for it.
    pub(crate) console: Option<PathBuf>,
}

impl Settings {
    /// In a debug build total deadlocks and stalls of 100 ms are watched for, otherwise nothing, unless a variable says something else.
    ///
    /// # Errors
    /// A variable has a value that means nothing.
    pub(crate) fn from_environment() -> Result<Settings, InvalidSetting> {
        let debug = cfg!(debug_assertions);
        let deadlocks = read("SWARD_DEADLOCK", "off, total, partial or abort", |value| match value {
            "off" | "0" => Some(DeadlockWatch::Off),
            "total" | "1" => Some(DeadlockWatch::Total),
            "partial" => Some(DeadlockWatch::Partial),
            "abort" => Some(DeadlockWatch::Abort),
            _ => None,
        })?;
        let stall_after = read("SWARD_STALL_MS", "a number of milliseconds, or off", |value| match value {
            "off" | "0" => Some(None),
            value => value.parse().ok().map(|milliseconds| Some(Duration::from_millis(milliseconds))),
        })?;
        let stack_report = read("SWARD_STACK_REPORT", "0 or 1", |value| match value {
            "0" | "off" => Some(false),
            "1" | "on" => Some(true),
            _ => None,
        })?;
        Ok(Settings {
            deadlocks: deadlocks.unwrap_or(if debug { DeadlockWatch::Total } else { DeadlockWatch::Off }),
            stall_after: stall_after.unwrap_or(debug.then_some(Duration::from_millis(100))),
            stack_report: stack_report.unwrap_or(false),
            dump_on_quit: true,
            console: env::var_os("SWARD_CONSOLE").filter(|path| !path.is_empty()).map(PathBuf::from),
        })
    }
}

/// The variable's meaning; `None` if it is unset or empty.
fn read<T>(
    variable: &'static str,
    expected: &'static str,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Result<Option<T>, InvalidSetting> {
    let Some(value) = env::var_os(variable).filter(|value| !value.is_empty()) else { return Ok(None) };
    let parsed = value.to_str().and_then(parse);
    parsed.map(Some).ok_or_else(|| InvalidSetting {
        variable,
        expected,
        value: value.to_string_lossy().into(),
    })
}

/// An environment variable has a value that means nothing.
#[derive(Debug)]
pub(crate) struct InvalidSetting {
    variable: &'static str,
    expected: &'static str,
    value: String,
}

impl fmt::Display for InvalidSetting {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} is {:?}, but should be {}", self.variable, self.value, self.expected)
    }
}

impl std::error::Error for InvalidSetting {}
