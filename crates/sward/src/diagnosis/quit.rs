//! SIGQUIT, as long as a runtime wants it: its handler counts, and wakes the OS threads that watch. A runtime that ends leaves
//! the signal as it was before, so that it ends the process again.
//!
//! Protocol:
//! - The handler is installed when the first runtime wants it, and what was there before is restored when none does, unless somebody
//!   has put another handler over ours meanwhile. Such a one calls ours, as is good manners; then ours only passes on.
//! - It runs on the alternate signal stack (`SA_ONSTACK`), since the thread that gets the signal may be a worker, on a green
//!   thread's stack that is nearly full. Each worker has one (`sward_coroutine::watch_overflow`).
//! - It is async-signal-safe: it adds to atomic words, wakes a futex, and calls the handler that was there before.

use std::io;
use std::mem;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use libc::{c_int, c_void, sigaction, siginfo_t};

use crate::runtime::futex;

/// Goes up with each signal.
static SIGNALS: AtomicU32 = AtomicU32::new(0);

/// Goes up whenever a watching thread has something to look at. They sleep on it.
static NEWS: AtomicU32 = AtomicU32::new(0);

/// How many runtimes want the signal.
static RUNTIMES: AtomicUsize = AtomicUsize::new(0);

/// What the handler calls in its turn: a function's address, and in the highest bit whether it takes three arguments
/// (`SA_SIGINFO`); 0: none. In one word, so that a handler never sees a half of it.
static PREVIOUS: AtomicUsize = AtomicUsize::new(0);

/// See [`PREVIOUS`]. No function's address has it.
const TAKES_THREE: usize = 1 << (usize::BITS - 1);

/// The action that ours has replaced, while ours is installed.
static REPLACED: Mutex<Option<sigaction>> = Mutex::new(None);

/// A runtime wants the signal, until this is dropped.
pub(super) struct Quit(());

impl Quit {
    /// From now on the signal does not end the process, but is told by [`Watch::wait`].
    ///
    /// # Errors
    /// The kernel refuses, which it has no reason to.
    pub(super) fn take() -> io::Result<Quit> {
        let mut replaced = REPLACED.lock().unwrap_or_else(PoisonError::into_inner);
        let current = change(None)?;
        if is_ours(&current) {
            // Installed by another runtime; or put back by somebody who had once found it.
            replaced.get_or_insert(default_action());
        } else if replaced.is_none() || !is_function(&current) {
            let takes_three = if current.sa_flags & libc::SA_SIGINFO != 0 { TAKES_THREE } else { 0 };
            let previous = if is_function(&current) { current.sa_sigaction | takes_three } else { 0 };
            // Before it is installed, so that it never runs without.
            PREVIOUS.store(previous, Ordering::Release);
            let ours = sigaction {
                sa_sigaction: on_quit as Handler as usize,
                sa_flags: libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_RESTART,
                ..current
            };
            change(Some(&ours))?;
            *replaced = Some(current);
        }
        // Otherwise it is installed, under somebody else's, which calls it.
        RUNTIMES.fetch_add(1, Ordering::Relaxed);
        Ok(Quit(()))
    }
}

impl Drop for Quit {
    fn drop(&mut self) {
        let mut replaced = REPLACED.lock().unwrap_or_else(PoisonError::into_inner);
        if RUNTIMES.fetch_sub(1, Ordering::Relaxed) > 1 {
            return;
        }
        if change(None).is_ok_and(|current| is_ours(&current))
            && let Some(before) = replaced.take()
        {
            // It was in force before, so the kernel takes it.
            let _ = change(Some(&before));
        }
    }
}

fn is_ours(action: &sigaction) -> bool {
    action.sa_sigaction == on_quit as Handler as usize
}

fn is_function(action: &sigaction) -> bool {
    action.sa_sigaction != libc::SIG_DFL && action.sa_sigaction != libc::SIG_IGN
}

fn default_action() -> sigaction {
    // SAFETY: zero is a value of the plain structure: SIG_DFL without flags.
    unsafe { mem::zeroed() }
}

/// Sets the action for the signal, or only asks; gives the one before.
fn change(action: Option<&sigaction>) -> io::Result<sigaction> {
    let action = action.map_or(ptr::null(), ptr::from_ref);
    // SAFETY: the pointers are null or valid. An action that is set is one that was in force before,
    // or has our handler, which is async-signal-safe and has the signature that SA_SIGINFO asks for.
    unsafe {
        let mut before = default_action();
        match libc::sigaction(libc::SIGQUIT, action, &mut before) {
            0 => Ok(before),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

type Handler = extern "C" fn(c_int, *mut siginfo_t, *mut c_void);

extern "C" fn on_quit(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    // The interrupted code may be about to read it.
    // SAFETY: the call has no preconditions.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: the pointer is the thread's own, good for its life.
    let before = unsafe { errno.read() };
    if RUNTIMES.load(Ordering::Relaxed) > 0 {
        SIGNALS.fetch_add(1, Ordering::Relaxed);
        tell();
    }
    let previous = PREVIOUS.load(Ordering::Acquire);
    let function = ptr::with_exposed_provenance::<()>(previous & !TAKES_THREE);
    if previous & TAKES_THREE != 0 {
        // SAFETY: it was the signal's handler with SA_SIGINFO, so it has this type.
        let function = unsafe { mem::transmute::<*const (), Handler>(function) };
        function(signal, info, context);
    } else if previous != 0 {
        // SAFETY: it was the signal's handler without SA_SIGINFO, so it has this type.
        let function = unsafe { mem::transmute::<*const (), extern "C" fn(c_int)>(function) };
        function(signal);
    }
    // SAFETY: the pointer is the thread's own, good for its life.
    unsafe { errno.write(before) };
}

/// Wakes all threads that watch. Async-signal-safe.
fn tell() {
    NEWS.fetch_add(1, Ordering::Release);
    futex::wake_all(&NEWS);
}

/// What a watching thread has seen so far.
pub(super) struct Watch {
    signals: u32,
}

/// Why a watching thread wakes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum News {
    /// SIGQUIT has come since the last time, once or more.
    Signal,
    /// The time is over.
    Tick,
    /// The watch shall end.
    Over,
}

impl Watch {
    /// A watch for signals from now on.
    pub(super) fn new() -> Watch {
        Watch { signals: SIGNALS.load(Ordering::Relaxed) }
    }

    /// Sleeps until there is news, or until the deadline.
    pub(super) fn wait(&mut self, over: &AtomicBool, deadline: Option<Instant>) -> News {
        loop {
            let news = NEWS.load(Ordering::Acquire);
            if over.load(Ordering::Relaxed) {
                return News::Over;
            }
            let signals = SIGNALS.load(Ordering::Relaxed);
            if mem::replace(&mut self.signals, signals) != signals {
                return News::Signal;
            }
            if !futex::wait(&NEWS, news, deadline) {
                return News::Tick;
            }
        }
    }
}

/// Ends the watch that waits with `over`.
pub(super) fn end_watch(over: &AtomicBool) {
    over.store(true, Ordering::Relaxed);
    tell();
}
