//! Stacks of green threads: whoever spawns a thread that cannot have one is told so at once.

use std::io::ErrorKind;

use sward::thread::{self, Builder};
use sward_testing::{alone, on_every_engine};

/// Leaves the process so much address space more than it has. False: the limit is not in force, as under an emulator.
fn limit_address_space(bytes: usize) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmSize:")).unwrap();
    let mapped_kib: usize = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    let mut in_force = limit;
    // SAFETY: the structures are valid.
    unsafe {
        libc::getrlimit(libc::RLIMIT_AS, &mut limit);
        limit.rlim_cur = ((mapped_kib << 10) + bytes) as libc::rlim_t;
        assert_eq!(libc::setrlimit(libc::RLIMIT_AS, &limit), 0);
        libc::getrlimit(libc::RLIMIT_AS, &mut in_force);
    }
    in_force.rlim_cur == limit.rlim_cur
}

/// Runs a test in a process of its own; true in that process.
fn is_alone(test: &str) -> bool {
    match alone(test, &[]) {
        None => true,
        Some(output) => {
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            false
        }
    }
}

on_every_engine! {
    fn a_stack_that_cannot_be_is_an_error_of_spawn() {
        for size in [1 << 47, 1 << 50, 1 << 60, usize::MAX] {
            let error = Builder::new().stack_size(size).spawn(|| ()).unwrap_err();
            let text = error.to_string();
            assert!(text.starts_with("cannot map a stack of "), "{text}");
            if size <= 1 << 60 {
                assert!(text.contains(&format!(" {size} bytes")) && text.contains("ulimit -v"), "{text}");
            }
        }
        let last = sward::worker_count().unwrap() - 1;
        let elsewhere = Builder::new().worker(last).stack_size(1 << 47).spawn(|| ());
        assert_eq!(elsewhere.unwrap_err().kind(), ErrorKind::OutOfMemory);
        thread::scope(|scope| {
            let scoped = Builder::new().stack_size(1 << 47).spawn_scoped(scope, || ());
            assert_eq!(scoped.unwrap_err().kind(), ErrorKind::OutOfMemory);
        });
        // What fails leaves nothing behind.
        assert_eq!(Builder::new().spawn(|| 5).unwrap().join().unwrap(), 5);
    }
}

/// Every thread whose spawn has succeeded runs, also when another worker has stolen it that finds no address space.
#[test]
fn when_address_space_ends_spawn_says_so_and_every_thread_spawned_before_runs() {
    const STACK_BYTES: usize = 32 << 20;
    if !is_alone("when_address_space_ends_spawn_says_so_and_every_thread_spawned_before_runs") {
        return;
    }
    let main = || {
        // A worker's own first stacks and the heap's arenas come before.
        Builder::new().spawn(|| ()).unwrap().join().unwrap();
        if !limit_address_space(1 << 30) {
            return eprintln!("skipped: the limit is not in force");
        }
        for _ in 0..3 {
            let mut threads = Vec::new();
            let error = loop {
                match Builder::new().stack_size(STACK_BYTES).spawn(thread::park) {
                    Ok(thread) => threads.push(thread),
                    Err(error) => break error,
                }
            };
            assert_eq!(error.kind(), ErrorKind::OutOfMemory, "{error}");
            assert!(error.to_string().contains("33554432 bytes"), "{error}");
            assert!(threads.len() >= 16, "{} threads", threads.len());
            for thread in threads {
                thread.thread().unpark();
                thread.join().unwrap();
            }
        }
    };
    for workers in [1, 2] {
        // SAFETY: nothing here holds a scoped thread-local value across a blocking call.
        unsafe { sward::Builder::new().workers(workers).run(main) }.unwrap();
        limit_address_space(1 << 40);
    }
}

/// A promise that another worker has kept is not counted for ever: address space does not grow with the number of threads stolen.
#[test]
fn stolen_threads_do_not_use_up_promises() {
    if !is_alone("stolen_threads_do_not_use_up_promises") {
        return;
    }
    let main = || {
        for _ in 0..200 {
            let threads: Vec<_> = (0..100).map(|_| thread::spawn(|| ())).collect();
            // Others start them while this worker does nothing.
            let handle = sward::Handle::current().unwrap();
            sward::offload(move || drop(handle));
            threads.into_iter().for_each(|thread| thread.join().unwrap());
        }
        sward::metrics().mapped_stack_bytes
    };
    // SAFETY: nothing here holds a scoped thread-local value across a blocking call.
    let bytes = unsafe { sward::Builder::new().workers(4).run(main) }.unwrap();
    assert!(bytes < 4 * 1024 * (320 << 10), "{bytes} bytes of address space");
}

#[test]
fn run_says_so_when_main_cannot_have_its_stack() {
    if !is_alone("run_says_so_when_main_cannot_have_its_stack") {
        return;
    }
    if !limit_address_space(4 << 20) {
        return eprintln!("skipped: the limit is not in force");
    }
    let builder = sward::Builder::new().workers(1).engine(sward::EngineKind::Epoll);
    // SAFETY: nothing here holds a scoped thread-local value across a blocking call.
    let error = unsafe { builder.run(|| ()) }.unwrap_err();
    assert!(error.to_string().contains("cannot map a stack of 8388608 bytes"), "{error}");
}

/// The size of a stack that nobody has asked a size for, as std reads it.
#[test]
fn rust_min_stack_is_the_default() {
    const DEFAULT: usize = 3 << 20;
    if let Some(output) = alone("rust_min_stack_is_the_default", &[("RUST_MIN_STACK", "3145728")]) {
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        return;
    }
    fn dig(bytes: usize) -> usize {
        let frame = std::hint::black_box([1u8; 1024]);
        if bytes < 2048 { 0 } else { dig(bytes - 1024) + usize::from(std::hint::black_box(frame)[7]) }
    }
    // Frames are larger than what lies in them; 256 KiB would overflow.
    let dig_deep = || thread::spawn(|| dig(DEFAULT / 8)).join().unwrap();
    // SAFETY: nothing here holds a scoped thread-local value across a blocking call.
    unsafe {
        sward::Builder::new().workers(1).run(dig_deep).unwrap();
        let own = sward::Builder::new().workers(1).stack_size(64 * 1024);
        let mapped = own.run(|| {
            thread::spawn(|| ()).join().unwrap();
            sward::metrics().mapped_stack_bytes
        });
        let main_slots = 64 * ((8 << 20) + (64 << 10));
        assert!(mapped.unwrap() < main_slots + 64 * DEFAULT, "what is asked for counts");
    }
}
