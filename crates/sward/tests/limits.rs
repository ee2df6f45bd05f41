//! Very many threads, very deep stacks, engines that are not there.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use sward::thread;
use sward::time::Duration;
use sward_testing::{alone, on_every_engine};

/// As many threads as `count` sleep at once, and all wake. Returns the resident bytes of each while they sleep, when they have done so
/// for `rest`: what their start has left in queues goes back after a second.
fn sleep_at_once(count: usize, stack_bytes: usize, long: Duration, rest: Duration) -> usize {
    let before = resident_bytes();
    let all_are_there = Arc::new(AtomicBool::new(false));
    let sleep = || {
        let all_are_there = Arc::clone(&all_are_there);
        move || {
            thread::sleep(long);
            // On a slow machine the first would be over before the last has begun.
            while !all_are_there.load(Ordering::Relaxed) {
                thread::sleep(long);
            }
        }
    };
    let sleepers: Vec<_> =
        (0..count).map(|_| thread::Builder::new().stack_size(stack_bytes).spawn(sleep()).unwrap()).collect();
    let handle = sward::Handle::current().unwrap();
    while handle.live_threads() <= count {
        thread::yield_now();
    }
    thread::sleep(rest);
    let each = (resident_bytes() - before) / count;
    all_are_there.store(true, Ordering::Relaxed);
    for sleeper in sleepers {
        sleeper.join().unwrap();
    }
    while handle.live_threads() > 1 {
        thread::yield_now();
    }
    each
}

const REST: Duration = Duration::from_secs(2);

fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

/// Memory of stacks that nobody needs any more goes back by itself, although the worker has nothing to do.
#[test]
fn the_stacks_of_a_burst_go_back_to_the_kernel() {
    if let Some(output) = alone("the_stacks_of_a_burst_go_back_to_the_kernel", &[]) {
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        return;
    }
    let main = || {
        sleep_at_once(2_000, 64 * 1024, Duration::from_millis(1), Duration::ZERO);
        let resident = || sward::metrics().resident_stack_bytes;
        assert!(resident() >= 2_000 * 4096);
        // On an OS thread, so that the worker is left alone.
        sward::offload(move || {
            while resident() > 100 * 4096 {
                std::thread::sleep(Duration::from_millis(50));
            }
        });
    };
    // SAFETY: nothing here holds a scoped thread-local value across a blocking call.
    unsafe { sward::Builder::new().workers(1).run(main) }.unwrap();
}

on_every_engine! {
    fn ten_thousand_sleepers_all_wake() {
        sleep_at_once(10_000, 64 * 1024, Duration::from_millis(500), Duration::ZERO);
    }
}

/// In release: `cargo test --release -p sward --test limits -- --ignored --nocapture`.
#[test]
#[ignore = "takes five gigabytes and some seconds"]
fn a_million_sleepers_all_wake() {
    if let Some(output) = alone("a_million_sleepers_all_wake", &[]) {
        print!("{}", String::from_utf8_lossy(&output.stdout));
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        return;
    }
    let main = || {
        let each = sleep_at_once(1_000_000, 64 * 1024, Duration::from_secs(30), REST);
        println!("a million green threads: {each} resident bytes each");
        assert!(each <= 4300, "{each} bytes");
    };
    // SAFETY: nothing here holds a scoped thread-local value across a blocking call.
    unsafe { sward::Builder::new().workers(1).run(main) }.unwrap();
}

#[test]
#[ignore = "takes half a gigabyte and some seconds"]
fn a_hundred_thousand_sleepers_with_the_default_stack_all_wake() {
    if let Some(output) = alone("a_hundred_thousand_sleepers_with_the_default_stack_all_wake", &[]) {
        print!("{}", String::from_utf8_lossy(&output.stdout));
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        return;
    }
    let main = || {
        let each = sleep_at_once(100_000, 256 * 1024, Duration::from_secs(5), REST);
        println!("a hundred thousand green threads: {each} resident bytes each");
        assert!(each <= 4300, "{each} bytes");
    };
    // SAFETY: nothing here holds a scoped thread-local value across a blocking call.
    unsafe { sward::Builder::new().workers(1).run(main) }.unwrap();
}

