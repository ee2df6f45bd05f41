//! Standard output that may be a pipe whose reader has gone (`sward engines | head -1`): that ends the program quietly.

use std::io::{self, Write};

/// The reader of standard output has gone.
#[derive(Debug)]
struct Closed;

impl std::fmt::Display for Closed {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("nobody reads standard output")
    }
}

impl std::error::Error for Closed {}

/// Prints all of `text` at once.
///
/// # Errors
/// Writing failed. If that is because the reader has gone, [`is_closed`] says so.
pub(crate) fn print(text: &str) -> anyhow::Result<()> {
    write(text).map_err(explain)
}

/// Prints all of `text` at once.
///
/// # Errors
/// Writing failed. [`explain`] says what that means.
pub(crate) fn write(text: &str) -> io::Result<()> {
    let mut output = io::stdout().lock();
    let written = output.write_all(text.as_bytes()).and_then(|()| output.flush());
    written.map_err(attempted)
}

/// Says what it was that failed.
pub(crate) fn attempted(error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("writing to standard output: {error}"))
}

/// What a failed write to standard output means.
pub(crate) fn explain(error: io::Error) -> anyhow::Error {
    match error.kind() {
        io::ErrorKind::BrokenPipe => Closed.into(),
        _ => error.into(),
    }
}

/// Whether an error only says that the reader of standard output has gone.
pub(crate) fn is_closed(error: &anyhow::Error) -> bool {
    error.is::<Closed>()
}
