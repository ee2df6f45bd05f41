//! sigio, signal-driven I/O: the kernel queues a real-time signal with the descriptor's number whenever something happens.
//!
//! ```text
//!   arm, first time:  F_SETSIG · F_SETOWN_EX(this thread) · O_ASYNC ─┐
//!                                                                     │ something happens
//!   poll:  sigtimedwait ◀── EDGE {fd, events} ◀── signal queue ◀──────┤
//!                       ◀── SIGIO: the queue was full ◀───────────────┘
//!                       ◀── WAKE ◀── tgkill, from any thread
//! ```
//!
//! The engine's thread blocks the signals and takes them from its queue, so no handler runs (`sigio/signals.rs`). A handler that
//! does nothing is installed for the whole process, so that a signal which comes late, when the thread no longer blocks it,
//! does not kill the process.
//!
//! A signal is an edge: it comes once, whether or not somebody waits, and the adapter remembers it. Two things make it weaker
//! than an edge of epoll's, and a look with `poll(2)` makes up for each:
//!
//! - The queue is bounded (`ulimit -i`). When it is full, the kernel sends a plain SIGIO. Then the engine reports everything that
//!   is registered.
//! - Some events send no signal, such as a `shutdown(2)` of one's own side by another thread. So the engine also sweeps: it looks
//!   at what is armed every [`SWEEP`]. While nothing new is armed and nothing found, it sweeps less and less often, down to every
//!   [`SWEEP_MAX`], so that an idle program costs nothing.
//!
//! An open socket has one owner, who gets its signals, for all descriptors and processes that share it (`sigio/ownership.rs`). The
//! engine does not take a socket from an owner that lives. It looks at such a descriptor every [`TICK`] while it is armed, and
//! so it does at a descriptor that sends no signals, such as an eventfd. Each sweep also checks that what is armed is still ours. What
//! is not is treated like the others from then on.

mod ownership;
mod signals;

use std::cell::Cell;
use std::io;
use std::os::fd::RawFd;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use self::signals::ThreadWaker;
use crate::abi;
use crate::engine::{Engine, Waker};
use crate::kind::EngineKind;
use crate::open_error::OpenError;
use crate::operation::{Interest, Source};
use crate::poll_set::PollSet;
use crate::readiness::{Poller, Readiness, Ready};
use crate::wake_flag::WakeFlag;

/// The time between two looks at armed descriptors that send signals, for events that send none.
const SWEEP: Duration = Duration::from_millis(250);

/// The longest time between two sweeps.
const SWEEP_MAX: Duration = Duration::from_secs(16);

/// The time between two looks at armed descriptors that send us no signals.
const TICK: Duration = Duration::from_millis(10);

/// The most signals that one poll takes. The next poll takes the rest.
const SIGNALS_MAX: usize = 1024;

/// Opens the engine.
pub(crate) fn open() -> Result<Box<dyn Engine>, OpenError> {
    Readiness::open(EngineKind::Sigio, "signal set-up", Sigio::new())
}

/// The poller over O_ASYNC.
struct Sigio {
    /// By descriptor number.
    registered: Vec<Registration>,
    /// Armed descriptors that send signals to this thread.
    armed: PollSet,
    /// Armed descriptors that do not. The engine looks at them every [`TICK`].
    silent: PollSet,
    /// What was seen when a descriptor was registered, for the next poll to report.
    first_seen: Vec<Ready>,
    /// The time of the last sweep, and the time until the next.
    swept: Instant,
    pause: Duration,
    thread: libc::pid_t,
    waker: Arc<ThreadWaker>,
    /// The thread's blocked signals before the engine came.
    mask_before: libc::sigset_t,
    system_calls: u64,
    /// The signals are the thread's, so the engine must stay on it.
    _on_its_thread: Rc<()>,
}

#[derive(Clone, Copy, Default)]
struct Registration {
    /// The identity under which it is registered here; 0 if it is not.
    id: u64,
    /// Whether its signals come to this thread.
    signals: bool,
}

thread_local! {
    /// Whether an engine takes the thread's signals already.
    static TAKEN: Cell<bool> = const { Cell::new(false) };
}

impl Sigio {
    /// Takes the thread's I/O signals.
    ///
    /// # Errors
    /// `EBUSY` if another engine on this thread has them.
    fn new() -> io::Result<Sigio> {
        if TAKEN.get() {
            return Err(io::Error::from_raw_os_error(libc::EBUSY));
        }
        let mask_before = signals::block()?;
        TAKEN.set(true);
        // SAFETY: no memory is involved.
        let thread = unsafe { libc::gettid() };
        Ok(Sigio {
            registered: Vec::new(),
            armed: PollSet::default(),
            silent: PollSet::default(),
            first_seen: Vec::new(),
            swept: Instant::now(),
            pause: SWEEP,
            thread,
            waker: Arc::new(ThreadWaker { thread: Mutex::new(Some(thread)), flag: WakeFlag::default() }),
            mask_before,
            system_calls: 0,
            _on_its_thread: Rc::new(()),
        })
    }

