//! `perform_blocking`: requests without an engine, on a plain OS thread.

#[path = "behaviour/rig.rs"]
#[expect(dead_code, reason = "the rig of all behaviours, of which few are needed here")]
mod rig;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{FromRawFd, OwnedFd};
use std::thread;
use std::time::Duration;

use rig::{NOWHERE, Stream, drain, fill, receive, send, source};
use sward_engine::{Request, SocketAddress, perform_blocking};

#[test]
fn it_waits_for_the_other_side() {
    let (near, mut far) = <TcpStream as Stream>::pair();
    let near_source = source(&near);
    let peer = thread::spawn(move || {
        let mut question = [0; 8];
        far.read_exact(&mut question).unwrap();
        far.write_all(b"answer").unwrap();
    });
    let mut buffer = [0; 10];
    // SAFETY: the buffers outlive the calls.
    unsafe {
        assert_eq!(perform_blocking(&send(near_source, b"question"), None), Some(8));
        assert_eq!(perform_blocking(&receive(near_source, &mut buffer), None), Some(6));
        peer.join().unwrap();
        assert_eq!(perform_blocking(&receive(near_source, &mut buffer), None), Some(0));
    }
}

#[test]
fn it_gives_up_when_the_time_is_over() {
    let (mut near, mut far) = <TcpStream as Stream>::pair();
    let near_source = source(&near);
    let filled = fill(&mut near);
    let mut buffer = [0; 10];
    // SAFETY: the buffers outlive the calls.
    unsafe {
        for timeout in [Duration::ZERO, Duration::from_millis(3)] {
            assert_eq!(perform_blocking(&receive(near_source, &mut buffer), Some(timeout)), None);
            assert_eq!(perform_blocking(&send(near_source, b"more"), Some(timeout)), None);
        }
        drain(&mut far, filled);
        assert_eq!(perform_blocking(&send(near_source, b"more"), None), Some(4));
    }
}

#[test]
fn it_connects_and_accepts() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let mut address = SocketAddress::from(listener.local_addr().unwrap());
    // SAFETY: no memory is involved, and nobody else has the new descriptor.
    let socket = unsafe {
        OwnedFd::from_raw_fd(libc::socket(libc::AF_INET, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0))
    };
    let connect = Request::Connect { socket: source(&socket), address: &raw mut address };
    let accept = Request::Accept { listener: source(&listener), address: NOWHERE };
    // SAFETY: the address outlives the calls.
    unsafe {
        assert_eq!(perform_blocking(&accept, Some(Duration::ZERO)), None);
        assert_eq!(perform_blocking(&connect, None), Some(0));
        let accepted = perform_blocking(&accept, None).unwrap();
        assert!(accepted >= 0);
        drop(OwnedFd::from_raw_fd(accepted));
    }
}
