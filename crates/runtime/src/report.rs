//! The one place that tells the person who runs the program something: on standard error, by an OS thread of its own.
//!
//! Standard error is often a pipe to a supervisor, who may have died, may be stuck, or may have filled its disk. `eprintln!` panics
//! then, or blocks the calling thread for as long as it takes. Here nobody waits and nothing fails:
//!
//! ```text
//!   any thread ── report ──▶ queue, QUEUE_BYTES_MAX at most ──▶ the OS thread `sward-report` ──▶ write(2), as long as it takes
//!                              │ full                              │ an error
//!                              └──────────▶ counted ◀──────────────┘     and said, before the next report that can be written
//! ```
//!
//! Protocol: the lock is held to put a text into the queue or to take one out, never while something is formatted or written. The OS thread starts with
//! the first report, and stays. An exit of the process (`exit`, or `main` returning) waits until everything is written, for [`FLUSH_MAX`]
//! at most, as does the end of a run; once that was in vain, for [`FLUSH_MAX_STUCK`] until something has moved.
//! What aborts the process speaks for itself: [`fatal`].

use std::collections::VecDeque;
use std::fmt::{self, Write as _};
use std::sync::{Condvar, Mutex, MutexGuard, Once, PoisonError};
use std::thread;
use std::time::Duration;

use sward_coroutine::write_stderr;

/// The name of the OS thread that writes; the kernel cuts off at 15 bytes.
pub const THREAD: &str = "sward-report";

/// How much may wait to be written, in bytes. (A single report may be longer, if nothing else waits.)
const QUEUE_BYTES_MAX: usize = 1 << 20;

/// What a pipe that has any room has room for, in bytes: a page.
pub const PIECE_BYTES_MAX: usize = 4096;

/// What a report costs beside its text, in bytes, roughly.
const OVERHEAD_BYTES: usize = 64;

/// How long an orderly end waits for what is not written yet.
const FLUSH_MAX: Duration = Duration::from_secs(1);

/// How long, if nothing at all has been written since somebody else waited as long as that.
const FLUSH_MAX_STUCK: Duration = Duration::from_millis(100);

static QUEUE: Mutex<ReportQueue> = Mutex::new(ReportQueue {
    queue: VecDeque::new(),
    bytes: 0,
    lost: 0,
    handled: 0,
    in_vain_at: None,
    writer: None,
});

/// There is something in the queue.
static ARRIVED: Condvar = Condvar::new();

/// A report has been handled.
static HANDLED: Condvar = Condvar::new();

struct ReportQueue {
    queue: VecDeque<String>,
    /// In the queue and being written.
    bytes: usize,
    /// Reports that found no room or could not be written, and of which nothing has been said yet.
    lost: u64,
    /// Reports that have been written, or lost in the attempt.
    handled: u64,
    /// What `handled` was when somebody waited for the queue in vain.
    in_vain_at: Option<u64>,
    /// The process in which the OS thread runs. After a fork, that is not this one.
    writer: Option<u32>,
}

/// Writes a line to standard error, without waiting for it: for what the person who runs a program should know.
///
/// `eprintln!` blocks its OS thread, and with it all green threads of a worker, when standard error is a pipe that nobody reads, and panics
/// when it is closed or its disk is full. This does neither, on any thread: an OS thread writes one line after the other. At most a
/// megabyte waits for it; what comes then is lost, and how much that was is said as soon as something can be written again.
/// When the process exits in an orderly way, up to a second is left for what is not written yet.
///
/// Texts of strangers (what a client has sent, an error or a panic that quotes it) are to be escaped first, with
/// [`str::escape_debug`] for one; here they go out as they are.
///
/// ```
/// sward::report("the cache is cold; the first answers take longer");
/// sward::report(format_args!("{} replicas are behind", 2));
/// ```
pub fn report(message: impl fmt::Display) {
    let mut text = String::new();
    // An error is that of the message's own formatter; what it has written until then is better than nothing.
    let _ = writeln!(text, "{message}");
    post(text);
}

/// As [`report`], for a text that ends its own lines.
pub fn post(text: String) {
    let bytes = text.len() + OVERHEAD_BYTES;
    let mut state = lock();
    if state.writer != Some(std::process::id()) && !start_writer(&mut state) {
        drop(state);
        // No OS thread is to be had: as well as can be.
        return write_stderr(text.as_bytes());
    }
    if state.bytes > 0 && state.bytes + bytes > QUEUE_BYTES_MAX {
        state.lost += 1;
        return;
    }
    state.bytes += bytes;
    state.queue.push_back(text);
    drop(state);
    ARRIVED.notify_one();
}

