//! `sward load`: sends messages to a TCP server, checks every byte of the replies, and measures rate, latency and CPU time.
//!
//! ```text
//!   options ──▶ plan ──▶ run ──▶ report
//!   flags       checked   a green thread per connection (a writer and a reader where a connection does both at once), whose
//!                         results are latencies and failures
//! ```
//!
//! | file | holds |
//! |---|---|
//! | `options.rs` | the flags |
//! | `plan.rs` | what a run does |
//! | `payload.rs` | what is sent, and what must come back |
//! | `watcher.rs` | a run from the first connection to the report |
//! | `run.rs` | what the connections of a run share with its watcher |
//! | `conversation.rs` | one connection: the closed loop and the open loop |
//! | `recorder.rs` | latencies, by worker |
//! | `failure.rs` | what can go wrong, by kind and in words |
//! | `progress.rs` | what is shown during a run |
//! | `report.rs` | the result, for people and as JSON |
//!
//! **Closed loop** (no `--rate`): a connection sends `--pipeline` messages, waits for all replies, and sends again. Latency counts from
//! when a batch is sent, right after the previous replies. A server that stalls is sent less, so the closed loop measures throughput.
//!
//! **Open loop** (`--rate`): each connection has a timetable, and a message's latency counts from when it was *due*, whether or not it
//! could be sent then. So a stall of the server counts for every message that was due meanwhile, as it does for users (no coordinated
//! omission). The report also says how late the generator itself was (`sent_late_us`).
//!
//! # JSON
//! `--json` prints one object on one line. Names of times end in their unit. A missing value is null.
//!
//! | field | meaning |
//! |---|---|
//! | `address`, `connections`, `idle`, `size`, `pipeline`, `rate`, `verify`, `workers`, `engine` | the request; `size` in bytes; `rate` in messages per second, null in the closed loop |
//! | `interrupted` | Ctrl-C ended it early, in the measured window; before that there is no report, but an error |
//! | `seconds` | length of the measured window, after ramp and warm-up; 0, and no figures, if every connection ended before it |
//! | `messages`, `messages_per_second`, `bytes_per_second` | whole replies within the window; bytes in one direction |
//! | `latency_us` | object: `p50`, `p90`, `p99`, `p999`, `max`, `mean`; null without replies |
//! | `sent_late_us` | the same for how late messages were sent; open loop only |
//! | `histogram` | array of `{from_us, to_us, messages}`: latencies, in steps of 1, 2, 5 |
//! | `generator_cpu_us_per_message`, `generator_cpu_percent` | of this process, all threads; 100 is one core |
//! | `server_cpu_us_per_message`, `server_cpu_percent` | of `--pid` and its descendants; null without it |
//! | `connection_messages` | object: `min`, `median`, `max` replies to a connection, over all phases: how even the service was |
//! | `unanswered`, `unanswered_oldest_us` | messages without a reply 2 s after the window, and how long the oldest had waited |
//! | `idle_closed` | silent connections that the server had closed by the end |
//! | `complaint` | why the run cannot count as a success, in words; null if it can |
//! | `errors` | array of `{kind, count, first}`; `kind` is one of `refused`, `reset`, `closed`, `timed_out`, `wrong_bytes`, `surplus_bytes`, `descriptor_limit`, `no_local_port`, `no_reply`, `other`; `first` describes the first one |

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
