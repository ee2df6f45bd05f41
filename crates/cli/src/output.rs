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
    let mut output = io::stdout().lock();
    output.write_all(text.as_bytes()).and_then(|()| output.flush()).map_err(explain)
}

/// What a failed write to standard output means.
pub(crate) fn explain(error: io::Error) -> anyhow::Error {
    match error.kind() {
        io::ErrorKind::BrokenPipe => Closed.into(),
        _ => anyhow::Error::new(error).context("writing to standard output"),
    }
}

/// Whether an error only says that the reader of standard output has gone.
pub(crate) fn is_closed(error: &anyhow::Error) -> bool {
    error.is::<Closed>()
}
