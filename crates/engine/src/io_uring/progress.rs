//! How far an operation has come, in [`Operation::step`].
//!
//! ```text
//!                       -EAGAIN, -EINPROGRESS, -EALREADY
//!   submit ──▶ requested ───────────────────────────────▶ polling
//!                │   ▲  ▲                                  │   │
//!                │   │  └────────────── ready ─────────────┘   │
//!                │   └─ -EINTR                                 │ error
//!                ▼                                             ▼
//!              over ◀──────────────────────────────────────────┘
//! ```
//!
//! The kernel itself waits until it can do a request, but not on a descriptor that is `O_NONBLOCK`, as listeners are. There it
//! answers `EAGAIN`, and the engine waits by a poll and asks again. A cancelled operation takes no arrow back: it is over with
//! `-ECANCELED`.

use crate::operation::{Operation, Request};

/// The kernel has not the request itself, but a poll that says when to make it again.
pub(super) const POLLING: u8 = 1;

/// A cancel was asked for.
pub(super) const CANCELLED: u8 = 2;

/// The result is there and only waits to be handed back.
pub(super) const OVER: u8 = 4;

/// What a completion means for its operation.
pub(super) enum Progress {
    /// The kernel has to be asked once more.
    Again,
    /// The result is in the operation. `was_cancelled`: a cancel was asked for, whether or not it came first.
    Over { was_cancelled: bool },
}

/// Takes one arrow of the picture above.
pub(super) fn advance(operation: &Operation, result: i32) -> Progress {
    let step = operation.step().get();
    let was_cancelled = step & CANCELLED != 0;
    let next = match (step & POLLING != 0, -result) {
        (true, ..=0) => Some(step & !POLLING),
        (_, libc::EINTR) => Some(step),
        // `EALREADY`: an earlier connect of the socket was cancelled, and goes on.
        (false, libc::EINPROGRESS | libc::EALREADY) => Some(step | POLLING),
        // Of a connect, this is the result: no local port is left.
        (false, libc::EAGAIN) if !matches!(operation.request, Request::Connect { .. }) => {
            Some(step | POLLING)
        }
        _ => None,
    };
    match next {
        Some(step) if !was_cancelled => {
            operation.step().set(step);
            return Progress::Again;
        }
        Some(_) => end(operation, -libc::ECANCELED),
        None if result > 0 && matches!(operation.request, Request::Poll { .. }) => {
            end(operation, result & POLL_RESULTS);
        }
        None => end(operation, result),
    }
    Progress::Over { was_cancelled }
}

/// Ends `operation` with `result`.
pub(super) fn end(operation: &Operation, result: i32) {
    operation.set_result(result);
    operation.step().set(OVER);
}

/// The bits that the result of a [`Request::Poll`] may have.
const POLL_RESULTS: i32 = (libc::POLLIN | libc::POLLOUT | libc::POLLERR | libc::POLLHUP) as i32;
