//! The signals of the sigio engine: which they are, how its thread blocks and takes them, and how a waker sends one.

use std::io;
use std::os::fd::RawFd;
use std::ptr;
use std::sync::{Mutex, Once, PoisonError};
use std::time::Duration;

use crate::abi;
use crate::engine::Wake;
use crate::wake_flag::WakeFlag;

/// Returns the signal that says what happened to which descriptor.
pub(super) fn edge() -> i32 {
    libc::SIGRTMIN() + 7
}

/// Returns the signal that ends a poll.
pub(super) fn wake() -> i32 {
    libc::SIGRTMIN() + 8
}

/// Blocks our signals on the calling thread. Returns the signals that were blocked before, for [`restore`].
pub(super) fn block() -> io::Result<libc::sigset_t> {
    handle_late();
    let mut before = none();
    // SAFETY: both sets are valid.
    match unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &ours(), &raw mut before) } {
        0 => Ok(before),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}

/// Takes what is left in the queue, and blocks on the calling thread what was blocked before.
pub(super) fn restore(before: &libc::sigset_t) {
    while let Ok(Some(_)) = next(Some(Duration::ZERO)) {}
    // SAFETY: the set was filled in by `block`.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, ptr::from_ref(before), ptr::null_mut()) };
}

/// What the kernel says with a signal: the part of `siginfo_t` that matters here, whose fields libc does not name.
#[repr(C)]
pub(super) struct Signal {
    pub(super) number: i32,
    _error: i32,
    _code: i32,
    _padding: i32,
    /// `si_band`: events as of `poll(2)`. Set by the edge signal, like the next.
    pub(super) events: libc::c_long,
    /// `si_fd`.
    pub(super) fd: RawFd,
    _rest: [u8; 100],
}

const _: () = assert!(size_of::<Signal>() == size_of::<libc::siginfo_t>());

/// Takes one of our signals from the queue. `None` if none came in time, or another signal interrupted.
pub(super) fn next(timeout: Option<Duration>) -> io::Result<Option<Signal>> {
    let limit = timeout.map(abi::timespec);
    let mut signal = std::mem::MaybeUninit::<Signal>::zeroed();
    // SAFETY: a `Signal` has a siginfo_t's size and layout; the timespec is null or valid.
    let number = unsafe { libc::sigtimedwait(&ours(), signal.as_mut_ptr().cast(), abi::pointer(&limit)) };
    if number > 0 {
        // SAFETY: all of it was zeroed, and integers may have any value.
        return Ok(Some(unsafe { signal.assume_init() }));
    }
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        Some(libc::EAGAIN | libc::EINTR) => Ok(None),
        _ => Err(error),
    }
}

/// Wakes by a signal to the engine's thread.
pub(super) struct ThreadWaker {
    /// `None` once the engine is gone. Locked while the signal is sent, so that the thread is alive then.
    pub(super) thread: Mutex<Option<libc::pid_t>>,
    /// Set while a wake signal is on its way.
    pub(super) flag: WakeFlag,
}

impl Wake for ThreadWaker {
    fn wake(&self) {
        if !self.flag.raise() {
            return;
        }
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(thread) = *thread else { return };
        // SAFETY: no memory is involved.
        unsafe {
            let process = libc::getpid();
            // When the queue is full, only a plain signal gets through.
            if libc::syscall(libc::SYS_tgkill, process, thread, wake()) < 0 {
                libc::syscall(libc::SYS_tgkill, process, thread, libc::SIGIO);
            }
        }
    }
}

fn none() -> libc::sigset_t {
    let mut set = std::mem::MaybeUninit::uninit();
    // SAFETY: sigemptyset fills in the whole set.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        set.assume_init()
    }
}

fn ours() -> libc::sigset_t {
    let mut set = none();
    for signal in [edge(), wake(), libc::SIGIO] {
        // SAFETY: the set is valid, and so are the signals.
        unsafe { libc::sigaddset(&raw mut set, signal) };
    }
    set
}

/// Installs a handler that does nothing for our signals, once per process, unless the program has its own.
fn handle_late() {
    extern "C" fn ignore(_: i32) {}
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        for signal in [edge(), wake(), libc::SIGIO] {
            // Neither call fails, since the signals exist and may be caught.
            // SAFETY: all zero is the default disposition; the handler does nothing, which is safe in any context.
            unsafe {
                let mut action: libc::sigaction = std::mem::zeroed();
                libc::sigaction(signal, ptr::null(), &raw mut action);
                if action.sa_sigaction == libc::SIG_DFL {
                    action.sa_sigaction = ignore as extern "C" fn(i32) as libc::sighandler_t;
                    action.sa_flags = libc::SA_RESTART;
                    libc::sigaction(signal, &raw const action, ptr::null_mut());
                }
            }
        }
    });
}
