//! Writes to standard output. If it is a pipe whose reader has gone (`sward engines | head -1`), the program ends quietly.

use std::io::{self, Write};

/// The error of writing to a pipe whose reader has gone.
#[derive(Debug)]
struct Closed;

impl std::fmt::Display for Closed {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("the reader of standard output has gone")
    }
}

impl std::error::Error for Closed {}

/// Writes all of `text` at once.
///
/// # Errors
/// Writing fails. [`is_closed`] tells whether that is because the reader has gone.
pub(crate) fn print(text: &str) -> anyhow::Result<()> {
    write(text).map_err(explain)
}

/// Writes all of `text` at once.
///
/// # Errors
/// Writing fails. [`explain`] makes an `anyhow` error of it.
pub(crate) fn write(text: &str) -> io::Result<()> {
    let mut output = io::stdout().lock();
    let written = output.write_all(text.as_bytes()).and_then(|()| output.flush());
    written.map_err(attempted)
}

/// Returns an error of writing to standard output with words that say so.
pub(crate) fn attempted(error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("writing to standard output: {error}"))
}

/// Returns what [`print`] returns for an error of [`write`].
pub(crate) fn explain(error: io::Error) -> anyhow::Error {
    match error.kind() {
        io::ErrorKind::BrokenPipe => Closed.into(),
        _ => error.into(),
    }
}

/// Returns whether an error only means that the reader of standard output has gone.
pub(crate) fn is_closed(error: &anyhow::Error) -> bool {
    error.is::<Closed>()
}
