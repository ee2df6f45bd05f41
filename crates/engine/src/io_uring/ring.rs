//! The pair of rings: how it is set up, and the one system call that drives it.
//!
//! The set-up tries three sets of flags, the newest first. Each newer set lets the kernel interrupt the thread less:
//!
//! ```text
//!   DEFER_TASKRUN | SINGLE_ISSUER | SUBMIT_ALL   6.1    the kernel makes completions when the thread asks for them
//!   COOP_TASKRUN | SUBMIT_ALL                    5.19   ... when the thread enters the kernel for any reason
//!   (nothing)                                    5.11   ... at any time, by an interrupt
//! ```
//!
//! Only `EINVAL`, from an older kernel that does not know a flag, leads to the next set; every other error is final. A ring that
//! opened is then tested: its features, its operations, and one no-op there and back, since a seccomp filter may let the first
//! system call through and stop the second.
//!
//! The `io-uring` crate maps the rings and knows the layout of the entries. This file enters the kernel itself, because the
//! crate's submitter forgets the registered index of the ring, which saves each call the look-up of the descriptor.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::ptr;
use std::time::Duration;

use ::io_uring::cqueue::CompletionQueue;
use ::io_uring::squeue::Entry;
use ::io_uring::{EnterFlags, Parameters, Probe, opcode, types};

use crate::kind::EngineKind;
use crate::open_error::OpenError;

/// Requests that fit into the ring. What comes beyond them waits in a list until the next wait.
const SUBMISSIONS: u32 = 1024;

/// Completions that fit into the ring. The kernel keeps what comes beyond them (`IORING_FEAT_NODROP`).
const COMPLETIONS: u32 = 8192;

/// The operations that this engine uses.
const OPERATIONS: [(u8, &str); 11] = [
    (opcode::Nop::CODE, "NOP"),
    (opcode::Accept::CODE, "ACCEPT"),
    (opcode::Connect::CODE, "CONNECT"),
    (opcode::Recv::CODE, "RECV"),
    (opcode::Send::CODE, "SEND"),
    (opcode::RecvMsg::CODE, "RECVMSG"),
    (opcode::SendMsg::CODE, "SENDMSG"),
    (opcode::Read::CODE, "READ"),
    (opcode::Write::CODE, "WRITE"),
    (opcode::PollAdd::CODE, "POLL_ADD"),
    (opcode::AsyncCancel::CODE, "ASYNC_CANCEL"),
];

/// A ring that works, for the thread that opened it.
pub(super) struct Ring {
    rings: ::io_uring::IoUring,
    /// The index under which this thread has registered the ring, if it could.
    registered: Option<u32>,
    /// Whether the kernel has multishot receives.
    has_multishot: bool,
    /// The flags of every enter.
    enter_flags: EnterFlags,
    /// How often the thread has entered the kernel.
    pub(super) system_calls: u64,
}

/// There is no room for another request before the kernel has taken some.
#[derive(Debug)]
pub(super) struct Full;

impl Ring {
    /// Opens a ring for the calling thread, and tests it.
    pub(super) fn open() -> Result<Ring, OpenError> {
        let failed = |attempted| move |cause| OpenError::new(EngineKind::IoUring, attempted, cause);
        let rings = set_up().map_err(failed("io_uring_setup"))?;
        check_features(rings.params()).map_err(failed("feature check"))?;
        let probe = probe(&rings).map_err(failed("io_uring_register"))?;
        check_operations(&probe).map_err(failed("io_uring_register"))?;
        // Multishot receives came with Linux 6.0. Only the operations that came with it tell.
        let has_multishot = probe.is_supported(opcode::SendZc::CODE);
        let mut enter_flags = EnterFlags::GETEVENTS;
        // A thread that waits for the network is idle, not waiting for a disk.
        if rings.params().is_feature_no_iowait() {
            enter_flags |= EnterFlags::NO_IOWAIT;
        }
        let mut ring = Ring { rings, registered: None, has_multishot, enter_flags, system_calls: 0 };
        // Kernels before 5.18 cannot; the ring works without.
        ring.registered = ring.register().ok();
        if ring.registered.is_some() {
            ring.enter_flags |= EnterFlags::REGISTERED_RING;
        }
        ring.round_trip().map_err(failed("io_uring_enter"))?;
        Ok(ring)
    }

    /// Returns what the kernel said of itself at set-up.
    pub(super) fn parameters(&self) -> &Parameters {
        self.rings.params()
    }

