//! What a stack overflow, and any other fault, does to the process. Each case ends a child process.
//!
//! Not under AddressSanitizer: there, the handler before ours is not std's but the sanitizer's, so a fault
//! that is passed on ends in its report and exit code.
#![cfg(not(feature = "sanitizer"))]

#[path = "process/child.rs"]
mod child;

use std::hint::black_box;
use std::io;
use std::os::fd::AsRawFd;
use std::thread;

use corosensei::stack::Stack as _;
use sward_coroutine::{Coroutine, Guards, OverflowReport, Stack, StackPool, watch_overflow};

const STACK_BYTES: usize = 256 * 1024;

/// 300 bytes, of characters of 2 and 3 bytes: 128 falls into one.
const LONG_NAME: &str = "\
    é☃é☃é☃é☃é☃é☃é☃é☃é☃é☃é☃é☃é☃é☃é☃é☃é☃é☃é☃é☃é☃é☃é☃é☃é☃é☃é☃é☃é☃é☃\
    é☃é☃é☃é☃é☃é☃é☃é☃é☃é☃é☃é☃é☃é☃é☃é☃é☃é☃é☃é☃é☃é☃é☃é☃é☃é☃é☃é☃é☃é☃";

const HELP: &str = "help: give it more with thread::Builder::stack_size\n\
                    fatal runtime error: stack overflow, aborting\n";

/// Uses stack until there is none.
fn recurse(depth: u64) -> u64 {
    let frame = black_box([depth; 32]);
    if depth == u64::MAX {
        return 0;
    }
    recurse(depth + 1) + black_box(frame)[7]
}

fn describe(report: &mut OverflowReport) {
    assert_eq!(report.stack_bytes(), STACK_BYTES);
    report.set_name("deep thinker");
    report.set_id(42);
}

fn describe_nothing(_report: &mut OverflowReport) {}

/// Overflows a green thread's stack on the calling OS thread.
fn overflow(mut pool: StackPool) {
    let stack = pool.take(STACK_BYTES).unwrap();
    // SAFETY: borrows nothing, does not unwind.
    let mut coroutine = unsafe {
        Coroutine::new(stack, |_| {
            black_box(recurse(0));
        })
    };
    coroutine.resume();
}

/// The lowest address of a stack that may be touched: the kernel is asked, by a system call that reads it.
fn end(stack: &Stack) -> usize {
    let (_reader, writer) = io::pipe().unwrap();
    let limit = stack.limit().get();
    // SAFETY: the call reads a byte, or fails with EFAULT.
    let is_readable =
        |address: usize| unsafe { libc::write(writer.as_raw_fd(), address as *const libc::c_void, 1) == 1 };
    (limit..).step_by(4096).find(|&address| is_readable(address)).unwrap()
}

/// Writes 60 KiB below the end of a stack, as C code without stack probes may, between two neighbours that are in use.
fn jump_over_the_end(mut pool: StackPool) {
    let neighbours = [pool.take(STACK_BYTES).unwrap(), pool.take(STACK_BYTES).unwrap()];
    let upper = neighbours.into_iter().max_by_key(|stack| stack.limit()).unwrap();
    let target = end(&upper) - 60 * 1024;
    // SAFETY: borrows nothing, does not unwind.
    let mut coroutine = unsafe {
        // SAFETY: none: the fault is the test.
        Coroutine::new(upper, move |_| black_box(target as *mut u64).write_volatile(1))
    };
    coroutine.resume();
}

/// Faults at an address that is nobody's guard page.
fn fault() {
    // SAFETY: none: the fault is the test.
    unsafe { black_box(64 as *mut u64).write_volatile(1) };
}

#[track_caller]
fn assert_reported(child: &child::Child, who: &str) {
    let report = format!("\nthread {who} has overflowed its stack of 262144 bytes\n{HELP}");
    assert!(child.errors.contains(&report), "{}", child.errors);
    assert_eq!(child.signal, Some(libc::SIGABRT), "{}", child.errors);
}

#[test]
fn overflow_names_the_green_thread_and_aborts() {
    let child = child::run("overflow_names_the_green_thread_and_aborts", || {
        let _watch = watch_overflow(describe);
        overflow(StackPool::new());
    });
    assert_reported(&child, "'deep thinker' (green thread 42)");
}

