//! Signal-driven I/O: the kernel queues a real-time signal, with the descriptor's number in it, whenever something happens.
//!
//! ```text
//!   arm, first time:  F_SETSIG · F_SETOWN_EX(this thread) · O_ASYNC ─┐
//!                                                                     │ something happens
//!   poll:  sigtimedwait ◀── EDGE {fd, events} ◀── signal queue ◀──────┤
//!                       ◀── SIGIO: the queue was full ◀───────────────┘
//!                       ◀── WAKE ◀── tgkill, from any thread
//! ```
//!
//! The signals are blocked on the engine's thread and taken from its queue, so no handler runs. A handler that does nothing is
//! installed for the whole process, so that one which comes late, when the thread no longer blocks it, kills nobody.
//!
//! A signal is an edge: it comes once, whether or not somebody waits, and the adapter remembers it. Two things make that
//! weaker than epoll's edges, and a look with `poll(2)` makes up for each:
//!
//! - The queue is bounded (`ulimit -i`). When it is full the kernel sends a plain SIGIO. Then everything that is
//!   registered is reported.
//! - Some events send no signal, such as a `shutdown(2)` of one's own side by another thread. So what is armed is looked at every
//!   [`SWEEP`], too; and more and more seldom while nothing is armed and nothing found, down to every [`SWEEP_MAX`], so that
//!   idleness costs nothing.
//!
//! An open socket has one owner, who gets its signals, for all descriptors and processes that share it. An owner that lives is
//! never robbed: such a descriptor is looked at every [`TICK`] while it is armed, and so is one that knows no signals, such
//! as an eventfd. To ask whether there is an owner and to become it are two system calls. The threads of one process make them under
//! a lock, [`OWNERSHIP`]. Another process, or code that knows nothing of this, can still become the owner after us; so each sweep
//! also asks whether what is armed is ours, and what is no more is looked at like the others from then on.

use std::cell::Cell;
use std::io;
use std::os::fd::RawFd;
use std::ptr;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Once, PoisonError};
use std::time::{Duration, Instant};

use crate::engine::{Wake, Waker};
use crate::operation::{Interest, Source};
use crate::poll_set::PollSet;
use crate::readiness::{Poller, Ready};
use crate::timeout;

/// How often the armed descriptors are looked at that send signals, for what sends none.
const SWEEP: Duration = Duration::from_millis(250);

/// The longest time between two such looks.
const SWEEP_MAX: Duration = Duration::from_secs(16);

/// How often the armed descriptors are looked at that send no signals to us.
const TICK: Duration = Duration::from_millis(10);

/// Signals taken by one poll. What is beyond them comes with the next.
const SIGNALS_MAX: usize = 1024;

/// `F_SETOWN_EX`'s way to name a thread.
const F_OWNER_TID: i32 = 0;

/// Held while a thread becomes the owner of a socket or ceases to be, so that no two of this process both think they are.
static OWNERSHIP: Mutex<()> = Mutex::new(());

/// The poller over O_ASYNC.
pub(crate) struct Sigio {
    /// By descriptor number.
    registered: Vec<Registration>,
    /// Armed descriptors that send signals to this thread.
    armed: PollSet,
    /// Armed descriptors that do not.
    silent: PollSet,
    /// What was seen when a descriptor was registered; reported by the next poll.
    first_seen: Vec<Ready>,
    /// When what is armed was last looked at, and how long until the next time.
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
    /// The identity under which it is registered here; 0: it is not.
    id: u64,
    /// Whether its signals come to this thread.
    signals: bool,
}

thread_local! {
    /// Whether the thread's signals are taken by an engine already.
    static TAKEN: Cell<bool> = const { Cell::new(false) };
}

