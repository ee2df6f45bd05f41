//! Sockets that nearly every test of the network wants first.

use sward::net::{SocketAddr, TcpListener, TcpStream};

/// One that listens on a free port of this machine, and where.
///
/// # Panics
/// If the kernel has none.
pub fn tcp_listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("a listener has an address");
    (listener, address)
}

/// The two ends of a connection: the one that connected, the one that accepted.
///
/// # Panics
/// If the kernel refuses them.
pub fn tcp_pair() -> (TcpStream, TcpStream) {
    let (listener, address) = tcp_listener();
    let near = TcpStream::connect(address).expect("somebody listens");
    let (far, _) = listener.accept().expect("somebody has connected");
    (near, far)
}
