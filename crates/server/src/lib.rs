//! A TCP server that runs one handler, a function over `Read + Write`, under any I/O model. It accepts, limits and drains.
//!
//! # Examples
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
//! The handler and the accept loop are the same in every model. A [`Model`] decides only what a connection runs on.
//!
//! ```text
//!   server.rs           Server, Bound, StopHandle: settings, and the one match over the models
//!   model.rs            the models: how each starts a handler
//!   model/processes.rs  the model with child processes
//!   accept.rs           the accept loop, and the call of a handler
//!   connection.rs       Connection: Read + Write, with counters and the idle timeout
//!   connections.rs      the open connections: their limit, and waiting for their end or the stop
//!   running.rs          what all parts of one running server share; stopping and draining
//!   listen.rs           listeners, one or a group on one port
//!   signals.rs          SIGINT and SIGTERM
//!   summary.rs          the counters
//!   escaped.rs          clients' text, escaped for the log
//!   advice.rs           advice for exhausted resources
//!   service.rs          upper, echo, discard, chargen
//! ```
//!
//! How a server ends: [`StopHandle::stop`] (or a signal) shuts the listeners down, which ends their accept loops in every model. Open
//! connections go on until they end by themselves, or until the [drain deadline](Server::drain). Then their sockets are
//! shut down, so that their handlers read the end of the stream. Green handlers that still do not end are cancelled.

// Allowed only where the contract of `sward::run` is passed on: in `serve`, and where a runtime starts.
#![deny(unsafe_code)]

mod accept;
mod advice;
mod connection;
mod connections;
mod escaped;
mod listen;
mod model;
mod running;
mod server;
pub mod service;
mod signals;
mod summary;

pub use connection::Connection;
pub use model::processes::is_child;
pub use model::{Model, UnknownModel};
pub use server::{Bound, Server, StopHandle};
pub use summary::Summary;
