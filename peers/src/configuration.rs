//! Configurations: number of connections, size of messages, depth of the pipeline, as `CONNECTIONSxBYTESxPIPELINE`.

use std::fmt;
use std::str::FromStr;

/// One kind of load.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Configuration {
    pub(crate) connections: usize,
    pub(crate) message_bytes: usize,
    /// How many messages a connection sends before it waits for all their replies.
    pub(crate) pipeline: usize,
}

impl Configuration {
    /// Parses a comma-separated list.
    pub(crate) fn list(text: &str) -> Result<Vec<Configuration>, String> {
        text.split(',').map(str::parse).collect()
    }

    /// Returns the bytes that a connection sends before it waits.
    pub(crate) fn batch_bytes(&self) -> usize {
        self.message_bytes * self.pipeline
    }
}

impl FromStr for Configuration {
    type Err = String;

    fn from_str(text: &str) -> Result<Configuration, String> {
        let numbers: Option<Vec<usize>> =
            text.split('x').map(|part| part.parse().ok().filter(|&number| number > 0)).collect();
        match numbers.as_deref() {
            Some(&[connections, message_bytes, pipeline]) => {
                Ok(Configuration { connections, message_bytes, pipeline })
            }
            _ => Err(format!(
                "{text:?} is no configuration; one is CONNECTIONSxBYTESxPIPELINE, such as 64x64x1"
            )),
        }
    }
}

impl fmt::Display for Configuration {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}x{}x{}", self.connections, self.message_bytes, self.pipeline)
    }
}
