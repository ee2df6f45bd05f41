//! The error of a comparison.

use std::fmt::{self, Display};
use std::io;
use std::net::AddrParseError;
use std::num::ParseFloatError;
use std::sync::atomic::{AtomicBool, Ordering};

/// Why a comparison failed.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The caller raised the flag.
    Interrupted,
    /// Anything else. The text says what was attempted, on what, why it failed, and often what to do.
    Failed(String),
}

/// A result with the [`Error`] of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Interrupted => formatter.write_str("interrupted; nothing has been written"),
            Error::Failed(text) => formatter.write_str(text),
        }
    }
}

impl std::error::Error for Error {}

macro_rules! from {
    ($($error:ty),*) => {
        $(impl From<$error> for Error {
            fn from(error: $error) -> Error {
                Error::Failed(error.to_string())
            }
        })*
    };
}
from!(String, fmt::Error, io::Error, AddrParseError, ParseFloatError, nix::Error, serde_json::Error);

/// Puts what was attempted before an error's text.
pub(crate) trait Context<T> {
    fn context(self, attempted: impl Display) -> Result<T>;
}

impl<T, E: Into<Error>> Context<T> for Result<T, E> {
    fn context(self, attempted: impl Display) -> Result<T> {
        self.map_err(|error| match error.into() {
            Error::Interrupted => Error::Interrupted,
            Error::Failed(text) => Error::Failed(format!("{attempted}: {text}")),
        })
    }
}

/// Returns a failure with a formatted text from the calling function.
macro_rules! bail {
    ($($text:tt)*) => { return Err($crate::error::Error::Failed(format!($($text)*))) };
}
pub(crate) use bail;

/// Checks whether to go on.
///
/// # Errors
/// [`Error::Interrupted`], if the flag is raised.
pub(crate) fn check(interrupt: &AtomicBool) -> Result<()> {
    if interrupt.load(Ordering::Relaxed) { Err(Error::Interrupted) } else { Ok(()) }
}
