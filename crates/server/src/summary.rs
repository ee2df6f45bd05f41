//! What a server counts. [`Counters`] grow while it runs, on any thread; [`Summary`] is what they came to.

use std::fmt;
use std::io;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[$meaning:meta])* $name:ident,)*) => {
        /// What a server has done in its life.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct Summary {
            $($(#[$meaning])* pub $name: u64,)*
        }

        /// The numbers of a [`Summary`], while they grow.
        #[derive(Debug, Default)]
        pub(crate) struct Counters {
            $(pub(crate) $name: AtomicU64,)*
        }

        impl Counters {
            /// The numbers now.
            pub(crate) fn summary(&self) -> Summary {
                Summary { $($name: self.$name.load(Ordering::Relaxed),)* }
            }

            /// Adds what another server, a child process, has counted.
            pub(crate) fn add(&self, other: &Summary) {
                $(self.$name.fetch_add(other.$name, Ordering::Relaxed);)*
            }
        }

        /// All numbers in one line, in the order of their fields: what a child process reports to its parent.
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
    /// Reads that gave data.
    messages,
    /// Bytes read.
    bytes_in,
    /// Bytes written.
    bytes_out,
    /// Handlers that returned an error other than a time-out or the peer's leaving.
    failed,
    /// Handlers that panicked.
    panicked,
    /// Connections closed because nothing moved for the idle timeout.
    idle,
    /// Connections shut down because the drain deadline passed.
    cut_off,
    /// Connections that were still there when the server gave up waiting, after their sockets had been shut down.
    left_over,
    /// Child processes that had to be started again. What a crashed child had counted is lost.
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