#[test]
fn overflow_is_reported_with_mprotect_guards() {
    let child = child::run("overflow_is_reported_with_mprotect_guards", || {
        let _watch = watch_overflow(describe);
        overflow(StackPool::with_guards(Guards::Mprotect));
    });
    assert_reported(&child, "'deep thinker' (green thread 42)");
}

#[test]
fn a_write_far_below_the_end_is_an_overflow() {
    let child = child::run("a_write_far_below_the_end_is_an_overflow", || {
        let _watch = watch_overflow(describe);
        jump_over_the_end(StackPool::new());
    });
    assert_reported(&child, "'deep thinker' (green thread 42)");
}

#[test]
fn a_write_far_below_the_end_is_an_overflow_with_mprotect_guards() {
    let child = child::run("a_write_far_below_the_end_is_an_overflow_with_mprotect_guards", || {
        let _watch = watch_overflow(describe);
        jump_over_the_end(StackPool::with_guards(Guards::Mprotect));
    });
    assert_reported(&child, "'deep thinker' (green thread 42)");
}

/// The kernel stores what a signal interrupts on the stack, if the handler asks for no other one: some KiB.
#[test]
fn a_stack_without_room_for_a_signal_is_reported() {
    extern "C" fn on_signal(_: libc::c_int) {}
    fn raise_at(depth: &u8, end: usize, process: i32, os_thread: i32) {
        let here = black_box(0u8);
        if (&raw const here).addr() - end > 1500 {
            return raise_at(&here, end, process, os_thread);
        }
        black_box(depth);
        // SAFETY: the call has no preconditions.
        unsafe { libc::syscall(libc::SYS_tgkill, process, os_thread, libc::SIGUSR1) };
    }
    let child = child::run("a_stack_without_room_for_a_signal_is_reported", || {
        let _watch = watch_overflow(describe);
        // SAFETY: the handler does nothing; the calls have no preconditions.
        let (process, os_thread) = unsafe {
            libc::signal(libc::SIGUSR1, on_signal as extern "C" fn(libc::c_int) as usize);
            (libc::getpid(), libc::gettid())
        };
        let stack = StackPool::new().take(STACK_BYTES).unwrap();
        let end = end(&stack);
        // SAFETY: borrows nothing, does not unwind.
        unsafe { Coroutine::new(stack, move |_| raise_at(&0, end, process, os_thread)) }.resume();
    });
    assert_reported(&child, "'deep thinker' (green thread 42)");
}

#[test]
fn overflow_is_reported_on_a_spawned_os_thread() {
    let child = child::run("overflow_is_reported_on_a_spawned_os_thread", || {
        let worker = thread::spawn(|| {
            let _watch = watch_overflow(describe);
            overflow(StackPool::new());
        });
        worker.join().unwrap();
    });
    assert_reported(&child, "'deep thinker' (green thread 42)");
}

/// A thread that C code made has no alternate stack: the watch has to bring one.
#[test]
fn overflow_is_reported_on_a_thread_without_an_alternate_stack() {
    let child = child::run("overflow_is_reported_on_a_thread_without_an_alternate_stack", || {
        disable_alternate_stack();
        let _watch = watch_overflow(describe);
        overflow(StackPool::new());
    });
    assert_reported(&child, "'deep thinker' (green thread 42)");
}

#[test]
fn the_latest_watch_describes_and_a_dropped_one_does_not() {
    let child = child::run("the_latest_watch_describes_and_a_dropped_one_does_not", || {
        let _watch = watch_overflow(describe_nothing);
        drop(watch_overflow(describe));
        overflow(StackPool::new());
    });
    assert_reported(&child, "'<unnamed>' (green thread 0)");
}

#[test]
fn a_long_name_is_cut_at_a_character() {
    let child = child::run("a_long_name_is_cut_at_a_character", || {
        let _watch = watch_overflow(|report| {
            report.set_name(LONG_NAME);
            report.set_id(u64::MAX);
        });
        overflow(StackPool::new());
    });
    let cut = format!("thread '{}é' (green thread", "é☃".repeat(25));
    assert!(child.errors.contains(&cut), "{}", child.errors);
    assert!(child.errors.contains("' (green thread 18446744073709551615) has"), "{}", child.errors);
}