impl Sigio {
    /// Takes the thread's I/O signals.
    ///
    /// # Errors
    /// `EBUSY` if another engine on this thread has them.
    pub(crate) fn new() -> io::Result<Sigio> {
        if TAKEN.get() {
            return Err(io::Error::from_raw_os_error(libc::EBUSY));
        }
        handle_late_signals();
        let mut mask_before = no_signals();
        // SAFETY: both sets are valid.
        let error = unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &our_signals(), &raw mut mask_before) };
        if error != 0 {
            return Err(io::Error::from_raw_os_error(error));
        }
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
            waker: Arc::new(ThreadWaker {
                thread: Mutex::new(Some(thread)),
                pending: AtomicBool::new(false),
            }),
            mask_before,
            system_calls: 0,
            _on_its_thread: Rc::new(()),
        })
    }

    /// Makes `source` send its signals to this thread, if it can, and looks at it once.
    fn register(&mut self, source: Source) -> io::Result<()> {
        let signals = self.take_ownership(source.fd)?;
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

    /// The owner of sockets whose signals come here.
    fn ourselves(&self) -> Owner {
        Owner { kind: F_OWNER_TID, pid: self.thread }
    }

    /// Sets O_ASYNC for this thread. False: another has it, or the descriptor knows no signals.
    fn take_ownership(&mut self, fd: RawFd) -> io::Result<bool> {
        let _ownership = OWNERSHIP.lock().unwrap_or_else(PoisonError::into_inner);
        self.system_calls += 4;
        if owner(fd)?.pid != 0 {
            return Ok(false);
        }
        let owner_now = self.ourselves();
        // SAFETY: F_SETSIG takes an int; F_SETOWN_EX reads one `Owner`.
        let failed = unsafe {
            libc::fcntl(fd, F_SETSIG, edge_signal()) < 0
                || libc::fcntl(fd, F_SETOWN_EX, &raw const owner_now) < 0
        };
        if failed {
            return Err(io::Error::last_os_error());
        }
        let signals = set_async(fd, true);
        if !signals {
            disown(fd);
        }
        Ok(signals)
    }

    /// Takes back what `register` did, if the descriptor is still the same.
    fn unregister(&mut self, fd: RawFd) {
        let Registration { signals, .. } = std::mem::take(&mut self.registered[fd as usize]);
        self.system_calls += 3;
        let _ownership = OWNERSHIP.lock().unwrap_or_else(PoisonError::into_inner);
        if signals && owner(fd).is_ok_and(|owner| owner == self.ourselves()) {
            set_async(fd, false);
            disown(fd);
        }
    }

    /// Takes signals from the queue, the first of which may be waited for. True: some have been lost.
    fn take_signals(&mut self, mut timeout: Option<Duration>, ready: &mut Vec<Ready>) -> io::Result<bool> {
        let mut lost = false;
        for _ in 0..SIGNALS_MAX {
            self.system_calls += 1;
            let Some(signal) = next_signal(timeout)? else { break };
            timeout = Some(Duration::ZERO);
            if signal.number == wake_signal() {
                self.waker.pending.swap(false, Ordering::AcqRel);
            } else if signal.number == edge_signal() {
                self.report(&signal, ready);
            } else {
                // SIGIO. The wake may be what was lost.
                self.waker.pending.swap(false, Ordering::AcqRel);
                lost = true;
            }
        }
        Ok(lost)
    }

    fn report(&mut self, signal: &Signal, ready: &mut Vec<Ready>) {
        let Some(&Registration { id: id @ 1.., signals: true }) = self.registered.get(signal.fd as usize)
        else {
            return;
        };
        let events = signal.events as i16;
        let hangup = events & (libc::POLLHUP | libc::POLLERR | libc::POLLPRI) != 0;
        let mut interest = Interest::NONE;
        if hangup || events & libc::POLLIN != 0 {
            interest = Interest::READ;
        }
        if hangup || events & libc::POLLOUT != 0 {
            interest = interest.union(Interest::WRITE);
        }
        let source = Source { fd: signal.fd, id };
        self.armed.disarm(source, interest);
        // Two signals of one descriptor stay two reports. The second may be the end of the stream, which a short count after the
        // first must not hide.
        ready.push(Ready { source, interest, hangup });
    }

    /// Reports everything that sends signals, since some have been lost. They may have been hangups.
    fn report_all(&mut self, ready: &mut Vec<Ready>) {
        for (fd, registration) in self.registered.iter().enumerate() {
            if registration.signals {
                let source = Source { fd: fd as RawFd, id: registration.id };
                self.armed.disarm(source, Interest::BOTH);
                ready.push(Ready { source, interest: Interest::BOTH, hangup: true });
            }
        }
    }

    /// Looks at what is armed and sends signals, for events that have sent none, and for sockets that have another owner now.
    fn sweep(&mut self, ready: &mut Vec<Ready>) -> io::Result<()> {
        self.swept = Instant::now();
        let before = ready.len();
        self.system_calls += 1;
        self.armed.poll(Some(Duration::ZERO), ready)?;
        let armed: Vec<_> = self.armed.sources().collect();
        self.system_calls += armed.len() as u64;
        for source in armed {
            if owner(source.fd).is_ok_and(|owner| owner != self.ourselves()) {
                self.registered[source.fd as usize].signals = false;
                // Who waits for it arms it again, and then it is looked at.
                self.armed.disarm(source, Interest::BOTH);
                ready.push(Ready { source, interest: Interest::BOTH, hangup: true });
            }
        }
        self.pause = if ready.len() > before { SWEEP } else { SWEEP_MAX.min(2 * self.pause) };
        Ok(())
    }

    /// `timeout`, shortened to when something has to be looked at.
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
    fn name(&self) -> &'static str {
        "sigio"
    }

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
        while let Ok(Some(_)) = next_signal(Some(Duration::ZERO)) {}
        // SAFETY: the set was filled in when the engine was opened.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.mask_before, ptr::null_mut()) };
        TAKEN.set(false);
    }
}

