//! How an engine is chosen: by name, by the environment, by default, and what a user reads when it is refused.
//!
//! Refusal is made by seccomp filters. A filter belongs to one thread and dies with it, so each test that needs one
//! installs it in a thread of its own.

use std::process::Command;
use std::thread;

use sward_engine::{Choice, EngineKind};

#[test]
fn every_name_leads_to_its_engine() {
    for kind in EngineKind::ALL {
        assert_eq!(kind.name().parse(), Ok(kind));
        assert_eq!(kind.to_string(), kind.name());
        assert_eq!(kind.name().parse(), Ok(Choice::Named(kind)));
        let engine = kind.open().unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(engine.name(), kind.name());
        // A thread can have only one that lives on signals.
        drop(engine);
        kind.available().unwrap();
    }
    for name in ["", "default"] {
        assert_eq!(name.parse(), Ok(Choice::Default));
    }
}

#[test]
fn an_unknown_name_is_answered_with_the_list() {
    for name in ["iouring", "EPOLL", " poll", "kqueue"] {
        let message = name.parse::<Choice>().unwrap_err().to_string();
        assert!(message.contains(&format!("{name:?}")), "{message}");
        for kind in EngineKind::ALL {
            assert!(message.contains(kind.name()), "{message}");
        }
    }
    assert!("default".parse::<EngineKind>().is_err());
}

/// Reads the environment in a process of its own, since that of a test is shared with all other tests.
#[test]
fn the_environment_chooses() {
    if std::env::var_os("CHOICE_CHILD").is_some() {
        match Choice::from_environment() {
            Ok(choice) => println!("<{choice}>"),
            Err(error) => println!("<{error}>"),
        }
        return;
    }
    let child = |value: Option<&str>| {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "the_environment_chooses", "--nocapture"]);
        command.env("CHOICE_CHILD", "1").env_remove("SWARD_ENGINE");
        if let Some(value) = value {
            command.env("SWARD_ENGINE", value);
        }
        let output = String::from_utf8(command.output().unwrap().stdout).unwrap();
        let (start, end) = (output.find('<').unwrap(), output.find('>').unwrap());
        output[start + 1..end].to_owned()
    };
    assert_eq!(child(None), "default");
    assert_eq!(child(Some("")), "default");
    assert_eq!(child(Some("default")), "default");
    assert_eq!(child(Some("select")), "select");
    let message = child(Some("speedy"));
    assert!(message.contains("SWARD_ENGINE") && message.contains("\"speedy\""), "{message}");
    assert!(message.contains("io_uring, epoll, poll, select, sigio, spin"), "{message}");
}

#[test]
fn by_default_it_is_io_uring_without_a_word() {
    let opened = Choice::default().open().unwrap();
    assert_eq!((opened.engine.name(), opened.kind), ("io_uring", EngineKind::IoUring));
    assert!(opened.refusal.is_none());
    drop(opened);
    assert!(matches!(EngineKind::default_here(), (EngineKind::IoUring, None)));
}

#[test]
fn a_refused_io_uring_fails_by_name_and_falls_back_by_default() {
    for (call, number) in [
        ("io_uring_setup", libc::SYS_io_uring_setup),
        ("io_uring_register", libc::SYS_io_uring_register),
        ("io_uring_enter", libc::SYS_io_uring_enter),
    ] {
        refused(&[(number, libc::EPERM)], move || {
            let error = Choice::Named(EngineKind::IoUring).open().err().expect("it is refused");
            let message = error.to_string();
            assert!(
                message.starts_with(&format!("io_uring: {call} failed: Operation not permitted")),
                "{message}"
            );
            assert!(message.contains("seccomp") || message.contains("io_uring_disabled"), "{message}");
            assert!(message.contains("choose epoll"), "{message}");
            assert_eq!(error.kind(), EngineKind::IoUring);
            assert_eq!(error.cause().raw_os_error(), Some(libc::EPERM));
            assert!(EngineKind::IoUring.available().is_err());

            let opened = Choice::Default.open().unwrap();
            assert_eq!((opened.engine.name(), opened.kind), ("epoll", EngineKind::Epoll));
            assert_eq!(opened.refusal.expect("it says why").to_string(), message);
            let (kind, reason) = EngineKind::default_here();
            assert_eq!((kind, reason.unwrap().to_string()), (EngineKind::Epoll, message));
        });
    }
}

#[test]
fn a_kernel_without_io_uring_is_called_so() {
    for errno in [libc::ENOSYS, libc::EINVAL, libc::ENOMEM, libc::EACCES] {
        refused(&[(libc::SYS_io_uring_setup, errno)], move || {
            let error = EngineKind::IoUring.open().err().expect("it is refused");
            assert_eq!(error.cause().raw_os_error(), Some(errno));
            if errno == libc::ENOSYS {
                assert!(error.to_string().contains("this kernel has no io_uring"), "{error}");
            }
            let opened = Choice::Default.open().unwrap();
            assert_eq!((opened.kind, opened.refusal.is_some()), (EngineKind::Epoll, true));
        });
    }
}

#[test]
fn a_refused_epoll_fails_in_both_ways() {
    let filter = [(libc::SYS_io_uring_setup, libc::EPERM), (libc::SYS_epoll_create1, libc::EACCES)];
    refused(&filter, || {
        let error = Choice::Named(EngineKind::Epoll).open().err().expect("it is refused");
        assert!(error.to_string().starts_with("epoll: epoll_create1 failed: Permission denied"), "{error}");
        let error = Choice::Default.open().err().expect("nothing is left to fall back to");
        assert_eq!(error.kind(), EngineKind::Epoll);
        EngineKind::Poll.available().expect("the advice is good");
    });
}

/// Runs `body` in a thread for which the kernel answers each of `calls` with an errno.
fn refused(calls: &[(libc::c_long, i32)], body: impl FnOnce() + Send) {
    let filter = filter(calls);
    thread::scope(|scope| {
        let thread = scope.spawn(move || {
            install(&filter);
            body();
        });
        if let Err(panic) = thread.join() {
            std::panic::resume_unwind(panic);
        }
    });
}

/// A seccomp program: load the call's number, compare it with each of `calls`, else allow.
fn filter(calls: &[(libc::c_long, i32)]) -> Vec<libc::sock_filter> {
    let instruction = |code: u32, operand: u32, if_false: u8| libc::sock_filter {
        code: code as u16,
        jt: 0,
        jf: if_false,
        k: operand,
    };
    let answer = libc::BPF_RET | libc::BPF_K;
    // The number is the first field of `seccomp_data`.
    let mut program = vec![instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0)];
    for &(number, errno) in calls {
        program.push(instruction(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, number as u32, 1));
        program.push(instruction(answer, libc::SECCOMP_RET_ERRNO | errno as u32, 0));
    }
    program.push(instruction(answer, libc::SECCOMP_RET_ALLOW, 0));
    program
}

fn install(filter: &[libc::sock_filter]) {
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_ptr().cast_mut() };
    // SAFETY: the kernel copies the program, which lives until both calls have returned. They bind this thread only.
    unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        let result = libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program);
        assert_eq!(result, 0, "seccomp: {}", std::io::Error::last_os_error());
    }
}
