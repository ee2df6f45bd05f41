//! The library's files.

#[path = "../../../crates/sward/src/channel/buffer.rs"]
mod buffer;
#[path = "../../../crates/sward/src/channel/clock.rs"]
mod clock;
#[path = "../../../crates/sward/src/channel/exchange.rs"]
mod exchange;
#[path = "../../../crates/sward/src/channel/message_slot.rs"]
mod message_slot;
#[path = "../../../crates/sward/src/channel/receiver.rs"]
mod receiver;
#[path = "../../../crates/sward/src/channel/select.rs"]
pub(crate) mod select;
#[path = "../../../crates/sward/src/channel/sender.rs"]
mod sender;
#[path = "../../../crates/sward/src/channel/state.rs"]
mod state;

use std::sync::Arc;

pub(crate) use crossbeam_channel::{
    ReadyTimeoutError, RecvError, RecvTimeoutError, SelectTimeoutError, SendError, SendTimeoutError,
    TryReadyError, TryRecvError, TrySelectError, TrySendError,
};
pub(crate) use receiver::Receiver;
pub(crate) use sender::Sender;

pub(crate) fn channel<T>(capacity: Option<usize>) -> (Sender<T>, Receiver<T>) {
    let exchange = Arc::new(exchange::Exchange::new(capacity));
    (Sender::new(Arc::clone(&exchange)), Receiver::new(exchange))
}
