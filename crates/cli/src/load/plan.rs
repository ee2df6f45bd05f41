//! The plan of a run.

use anyhow::ensure;
use clap::ValueEnum;
use serde::Serialize;
use sward::EngineKind;
use sward::time::Duration;

/// The most bytes that the open loop writes in one piece, when several messages are due at once.
const BURST_BYTES: usize = 64 * 1024;

/// The most bytes that a connection writes before it reads. More could fill the buffers of both directions and deadlock, so larger
/// batches have a reader beside the writer.
const LOCKSTEP_BYTES: usize = 64 * 1024;

/// The most bytes of a batch.
const BATCH_BYTES_MAX: usize = 1 << 28;

/// The plan of a run.
#[derive(Clone, Debug)]
pub(crate) struct LoadPlan {
    /// `HOST:PORT` of the server.
    pub(crate) address: String,
    /// How many connections send.
    pub(crate) connections: usize,
    /// How many more stay silent.
    pub(crate) idle: usize,
    /// Bytes of a message.
    pub(crate) size: usize,
    /// Messages in a batch of the closed loop.
    pub(crate) pipeline: usize,
    /// When messages are sent.
    pub(crate) pace: Pace,
    /// Length of the measured window.
    pub(crate) duration: Duration,
    /// Time between the last connection's start and the window.
    pub(crate) warmup: Duration,
    /// Time between the first connection's start and the last one's.
    pub(crate) ramp: Duration,
    /// What replies are compared with.
    pub(crate) verify: Verify,
    /// The process whose CPU time is measured, with its descendants.
    pub(crate) server: Option<u32>,
    /// OS threads of the generator.
    pub(crate) workers: usize,
    /// The generator's engine; `None`: the default one.
    pub(crate) engine: Option<EngineKind>,
}

/// When messages are sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Pace {
    /// The next batch when the last one is answered.
    Closed,
    /// By the clock: this many messages per second, of all connections together.
    Open(f64),
}

/// What replies are compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verify {
    /// What was sent, with ASCII letters in upper case
    Upper,
    /// What was sent
    Echo,
    /// Nothing: only their length counts
    None,
}

impl LoadPlan {
    /// Checks that it is possible.
    ///
    /// # Errors
    /// It asks for too much memory.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        ensure!(
            self.size.saturating_mul(self.pipeline) <= BATCH_BYTES_MAX,
            "{} messages of {} bytes at once are too many: at most {} MiB, so lower --pipeline or --size",
            self.pipeline,
            self.size,
            BATCH_BYTES_MAX >> 20
        );
        Ok(())
    }

    /// Returns the most messages that are written in one piece.
    pub(super) fn burst(&self) -> usize {
        match self.pace {
            Pace::Closed => self.pipeline,
            Pace::Open(_) => (BURST_BYTES / self.size).max(1),
        }
    }

    /// Returns whether a connection writes a batch, then reads its replies. Otherwise it does both at once.
    pub(super) fn is_lockstep(&self) -> bool {
        self.pace == Pace::Closed && self.size * self.pipeline <= LOCKSTEP_BYTES
    }

    /// Returns the time between two messages of one connection, in the open loop.
    pub(super) fn interval(&self) -> Option<Duration> {
        match self.pace {
            Pace::Closed => None,
            Pace::Open(rate) => Some(Duration::from_secs_f64(self.connections as f64 / rate)),
        }
    }
}
