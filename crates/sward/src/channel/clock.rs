//! The source behind the receivers of [`after`](super::after), [`at`](super::at) and [`tick`](super::tick): no channel,
//! only the time at which the next message is due.

use std::time::{Duration, Instant};

use crate::sync::spin_lock::SpinLock;

/// A source of messages that come with time. The type of the message is always `Instant`, which the compiler
/// does not know in a `Receiver<T>`; hence a trait.
pub(super) trait Clock<T>: Send + Sync {
    /// When the next message is due; `None`: never again.
    fn due(&self) -> Option<Instant>;
    /// Takes the message that is due at `now`.
    fn take(&self, now: Instant) -> Option<Instant>;
    /// Puts the message into `into`, which is empty.
    fn tell(&self, instant: Instant, into: &mut Option<T>);
}

/// The only clock.
pub(super) struct Ticker {
    due: SpinLock<Option<Instant>>,
    /// From one message to the next; `None`: there is only one.
    period: Option<Duration>,
}

impl Ticker {
    /// `first` is `None` if it lies beyond what the clock can say.
    pub(super) fn new(first: Option<Instant>, period: Option<Duration>) -> Ticker {
        Ticker { due: SpinLock::new(first), period }
    }
}

impl Clock<Instant> for Ticker {
    fn due(&self) -> Option<Instant> {
        *self.due.lock()
    }

    fn take(&self, now: Instant) -> Option<Instant> {
        let mut due = self.due.lock();
        let message = due.filter(|due| *due <= now)?;
        *due = self.period.and_then(|period| now.checked_add(period));
        Some(message)
    }

    fn tell(&self, instant: Instant, into: &mut Option<Instant>) {
        *into = Some(instant);
    }
}