#[test]
fn another_fault_still_kills_by_sigsegv() {
    let child = child::run("another_fault_still_kills_by_sigsegv", || {
        let _watch = watch_overflow(describe);
        fault();
    });
    assert_eq!(child.signal, Some(libc::SIGSEGV), "{}", child.errors);
    assert!(!child.errors.contains("overflowed"), "{}", child.errors);
}

#[test]
fn another_fault_on_a_green_thread_still_kills_by_sigsegv() {
    let child = child::run("another_fault_on_a_green_thread_still_kills_by_sigsegv", || {
        let _watch = watch_overflow(describe);
        let mut pool = StackPool::new();
        // SAFETY: borrows nothing, does not unwind.
        unsafe { Coroutine::new(pool.take(STACK_BYTES).unwrap(), |_| fault()) }.resume();
    });
    assert_eq!(child.signal, Some(libc::SIGSEGV), "{}", child.errors);
    assert!(!child.errors.contains("overflowed"), "{}", child.errors);
}

#[test]
fn a_fault_in_what_was_a_guard_page_once_is_no_overflow() {
    let child = child::run("a_fault_in_what_was_a_guard_page_once_is_no_overflow", || {
        let _watch = watch_overflow(describe);
        let mut pool = StackPool::new();
        let stack = pool.take(STACK_BYTES).unwrap();
        let guard = corosensei::stack::Stack::limit(&stack).get();
        pool.give_back(stack);
        drop(pool);
        // SAFETY: none: the fault is the test.
        unsafe { black_box(guard as *mut u64).write_volatile(1) };
    });
    assert_eq!(child.signal, Some(libc::SIGSEGV), "{}", child.errors);
    assert!(!child.errors.contains("overflowed"), "{}", child.errors);
}

#[test]
fn a_fault_with_no_handler_before_ours_kills_by_sigsegv() {
    let child = child::run("a_fault_with_no_handler_before_ours_kills_by_sigsegv", || {
        // SAFETY: the default disposition has no handler to go wrong.
        unsafe { libc::signal(libc::SIGSEGV, libc::SIG_DFL) };
        let _watch = watch_overflow(describe);
        fault();
    });
    assert_eq!(child.signal, Some(libc::SIGSEGV), "{}", child.errors);
}

#[test]
fn a_sigsegv_that_was_sent_kills_at_once() {
    let child = child::run("a_sigsegv_that_was_sent_kills_at_once", || {
        // SAFETY: as above; raise has no preconditions.
        unsafe {
            libc::signal(libc::SIGSEGV, libc::SIG_DFL);
            let _watch = watch_overflow(describe);
            libc::raise(libc::SIGSEGV);
        }
    });
    assert_eq!(child.signal, Some(libc::SIGSEGV), "{}", child.errors);
}

#[test]
fn std_still_reports_overflows_of_os_threads() {
    let child = child::run("std_still_reports_overflows_of_os_threads", || {
        let _watch = watch_overflow(describe);
        let builder = thread::Builder::new().name("os deep".into()).stack_size(STACK_BYTES);
        let thread = builder.spawn(|| black_box(recurse(0))).unwrap();
        thread.join().unwrap();
    });
    assert_eq!(child.signal, Some(libc::SIGABRT), "{}", child.errors);
    assert!(child.errors.contains("thread 'os deep'"), "{}", child.errors);
    assert!(child.errors.contains("has overflowed its stack\n"), "{}", child.errors);
    assert!(!child.errors.contains("green thread"), "{}", child.errors);
}

#[test]
fn a_dropped_watch_takes_its_alternate_stack_along() {
    thread::spawn(|| {
        disable_alternate_stack();
        let watch = watch_overflow(describe);
        assert!(has_alternate_stack());
        drop(watch);
        assert!(!has_alternate_stack());
    })
    .join()
    .unwrap();
}

fn disable_alternate_stack() {
    let disabled = libc::stack_t { ss_sp: std::ptr::null_mut(), ss_flags: libc::SS_DISABLE, ss_size: 0 };
    // SAFETY: the structure is valid, and no handler runs on the stack now.
    assert_eq!(unsafe { libc::sigaltstack(&disabled, std::ptr::null_mut()) }, 0);
}

fn has_alternate_stack() -> bool {
    // SAFETY: asks only; zero is a value of the plain structure.
    unsafe {
        let mut current: libc::stack_t = std::mem::zeroed();
        libc::sigaltstack(std::ptr::null(), &mut current);
        current.ss_flags & libc::SS_DISABLE == 0
    }
}
