//! Descriptors of all kinds: what is not a socket, numbers that are used again, numbers that are large.

use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::thread;

use sward_engine::{EngineKind, Interest, Source};

use crate::rig::{Rig, Stream, drain, fill, pattern, poll, read, receive, send, source, write};

fn owned(fd: RawFd) -> File {
    assert!(fd >= 0, "{}", std::io::Error::last_os_error());
    // SAFETY: the caller got it from the kernel just now.
    unsafe { File::from(OwnedFd::from_raw_fd(fd)) }
}

pub(crate) fn a_pipe_is_read_and_written(rig: &mut Rig) {
    let (reader, mut writer) = std::io::pipe().unwrap();
    let reader_source = source(&reader);
    let mut buffer = [0; 10];
    for _ in 0..10 {
        let waiting = rig.begin(read(reader_source, &mut buffer));
        rig.look();
        assert!(!waiting.is_over());
        writer.write_all(b"water").unwrap();
        assert_eq!(rig.finish(&waiting), 5);
    }
    let waiting = rig.begin(read(reader_source, &mut buffer));
    rig.look();
    drop(writer);
    assert_eq!(rig.finish(&waiting), 0);

    let (reader, writer) = std::io::pipe().unwrap();
    let writer_source = source(&writer);
    assert_eq!(rig.run(write(writer_source, b"water")), 5);
    let big = vec![0; 1 << 20];
    let mut blocked = rig.begin(write(writer_source, &big));
    while blocked.is_over() || {
        rig.look();
        blocked.is_over()
    } {
        assert!(blocked.result() > 0);
        blocked = rig.begin(write(writer_source, &big));
    }
    drop(reader);
    // A write that had begun tells how far it came, and the next one fails.
    let result = rig.finish(&blocked);
    assert!(result == -libc::EPIPE || result > 0, "{result}");
    assert_eq!(rig.run(write(writer_source, &big)), -libc::EPIPE);
}

pub(crate) fn a_megabyte_goes_through_a_pipe(rig: &mut Rig) {
    let (reader, writer) = std::io::pipe().unwrap();
    let (reader_source, writer_source) = (source(&reader), source(&writer));
    let bytes = pattern(1 << 20);
    let mut received = vec![0; bytes.len()];
    let (mut sent, mut taken) = (0, 0);
    let mut sender = rig.begin(write(writer_source, &bytes));
    while taken < bytes.len() {
        let end = bytes.len().min(taken + 5_003);
        let receiver = rig.begin(read(reader_source, &mut received[taken..end]));
        taken += usize::try_from(rig.finish(&receiver)).unwrap();
        if sender.is_over() && sent < bytes.len() {
            sent += usize::try_from(sender.result()).unwrap();
            if sent < bytes.len() {
                sender = rig.begin(write(writer_source, &bytes[sent..]));
            }
        }
    }
    rig.finish(&sender);
    assert!(received == bytes);
}

pub(crate) fn a_regular_file_is_read_to_its_end(rig: &mut Rig) {
    let file = File::open(std::env::current_exe().unwrap()).unwrap();
    let file_source = source(&file);
    let length = file.metadata().unwrap().len().min(300_000);
    let mut buffer = vec![0; 10_000];
    let mut total = 0;
    while total < length {
        let count = rig.run(read(file_source, &mut buffer));
        assert!(count > 0, "{count} at {total}");
        total += count as u64;
    }
}

pub(crate) fn poll_waits_for_an_eventfd(rig: &mut Rig) {
    // SAFETY: no memory is involved.
    let mut event = owned(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC) });
    let event_source = source(&event);
    for _ in 0..3 {
        let waiting = rig.begin(poll(event_source, Interest::READ));
        let also_waiting = rig.begin(poll(event_source, Interest::READ));
        rig.look();
        assert!(!waiting.is_over() && !also_waiting.is_over());
        event.write_all(&1_u64.to_ne_bytes()).unwrap();
        assert_eq!(rig.finish(&waiting), libc::POLLIN.into());
        assert_eq!(rig.finish(&also_waiting), libc::POLLIN.into());
        assert_eq!(rig.run(poll(event_source, Interest::READ)), libc::POLLIN.into(), "nothing was taken");
        event.read_exact(&mut [0; 8]).unwrap();
    }
}

