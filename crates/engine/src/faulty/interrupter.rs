//! Interrupts a thread by signals again and again, so that its system calls end with `EINTR` wherever the kernel allows it.
//!
//! The signal's handler does nothing and is installed without `SA_RESTART`. It runs on the alternate stack if there is one, since
//! green threads may have small stacks.

use std::ptr;
use std::sync::Once;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::dice::Dice;

/// The longest time between two signals, in microseconds.
const PAUSE_US_MAX: u64 = 2_000;

/// Interrupts the thread that made it, which also drops it.
pub(super) struct Interrupter {
    /// Dropped to end the thread.
    alive: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Interrupter {
    pub(super) fn new(seed: u64) -> Interrupter {
        install_handler();
        // SAFETY: no memory is involved.
        let (process, target) = unsafe { (libc::getpid(), libc::gettid()) };
        let mut dice = Dice::new(!seed);
        let (alive, ends) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            let mut pause = || Duration::from_micros(1 + dice.below(PAUSE_US_MAX));
            while ends.recv_timeout(pause()) == Err(RecvTimeoutError::Timeout) {
                // SAFETY: no memory is involved. The target is alive, since it joins us first.
                unsafe { libc::syscall(libc::SYS_tgkill, process, target, signal()) };
            }
        });
        Interrupter { alive: Some(alive), thread: Some(thread) }
    }
}

impl Drop for Interrupter {
    fn drop(&mut self) {
        self.alive = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Returns a signal that nobody else uses.
fn signal() -> i32 {
    libc::SIGRTMIN() + 9
}

fn install_handler() {
    extern "C" fn ignore(_: i32) {}
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        // SAFETY: all zero is a valid action; the handler does nothing, which is safe in any context.
        let failed = unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = ignore as extern "C" fn(i32) as libc::sighandler_t;
            action.sa_flags = libc::SA_ONSTACK;
            libc::sigaction(signal(), &raw const action, ptr::null_mut())
        };
        assert_eq!(failed, 0, "the signal can be caught");
    });
}