/// Waits until everything is written, for a time.
pub fn flush() {
    let state = lock();
    if state.writer != Some(std::process::id()) {
        return;
    }
    let is_stuck = state.in_vain_at == Some(state.handled);
    let patience = if is_stuck { FLUSH_MAX_STUCK } else { FLUSH_MAX };
    let waited = HANDLED.wait_timeout_while(state, patience, |state| state.bytes > 0);
    let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
    state.in_vain_at = (state.bytes > 0).then_some(state.handled);
}

/// Ends the process by SIGABRT, with a message, after all reports that can still be written.
#[cold]
pub fn fatal(message: fmt::Arguments<'_>) -> ! {
    flush();
    sward_coroutine::fatal(message)
}

/// Whether standard error would take up to [`PIECE_BYTES_MAX`] now without holding up the caller. (So does one that fails at once.)
pub fn is_open() -> bool {
    let mut watched = libc::pollfd { fd: libc::STDERR_FILENO, events: libc::POLLOUT, revents: 0 };
    // SAFETY: one entry, and it is valid.
    unsafe { libc::poll(&mut watched, 1, 0) != 0 }
}

/// Starts the OS thread. False: the system has none.
fn start_writer(state: &mut ReportQueue) -> bool {
    let started = thread::Builder::new().name(THREAD.into()).spawn(write_reports).is_ok();
    if started {
        // In the child of a fork, what its parent had not written is the parent's.
        (state.queue, state.bytes) = (VecDeque::new(), 0);
        state.writer = Some(std::process::id());
        flush_at_exit();
    }
    started
}

/// What the OS thread does.
fn write_reports() {
    block_signals();
    let mut state = lock();
    loop {
        let Some(text) = state.queue.pop_front() else {
            state = ARRIVED.wait(state).unwrap_or_else(PoisonError::into_inner);
            continue;
        };
        let lost = std::mem::take(&mut state.lost);
        drop(state);
        let (lost, is_written) = match lost {
            0 => (0, write_all(&text)),
            lost if write_all(&gap(lost)) => (0, write_all(&text)),
            lost => (lost, false),
        };
        state = lock();
        state.lost += lost + u64::from(!is_written);
        state.bytes -= text.len() + OVERHEAD_BYTES;
        state.handled += 1;
        HANDLED.notify_all();
    }
}

fn gap(lost: u64) -> String {
    let reports = if lost == 1 { "a report is" } else { "reports are" };
    let number = if lost == 1 { String::new() } else { format!("{lost} ") };
    format!("sward: {number}{reports} missing here: standard error did not take them\n")
}

/// Blocks for as long as it takes. False: it cannot be written.
fn write_all(text: &str) -> bool {
    let mut rest = text.as_bytes();
    while !rest.is_empty() {
        // SAFETY: the buffer is valid for its length.
        let written = unsafe { libc::write(libc::STDERR_FILENO, rest.as_ptr().cast(), rest.len()) };
        match written {
            1.. => rest = &rest[written as usize..],
            0 => return false,
            _ => match std::io::Error::last_os_error().kind() {
                std::io::ErrorKind::Interrupted => {}
                // Whoever shares it with us has made it non-blocking.
                std::io::ErrorKind::WouldBlock => await_room(),
                _ => return false,
            },
        }
    }
    true
}

fn await_room() {
    let mut watched = libc::pollfd { fd: libc::STDERR_FILENO, events: libc::POLLOUT, revents: 0 };
    // SAFETY: one entry, and it is valid. Whatever comes of it, the write is attempted again.
    unsafe { libc::poll(&mut watched, 1, -1) };
}

/// Signals are for the program's own threads; and a write to a pipe without a reader is an error here, even where SIGPIPE would
/// end the process.
fn block_signals() {
    // SAFETY: plain data, for which zero is a value; the pointers are valid, and only the calling thread's mask changes.
    unsafe {
        let mut all: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&mut all);
        libc::pthread_sigmask(libc::SIG_BLOCK, &all, std::ptr::null_mut());
    }
}

fn flush_at_exit() {
    static REGISTERED: Once = Once::new();
    extern "C" fn at_exit() {
        flush();
    }
    REGISTERED.call_once(|| {
        // SAFETY: the function lives as long as the process, does not unwind, and may run on any thread. If there is no room for it, the
        // last reports may be lost.
        unsafe { libc::atexit(at_exit) };
    });
}

fn lock() -> MutexGuard<'static, ReportQueue> {
    QUEUE.lock().unwrap_or_else(PoisonError::into_inner)
}
