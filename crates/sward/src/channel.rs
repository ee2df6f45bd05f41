//! Channels with any number of senders and receivers: crossbeam-channel's API and meanings, and a thread that
//! waits lets its worker run other green threads.
//!
//! ```text
//!   sender.rs  receiver.rs ──▶ exchange.rs ──▶ state.rs ──▶ buffer.rs    lines of waiters and a buffer, under one lock
//!                    │                              └─────▶ message_slot.rs   where a message lies on its way
//!                    └───────▶ clock.rs       after, at, tick
//!   macros.rs ──▶ select.rs ──▶ all of them   the first of several operations
//! ```
//!
//! The error types are re-exports of [`crossbeam_channel`]'s, so code that handles the errors of one handles those of the other.
//! crossbeam-channel 0.5 is therefore a public dependency: a release of sward that moves to an incompatible version of it is a breaking release.
//!
//! Two things differ. Waiting threads get messages in order of arrival, and nobody overtakes them, as crossbeam allows. A thread can be
//! [cancelled](crate::thread::JoinHandle::cancel) while it waits, and no message is lost: either it has not
//! sent or received, or the cancel is delivered at its next blocking call.
//!
//! Green threads are not preempted. So that one that only sends, or only asks, does not keep its worker for itself, each operation
//! here may let others run, after some tens in a row that did not have to wait; also those that "never wait". So
//! hold no lock of `std::sync` across them.
//!
//! ```
//! use sward::{channel, thread};
//!
//! let (sender, receiver) = channel::bounded(1);
//! let thread = thread::spawn(move || {
//!     for number in 1..=3 {
//!         sender.send(number).unwrap();
//!     }
//! });
//! assert_eq!(receiver.iter().sum::<i32>(), 6);
//! thread.join().unwrap();
//! ```

mod buffer;
mod clock;
mod exchange;
mod macros;
mod message_slot;
mod receiver;
mod select;
mod sender;
mod state;

use std::sync::Arc;
use std::time::{Duration, Instant};

#[doc(inline)]
pub use crate::{__channel_select as select, __channel_select_biased as select_biased};
use clock::Ticker;
#[doc(no_inline)]
pub use crossbeam_channel::{
    ReadyTimeoutError, RecvError, RecvTimeoutError, SelectTimeoutError, SendError, SendTimeoutError,
    TryReadyError, TryRecvError, TrySelectError, TrySendError,
};
use exchange::Exchange;
pub(crate) use exchange::Unsent;
pub use receiver::{IntoIter, Iter, Receiver, TryIter};
pub use select::{Select, SelectedOperation};
pub use sender::Sender;

/// A channel whose buffer holds `capacity` messages. With 0, a sender waits until a receiver takes the
/// message from it.
pub fn bounded<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    channel(Some(capacity))
}

/// A channel whose buffer grows as needed.
pub fn unbounded<T>() -> (Sender<T>, Receiver<T>) {
    channel(None)
}

fn channel<T>(capacity: Option<usize>) -> (Sender<T>, Receiver<T>) {
    let exchange = Arc::new(Exchange::new(capacity));
    (Sender::new(Arc::clone(&exchange)), Receiver::new(exchange))
}

/// A channel that delivers one message when `duration` is over. It is never disconnected.
///
/// ```
/// use std::time::Duration;
/// use sward::channel::{after, never, select};
/// select! {
///     recv(never::<()>()) -> _ => unreachable!(),
///     recv(after(Duration::from_millis(1))) -> at => assert!(at.is_ok()),
/// }
/// ```
pub fn after(duration: Duration) -> Receiver<Instant> {
    ticker(Instant::now().checked_add(duration), None)
}

/// A channel that delivers one message at `when`. It is never disconnected.
pub fn at(when: Instant) -> Receiver<Instant> {
    ticker(Some(when), None)
}

/// A channel that delivers a message when `duration` is over, and again when it is over after that was
/// received. Messages do not pile up. It is never disconnected.
pub fn tick(duration: Duration) -> Receiver<Instant> {
    ticker(Instant::now().checked_add(duration), Some(duration))
}

fn ticker(first: Option<Instant>, period: Option<Duration>) -> Receiver<Instant> {
    Receiver::of_clock(Arc::new(Ticker::new(first, period)))
}

/// A channel that never delivers a message, and is never disconnected.
pub fn never<T>() -> Receiver<T> {
    Receiver::never()
}
