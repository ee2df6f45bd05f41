//! The flag that makes many wakes cost one signal. Every waker that has to tell the kernel keeps one.
//!
//! ```text
//!   wake():      flag ← true; was it false? then signal                     (any thread)
//!   the engine:  take the signal back, and only then flag ← false          (its own thread, before its wait ends)
//! ```
//!
//! The engine's order matters. The other way round, a wake between the two steps would set the flag and have its signal
//! swallowed, and every later wake would trust the flag. In this order such a wake sends no signal, but the wait that it wants
//! to end is ending already, and the exchange of the flag shows the engine's thread what the waking thread did before.

use std::sync::atomic::{AtomicBool, Ordering};

/// Whether a signal is on its way that the engine has not taken back.
#[derive(Debug, Default)]
pub(crate) struct WakeFlag(AtomicBool);

impl WakeFlag {
    /// Sets the flag. Returns true if the caller has to send the signal.
    pub(crate) fn raise(&self) -> bool {
        !self.0.swap(true, Ordering::AcqRel)
    }

    /// Clears the flag, after the signal has been taken back.
    pub(crate) fn lower(&self) {
        self.0.swap(false, Ordering::AcqRel);
    }
}
