//! Receives into buffers that the engine lends.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use sward_engine::{MultishotReceive, Request, Source};

use crate::rig::{Rig, receive, set_option, source};

fn receive_provided(socket: Source, multishot: &MultishotReceive) -> Request {
    Request::ReceiveProvided { socket, multishot }
}

pub(crate) fn a_buffer_comes_with_the_data_and_not_before(rig: &mut Rig) {
    let (near, mut far) = UnixStream::pair().unwrap();
    let near_source = source(&near);
    let multishot = MultishotReceive::new();
    for round in 0..100u8 {
        let waiting = rig.begin(receive_provided(near_source, &multishot));
        rig.look();
        assert!(!waiting.is_over() && multishot.take().is_none());
        far.write_all(&[round; 9]).unwrap();
        assert_eq!(rig.finish(&waiting), 9);
        let buffer = multishot.take().expect("data comes with a buffer");
        assert_eq!(*buffer, [round; 9]);
        rig.engine.return_buffer(buffer);
    }
    drop(far);
    for _ in 0..2 {
        assert_eq!(rig.run(receive_provided(near_source, &multishot)), 0);
        assert!(multishot.take().is_none(), "the end needs no buffer");
    }
    assert!(multishot.is_idle());
    rig.engine.forget(near_source);
}

/// More readers hold buffers than the engine has at the start; nobody's bytes are another's.
pub(crate) fn many_buffers_are_provided_at_once(rig: &mut Rig) {
    const READERS: usize = 300;
    let pairs: Vec<_> = (0..READERS).map(|_| UnixStream::pair().unwrap()).collect();
    let multishots: Vec<_> = (0..READERS).map(|_| MultishotReceive::new()).collect();
    let sources: Vec<_> = pairs.iter().map(|(near, _)| source(near)).collect();
    let waiting: Vec<_> = sources
        .iter()
        .zip(&multishots)
        .map(|(&near, multishot)| rig.begin(receive_provided(near, multishot)))
        .collect();
    for (number, (_, far)) in pairs.iter().enumerate() {
        (&*far).write_all(&number.to_ne_bytes()).unwrap();
    }
    for waiting in &waiting {
        assert_eq!(rig.finish(waiting), size_of::<usize>() as i32);
    }
    let buffers: Vec<_> = multishots.iter().map(|multishot| multishot.take().unwrap()).collect();
    for (number, buffer) in buffers.iter().enumerate() {
        assert_eq!(**buffer, number.to_ne_bytes());
    }
    buffers.into_iter().for_each(|buffer| rig.engine.return_buffer(buffer));
    multishots.iter().for_each(|multishot| rig.engine.stop_multishot(multishot));
    for near in sources {
        rig.engine.forget(near);
    }
}

pub(crate) fn a_cancelled_provided_receive_loses_nothing(rig: &mut Rig) {
    let (near, mut far) = UnixStream::pair().unwrap();
    let near_source = source(&near);
    let multishot = MultishotReceive::new();
    for _ in 0..1000 {
        let waiting = rig.begin(receive_provided(near_source, &multishot));
        rig.look();
        rig.cancel(&waiting);
        assert_eq!(rig.finish(&waiting), -libc::ECANCELED);
        assert!(multishot.take().is_none());
    }
    far.write_all(b"still here").unwrap();
    assert_eq!(rig.run(receive_provided(near_source, &multishot)), 10);
    assert_eq!(*multishot.take().unwrap(), *b"still here");
    rig.engine.stop_multishot(&multishot);
    rig.engine.forget(near_source);
}

/// A cancel races what it would cancel: every byte comes, once and in order.
pub(crate) fn a_cancel_that_comes_with_the_data_loses_nothing(rig: &mut Rig) {
    const ROUNDS: u8 = 250;
    let (near, mut far) = UnixStream::pair().unwrap();
    let near_source = source(&near);
    let multishot = MultishotReceive::new();
    let mut got = Vec::new();
    for round in 0..ROUNDS {
        let waiting = rig.begin(receive_provided(near_source, &multishot));
        rig.look();
        far.write_all(&[round]).unwrap();
        if round % 2 == 0 {
            rig.look();
        }
        rig.cancel(&waiting);
        if rig.finish(&waiting) > 0 {
            got.extend_from_slice(&multishot.take().unwrap());
        }
    }
    drop(far);
    while rig.run(receive_provided(near_source, &multishot)) > 0 {
        let buffer = multishot.take().unwrap();
        got.extend_from_slice(&buffer);
        rig.engine.return_buffer(buffer);
    }
    assert_eq!(got, (0..ROUNDS).collect::<Vec<_>>());
    rig.engine.forget(near_source);
}