pub(crate) fn poll_waits_for_a_timerfd(rig: &mut Rig) {
    // SAFETY: no memory is involved.
    let timer = owned(unsafe { libc::timerfd_create(libc::CLOCK_MONOTONIC, libc::TFD_CLOEXEC) });
    let timer_source = source(&timer);
    let waiting = rig.begin(poll(timer_source, Interest::READ));
    rig.look();
    assert!(!waiting.is_over());
    let soon = libc::timespec { tv_sec: 0, tv_nsec: 1_000_000 };
    let never = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    let setting = libc::itimerspec { it_interval: never, it_value: soon };
    // SAFETY: the kernel reads the setting.
    let set =
        unsafe { libc::timerfd_settime(timer.as_raw_fd(), 0, &raw const setting, std::ptr::null_mut()) };
    assert_eq!(set, 0);
    assert_eq!(rig.finish(&waiting), libc::POLLIN.into());
}

pub(crate) fn poll_waits_for_room_to_write(rig: &mut Rig) {
    fn go<S: Stream>(rig: &mut Rig) {
        let (mut near, mut far) = S::pair();
        let near_source = source(&near);
        assert_eq!(rig.run(poll(near_source, Interest::BOTH)), libc::POLLOUT.into());
        let filled = fill(&mut near);
        let waiting = rig.begin(poll(near_source, Interest::WRITE));
        let both = rig.begin(poll(near_source, Interest::BOTH));
        rig.look();
        assert!(!waiting.is_over() && !both.is_over());
        far.write_all(b"in").unwrap();
        assert_eq!(rig.finish(&both), libc::POLLIN.into());
        assert!(!waiting.is_over());
        drain(&mut far, filled);
        assert_eq!(rig.finish(&waiting), libc::POLLOUT.into());
    }
    go::<TcpStream>(rig);
    go::<UnixStream>(rig);
}

pub(crate) fn poll_and_receive_on_one_descriptor(rig: &mut Rig) {
    let (near, mut far) = <TcpStream as Stream>::pair();
    let near_source = source(&near);
    let mut buffer = [0; 10];
    let waiting = rig.begin(receive(near_source, &mut buffer));
    let watching = rig.begin(poll(near_source, Interest::READ));
    rig.look();
    far.write_all(b"one").unwrap();
    assert_eq!(rig.finish(&waiting), 3);
    // Which of them looked first is the engine's affair. The next bytes end the watch in any case.
    far.write_all(b"two").unwrap();
    assert_eq!(rig.finish(&watching), libc::POLLIN.into());
    assert_eq!(rig.run(receive(near_source, &mut buffer)), 3);
}

/// A socket object and two who know nothing but the number, in every order of coming and going.
pub(crate) fn one_descriptor_is_waited_for_under_several_identities(rig: &mut Rig) {
    let (mut near, mut far) = <UnixStream as Stream>::pair();
    let filled = fill(&mut near);
    for round in 0..6 {
        let [object, reads, writes] = [source(&near), source(&near), source(&near)];
        let mut buffer = [0; 10];
        let requests =
            [receive(object, &mut buffer), poll(reads, Interest::READ), poll(writes, Interest::WRITE)];
        let mut begun: Vec<_> =
            (0..3).map(|at| (at + round) % 3).map(|at| (at, rig.begin(requests[at]))).collect();
        begun.sort_by_key(|(at, _)| *at);
        let [(_, receives), (_, watches), (_, waits_for_room)] = &begun[..] else { unreachable!() };
        rig.look();
        assert!(begun.iter().all(|(_, waiting)| !waiting.is_over()));
        if round < 3 {
            drain(&mut far, filled);
            assert_eq!(rig.finish(waits_for_room), libc::POLLOUT.into());
            rig.engine.forget(writes);
            assert!(!watches.is_over() && !receives.is_over());
        }
        far.write_all(b"one").unwrap();
        assert_eq!(rig.finish(receives), 3);
        far.write_all(b"two").unwrap();
        assert_eq!(rig.finish(watches), libc::POLLIN.into());
        rig.engine.forget(reads);
        if round >= 3 {
            assert!(!waits_for_room.is_over());
            drain(&mut far, filled);
            assert_eq!(rig.finish(waits_for_room), libc::POLLOUT.into());
            rig.engine.forget(writes);
        }
        assert_eq!(rig.run(receive(object, &mut buffer)), 3);
        rig.engine.forget(object);
        assert_eq!(fill(&mut near), filled);
    }
}

