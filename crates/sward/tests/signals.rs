//! SIGQUIT: a dump while a runtime is there, what it was before once none is; and stacks that are nearly full when it comes. A program
//! without a harness, since signals are the whole process's.

use std::hint::black_box;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU32, Ordering};

use sward::thread::{self, Builder};
use sward_testing::Scenario;

const SCENARIOS: &[Scenario] = &[
    Scenario::new("after_run", after_run, expect_killed),
    Scenario::new("two_runtimes", two_runtimes, expect_killed),
    Scenario::new("left_alone", left_alone, expect_killed),
    Scenario::new("handler_before", handler_before, expect_success),
    Scenario::new("handler_meanwhile", handler_meanwhile, expect_success),
    Scenario::new("ignored_before", ignored_before, expect_success),
    Scenario::new("nearly_full_when_dumped", nearly_full_when_dumped, expect_success),
    Scenario::new("nearly_full_when_signalled", nearly_full_when_signalled, expect_success),
];

fn main() {
    Scenario::main(SCENARIOS);
}

/// Runs the child; gives how it ended and its standard error.
fn end(scenario: &Scenario) -> (ExitStatus, String) {
    let output = scenario.command().output().expect("a child");
    (output.status, String::from_utf8_lossy(&output.stderr).into_owned())
}

fn expect_success(scenario: &Scenario) {
    let (status, errors) = end(scenario);
    assert!(status.success(), "{status}: {errors}");
}

/// The child ends by SIGQUIT after it has said that it is about to.
fn expect_killed(scenario: &Scenario) {
    let (status, errors) = end(scenario);
    assert!(errors.contains("the last one"), "{status}: {errors}");
    assert!(!errors.contains("not reached"), "{status}: {errors}");
    assert_eq!(status.signal(), Some(libc::SIGQUIT), "{status}: {errors}");
}

/// The main closure of a runtime with one worker.
fn on_one_worker<T>(main: impl FnOnce() -> T) -> T {
    // SAFETY: the scenarios hold no scoped thread-local value across a blocking call.
    unsafe { sward::Builder::new().workers(1).run(main) }.unwrap_or_else(|error| panic!("{error}"))
}

/// The signal, to the calling OS thread; it is handled when this returns. Hardly uses stack.
fn raise(process: i32, os_thread: i32) {
    // SAFETY: the call has no preconditions.
    unsafe { libc::syscall(libc::SYS_tgkill, process, os_thread, libc::SIGQUIT) };
}

/// As [`raise`], and ends the process if it should have.
fn raise_the_last_one() {
    let no_core_dump = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the structure is valid.
    unsafe { libc::setrlimit(libc::RLIMIT_CORE, &no_core_dump) };
    eprintln!("the last one");
    raise_here();
    eprintln!("not reached");
}

fn raise_here() {
    // SAFETY: the calls have no preconditions.
    let (process, os_thread) = unsafe { (libc::getpid(), libc::gettid()) };
    raise(process, os_thread);
}

/// Standard error, redirected.
struct Captured {
    reader: io::PipeReader,
    /// Where standard error went before.
    saved: OwnedFd,
}

impl Captured {
    fn begin() -> Captured {
        let (reader, writer) = io::pipe().unwrap();
        // SAFETY: the copy is ours alone.
        let saved = unsafe { OwnedFd::from_raw_fd(libc::dup(2)) };
        // SAFETY: both descriptors are open.
        unsafe { libc::dup2(writer.as_raw_fd(), 2) };
        Captured { reader, saved }
    }

    /// What came until it contained `part`.
    fn until(mut self, part: &str) -> String {
        let mut text = String::new();
        let mut byte = [0];
        while !text.contains(part) {
            self.reader.read_exact(&mut byte).unwrap();
            text.push(byte[0].into());
        }
        // SAFETY: both descriptors are open.
        unsafe { libc::dup2(self.saved.as_raw_fd(), 2) };
        text
    }
}

/// Raises SIGQUIT on another OS thread, and waits for the dump.
fn raise_and_await_dump() {
    sward::offload(|| {
        let errors = Captured::begin();
        raise_here();
        errors.until("\"main\"");
    });
}

// ---- what is left behind --------------------------------------------------------------------------------------------

fn after_run() {
    on_one_worker(raise_and_await_dump);
    on_one_worker(raise_and_await_dump);
    raise_the_last_one();
}

/// As long as one of two is there, the signal is taken.
fn two_runtimes() {
    let both = Barrier::new(2);
    let one_is_over = Barrier::new(2);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            on_one_worker(|| {
                both.wait();
                one_is_over.wait();
                raise_and_await_dump();
            });
        });
        on_one_worker(|| both.wait());
        one_is_over.wait();
    });
    raise_the_last_one();
}

fn left_alone() {
    let builder = sward::Builder::new().workers(1).dump_on_quit(false);
    // SAFETY: nothing here holds a scoped thread-local value across a blocking call.
    unsafe { builder.run(raise_the_last_one) }.unwrap();
}

// ---- handlers of others ---------------------------------------------------------------------------------------------

static CALLS: AtomicU32 = AtomicU32::new(0);

