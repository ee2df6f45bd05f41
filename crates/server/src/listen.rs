//! Listeners: one, or a group that shares a port (SO_REUSEPORT), among which the kernel distributes the clients.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};

use socket2::{Domain, Protocol, Socket, Type};
use sward::net::TcpListener;

use crate::advice;

/// How many clients may wait to be accepted. The kernel limits it to the sysctl net.core.somaxconn.
const BACKLOG: i32 = 4096;

/// Opens `count` listeners on `address`, all on the same port, even if the kernel chooses the port (0).
///
/// # Errors
/// [`InvalidInput`](io::ErrorKind::InvalidInput) if the address does not resolve; otherwise the error of the last attempt to bind it. The
/// message names the address.
pub(crate) fn listen(address: &str, count: usize) -> io::Result<Vec<TcpListener>> {
    let attempted = format!("listening on {address}");
    let unknown = |error: &dyn std::fmt::Display| {
        let text = format!("{attempted}: {error}; an address is HOST:PORT, as in 127.0.0.1:8080");
        io::Error::new(io::ErrorKind::InvalidInput, text)
    };
    let mut last = unknown(&"the name has no address");
    for candidate in address.to_socket_addrs().map_err(|error| unknown(&error))? {
        match listen_on(candidate, count) {
            Ok(listeners) => return Ok(listeners),
            Err(error) => last = advice::explain(&attempted, &error),
        }
    }
    Err(last)
}

fn listen_on(address: SocketAddr, count: usize) -> io::Result<Vec<TcpListener>> {
    // The first listener is bound before it sets SO_REUSEPORT. Otherwise it would silently join the group of
    // another server of the same user, and the two would share the clients.
    let first = socket(address)?;
    first.bind(&address.into())?;
    if count > 1 {
        first.set_reuse_port(true)?;
    }
    let bound = first.local_addr()?;
    let mut sockets = vec![first];
    for _ in 1..count {
        let next = socket(address)?;
        next.set_reuse_port(true)?;
        next.bind(&bound)?;
        sockets.push(next);
    }
    for socket in &sockets {
        socket.listen(BACKLOG)?;
    }
    Ok(sockets.into_iter().map(|socket| TcpListener::from(std::net::TcpListener::from(socket))).collect())
}

fn socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // Old connections in TIME_WAIT do not block the port.
    socket.set_reuse_address(true)?;
    // Accepted sockets inherit this: a reply does not wait until the previous one is acknowledged.
    socket.set_tcp_nodelay(true)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_shares_the_port_that_the_kernel_chose() {
        let group = listen("127.0.0.1:0", 3).unwrap();
        let port = group[0].local_addr().unwrap().port();
        assert!(group.iter().all(|listener| listener.local_addr().unwrap().port() == port));
    }

    #[test]
    fn a_second_group_does_not_join_the_first() {
        let group = listen("127.0.0.1:0", 2).unwrap();
        let address = group[0].local_addr().unwrap().to_string();
        let error = listen(&address, 2).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        assert!(error.to_string().contains(&address), "{error}");
    }

    #[test]
    fn what_is_no_address_is_named_with_one_that_is() {
        for wrong in ["nonsense", "127.0.0.1:80000", "127.0.0.1:"] {
            let error = listen(wrong, 1).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
            let text = error.to_string();
            assert!(
                text.starts_with(&format!("listening on {wrong}: ")) && text.contains("HOST:PORT"),
                "{text}"
            );
        }
    }
}