    /// Returns whether the kernel has multishot receives (Linux 6.0).
    pub(super) fn has_multishot(&self) -> bool {
        self.has_multishot
    }

    /// Queues a request for the next [`enter`](Ring::enter).
    ///
    /// # Safety
    /// Whatever `entry` points to stays valid until its completion has been collected.
    pub(super) unsafe fn push(&mut self, entry: &Entry) -> Result<(), Full> {
        // SAFETY: what the entry points to stays valid until its completion has been collected.
        unsafe { self.rings.submission().push(entry) }.map_err(|_| Full)
    }

    /// Returns the completions that are there. Those that were taken make room when the iterator is dropped.
    pub(super) fn completions(&mut self) -> CompletionQueue<'_> {
        self.rings.completion()
    }

    /// Returns whether the kernel has something to do that needs an [`enter`](Ring::enter).
    pub(super) fn wants_enter(&mut self) -> bool {
        let submissions = self.rings.submission();
        !submissions.is_empty() || submissions.taskrun() || submissions.cq_overflow()
    }

    /// Returns whether requests are queued that the kernel has not taken.
    pub(super) fn has_queued(&mut self) -> bool {
        !self.rings.submission().is_empty()
    }

    /// Hands over what is queued, and sleeps until there are `least` completions or `timeout` is over (`None`: no
    /// limit). Returns how many requests the kernel took. If it did not take all, it has not slept.
    ///
    /// # Errors
    /// `ETIME` when the time is over, `EINTR` after a signal, `EBUSY` if completions have to be collected first, `EAGAIN` if memory
    /// is short for the moment. After each of them, the kernel may have taken some requests.
    pub(super) fn enter(&mut self, least: u32, timeout: Option<Duration>) -> io::Result<u32> {
        let to_submit = self.rings.submission().len() as u32;
        let time = timeout.map(|timeout| types::Timespec::from(timeout.min(LONGEST)));
        let mut flags = self.enter_flags;
        let mut argument = EnterArgument { signals: 0, signals_size: 0, least_wait_us: 0, time: 0 };
        let (pointer, size) = match &time {
            None => (ptr::null(), 0),
            Some(time) => {
                flags |= EnterFlags::EXT_ARG;
                argument.time = ptr::from_ref(time) as u64;
                (&raw const argument, size_of::<EnterArgument>())
            }
        };
        let ring = self.registered.map_or(self.rings.as_raw_fd(), |index| index as i32);
        self.system_calls += 1;
        // SAFETY: the argument and the time that it points to live until the call returns. The requests' pointers
        // were vouched for at `push`.
        let taken = unsafe {
            libc::syscall(libc::SYS_io_uring_enter, ring, to_submit, least, flags.bits(), pointer, size)
        };
        if taken < 0 { Err(io::Error::last_os_error()) } else { Ok(taken as u32) }
    }

    /// Registers a ring of provided buffers.
    ///
    /// # Safety
    /// `address` is that of as many entries, aligned to a page, which stay there until this ring is gone or
    /// the group has been unregistered.
    pub(super) unsafe fn register_buffers(&self, address: u64, entries: u16, group: u16) -> io::Result<()> {
        // SAFETY: so many entries are there, aligned to a page, until the group has been unregistered.
        unsafe { self.rings.submitter().register_buf_ring_with_flags(address, entries, group, 0) }
    }

    /// Undoes [`Ring::register_buffers`].
    pub(super) fn unregister_buffers(&self, group: u16) -> io::Result<()> {
        self.rings.submitter().unregister_buf_ring(group)
    }

    /// Returns a descriptor of the ring for other threads.
    pub(super) fn duplicate(&self) -> io::Result<OwnedFd> {
        // SAFETY: the descriptor is the ring's, which is open.
        unsafe { BorrowedFd::borrow_raw(self.rings.as_raw_fd()) }.try_clone_to_owned()
    }

    /// Sends a no-op through both rings.
    fn round_trip(&mut self) -> io::Result<()> {
        // SAFETY: a no-op has no pointers.
        unsafe { self.push(&opcode::Nop::new().build()) }.expect("a new ring has room");
        self.await_completion()
    }

    /// Waits for the next completion, which must come, and returns its error if it is one.
    pub(super) fn await_completion(&mut self) -> io::Result<()> {
        loop {
            match self.enter(1, None) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
            if let Some(entry) = self.completions().next() {
                return match entry.result() {
                    0 => Ok(()),
                    errno => Err(io::Error::from_raw_os_error(-errno)),
                };
            }
        }
    }

    /// Registers the ring with this thread. Returns its index.
    fn register(&self) -> io::Result<u32> {
        let mut update = RegisteredRing { index: u32::MAX, reserved: 0, fd: self.rings.as_raw_fd() as u64 };
        self.register_call(IORING_REGISTER_RING_FDS, &mut update)?;
        Ok(update.index)
    }

    fn register_call(&self, operation: u32, update: &mut RegisteredRing) -> io::Result<()> {
        let ring = self.rings.as_raw_fd();
        // SAFETY: one update is passed, and its count. The kernel writes within it.
        let done =
            unsafe { libc::syscall(libc::SYS_io_uring_register, ring, operation, &raw mut *update, 1) };
        if done == 1 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        if let Some(index) = self.registered {
            // Otherwise the thread would keep the ring open, and have one registration less of its 16.
            let _ = self
                .register_call(IORING_UNREGISTER_RING_FDS, &mut RegisteredRing { index, reserved: 0, fd: 0 });
        }
    }
}

