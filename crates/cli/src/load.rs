//! `sward load`: sends messages to a TCP server, checks every byte of the replies, and measures what that took.
//!
//! ```text
//!   options ──▶ plan ──▶ run ──▶ report
//!   flags       checked   green threads, one per connection (a reader and a writer where a connection has to do
//!                         both at once); the recorder and the failures are what they leave behind
//! ```
//!
//! | file | holds |
//! |---|---|
//! | `options.rs` | the flags |
//! | `plan.rs` | what is to be done, free of contradictions |
//! | `payload.rs` | what is sent, and what has to come back |
//! | `watcher.rs` | a run from the first connection to the report |
//! | `run.rs` | what the connections of a run share with its watcher |
//! | `conversation.rs` | one connection: the closed loop and the open loop |
//! | `recorder.rs` | latencies, by worker |
//! | `failure.rs` | what can go wrong, by kind, in words |
//! | `progress.rs` | what is shown meanwhile |
//! | `report.rs` | the result, for people and as JSON |
//!
//! **Closed loop** (no `--rate`): a connection sends `--pipeline` messages, waits for all replies, sends again. A message's latency
//! counts from when the replies before it had been read, which is when its batch is sent. A server that stalls is sent less, so the closed loop measures throughput.
//!
//! **Open loop** (`--rate`): each connection has a timetable, and a message's latency counts from the moment at which it was *due*,
//! whether or not it could be sent then. So a stall of the server counts for all messages that fell into it, as it does for
//! users (no coordinated omission). What the generator itself was late by is in the report, too (`sent_late_us`).
//!
//! # JSON
//! `--json` prints one object on one line. Times end in their unit; what may be missing is null.
//!
//! | field | meaning |
//! |---|---|
//! | `address`, `connections`, `idle`, `size`, `pipeline`, `rate`, `verify`, `workers`, `engine` | what ran; `size` in bytes; `rate` in messages a second asked for, null in closed loop |
//! | `interrupted` | Ctrl-C ended it early, in the measured window; before that there is no report, but an error |
//! | `seconds` | length of the measured window, after ramp and warm-up; 0, and no figures, if every connection ended before it |
//! | `messages`, `messages_per_second`, `bytes_per_second` | whole replies that came in the window; bytes of one direction |
//! | `latency_us` | object: `p50`, `p90`, `p99`, `p999`, `max`, `mean`; null if nothing came back |
//! | `sent_late_us` | the same for how late messages were sent, open loop only |
//! | `histogram` | array of `{from_us, to_us, messages}`: latencies, in steps of 1, 2, 5 |
//! | `generator_cpu_us_per_message`, `generator_cpu_percent` | of this process, all threads; 100 is one core |
//! | `server_cpu_us_per_message`, `server_cpu_percent` | of `--pid` and its descendants; null without it |
//! | `connection_messages` | object: `min`, `median`, `max` messages answered to a connection, over all phases: how even the service was |
//! | `unanswered`, `unanswered_oldest_us` | messages sent and never answered (the server had 2 s after the window), and how long the oldest had waited |
//! | `idle_closed` | silent connections that the server had closed by the end |
//! | `complaint` | why the run cannot count as a success, in words; null if it can |
//! | `errors` | array of `{kind, count, first}`; `kind` is one of `refused`, `reset`, `closed`, `timed_out`, `wrong_bytes`, `surplus_bytes`, `descriptor_limit`, `no_local_port`, `no_reply`, `other`; `first` is the first one in words |

mod conversation;
mod failure;
mod options;
mod payload;
mod plan;
mod progress;
mod recorder;
mod report;
mod run;
mod watcher;

use crate::{interrupt, output};

pub(crate) use options::Load;

impl Load {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let plan = self.plan()?;
        let report = watcher::run(plan, self.progress(), interrupt::flag()?)?;
        let text = if self.json { serde_json::to_string(&report)? + "\n" } else { report.to_string() };
        output::print(&text)?;
        match report.complaint {
            Some(complaint) => Err(anyhow::Error::msg(complaint)),
            None => Ok(()),
        }
    }
}
