//! One handler, any I/O model: accepting, limits and draining around a function over `Read + Write`.
//!
//! ```no_run
//! use sward_server::{Model, Server, service};
//!
//! # fn main() -> std::io::Result<()> {
//! let server = Server::new().address("127.0.0.1:8080").model(Model::Green).stop_on_signals();
//! // SAFETY: the service holds no scoped thread-local value across a blocking call.
//! let summary = unsafe { server.serve(service::upper)? };
//! println!("{} connections, {} messages", summary.connections, summary.messages);
//! # Ok(())
//! # }
//! ```
//!
//! The handler and the accept loop stand once. A [`Model`] decides only what a connection runs on:
//!
//! ```text
//!   server.rs        Server, Bound, StopHandle: settings, and the one match over the models
//!   model/           blocking.rs · threads.rs · processes.rs · green.rs
//!   accept.rs        the accept loop, and what happens around a handler
//!   connection.rs    Connection: Read + Write, counted, with the idle timeout
//!   connections.rs   who is connected: the limit, and waiting for someone to leave or for the end
//!   running.rs       what all parts of one running server share; stopping and draining
//!   listen.rs        listeners, one or a group on one port
//!   signals.rs       SIGINT and SIGTERM
//!   summary.rs       the counters
//!   escaped.rs       texts of strangers, for the log
//!   service.rs       upper, echo, discard, chargen
//! ```
//!
//! How a server ends: [`StopHandle::stop`] (or a signal) shuts the listeners down, which wakes their accept loops in every model. Open
//! connections go on until they end by themselves or until the [drain deadline](Server::drain). Then their sockets are
//! shut down, so that their handlers read the end of the stream; what is green and still does not end is cancelled.

// Allowed at the door alone, which is where `sward::run`'s contract is passed on: `serve` and the `run` under it.
#![deny(unsafe_code)]

mod accept;
mod connection;
mod connections;
mod escaped;
mod listen;
mod model;
mod running;
mod server;
pub mod service;
mod shortage;
mod signals;
mod summary;

pub use connection::Connection;
pub use model::processes::is_child;
pub use model::{Model, UnknownModel};
pub use server::{Bound, Server, StopHandle};
pub use summary::Summary;
