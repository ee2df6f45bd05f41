//! The sockets with which most tests of the network begin.

use sward::net::{SocketAddr, TcpListener, TcpStream};

/// Returns a listener on a free port of this machine, and its address.
///
/// # Panics
/// No port is free.
pub fn tcp_listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("a listener has an address");
    (listener, address)
}

/// Returns the two ends of a connection: the one that connected, and the one that accepted.
///
/// # Panics
/// The kernel refuses the connection.
pub fn tcp_pair() -> (TcpStream, TcpStream) {
    let (listener, address) = tcp_listener();
    let near = TcpStream::connect(address).expect("somebody listens");
    let (far, _) = listener.accept().expect("somebody has connected");
    (near, far)
}
