//! Connections begin, or do not.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use sward_engine::{Request, SocketAddress};

use crate::rig::{NOWHERE, Rig, source};

/// A listener as it comes to an engine: non-blocking.
fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// A TCP socket that is not connected.
fn socket() -> OwnedFd {
    // SAFETY: no memory is involved, and nobody else has the new descriptor.
    unsafe {
        let fd = libc::socket(libc::AF_INET, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0);
        assert!(fd >= 0);
        OwnedFd::from_raw_fd(fd)
    }
}

fn stream(accepted: i32) -> TcpStream {
    assert!(accepted >= 0, "{}", std::io::Error::from_raw_os_error(-accepted));
    // SAFETY: the result of an accept, which nobody else has.
    unsafe { TcpStream::from_raw_fd(accepted) }
}

pub(crate) fn accept_takes_what_waits_and_waits_for_more(rig: &mut Rig) {
    let (listener, address) = listener();
    let listener_source = source(&listener);
    for _ in 0..5 {
        let accept = Request::Accept { listener: listener_source, address: NOWHERE };
        let waiting = rig.begin(accept);
        let also_waiting = rig.begin(accept);
        rig.look();
        assert!(!waiting.is_over() && !also_waiting.is_over());
        let _clients: Vec<_> = (0..4).map(|_| TcpStream::connect(address).unwrap()).collect();
        drop(stream(rig.finish(&waiting)));
        drop(stream(rig.finish(&also_waiting)));
        drop(stream(rig.run(accept)));
        let last = stream(rig.run(accept));
        // SAFETY: no memory is involved.
        let flags = unsafe { libc::fcntl(last.as_raw_fd(), libc::F_GETFD) };
        assert_eq!(flags & libc::FD_CLOEXEC, libc::FD_CLOEXEC);
    }
}

pub(crate) fn accept_tells_the_address(rig: &mut Rig) {
    let (listener, address) = listener();
    let listener_source = source(&listener);
    for early in [false, true] {
        let mut peer = SocketAddress::empty();
        let accept = Request::Accept { listener: listener_source, address: &raw mut peer };
        let waiting = early.then(|| rig.begin(accept));
        let client = TcpStream::connect(address).unwrap();
        let waiting = waiting.unwrap_or_else(|| rig.begin(accept));
        drop(stream(rig.finish(&waiting)));
        assert_eq!(peer.to_inet(), Some(client.local_addr().unwrap()));
    }
}

pub(crate) fn connect_reaches_a_listener(rig: &mut Rig) {
    let (listener, address) = listener();
    let socket = socket();
    let address = SocketAddress::from(address);
    let socket_source = source(&socket);
    assert_eq!(rig.run(Request::Connect { socket: socket_source, address: &raw const address }), 0);
    let accepted = stream(rig.run(Request::Accept { listener: source(&listener), address: NOWHERE }));
    assert_eq!(rig.run(crate::rig::send(socket_source, b"hello")), 5);
    let mut buffer = [0; 10];
    assert_eq!(rig.run(crate::rig::receive(source(&accepted), &mut buffer)), 5);
    let again = rig.run(Request::Connect { socket: socket_source, address: &raw const address });
    assert_eq!(again, -libc::EISCONN);
}

pub(crate) fn connect_is_refused(rig: &mut Rig) {
    // A port that is taken, so that nobody else listens there meanwhile, but at which nobody listens.
    let taken = socket();
    let mut address = SocketAddress::from(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    // SAFETY: the storage has the length that is given.
    unsafe {
        assert_eq!(libc::bind(taken.as_raw_fd(), (&raw const address.storage).cast(), address.length), 0);
        let (storage, length) = ((&raw mut address.storage).cast(), &raw mut address.length);
        assert_eq!(libc::getsockname(taken.as_raw_fd(), storage, length), 0);
    }
    let socket = socket();
    let socket_source = source(&socket);
    let result = rig.run(Request::Connect { socket: socket_source, address: &raw const address });
    assert_eq!(result, -libc::ECONNREFUSED);
    // As after a blocking connect, the socket may try another address.
    let (_listener, address) = self::listener();
    let address = SocketAddress::from(address);
    assert_eq!(rig.run(Request::Connect { socket: socket_source, address: &raw const address }), 0);
}

pub(crate) fn connect_leaves_the_flags_alone(rig: &mut Rig) {
    let (_listener, address) = listener();
    let address = SocketAddress::from(address);
    for flag in [0, libc::O_NONBLOCK] {
        let socket = socket();
        // SAFETY: no memory is involved.
        let before = unsafe {
            libc::fcntl(socket.as_raw_fd(), libc::F_SETFL, flag);
            libc::fcntl(socket.as_raw_fd(), libc::F_GETFL)
        };
        let socket_source = source(&socket);
        assert_eq!(rig.run(Request::Connect { socket: socket_source, address: &raw const address }), 0);
        rig.engine.forget(socket_source);
        // SAFETY: no memory is involved.
        assert_eq!(unsafe { libc::fcntl(socket.as_raw_fd(), libc::F_GETFL) }, before);
    }
}

pub(crate) fn a_cancelled_connect_can_be_taken_up_again(rig: &mut Rig) {
    const CANCELED: i32 = -libc::ECANCELED;
    let (listener, address) = listener();
    // The shortest backlog there is. Once it is full, the kernel lets the next wait for its answer.
    // SAFETY: no memory is involved.
    assert_eq!(unsafe { libc::listen(listener.as_raw_fd(), 0) }, 0);
    let address = SocketAddress::from(address);
    let listener_source = source(&listener);
    let mut connected = Vec::new();
    let (socket, socket_source) = loop {
        let socket = socket();
        let socket_source = source(&socket);
        let connect = Request::Connect { socket: socket_source, address: &raw const address };
        let connecting = rig.begin(connect);
        rig.look();
        rig.cancel(&connecting);
        match rig.finish(&connecting) {
            CANCELED => break (socket, socket_source),
            result => assert_eq!(result, 0),
        }
        connected.push(socket);
    };
    let connect = Request::Connect { socket: socket_source, address: &raw const address };
    let connecting = rig.begin(connect);
    for _ in 0..connected.len() {
        drop(stream(rig.run(Request::Accept { listener: listener_source, address: NOWHERE })));
    }
    // The kernel asks again after a second or so.
    assert_eq!(rig.finish(&connecting), 0);
    drop(socket);
}

pub(crate) fn accept_without_free_descriptors_fails(rig: &mut Rig) {
    if !rig.is_alone() {
        return;
    }
    let (listener, address) = listener();
    let accept = Request::Accept { listener: source(&listener), address: NOWHERE };
    let waiting = rig.begin(accept);
    rig.look();
    let _first = TcpStream::connect(address).unwrap();
    let _accepted = stream(rig.finish(&waiting));
    let _second = TcpStream::connect(address).unwrap();
    // The lowest free number is beyond the limit from now on.
    let spare = socket();
    let limit = libc::rlimit { rlim_cur: spare.as_raw_fd() as u64, rlim_max: 4096 };
    drop(spare);
    // SAFETY: the kernel reads the limit.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) }, 0);
    assert_eq!(rig.run(accept), -libc::EMFILE);
    assert_eq!(
        rig.run(accept),
        -libc::EMFILE,
        "the connection still waits, and the engine has not forgotten it"
    );
    let limit = libc::rlimit { rlim_cur: 4096, rlim_max: 4096 };
    // SAFETY: the kernel reads the limit.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) }, 0);
    drop(stream(rig.run(accept)));
}
