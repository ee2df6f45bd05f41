//! I/O engines for green threads: requests go in, completions come out.
//!
//! The trait [`Engine`] has the shape of a completion queue, since a green thread that waits for its completion can lend
//! the kernel a buffer on its own stack. io_uring has that shape already. Readiness kernels (epoll, poll, select, SIGIO,
//! busy polling) are an adapter under it: `readiness.rs` turns any [`Poller`] into an [`Engine`], so that each of them is one
//! short file.
//!
//! ```text
//!              Engine: submit · cancel · wait · waker
//!             ╱                                      ╲
//!        io_uring.rs                             readiness.rs ── perform.rs (the non-blocking call)
//!                                                     │
//!                                    Poller: arm · disarm · poll · waker
//!                                 ╱       │       │        │        ╲
//!                            epoll.rs  poll.rs  select.rs  sigio.rs  spin.rs
//! ```
//!
//! Which engine runs is chosen in one place, [`EngineKind::open`]; [`for_each_engine!`] has the list. The contract of an engine, with an
//! example, stands with the trait [`Engine`]: other crates may implement it, too.

mod abi;
mod address;
mod engine;
mod epoll;
mod event_fd;
#[cfg(feature = "stress")]
mod faulty;
mod io_uring;
mod kind;
mod multishot_receive;
mod open;
mod open_error;
mod operation;
mod perform;
mod poll;
mod poll_set;
mod provided_buffer;
mod readiness;
mod select;
mod sigio;
mod spin;
mod wake_flag;

pub use address::SocketAddress;
pub use engine::{Engine, Submitted, Wake, Waker};
#[cfg(feature = "stress")]
pub use faulty::Faulty;
pub use io_uring::abandon_receives;
pub use kind::{Choice, EngineKind, UnknownEngine};
pub use multishot_receive::MultishotReceive;
pub use open::Opened;
pub use open_error::OpenError;
pub use operation::{Completed, Interest, Operation, Request, Source};
pub use perform::perform_blocking;
pub use provided_buffer::ProvidedBuffer;
pub use readiness::{Poller, Readiness, Ready};