/// A sender that nobody reads has to wait at some time, and nothing that was received meanwhile is lost.
pub(crate) fn nobody_is_read_far_ahead(rig: &mut Rig) {
    // A socket's buffer, about 200 KiB, and once more as much: the engine takes all that is there before it looks how much it has.
    const FAR_AHEAD: usize = 512 << 10;
    let (near, far) = UnixStream::pair().unwrap();
    far.set_nonblocking(true).unwrap();
    let near_source = source(&near);
    let multishot = MultishotReceive::new();
    let waiting = rig.begin(receive_provided(near_source, &multishot));
    rig.look();
    let mut sent = 0;
    let mut refusals = 0;
    // The engine looks after each refusal, and may take what is there.
    while refusals < 100 {
        match (&far).write(&(0..8192).map(|at| ((sent + at) % 251) as u8).collect::<Vec<_>>()) {
            Ok(count) => (sent, refusals) = (sent + count, 0),
            Err(_) => {
                refusals += 1;
                rig.look();
            }
        }
        assert!(sent < FAR_AHEAD);
    }
    drop(far);
    let mut got = 0;
    let mut result = rig.finish(&waiting);
    while result > 0 {
        let buffer = multishot.take().unwrap();
        assert_eq!(buffer.len(), result as usize);
        assert!(buffer.iter().enumerate().all(|(at, &byte)| byte == ((got + at) % 251) as u8));
        got += buffer.len();
        rig.engine.return_buffer(buffer);
        result = rig.run(receive_provided(near_source, &multishot));
    }
    assert_eq!((result, got), (0, sent));
    rig.engine.forget(near_source);
}

/// What arrives after the stop is there for any other read, and the socket is held by nobody.
pub(crate) fn a_stopped_multishot_receive_takes_nothing_more(rig: &mut Rig) {
    for round in 0..100u8 {
        let (near, mut far) = UnixStream::pair().unwrap();
        let near_source = source(&near);
        let multishot = MultishotReceive::new();
        far.write_all(b"first").unwrap();
        assert_eq!(rig.run(receive_provided(near_source, &multishot)), 5);
        rig.engine.return_buffer(multishot.take().unwrap());
        if round % 2 == 0 {
            far.write_all(b"second").unwrap();
        }
        rig.engine.stop_multishot(&multishot);
        far.write_all(b"third").unwrap();
        let mut got = multishot.take().map_or(Vec::new(), |buffer| buffer.to_vec());
        let mut rest = [0; 20];
        let count = (&near).read(&mut rest).unwrap();
        got.extend_from_slice(&rest[..count]);
        assert_eq!(got, if round % 2 == 0 { &b"secondthird"[..] } else { b"third" });
        assert!(multishot.is_idle());
        rig.engine.forget(near_source);
        drop(near);
        assert_eq!(far.read(&mut rest).unwrap(), 0, "the end comes at once");
    }
}

/// The kernel is asked to stop while it is just receiving, or has not begun.
pub(crate) fn a_multishot_receive_is_stopped_in_the_midst_of_much_data(rig: &mut Rig) {
    for round in 0..40 {
        let (near, far) = UnixStream::pair().unwrap();
        set_option(&far, libc::SO_SNDBUFFORCE, 4 << 20);
        far.set_nonblocking(true).unwrap();
        let sent: usize = (0..round * 40).map_while(|_| (&far).write(&[7; 4096]).ok()).sum();
        let near_source = source(&near);
        let multishot = MultishotReceive::new();
        let waiting = rig.begin(receive_provided(near_source, &multishot));
        rig.cancel(&waiting);
        assert!(rig.finish(&waiting) != 0);
        rig.engine.stop_multishot(&multishot);
        let mut got = 0;
        while let Some(buffer) = multishot.take() {
            got += buffer.len();
            rig.engine.return_buffer(buffer);
        }
        assert!(multishot.is_idle());
        drop(far);
        assert_eq!(got + std::io::copy(&mut &near, &mut std::io::sink()).unwrap() as usize, sent);
        rig.engine.forget(near_source);
    }
}

