//! What a server counts. [`Counters`] are updated while it runs, from any thread; a [`Summary`] has their values at the end.

use std::fmt;
use std::io;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[$meaning:meta])* $name:ident,)*) => {
        /// What a server has done.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct Summary {
            $($(#[$meaning])* pub $name: u64,)*
        }

        /// The values of a [`Summary`] while the server runs.
        #[derive(Debug, Default)]
        pub(crate) struct Counters {
            $(pub(crate) $name: AtomicU64,)*
        }

        impl Counters {
            /// Returns the values of now.
            pub(crate) fn summary(&self) -> Summary {
                Summary { $($name: self.$name.load(Ordering::Relaxed),)* }
            }

            /// Adds the values of a child process.
            pub(crate) fn add(&self, other: &Summary) {
                $(self.$name.fetch_add(other.$name, Ordering::Relaxed);)*
            }
        }

        /// All values in the order of the fields: a child process's report to its parent.
        impl fmt::Display for Line {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                let numbers = [$(self.0.$name,)*].map(|number| number.to_string());
                formatter.write_str(&numbers.join(" "))
            }
        }

        impl FromStr for Line {
            type Err = io::Error;

            fn from_str(line: &str) -> io::Result<Line> {
                let mut numbers = line.split_whitespace().map(str::parse);
                let mut next = || match numbers.next() {
                    Some(Ok(number)) => Ok(number),
                    _ => Err(io::Error::new(io::ErrorKind::InvalidData, format!("a child's report was {line:?}"))),
                };
                Ok(Line(Summary { $($name: next()?,)* }))
            }
        }
    };
}

counters! {
    /// Connections accepted.
    connections,
    /// Reads that returned data.
    messages,
    /// Bytes read.
    bytes_in,
    /// Bytes written.
    bytes_out,
    /// Handlers that returned an error, unless it only means that the client has left or was idle.
    failed,
    /// Handlers that panicked.
    panicked,
    /// Connections on which a read or write exceeded the idle timeout.
    idle,
    /// Connections shut down because the drain deadline passed.
    cut_off,
    /// Connections whose handlers had not ended when the server gave up waiting, although their sockets were shut down.
    left_over,
    /// Restarts of crashed child processes. What a crashed child had counted is lost.
    restarts,
}

/// A [`Summary`] as one line of text.
pub(crate) struct Line(pub(crate) Summary);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_the_whole_summary() {
        let summary = Summary { connections: 1, bytes_out: 2, restarts: 3, ..Summary::default() };
        assert_eq!(Line(summary).to_string().parse::<Line>().unwrap().0, summary);
    }

    #[test]
    fn a_cut_line_is_an_error() {
        assert!("1 2 3".parse::<Line>().is_err());
    }
}
