//! Bytes through connected sockets, and their ends.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::ptr;
use std::thread;

use sward_engine::{Request, Source};

use crate::rig::{PATIENCE, Rig, Stream, drain, fill, pattern, receive, reset_on_close, send, source};

pub(crate) fn bytes_go_both_ways(rig: &mut Rig) {
    fn go<S: Stream>(rig: &mut Rig) {
        let (near, mut far) = S::pair();
        let near_source = source(&near);
        let mut buffer = [0; 16];
        for round in 0..10 {
            let waiting = rig.begin(receive(near_source, &mut buffer));
            rig.look();
            assert!(!waiting.is_over());
            far.write_all(&[round; 5]).unwrap();
            assert_eq!(rig.finish(&waiting), 5);
            assert_eq!(buffer[..5], [round; 5]);
            assert_eq!(rig.run(send(near_source, &[round; 7])), 7);
            let mut answer = [0; 7];
            far.read_exact(&mut answer).unwrap();
            assert_eq!(answer, [round; 7]);
        }
        far.write_all(b"exactly sixteen!").unwrap();
        assert_eq!(rig.run(receive(near_source, &mut buffer)), 16);
        drop(far);
        assert_eq!(rig.run(receive(near_source, &mut buffer)), 0);
        rig.engine.forget(near_source);
    }
    go::<TcpStream>(rig);
    go::<UnixStream>(rig);
}

pub(crate) fn eight_mebibytes_go_through_partial_sends(rig: &mut Rig) {
    fn go<S: Stream>(rig: &mut Rig) {
        let (near, far) = S::pair();
        let (near_source, far_source) = (source(&near), source(&far));
        let bytes = pattern(8 << 20);
        let mut received = vec![0; bytes.len()];
        let (mut sent, mut taken) = (0, 0);
        let mut sends = 0;
        let mut sender = rig.begin(send(near_source, &bytes));
        while taken < bytes.len() {
            // Pieces of uneven sizes, so that some are short and some are not.
            let end = bytes.len().min(taken + 1 + taken % 100_003);
            let receiver = rig.begin(receive(far_source, &mut received[taken..end]));
            while !receiver.is_over() {
                if sender.is_over() && sent < bytes.len() {
                    sends += 1;
                    sent += usize::try_from(sender.result()).unwrap();
                    if sent < bytes.len() {
                        sender = rig.begin(send(near_source, &bytes[sent..]));
                    }
                }
                rig.wait(Some(PATIENCE));
            }
            taken += usize::try_from(receiver.result()).unwrap();
        }
        rig.finish(&sender);
        assert!(received == bytes);
        assert!(sends > 1 || rig.kind == sward_engine::EngineKind::IoUring, "no send was partial");
    }
    go::<TcpStream>(rig);
    go::<UnixStream>(rig);
}

pub(crate) fn the_end_behind_data_is_not_missed(rig: &mut Rig) {
    for order in 0..300 {
        let (near, mut far) = <TcpStream as Stream>::pair();
        let near_source = source(&near);
        let mut buffer = [0; 100];
        let mut expected = 10;
        if order % 3 == 1 {
            // The engine knows the socket before, and knows that it is not ready.
            let first = rig.begin(receive(near_source, &mut buffer));
            far.write_all(&[1; 10]).unwrap();
            assert_eq!(rig.finish(&first), 10);
        }
        let early = (order % 3 == 2).then(|| rig.begin(receive(near_source, &mut buffer)));
        far.write_all(&[2; 10]).unwrap();
        far.shutdown(Shutdown::Write).unwrap();
        let data = early.unwrap_or_else(|| rig.begin(receive(near_source, &mut buffer)));
        while expected > 0 {
            expected -= rig.finish(&data);
        }
        assert_eq!(rig.run(receive(near_source, &mut buffer)), 0);
        assert_eq!(rig.run(receive(near_source, &mut buffer)), 0, "the end stays");
        rig.engine.forget(near_source);
    }
}

pub(crate) fn the_end_that_races_with_the_data_is_not_missed(rig: &mut Rig) {
    let (hand_over, streams) = std::sync::mpsc::channel::<TcpStream>();
    let peer = thread::spawn(move || {
        for (round, mut stream) in streams.into_iter().enumerate() {
            stream.write_all(&[3; 10]).unwrap();
            for _ in 0..round % 64 * 30 {
                std::hint::spin_loop();
            }
            stream.shutdown(Shutdown::Write).unwrap();
            // Closing is left to the reader, so that only the end of the stream wakes it.
            assert_eq!(stream.read(&mut [0]).unwrap(), 0);
        }
    });
    for _ in 0..500 {
        let (near, far) = <TcpStream as Stream>::pair();
        let near_source = source(&near);
        let mut buffer = [0; 100];
        let data = rig.begin(receive(near_source, &mut buffer));
        hand_over.send(far).unwrap();
        assert_eq!(rig.finish(&data), 10);
        assert_eq!(rig.run(receive(near_source, &mut buffer)), 0);
        rig.engine.forget(near_source);
    }
    drop(hand_over);
    peer.join().unwrap();
}