/// Wakes by a signal to the engine's thread.
struct ThreadWaker {
    /// `None` once the engine is gone. Held while the signal is sent, so that the thread is alive then.
    thread: Mutex<Option<libc::pid_t>>,
    /// A signal is on its way and has not been taken.
    pending: AtomicBool,
}

impl Wake for ThreadWaker {
    fn wake(&self) {
        if self.pending.swap(true, Ordering::AcqRel) {
            return;
        }
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(thread) = *thread else { return };
        // SAFETY: no memory is involved.
        unsafe {
            let process = libc::getpid();
            // With a full queue only a plain signal gets through.
            if libc::syscall(libc::SYS_tgkill, process, thread, wake_signal()) < 0 {
                libc::syscall(libc::SYS_tgkill, process, thread, libc::SIGIO);
            }
        }
    }
}

/// Says what happened to which descriptor.
fn edge_signal() -> i32 {
    libc::SIGRTMIN() + 7
}

/// Ends a poll.
fn wake_signal() -> i32 {
    libc::SIGRTMIN() + 8
}

fn no_signals() -> libc::sigset_t {
    let mut set = std::mem::MaybeUninit::uninit();
    // SAFETY: sigemptyset fills in the whole set.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        set.assume_init()
    }
}

fn our_signals() -> libc::sigset_t {
    let mut set = no_signals();
    for signal in [edge_signal(), wake_signal(), libc::SIGIO] {
        // SAFETY: the set is valid, and so are the signals.
        unsafe { libc::sigaddset(&raw mut set, signal) };
    }
    set
}

/// Gives our signals a handler that does nothing, once per process, unless the program has its own.
fn handle_late_signals() {
    extern "C" fn ignore(_: i32) {}
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        for signal in [edge_signal(), wake_signal(), libc::SIGIO] {
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

/// What the kernel tells with a signal; `siginfo_t` as far as it matters here, whose fields libc does not name.
#[repr(C)]
struct Signal {
    number: i32,
    _error: i32,
    _code: i32,
    _padding: i32,
    /// `si_band`: events as of `poll(2)`. Only with the edge signal, like the next.
    events: libc::c_long,
    /// `si_fd`.
    fd: RawFd,
    _rest: [u8; 100],
}

const _: () = assert!(size_of::<Signal>() == size_of::<libc::siginfo_t>());

/// Takes one of our signals from the queue; `None`: none came in time, or another signal interrupted.
fn next_signal(timeout: Option<Duration>) -> io::Result<Option<Signal>> {
    let limit = timeout.map(timeout::timespec);
    let mut signal = std::mem::MaybeUninit::<Signal>::zeroed();
    // SAFETY: a `Signal` has a siginfo_t's size and layout; the timespec is null or valid.
    let number =
        unsafe { libc::sigtimedwait(&our_signals(), signal.as_mut_ptr().cast(), timeout::pointer(&limit)) };
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

/// The kernel's `struct f_owner_ex`. Neither it nor the commands below are in libc.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq)]
struct Owner {
    kind: i32,
    /// 0: nobody, or one that no longer lives.
    pid: libc::pid_t,
}

const F_SETSIG: i32 = 10;
const F_SETOWN_EX: i32 = 15;
const F_GETOWN_EX: i32 = 16;

fn owner(fd: RawFd) -> io::Result<Owner> {
    let mut owner = Owner { kind: 0, pid: 0 };
    // SAFETY: F_GETOWN_EX writes one `Owner`.
    let returned = unsafe { libc::fcntl(fd, F_GETOWN_EX, &raw mut owner) };
    if returned < 0 { Err(io::Error::last_os_error()) } else { Ok(owner) }
}

fn disown(fd: RawFd) {
    let nobody = Owner { kind: F_OWNER_TID, pid: 0 };
    // SAFETY: F_SETOWN_EX reads one `Owner`.
    unsafe { libc::fcntl(fd, F_SETOWN_EX, &raw const nobody) };
}

/// FIOASYNC, since it changes this one flag, and fails where there are no signals; F_SETFL does neither.
fn set_async(fd: RawFd, on: bool) -> bool {
    let mut value = i32::from(on);
    // SAFETY: FIOASYNC reads one int.
    unsafe { libc::ioctl(fd, libc::FIOASYNC, &raw mut value) == 0 }
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
        disown(source.fd);
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