    /// Makes `source` send its signals to this thread, if it can, and looks at it once.
    fn register(&mut self, source: Source) -> io::Result<()> {
        self.system_calls += 4;
        let signals = ownership::acquire(source.fd, self.thread, signals::edge())?;
        if signals {
            // An edge may have come before. Both directions are reported whatever is seen, since the sockets of some
            // families signal room to write only to one whose write has failed after O_ASYNC was set.
            let mut look = PollSet::default();
            look.arm(source, Interest::BOTH);
            let mut seen = Vec::new();
            self.system_calls += 1;
            look.poll(Some(Duration::ZERO), &mut seen)?;
            let hangup = seen.iter().any(|ready| ready.hangup);
            self.first_seen.push(Ready { source, interest: Interest::BOTH, hangup });
        }
        self.registered[source.fd as usize] = Registration { id: source.id, signals };
        Ok(())
    }

    /// Undoes `register`, if the descriptor is still the same.
    fn unregister(&mut self, fd: RawFd) {
        let Registration { signals, .. } = std::mem::take(&mut self.registered[fd as usize]);
        self.system_calls += 3;
        if signals {
            ownership::release(fd, self.thread);
        }
    }

    /// Takes signals from the queue, and waits for the first. Returns whether some have been lost.
    fn take_signals(&mut self, mut timeout: Option<Duration>, ready: &mut Vec<Ready>) -> io::Result<bool> {
        let mut lost = false;
        for _ in 0..SIGNALS_MAX {
            self.system_calls += 1;
            let Some(signal) = signals::next(timeout)? else { break };
            timeout = Some(Duration::ZERO);
            if signal.number == signals::wake() {
                self.waker.flag.lower();
            } else if signal.number == signals::edge() {
                self.report(&signal, ready);
            } else {
                // SIGIO. The wake may be what was lost.
                self.waker.flag.lower();
                lost = true;
            }
        }
        Ok(lost)
    }

    fn report(&mut self, signal: &signals::Signal, ready: &mut Vec<Ready>) {
        let Some(&Registration { id: id @ 1.., signals: true }) = self.registered.get(signal.fd as usize)
        else {
            return;
        };
        let events = signal.events as i16;
        let (interest, hangup) = (abi::directions(events), abi::is_hangup(events));
        let source = Source { fd: signal.fd, id };
        self.armed.disarm(source, interest);
        // Two signals of one descriptor stay two reports. The second may be the end of the stream, which a short count after the
        // first must not hide.
        ready.push(Ready { source, interest, hangup });
    }

    /// Reports everything that sends signals, since some have been lost, which may have been hangups.
    fn report_all(&mut self, ready: &mut Vec<Ready>) {
        for (fd, registration) in self.registered.iter().enumerate() {
            if registration.signals {
                let source = Source { fd: fd as RawFd, id: registration.id };
                self.armed.disarm(source, Interest::BOTH);
                ready.push(Ready { source, interest: Interest::BOTH, hangup: true });
            }
        }
    }

    /// Looks at armed descriptors that send signals, for events that have sent none and for sockets that have another owner now.
    fn sweep(&mut self, ready: &mut Vec<Ready>) -> io::Result<()> {
        self.swept = Instant::now();
        let before = ready.len();
        self.system_calls += 1;
        self.armed.poll(Some(Duration::ZERO), ready)?;
        let armed: Vec<_> = self.armed.sources().collect();
        self.system_calls += armed.len() as u64;
        for source in armed {
            if ownership::is_lost(source.fd, self.thread) {
                self.registered[source.fd as usize].signals = false;
                // The operation that waits arms it again, and then it is one of the silent.
                self.armed.disarm(source, Interest::BOTH);
                ready.push(Ready { source, interest: Interest::BOTH, hangup: true });
            }
        }
        self.pause = if ready.len() > before { SWEEP } else { SWEEP_MAX.min(2 * self.pause) };
        Ok(())
    }

    /// Returns `timeout`, shortened to the time of the next look.
    fn until_next_look(&self, timeout: Option<Duration>) -> Option<Duration> {
        if !self.first_seen.is_empty() {
            return Some(Duration::ZERO);
        }
        let tick = (!self.silent.is_empty()).then_some(TICK);
        let sweep = (!self.armed.is_empty()).then(|| self.pause.saturating_sub(self.swept.elapsed()));
        [timeout, tick, sweep].into_iter().flatten().min()
    }
}