pub(crate) fn urgent_data_hides_nothing_behind_it(rig: &mut Rig) {
    for early in [false, true] {
        let (near, mut far) = <TcpStream as Stream>::pair();
        let near_source = source(&near);
        let mut buffer = [0; 100];
        let mut waiting = early.then(|| rig.begin(receive(near_source, &mut buffer)));
        far.write_all(b"before").unwrap();
        // SAFETY: one byte is passed, and its count.
        let urgent = unsafe { libc::send(far.as_raw_fd(), b"!".as_ptr().cast(), 1, libc::MSG_OOB) };
        assert_eq!(urgent, 1);
        far.write_all(b"behind").unwrap();
        let mut all = Vec::new();
        while all.len() < 12 {
            let next = waiting.take().unwrap_or_else(|| rig.begin(receive(near_source, &mut buffer)));
            let count = usize::try_from(rig.finish(&next)).unwrap();
            all.extend_from_slice(&buffer[..count]);
        }
        assert_eq!(all, b"beforebehind");
        rig.engine.forget(near_source);
    }
}

pub(crate) fn a_reset_ends_a_receive(rig: &mut Rig) {
    let (near, far) = <TcpStream as Stream>::pair();
    let mut buffer = [0; 10];
    let waiting = rig.begin(receive(source(&near), &mut buffer));
    rig.look();
    reset_on_close(&far);
    drop(far);
    assert_eq!(rig.finish(&waiting), -libc::ECONNRESET);
}

pub(crate) fn a_send_to_a_closed_peer_fails(rig: &mut Rig) {
    let (near, far) = <UnixStream as Stream>::pair();
    drop(far);
    assert_eq!(rig.run(send(source(&near), b"nobody")), -libc::EPIPE);
}

pub(crate) fn shutdown_of_a_clone_ends_a_receive(rig: &mut Rig) {
    fn go<S: Stream>(rig: &mut Rig, how: Shutdown) {
        let (near, _far) = S::pair();
        let clone = near.clone();
        let mut buffer = [0; 10];
        let waiting = rig.begin(receive(source(&near), &mut buffer));
        rig.look();
        thread::spawn(move || clone.shutdown(how)).join().unwrap();
        assert_eq!(rig.finish(&waiting), 0);
    }
    go::<TcpStream>(rig, Shutdown::Read);
    go::<TcpStream>(rig, Shutdown::Both);
    go::<UnixStream>(rig, Shutdown::Read);
}

pub(crate) fn two_receivers_on_one_descriptor(rig: &mut Rig) {
    fn go<S: Stream>(rig: &mut Rig) {
        let (near, mut far) = S::pair();
        let near_source = source(&near);
        let (mut left, mut right) = ([0; 1], [0; 1]);
        for _ in 0..20 {
            let first = rig.begin(receive(near_source, &mut left));
            let second = rig.begin(receive(near_source, &mut right));
            rig.look();
            far.write_all(b"1").unwrap();
            while !first.is_over() && !second.is_over() {
                rig.wait(None);
            }
            assert!(first.is_over() != second.is_over(), "one byte for two");
            far.write_all(b"2").unwrap();
            assert_eq!((rig.finish(&first), rig.finish(&second)), (1, 1));
            let mut both = [left[0], right[0]];
            both.sort();
            assert_eq!(both, *b"12");
        }
        let first = rig.begin(receive(near_source, &mut left));
        let second = rig.begin(receive(near_source, &mut right));
        drop(far);
        assert_eq!((rig.finish(&first), rig.finish(&second)), (0, 0));
    }
    go::<TcpStream>(rig);
    go::<UnixStream>(rig);
}

pub(crate) fn a_receiver_and_a_sender_on_one_descriptor(rig: &mut Rig) {
    fn go<S: Stream>(rig: &mut Rig) {
        let (mut near, mut far) = S::pair();
        let near_source = source(&near);
        let mut buffer = [0; 10];
        let mut waiting = rig.begin(receive(near_source, &mut buffer));
        let sent = fill(&mut near);
        let blocked = rig.begin(send(near_source, b"and one more"));
        for _ in 0..5 {
            rig.look();
            assert!(!waiting.is_over());
            far.write_all(b"hello").unwrap();
            assert_eq!(rig.finish(&waiting), 5);
            waiting = rig.begin(receive(near_source, &mut buffer));
        }
        drain(&mut far, sent);
        assert_eq!(rig.finish(&blocked), 12);
        drain(&mut far, 12);
        assert!(!waiting.is_over());
        far.write_all(b"bye").unwrap();
        assert_eq!(rig.finish(&waiting), 3);
    }
    go::<TcpStream>(rig);
    go::<UnixStream>(rig);
}