pub(crate) fn an_identity_goes_while_others_wait(rig: &mut Rig) {
    let (near, mut far) = <TcpStream as Stream>::pair();
    let mut buffer = [0; 10];
    for _ in 0..10 {
        let [object, first, second] = [source(&near), source(&near), source(&near)];
        let [watch, other_watch] = [first, second].map(|watcher| rig.begin(poll(watcher, Interest::READ)));
        let waiting = rig.begin(receive(object, &mut buffer));
        rig.look();
        rig.cancel(&other_watch);
        assert_eq!(rig.finish(&other_watch), -libc::ECANCELED);
        rig.engine.forget(second);
        rig.cancel(&waiting);
        assert_eq!(rig.finish(&waiting), -libc::ECANCELED);
        rig.engine.forget(object);
        rig.look();
        assert!(!watch.is_over());
        far.write_all(b"in").unwrap();
        assert_eq!(rig.finish(&watch), libc::POLLIN.into());
        rig.engine.forget(first);
        assert_eq!(rig.run(receive(source(&near), &mut buffer)), 2);
    }
}

/// The program breaks the rule that a descriptor stays open while it is waited for. Whoever comes later does not suffer for it.
pub(crate) fn a_number_is_used_again_under_a_watcher(rig: &mut Rig) {
    for round in 0..4 {
        let (near, far) = <UnixStream as Stream>::pair();
        let (other_near, mut other_far) = <UnixStream as Stream>::pair();
        let duplicate = (round % 2 == 0).then(|| near.try_clone().unwrap());
        let [old, new] = [source(&near), source(&near)];
        let watch = rig.begin(poll(old, Interest::READ));
        rig.look();
        // SAFETY: no memory is involved. `near` owns the number before and after.
        assert_eq!(unsafe { libc::dup2(other_near.as_raw_fd(), near.as_raw_fd()) }, near.as_raw_fd());
        let new_watch = rig.begin(poll(new, Interest::READ));
        rig.look();
        assert!(!new_watch.is_over());
        other_far.write_all(b"new").unwrap();
        assert_eq!(rig.finish(&new_watch), libc::POLLIN.into());
        rig.cancel(&watch);
        rig.finish(&watch);
        rig.engine.forget(old);
        rig.engine.forget(new);
        drop((far, duplicate));
    }
}

pub(crate) fn a_number_that_is_used_again_is_another_descriptor(rig: &mut Rig) {
    use_number_again(rig, false);
}

pub(crate) fn a_number_is_used_again_while_a_duplicate_lives(rig: &mut Rig) {
    use_number_again(rig, true);
}