extern "C" fn count(signal: i32) {
    assert_eq!(signal, libc::SIGQUIT);
    CALLS.fetch_add(1, Ordering::Relaxed);
}

fn install(handler: libc::sighandler_t) {
    // SAFETY: `handler` is a disposition, or async-signal-safe.
    unsafe { libc::signal(libc::SIGQUIT, handler) };
}

fn handler_before() {
    install(count as extern "C" fn(i32) as usize);
    for round in 0..2 {
        on_one_worker(raise_and_await_dump);
        assert_eq!(CALLS.load(Ordering::Relaxed), 2 * round + 1, "it is called as well");
        raise_here();
        assert_eq!(CALLS.load(Ordering::Relaxed), 2 * round + 2, "it is back");
    }
}

fn handler_meanwhile() {
    on_one_worker(|| {
        install(count as extern "C" fn(i32) as usize);
        raise_here();
    });
    raise_here();
    assert_eq!(CALLS.load(Ordering::Relaxed), 2, "it stays");
}

fn ignored_before() {
    install(libc::SIG_IGN);
    on_one_worker(raise_and_await_dump);
    raise_here();
}

// ---- stacks that are nearly full ------------------------------------------------------------------------------------

const STACK_BYTES: usize = 64 * 1024;

/// What a thread has left, in bytes, when it is dumped or gets the signal.
const ROOM: usize = 600;

/// The lowest address of the calling green thread's stack: the kernel is asked, by a system call that reads what lies there.
fn end_of_stack() -> usize {
    let (_reader, writer) = io::pipe().unwrap();
    // SAFETY: the call reads a byte, or fails with EFAULT.
    let is_readable =
        |address: usize| unsafe { libc::write(writer.as_raw_fd(), address as *const libc::c_void, 1) == 1 };
    let mut page = (&raw const writer).addr() & !4095;
    while is_readable(page - 4096) {
        page -= 4096;
    }
    page
}

/// Calls `action` with `room` bytes left above `lowest`, and up to 200 more.
#[inline(never)]
fn with_room(lowest: usize, room: usize, action: &mut dyn FnMut()) {
    let here = 0u8;
    let left = black_box(&raw const here).addr() - lowest;
    assert!(left > room, "{left}");
    if left > room + 200 {
        with_room(lowest, room, action)
    } else {
        action()
    }
    black_box(here);
}

/// How much stack `action` takes below its caller's frame, in bytes.
fn need(lowest: usize, action: &mut dyn FnMut()) -> usize {
    const PATTERN: u8 = 0xa5;
    let mut need = 0;
    with_room(lowest, STACK_BYTES / 2, &mut || {
        let here = 0u8;
        let top = black_box(&raw const here).addr() - 2048;
        for address in lowest..top {
            // SAFETY: below all frames that are in use, above the end of the stack.
            unsafe { (address as *mut u8).write_volatile(PATTERN) };
        }
        let mut caller = 0;
        with_room(lowest, STACK_BYTES / 2 - 4096, &mut || {
            let here = 0u8;
            caller = black_box(&raw const here).addr();
            action();
        });
        // SAFETY: the stack is readable.
        let is_used = |address: &usize| unsafe { (*address as *const u8).read_volatile() } != PATTERN;
        need = caller - (lowest..top).find(is_used).unwrap();
    });
    need
}

fn nearly_full_when_dumped() {
    on_one_worker(|| {
        let builder = || Builder::new().stack_size(STACK_BYTES);
        let measured = builder().spawn(|| need(end_of_stack(), &mut thread::park)).unwrap();
        thread::yield_now();
        measured.thread().unpark();
        let need = measured.join().unwrap();
        let full = builder().name("full".into());
        let full = full.spawn(move || with_room(end_of_stack(), need + ROOM, &mut thread::park)).unwrap();
        thread::yield_now();
        let dump = sward::Dump::take().to_string();
        assert!(dump.contains("\"full\"") && dump.contains("with_room"), "{dump}");
        full.thread().unpark();
        full.join().unwrap();
    });
}

/// If the kernel cannot store what was interrupted, it drops the signal and raises SIGSEGV instead; std's handler of that restores
/// the default, and the next overflow would not be reported.
fn nearly_full_when_signalled() {
    on_one_worker(|| {
        let before = segmentation_fault_handler();
        let errors = Captured::begin();
        let full = Builder::new().name("full".into()).stack_size(STACK_BYTES).spawn(|| {
            // SAFETY: the calls have no preconditions.
            let (process, os_thread) = unsafe { (libc::getpid(), libc::gettid()) };
            with_room(end_of_stack(), ROOM, &mut || raise(process, os_thread));
            segmentation_fault_handler()
        });
        assert_eq!(full.unwrap().join().unwrap(), before);
        sward::offload(move || errors.until("\"main\""));
    });
}

fn segmentation_fault_handler() -> libc::sighandler_t {
    // SAFETY: asks only; zero is a value of the plain structure.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        libc::sigaction(libc::SIGSEGV, std::ptr::null(), &mut action);
        action.sa_sigaction
    }
}