impl Poller for Sigio {
    fn arm(&mut self, source: Source, interest: Interest) -> io::Result<()> {
        self.pause = SWEEP;
        let index = source.fd as usize;
        if index >= self.registered.len() {
            self.registered.resize(index + 1, Registration::default());
        }
        if self.registered[index].id != source.id {
            self.register(source)?;
        }
        let set = if self.registered[index].signals { &mut self.armed } else { &mut self.silent };
        set.arm(source, interest);
        Ok(())
    }

    fn disarm(&mut self, source: Source, interest: Interest) {
        self.armed.disarm(source, interest);
        self.silent.disarm(source, interest);
    }

    fn forget(&mut self, source: Source) {
        self.disarm(source, Interest::BOTH);
        if self.registered.get(source.fd as usize).is_some_and(|registration| registration.id == source.id) {
            self.unregister(source.fd);
        }
    }

    fn poll(&mut self, timeout: Option<Duration>, ready: &mut Vec<Ready>) -> io::Result<()> {
        let timeout = self.until_next_look(timeout);
        let lost = self.take_signals(timeout, ready)?;
        ready.append(&mut self.first_seen);
        if lost {
            self.report_all(ready);
        }
        if !self.silent.is_empty() {
            self.system_calls += 1;
            self.silent.poll(Some(Duration::ZERO), ready)?;
        }
        if !self.armed.is_empty() && self.swept.elapsed() >= self.pause {
            self.sweep(ready)?;
        }
        Ok(())
    }

    fn waker(&self) -> Waker {
        Waker::new(self.waker.clone())
    }

    fn system_calls(&self) -> u64 {
        self.system_calls
    }
}

impl Drop for Sigio {
    fn drop(&mut self) {
        // Wakes end here, before the signals are unblocked. The thread is alive, since it runs this.
        *self.waker.thread.lock().unwrap_or_else(PoisonError::into_inner) = None;
        for fd in 0..self.registered.len() {
            if self.registered[fd].signals {
                self.unregister(fd as RawFd);
            }
        }
        signals::restore(&self.mask_before);
        TAKEN.set(false);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::fd::AsRawFd;
    use std::os::unix::net::UnixStream;
    use std::sync::Barrier;
    use std::thread;

    use super::*;

    /// The first of them would wait for signals that the second one gets.
    #[test]
    fn no_two_threads_think_that_they_own_one_socket() {
        const ROUNDS: usize = 5_000;
        let pairs: Vec<_> = (0..ROUNDS.div_ceil(16)).map(|_| UnixStream::pair().unwrap()).collect();
        let both = Barrier::new(2);
        let owns = || {
            let mut engine = Sigio::new().unwrap();
            let mut owned = Vec::new();
            for round in 0..ROUNDS {
                let source = Source::new(pairs[round / 16].0.as_raw_fd());
                both.wait();
                engine.arm(source, Interest::READ).unwrap();
                owned.push(engine.registered[source.fd as usize].signals);
                both.wait();
                engine.forget(source);
            }
            owned
        };
        let (left, right) = thread::scope(|scope| {
            let other = scope.spawn(owns);
            (owns(), other.join().unwrap())
        });
        let twice = left.iter().zip(&right).filter(|(left, right)| **left && **right).count();
        assert_eq!(twice, 0, "of {ROUNDS} rounds");
        assert!(left.iter().zip(&right).all(|(left, right)| *left || *right), "one of them owns it");
    }

    /// By another process, or by code that knows nothing of this.
    #[test]
    fn a_socket_that_was_taken_away_is_looked_at() {
        let (near, mut far) = UnixStream::pair().unwrap();
        let mut engine = Sigio::new().unwrap();
        let source = Source::new(near.as_raw_fd());
        let mut ready = Vec::new();
        engine.arm(source, Interest::READ).unwrap();
        engine.poll(Some(Duration::ZERO), &mut ready).unwrap();
        engine.arm(source, Interest::READ).unwrap();
        ownership::disown(source.fd);
        engine.pause = Duration::ZERO;
        ready.clear();
        while ready.is_empty() {
            engine.poll(None, &mut ready).unwrap();
        }
        assert!(!engine.registered[source.fd as usize].signals);
        engine.arm(source, Interest::READ).unwrap();
        ready.clear();
        far.write_all(b"seen by a look").unwrap();
        while ready.is_empty() {
            engine.poll(None, &mut ready).unwrap();
        }
        assert_eq!(ready[0].source, source);
        assert!(engine.armed.is_empty() && engine.silent.is_empty());
    }
}
