//! The scheduler of sward's green threads: workers, tasks, and how they wait. It does not know what is built on it: std's names, locks and
//! channels, the diagnosis, [`sward::run`](https://docs.rs/sward). These pass what it needs as parameters, or as [`hooks`].
//!
//! This crate is a part of `sward`, and its interface changes with `sward`. Use `sward` instead.
//!
//! | file | what it holds | called by |
//! |---|---|---|
//! | `wait.rs` | every blocking call: perform, sleep, park | green threads, OS threads |
//! | `worker.rs` | the loop: run queue, mail, timers, engine | one OS thread each |
//! | `worker/calls.rs` | what threads ask of a worker | green threads; some from any thread |
//! | `worker/interrupts.rs` | mail, cancels, timers that end waits | the owning worker |
//! | `run_queue.rs` | the threads of a worker that can run | the owning worker |
//! | `task.rs` | one thread | any thread |
//! | `current.rs` | the calling thread's task | any thread |
//! | `wake_word.rs` | the word on which a thread waits for another | any thread |
//! | `unwinding.rs` | what a thread is unwinding with, and how deep | the thread itself |
//! | `deadline.rs` | `time::timeout`, and the payload of a cancel | the thread itself |
//! | `pending_panic.rs` | panics that are asked for from outside | any thread |
//! | `reason.rs` | what a parked thread waits for, for reports | the thread itself |
//! | `inspection.rs` | how a worker inspects its threads | the owning worker |
//! | `counters.rs` | what a worker lets others see of itself | any thread |
//! | `shared.rs`, `sleepers.rs`, `mailbox.rs`, `message.rs` | what workers share: mail, wakers, stealing, how they sleep | any thread |
//! | `timers.rs` | the timing wheel, the coarse clock | the owning worker |
//! | `live_tasks.rs` | a worker's live tasks | the owning worker |
//! | `stack_reservation.rs` | stacks that are reserved before a thread starts | any worker |
//! | `scope_data.rs` | threads whose end somebody waits for | any thread |
//! | `offload.rs`, `futex.rs` | OS threads for calls that cannot but block; how an OS thread sleeps | any thread |
//! | `report.rs` | what the person who runs the program is told | any thread |
//! | `hooks.rs` | functions of the diagnosis above | |
//! | `stress.rs`, `span.rs` | schedules by seed, for tests; a `tracing` span for each thread | the owning worker |

// The crate above documents what users see; here the whole floor is one room.
#![allow(missing_docs, clippy::new_without_default, rustdoc::private_intra_doc_links)]

pub mod counters;
pub mod current;
pub mod deadline;
pub mod futex;
pub mod hooks;
pub mod inspection;
mod live_tasks;
pub mod mailbox;
pub mod message;
pub mod offload;
pub mod pending_panic;
mod primitive;
pub mod reason;
pub mod report;
mod run_queue;
pub mod scope_data;
pub mod shared;
mod sleepers;
#[cfg_attr(not(feature = "tracing"), path = "no_span.rs")]
pub mod span;
pub mod stack_reservation;
mod stress;
pub mod task;
pub mod timers;
pub mod unwinding;
pub mod wait;
pub mod wake_word;
pub mod worker;