#[test]
fn an_overflow_names_the_green_thread() {
    if let Some(output) = alone("an_overflow_names_the_green_thread", &[]) {
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("thread 'digger'"), "{said}");
        assert!(said.contains("has overflowed its stack of 65536 bytes"), "{said}");
        assert!(said.contains("thread::Builder::stack_size"), "{said}");
        use std::os::unix::process::ExitStatusExt;
        assert_eq!(output.status.signal(), Some(libc_abort()));
        return;
    }
    fn dig(depth: u64) -> u64 {
        let frame = std::hint::black_box([depth; 64]);
        if depth == 0 { 0 } else { dig(depth - 1) + std::hint::black_box(frame)[63] }
    }
    let main = || {
        let digger = thread::Builder::new().name("digger".into()).stack_size(64 * 1024);
        digger.spawn(|| dig(1 << 40)).unwrap().join()
    };
    // SAFETY: nothing here holds a scoped thread-local value across a blocking call.
    let _ = unsafe { sward::Builder::new().workers(1).run(main) };
}

/// SIGABRT.
fn libc_abort() -> i32 {
    6
}

#[test]
fn an_engine_that_does_not_exist_is_refused_by_name() {
    if let Some(output) =
        alone("an_engine_that_does_not_exist_is_refused_by_name", &[("SWARD_ENGINE", "steam")])
    {
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        return;
    }
    // SAFETY: nothing here holds a scoped thread-local value across a blocking call.
    let error = unsafe { sward::run(|| ()) }.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    for word in sward::EngineKind::ALL.map(sward::EngineKind::name).into_iter().chain(["steam"]) {
        assert!(error.to_string().contains(word), "{error}");
    }
}

#[test]
fn the_environment_chooses_the_engine() {
    if let Some(output) = alone("the_environment_chooses_the_engine", &[("SWARD_ENGINE", "poll")]) {
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        return;
    }
    // SAFETY: nothing here holds a scoped thread-local value across a blocking call.
    assert_eq!(unsafe { sward::run(sward::engine_name) }.unwrap(), Some("poll"));
}

/// A slab is unmapped at the runtime's end only if each of its stacks has come back.
#[test]
fn no_stack_is_left_over() {
    use std::io::{Read, Write};
    use sward::net::{TcpListener, TcpStream};

    if let Some(output) = alone("no_stack_is_left_over", &[]) {
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        return;
    }
    for engine in sward::EngineKind::ALL {
        let main = || {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            let clients: Vec<_> = (0..300)
                .map(|number| {
                    thread::spawn(move || {
                        let mut stream = TcpStream::connect(address).unwrap();
                        stream.write_all(b"?").unwrap();
                        let answer = stream.read(&mut [0]).unwrap();
                        // A third ends, a third panics, a third stays until it is cancelled.
                        match number % 3 {
                            0 => {}
                            1 => std::panic::resume_unwind(Box::new(answer)),
                            _ => drop(stream.read(&mut [0])),
                        }
                    })
                })
                .collect();
            let mut streams = Vec::new();
            for _ in 0..300 {
                let (mut stream, _) = listener.accept().unwrap();
                stream.read_exact(&mut [0]).unwrap();
                stream.write_all(b"!").unwrap();
                streams.push(stream);
            }
            for (number, client) in clients.into_iter().enumerate() {
                // What is cancelled here, and what the end of the runtime cancels.
                match number % 3 {
                    2 if number % 2 == 0 => client.cancel(),
                    2 => {}
                    _ => drop(client.join()),
                }
            }
            assert!(sward::metrics().mapped_stack_bytes > 0);
        };
        // SAFETY: nothing here holds a scoped thread-local value across a blocking call.
        unsafe { sward::Builder::new().engine(engine).workers(2).run(main) }.unwrap();
        assert_eq!(sward::metrics().mapped_stack_bytes, 0, "after a runtime on {engine}");
    }
}
