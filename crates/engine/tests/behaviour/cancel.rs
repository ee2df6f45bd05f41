//! Cancel asks for an early end. Whatever it meets, each operation completes once, and no byte is lost.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Duration;

use crate::rig::{Dice, Rig, Stream, drain, fill, receive, send, source};

pub(crate) fn a_cancelled_receive_completes_once(rig: &mut Rig) {
    let (near, _far) = <TcpStream as Stream>::pair();
    let mut buffer = [0; 10];
    let waiting = rig.begin(receive(source(&near), &mut buffer));
    rig.look();
    rig.cancel(&waiting);
    rig.cancel(&waiting);
    assert_eq!(rig.finish(&waiting), -libc::ECANCELED);
    // A second completion would be noticed here.
    rig.look();
}

pub(crate) fn bytes_after_a_cancel_are_kept(rig: &mut Rig) {
    let (near, mut far) = <TcpStream as Stream>::pair();
    let near_source = source(&near);
    let mut buffer = [0; 10];
    let waiting = rig.begin(receive(near_source, &mut buffer));
    rig.cancel(&waiting);
    assert_eq!(rig.finish(&waiting), -libc::ECANCELED);
    buffer = [0xaa; 10];
    far.write_all(b"kept").unwrap();
    rig.look();
    assert_eq!(buffer, [0xaa; 10], "written to after the end");
    assert_eq!(rig.run(receive(near_source, &mut buffer)), 4);
}

pub(crate) fn one_of_two_receivers_is_cancelled(rig: &mut Rig) {
    let (near, mut far) = <TcpStream as Stream>::pair();
    let near_source = source(&near);
    let (mut left, mut right) = ([0; 10], [0; 10]);
    for first_goes in [true, false] {
        let first = rig.begin(receive(near_source, &mut left));
        let second = rig.begin(receive(near_source, &mut right));
        rig.look();
        let (goes, stays) = if first_goes { (&first, &second) } else { (&second, &first) };
        rig.cancel(goes);
        assert_eq!(rig.finish(goes), -libc::ECANCELED);
        assert!(!stays.is_over());
        far.write_all(b"still").unwrap();
        assert_eq!(rig.finish(stays), 5);
    }
}

pub(crate) fn a_cancelled_send_has_sent_nothing(rig: &mut Rig) {
    let (mut near, mut far) = <UnixStream as Stream>::pair();
    let near_source = source(&near);
    let filled = fill(&mut near);
    let blocked = rig.begin(send(near_source, b"never"));
    rig.look();
    rig.cancel(&blocked);
    assert_eq!(rig.finish(&blocked), -libc::ECANCELED);
    drain(&mut far, filled);
    assert_eq!(rig.run(send(near_source, b"later")), 5);
    let mut bytes = [0; 5];
    far.read_exact(&mut bytes).unwrap();
    assert_eq!(bytes, *b"later");
}

pub(crate) fn cancel_after_the_bytes_have_come_loses_none(rig: &mut Rig) {
    let (near, mut far) = <TcpStream as Stream>::pair();
    let near_source = source(&near);
    let mut buffer = [0; 10];
    for round in 0..200 {
        let waiting = rig.begin(receive(near_source, &mut buffer));
        if round % 2 == 0 {
            rig.look();
        }
        far.write_all(&[round; 3]).unwrap();
        rig.cancel(&waiting);
        match rig.finish(&waiting) {
            3 => {}
            error => {
                assert_eq!(error, -libc::ECANCELED);
                assert_eq!(rig.run(receive(near_source, &mut buffer)), 3);
            }
        }
        assert_eq!(buffer[..3], [round; 3]);
    }
}

pub(crate) fn cancels_that_race_with_bytes_lose_none(rig: &mut Rig) {
    const BYTES: u64 = 10_000;
    const POISON: u8 = 0xff;
    let (near, mut far) = <UnixStream as Stream>::pair();
    let near_source = source(&near);
    let writer = thread::spawn(move || {
        let mut dice = Dice(0x5eed);
        for index in 0..BYTES {
            far.write_all(&[(index % 251) as u8]).unwrap();
            for _ in 0..dice.below(300) {
                std::hint::spin_loop();
            }
        }
        far
    });
    let mut dice = Dice(0xd1ce);
    let mut buffer = [POISON; 4];
    let mut taken = 0;
    let mut cancelled = 0;
    while taken < BYTES {
        let length = 1 + dice.below(4) as usize;
        let waiting = rig.begin(receive(near_source, &mut buffer[..length]));
        for _ in 0..dice.below(3) {
            rig.wait(Some(Duration::ZERO));
        }
        for _ in 0..dice.below(200) {
            std::hint::spin_loop();
        }
        rig.cancel(&waiting);
        let result = rig.finish(&waiting);
        if result == -libc::ECANCELED {
            cancelled += 1;
            assert_eq!(buffer, [POISON; 4], "a cancelled receive has written");
            continue;
        }
        for byte in &mut buffer[..usize::try_from(result).unwrap()] {
            assert_eq!(u64::from(*byte), taken % 251, "byte {taken} is lost");
            *byte = POISON;
            taken += 1;
        }
        assert_eq!(buffer, [POISON; 4], "written to beyond the count");
    }
    assert!(cancelled > 0, "nothing was raced with");
    drop(writer.join().unwrap());
    assert_eq!(rig.run(receive(near_source, &mut buffer)), 0);
}
