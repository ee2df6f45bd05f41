//! What only the signal-driven engine does: it survives a full signal queue, and leaves no trace on thread and descriptors.

#[path = "behaviour/rig.rs"]
#[expect(dead_code, reason = "the rig of all behaviours, of which few are needed here")]
mod rig;

use std::io::Write;
use std::net::TcpStream;
use std::os::fd::{AsRawFd, RawFd};
use std::thread;

use rig::{Rig, Stream, receive, source};
use sward_engine::EngineKind;

#[test]
fn a_full_signal_queue_loses_nothing() {
    let mut rig = Rig::open(EngineKind::Sigio, "a_full_signal_queue_loses_nothing").unwrap();
    if !rig.is_alone() {
        return;
    }
    let limit = libc::rlimit { rlim_cur: 4, rlim_max: 4 };
    // SAFETY: the kernel reads the limit.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_SIGPENDING, &raw const limit) }, 0);

    let mut pairs: Vec<_> = (0..50).map(|_| <TcpStream as Stream>::pair()).collect();
    let sources: Vec<_> = pairs.iter().map(|(near, _)| source(near)).collect();
    let mut buffers = vec![[0; 10]; pairs.len()];
    for round in 0..20 {
        let waiting: Vec<_> = sources
            .iter()
            .zip(&mut buffers)
            .map(|(&source, buffer)| rig.begin(receive(source, buffer)))
            .collect();
        rig.look();
        for (_, far) in &mut pairs {
            far.write_all(&[round; 3]).unwrap();
        }
        // With the queue full of edges, a wake still comes through.
        let waker = rig.engine.waker();
        thread::spawn(move || waker.wake()).join().unwrap();
        for waiting in &waiting {
            assert_eq!(rig.finish(waiting), 3);
        }
    }
    // Ends of streams are lost with the queue, too, behind data that is short of the buffer.
    let waiting: Vec<_> = sources
        .iter()
        .zip(&mut buffers)
        .map(|(&source, buffer)| rig.begin(receive(source, buffer)))
        .collect();
    rig.look();
    for (_, mut far) in pairs.drain(..).map(|(near, far)| (std::mem::ManuallyDrop::new(near), far)) {
        far.write_all(b"end").unwrap();
    }
    for (waiting, source) in waiting.iter().zip(&sources) {
        assert_eq!(rig.finish(waiting), 3);
        assert_eq!(rig.run(receive(*source, &mut [0; 10])), 0);
    }
    let waker = rig.engine.waker();
    waker.wake();
    rig.wait(None);
}

#[test]
fn nothing_is_left_behind() {
    let blocked_before = blocked_signals();
    let (near, mut far) = <TcpStream as Stream>::pair();
    let mut buffer = [0; 10];
    let mut rig = Rig::open(EngineKind::Sigio, "nothing_is_left_behind").unwrap();
    assert!(EngineKind::Sigio.open().is_err(), "a thread's signals have one taker");
    let waiting = rig.begin(receive(source(&near), &mut buffer));
    rig.look();
    assert!(is_async(near.as_raw_fd()));
    far.write_all(b"three").unwrap();
    assert_eq!(rig.finish(&waiting), 5);
    far.write_all(b"and a signal that nobody has taken").unwrap();
    drop(rig);
    assert!(!is_async(near.as_raw_fd()));
    // SAFETY: no memory is involved.
    assert_eq!(unsafe { libc::fcntl(near.as_raw_fd(), libc::F_GETOWN) }, 0);
    assert_eq!(blocked_signals(), blocked_before);
    assert!(EngineKind::Sigio.open().is_ok());
}

#[test]
fn a_living_owner_is_not_robbed() {
    let (near, mut far) = <TcpStream as Stream>::pair();
    // SAFETY: no memory is involved.
    assert_eq!(unsafe { libc::fcntl(near.as_raw_fd(), libc::F_SETOWN, libc::getpid()) }, 0);
    let mut buffer = [0; 10];
    let mut rig = Rig::open(EngineKind::Sigio, "a_living_owner_is_not_robbed").unwrap();
    let waiting = rig.begin(receive(source(&near), &mut buffer));
    rig.look();
    far.write_all(b"seen").unwrap();
    assert_eq!(rig.finish(&waiting), 4);
    drop(rig);
    assert!(!is_async(near.as_raw_fd()));
    // SAFETY: no memory is involved.
    assert_eq!(unsafe { libc::fcntl(near.as_raw_fd(), libc::F_GETOWN) }, unsafe { libc::getpid() });
}

#[test]
fn two_duplicates_on_one_engine_both_work() {
    let (near, mut far) = <TcpStream as Stream>::pair();
    let duplicate = near.try_clone().unwrap();
    let (mut left, mut right) = ([0; 10], [0; 10]);
    let mut rig = Rig::open(EngineKind::Sigio, "two_duplicates_on_one_engine_both_work").unwrap();
    let first = rig.begin(receive(source(&near), &mut left));
    let second = rig.begin(receive(source(&duplicate), &mut right));
    rig.look();
    far.write_all(b"one").unwrap();
    while !first.is_over() && !second.is_over() {
        rig.wait(None);
    }
    far.write_all(b"two").unwrap();
    rig.finish(&first);
    rig.finish(&second);
}

fn is_async(fd: RawFd) -> bool {
    // SAFETY: no memory is involved.
    unsafe { libc::fcntl(fd, libc::F_GETFL) & libc::O_ASYNC != 0 }
}

/// The numbers of the signals that the calling thread blocks.
fn blocked_signals() -> Vec<i32> {
    let mut set = std::mem::MaybeUninit::uninit();
    // SAFETY: the call fills in the whole set.
    let set = unsafe {
        libc::pthread_sigmask(libc::SIG_BLOCK, std::ptr::null(), set.as_mut_ptr());
        set.assume_init()
    };
    // SAFETY: the set is valid.
    (1..=libc::SIGRTMAX())
        .filter(|&signal| unsafe { libc::sigismember(&raw const set, signal) } == 1)
        .collect()
}
