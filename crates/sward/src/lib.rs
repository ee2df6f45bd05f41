//! Green threads for Rust behind the standard library's own names.
//!
//! Change `std::` to `sward::` in `thread`, `net`, `sync` and `time`, call [`run`] once in `main`, and plain blocking code (a thread per
//! connection, `Read` and `Write`, no `async`) runs on an event loop, through io_uring where the kernel has it.
//!
//! ```no_run
//! use std::io::{Read, Write};
//! use sward::{net::TcpListener, thread};
//!
//! fn main() -> std::io::Result<()> {
//!     // SAFETY: nothing here holds a scoped thread-local value across a blocking call.
//!     unsafe { sward::run(serve)? }
//! }
//!
//! fn serve() -> std::io::Result<()> {
//!     let listener = TcpListener::bind("127.0.0.1:8080")?;
//!     for stream in listener.incoming() {
//!         let mut stream = stream?;
//!         thread::spawn(move || -> std::io::Result<()> {
//!             let mut buffer = [0; 4096];
//!             loop {
//!                 let length = stream.read(&mut buffer)?;
//!                 if length == 0 {
//!                     return Ok(());
//!                 }
//!                 stream.write_all(&buffer[..length])?;
//!             }
//!         });
//!     }
//!     Ok(())
//! }
//! ```
//!
//! Outside [`run`] everything works as well and blocks the calling OS thread, so a library may use these types without asking
//! its users to be green.
//!
#![doc = include_str!("modules.md")]
//!
//! With the cargo feature `tracing`, each green thread has a [span](https://docs.rs/tracing) `thread` (id, name, where it was spawned)
//! that what it logs stands in, and spans that it enters may stay entered across blocking calls.

pub mod channel;
pub mod coroutine;
mod diagnosis;
pub mod net;
pub mod os;
mod primitive;
pub mod queue;
mod run;
pub mod sync;
pub mod thread;
pub mod time;
#[cfg(doctest)]
mod variance;

#[doc(no_inline)]
pub use std::io;

pub use diagnosis::{Deadlock, Dump, Metrics, deadlocks, dump, metrics};
pub use run::{Builder, Handle, engine_name, run, worker_count, worker_index};
pub use sward_engine::EngineKind;
/// The floor below: see `crates/runtime`.
use sward_runtime as runtime;
pub use sward_runtime::offload::offload;
use sward_runtime::report;
pub use sward_runtime::report::report;