/// The longest sleep. The kernel counts seconds in a signed number; beyond a century nobody notices.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

const IORING_REGISTER_RING_FDS: u32 = 20;
const IORING_UNREGISTER_RING_FDS: u32 = 21;

/// `struct io_uring_rsrc_update`, as far as rings use it.
#[repr(C)]
struct RegisteredRing {
    index: u32,
    reserved: u32,
    fd: u64,
}

/// `struct io_uring_getevents_arg`.
#[repr(C)]
struct EnterArgument {
    /// The signal mask while waiting: none of our own.
    signals: u64,
    signals_size: u32,
    least_wait_us: u32,
    /// The address of a `__kernel_timespec`.
    time: u64,
}

/// Tries the sets of flags.
fn set_up() -> io::Result<::io_uring::IoUring> {
    let mut deferred = ::io_uring::IoUring::builder();
    deferred.setup_defer_taskrun().setup_single_issuer().setup_taskrun_flag().setup_submit_all();
    let mut cooperative = ::io_uring::IoUring::builder();
    cooperative.setup_coop_taskrun().setup_taskrun_flag().setup_submit_all();
    let plain = ::io_uring::IoUring::builder();

    let mut refused = io::Error::from_raw_os_error(libc::EINVAL);
    for mut builder in [deferred, cooperative, plain] {
        let (submissions, completions) = sizes();
        match builder.setup_clamp().setup_cqsize(completions).build(submissions) {
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => refused = error,
            opened_or_forbidden => return opened_or_forbidden,
        }
    }
    Err(refused)
}

/// Returns how many submissions and completions fit into the rings.
#[cfg(not(feature = "stress"))]
fn sizes() -> (u32, u32) {
    (SUBMISSIONS, COMPLETIONS)
}

/// For tests of full rings: `SWARD_RING_ENTRIES` says how many submissions fit. Of completions, twice as many.
#[cfg(feature = "stress")]
fn sizes() -> (u32, u32) {
    match std::env::var("SWARD_RING_ENTRIES").map(|entries| entries.parse()) {
        Ok(entries) => {
            let entries: u32 = entries.expect("SWARD_RING_ENTRIES is a number");
            (entries, 2 * entries)
        }
        Err(_) => (SUBMISSIONS, COMPLETIONS),
    }
}

fn check_features(parameters: &Parameters) -> io::Result<()> {
    let needed = [
        (parameters.is_feature_nodrop(), "keeping completions that do not fit (Linux 5.5)"),
        (parameters.is_feature_fast_poll(), "waiting without threads (Linux 5.7)"),
        (parameters.is_feature_ext_arg(), "waiting with a timeout (Linux 5.11)"),
    ];
    match needed.into_iter().find(|(present, _)| !present) {
        None => Ok(()),
        Some((_, name)) => Err(io::Error::new(
            io::ErrorKind::Unsupported,
            format!("this kernel's io_uring is too old, it lacks {name}"),
        )),
    }
}

/// Asks the kernel which operations it has.
fn probe(rings: &::io_uring::IoUring) -> io::Result<Probe> {
    let mut probe = Probe::new();
    rings.submitter().register_probe(&mut probe)?;
    Ok(probe)
}

fn check_operations(probe: &Probe) -> io::Result<()> {
    match OPERATIONS.into_iter().find(|(code, _)| !probe.is_supported(*code)) {
        None => Ok(()),
        Some((_, name)) => Err(io::Error::new(
            io::ErrorKind::Unsupported,
            format!("this kernel's io_uring lacks the operation {name}"),
        )),
    }
}
