//! `std::net`, green: the same names and meanings. A call that blocks suspends the calling green thread; on a plain OS thread it
//! blocks that thread, as std's does.
//!
//! ```text
//!   tcp_listener.rs · tcp_stream.rs · udp_socket.rs    std's types: options are std's own calls on the std type inside
//!   socket.rs            what they share: identity, timeouts, and the calls that wait
//!   std_traits.rs        what else std's types implement: descriptors in and out
//!   reader.rs            a buffered reader that holds no buffer while it waits
//!   to_socket_addrs.rs   names to addresses, without holding up a worker
//! ```
//!
//! What differs from std:
//! - [`ToSocketAddrs`] is a trait of this library, of the same shape and for the same types: std's looks names up on the
//!   thread that asks, which would hold up a worker.
//! - A listener's queue of connections that wait to be accepted is longer (4096 where the system allows it, not 128).
//! - Timeouts and the non-blocking mode of a socket in a green thread are those that were set through these types (clones share
//!   them), or that the socket had when it was converted into one of them. What is set on the descriptor behind their
//!   back is not seen.

mod reader;
mod socket;
mod std_traits;
mod tcp_listener;
mod tcp_stream;
mod to_socket_addrs;
mod udp_socket;

pub use reader::Reader;
pub use std::net::{
    AddrParseError, IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, SocketAddrV4, SocketAddrV6,
};
pub use tcp_listener::{Incoming, IntoIncoming, TcpListener};
pub use tcp_stream::TcpStream;
pub use to_socket_addrs::ToSocketAddrs;
pub use udp_socket::UdpSocket;