/// Closes a descriptor that the engine has registered, without a word to the engine, and uses its number for another.
fn use_number_again(rig: &mut Rig, keep_duplicate: bool) {
    let mut buffer = [0; 10];
    for round in 0..10 {
        let (near, mut far) = <TcpStream as Stream>::pair();
        let (other_near, mut other_far) = <TcpStream as Stream>::pair();
        let duplicate = keep_duplicate.then(|| near.try_clone().unwrap());
        let old = source(&near);
        let waiting = rig.begin(receive(old, &mut buffer));
        rig.look();
        if round % 2 == 0 {
            rig.cancel(&waiting);
            rig.finish(&waiting);
        } else {
            far.write_all(b"old").unwrap();
            assert_eq!(rig.finish(&waiting), 3);
        }
        // SAFETY: no memory is involved. `near` owns the number before and after.
        let fd = unsafe { libc::dup2(other_near.as_raw_fd(), near.as_raw_fd()) };
        assert_eq!(fd, near.as_raw_fd());
        let new = source(&near);
        let waiting = rig.begin(receive(new, &mut buffer));
        rig.look();
        let _ = far.write_all(b"for the old one");
        rig.look();
        assert!(!waiting.is_over());
        other_far.write_all(b"new").unwrap();
        assert_eq!(rig.finish(&waiting), 3);
        assert_eq!(buffer[..3], *b"new");
        rig.engine.forget(old);
        let waiting = rig.begin(receive(new, &mut buffer));
        rig.look();
        other_far.write_all(b"newer").unwrap();
        assert_eq!(rig.finish(&waiting), 5);
        drop(duplicate);
    }
}

pub(crate) fn a_number_beyond_1024_works(rig: &mut Rig) {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the kernel writes and reads the limit.
    unsafe {
        assert_eq!(libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit), 0);
        limit.rlim_cur = limit.rlim_max;
        assert_eq!(libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit), 0);
    }
    if limit.rlim_max <= 3000 {
        eprintln!("skipped: no more than {} descriptors are allowed here", limit.rlim_max);
        return;
    }
    let (near, mut far) = <TcpStream as Stream>::pair();
    let mut buffer = [0; 10];
    for lowest in [1024, 2999, 1500] {
        // SAFETY: no memory is involved.
        let high = owned(unsafe { libc::fcntl(near.as_raw_fd(), libc::F_DUPFD_CLOEXEC, lowest) });
        let high_source = source(&high);
        let waiting = rig.begin(receive(high_source, &mut buffer));
        rig.look();
        assert!(!waiting.is_over());
        far.write_all(b"high").unwrap();
        assert_eq!(rig.finish(&waiting), 4);
        rig.engine.forget(high_source);
    }
}

pub(crate) fn a_closed_descriptor_is_an_error(rig: &mut Rig) {
    let mut buffer = [0; 10];
    assert_eq!(rig.run(receive(Source::new(-1), &mut buffer)), -libc::EBADF);
    assert_eq!(rig.run(receive(Source::new(19_999), &mut buffer)), -libc::EBADF);
    assert_eq!(rig.run(poll(Source::new(19_999), Interest::READ)), -libc::EBADF);
    let file = File::open("/dev/null").unwrap();
    assert_eq!(rig.run(receive(source(&file), &mut buffer)), -libc::ENOTSOCK);
}

pub(crate) fn two_engines_share_a_descriptor(rig: &mut Rig) {
    const LENGTH: usize = 1 << 20;
    let (near, far) = <UnixStream as Stream>::pair();
    let near_source = source(&near);
    let kind: EngineKind = rig.kind;
    let mut far_half = far.try_clone().unwrap();
    let mut far = far;
    let peer_sends = thread::spawn(move || far_half.write_all(&pattern(LENGTH)).unwrap());
    let peer_receives = thread::spawn(move || {
        let mut bytes = vec![0; LENGTH];
        far.read_exact(&mut bytes).unwrap();
        assert!(bytes == pattern(LENGTH));
    });
    let writer = thread::spawn(move || {
        let mut rig = Rig::open(kind, "").unwrap();
        let bytes = pattern(LENGTH);
        let mut sent = 0;
        while sent < LENGTH {
            sent += usize::try_from(rig.run(send(near_source, &bytes[sent..]))).unwrap();
        }
    });
    let mut received = vec![0; LENGTH];
    let mut taken = 0;
    while taken < LENGTH {
        taken += usize::try_from(rig.run(receive(near_source, &mut received[taken..]))).unwrap();
    }
    assert!(received == pattern(LENGTH));
    for thread in [peer_sends, peer_receives, writer] {
        thread.join().unwrap();
    }
}