pub(crate) fn a_peek_takes_nothing(rig: &mut Rig) {
    let (near, mut far) = <TcpStream as Stream>::pair();
    let near_source = source(&near);
    let mut buffer = [0; 10];
    let peek = Request::Receive {
        socket: near_source,
        buffer: buffer.as_mut_ptr(),
        length: buffer.len(),
        flags: libc::MSG_PEEK,
    };
    let waiting = rig.begin(peek);
    far.write_all(b"look").unwrap();
    assert_eq!(rig.finish(&waiting), 4);
    assert_eq!(rig.run(peek), 4);
    assert_eq!(rig.run(receive(near_source, &mut buffer)), 4);
    assert_eq!(buffer[..4], *b"look");
}

pub(crate) fn datagrams_that_came_together_are_all_received(rig: &mut Rig) {
    fn go(rig: &mut Rig, near: Source, mut transmit: impl FnMut(&[u8])) {
        let mut buffer = [0; 100];
        let waiting = rig.begin(receive(near, &mut buffer));
        for byte in 0..5 {
            transmit(&[byte; 10]);
        }
        assert_eq!((rig.finish(&waiting), buffer[0]), (10, 0));
        assert_eq!((rig.run(receive(near, &mut buffer)), buffer[0]), (10, 1));
        for byte in 2..5 {
            let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: 100 };
            // SAFETY: all zero is an empty message.
            let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
            message.msg_iov = &raw mut part;
            message.msg_iovlen = 1;
            let request = Request::ReceiveMessage { socket: near, message: &raw mut message, flags: 0 };
            assert_eq!((rig.run(request), buffer[0]), (10, byte));
        }
    }
    let (near, far) = UnixDatagram::pair().unwrap();
    go(rig, source(&near), |bytes| {
        far.send(bytes).unwrap();
    });
    let (near, far) = (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
    go(rig, source(&near), |bytes| {
        far.send_to(bytes, near.local_addr().unwrap()).unwrap();
    });
}

pub(crate) fn descriptors_that_travel_along_hide_nothing_behind_them(rig: &mut Rig) {
    let (near, mut far) = <UnixStream as Stream>::pair();
    let near_source = source(&near);
    let mut buffer = [0; 100];
    let mut waiting = Some(rig.begin(receive(near_source, &mut buffer)));
    // A receive ends behind the bytes that a descriptor came with, whatever follows.
    send_with_descriptor(rig, &far, b"with");
    far.write_all(b"behind").unwrap();
    let mut all = Vec::new();
    while all.len() < 10 {
        let next = waiting.take().unwrap_or_else(|| rig.begin(receive(near_source, &mut buffer)));
        let count = usize::try_from(rig.finish(&next)).unwrap();
        all.extend_from_slice(&buffer[..count]);
    }
    assert_eq!(all, b"withbehind");
}

/// Sends `bytes` with a duplicate of standard input, by [`Request::SendMessage`].
fn send_with_descriptor(rig: &mut Rig, socket: &UnixStream, bytes: &[u8]) {
    let mut part = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    let mut control = [0_u64; 3];
    // SAFETY: all zero is an empty message, and the control buffer has room, in size and alignment, for one descriptor.
    let message = unsafe {
        let mut message: libc::msghdr = std::mem::zeroed();
        message.msg_iov = &raw mut part;
        message.msg_iovlen = 1;
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = libc::CMSG_SPACE(4) as usize;
        let header = libc::CMSG_FIRSTHDR(&raw const message);
        (*header).cmsg_level = libc::SOL_SOCKET;
        (*header).cmsg_type = libc::SCM_RIGHTS;
        (*header).cmsg_len = libc::CMSG_LEN(4) as usize;
        ptr::write_unaligned(libc::CMSG_DATA(header).cast::<i32>(), 0);
        message
    };
    let request = Request::SendMessage { socket: source(socket), message: &raw const message, flags: 0 };
    assert_eq!(rig.run(request), bytes.len() as i32);
}

pub(crate) fn a_non_blocking_socket_is_waited_for(rig: &mut Rig) {
    let (near, mut far) = <TcpStream as Stream>::pair();
    TcpStream::set_nonblocking(&near, true).unwrap();
    let mut buffer = [0; 10];
    let waiting = rig.begin(receive(source(&near), &mut buffer));
    rig.look();
    assert!(!waiting.is_over());
    far.write_all(b"late").unwrap();
    assert_eq!(rig.finish(&waiting), 4);
}
