//! The library's files.

#[path = "../../../crates/sward/src/queue/error.rs"]
mod error;
#[path = "../../../crates/sward/src/queue/order.rs"]
mod order;
#[path = "../../../crates/sward/src/queue/queue.rs"]
#[expect(clippy::module_inception, reason = "as in the library")]
mod queue;

pub(crate) use queue::{Fifo, Lifo, Priority};