/// To stop one feed, the engine takes in what has come for others. A cancel of those meets an operation that is over, and must not
/// stay behind for whoever comes to lie at the same address.
pub(crate) fn a_cancel_after_an_answer_that_was_found_early_harms_nobody(rig: &mut Rig) {
    let (near, mut far) = UnixStream::pair().unwrap();
    let (other, mut other_far) = UnixStream::pair().unwrap();
    let (near_source, other_source) = (source(&near), source(&other));
    let (multishot, other_multishot) = (MultishotReceive::new(), MultishotReceive::new());
    other_far.write_all(b"armed").unwrap();
    assert_eq!(rig.run(receive_provided(other_source, &other_multishot)), 5);
    rig.engine.return_buffer(other_multishot.take().unwrap());
    let mut address = rig.begin(receive_provided(near_source, &multishot));
    rig.look();
    far.write_all(b"early").unwrap();
    rig.engine.stop_multishot(&other_multishot);
    rig.cancel(&address);
    let result = rig.finish(&address);
    if result == -libc::ECANCELED {
        assert_eq!(rig.run(receive_provided(near_source, &multishot)), 5);
    } else {
        assert_eq!(result, 5);
    }
    rig.engine.return_buffer(multishot.take().unwrap());
    rig.engine.stop_multishot(&multishot);
    let mut buffer = [0; 10];
    rig.begin_again(&mut address, receive(near_source, &mut buffer));
    let calls = rig.engine.system_calls();
    rig.look();
    assert!(!address.is_over(), "another's cancel: {}", address.result());
    assert!(rig.engine.system_calls() <= calls + 3 || rig.kind.name() != "io_uring", "goes round and round");
    far.write_all(b"for it").unwrap();
    assert_eq!(rig.finish(&address), 6);
    rig.engine.forget(near_source);
    rig.engine.forget(other_source);
}

pub(crate) fn when_no_buffer_is_left_it_says_so_and_loses_nothing(rig: &mut Rig) {
    let (near, mut far) = UnixStream::pair().unwrap();
    let near_source = source(&near);
    let multishot = MultishotReceive::new();
    let mut held = Vec::new();
    let refusal = loop {
        far.write_all(&[held.len() as u8]).unwrap();
        match rig.run(receive_provided(near_source, &multishot)) {
            1 => held.push(multishot.take().unwrap()),
            refusal => break refusal,
        }
        assert!(held.len() < 10_000);
    };
    assert_eq!(refusal, -libc::ENOBUFS);
    let mut next = [0];
    (&near).read_exact(&mut next).unwrap();
    assert_eq!(next, [held.len() as u8], "what found no buffer is read into another");
    assert!(held.iter().enumerate().all(|(number, buffer)| **buffer == [number as u8]));
    held.into_iter().for_each(|buffer| rig.engine.return_buffer(buffer));
    far.write_all(b"goes on").unwrap();
    assert_eq!(rig.run(receive_provided(near_source, &multishot)), 7);
    rig.engine.return_buffer(multishot.take().unwrap());
    rig.engine.stop_multishot(&multishot);
    rig.engine.forget(near_source);
}

/// What a reader holds stays as it is when the engine is gone.
pub(crate) fn a_buffer_outlives_its_engine(rig: &mut Rig) {
    let (near, mut far) = UnixStream::pair().unwrap();
    let multishot = MultishotReceive::new();
    if rig.kind.name() == "sigio" {
        // It opens once on a thread, and the rig has it.
        return;
    }
    let mut other = Rig::open(rig.kind, "a_buffer_outlives_its_engine").unwrap();
    far.write_all(b"kept").unwrap();
    assert_eq!(other.run(receive_provided(source(&near), &multishot)), 4);
    drop(other);
    let buffer = multishot.take().unwrap();
    assert_eq!(*buffer, *b"kept");
    assert!(multishot.is_idle(), "the kernel has nothing to do with it any more");
    rig.engine.return_buffer(buffer);
}
