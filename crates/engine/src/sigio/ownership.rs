//! The owner of an open socket, which receives its signals. There is one.
//!
//! To ask whether there is an owner and to become it are two system calls. The threads of one process make them under a lock,
//! [`OWNERSHIP`]. Another process, or code that knows nothing of this, can still become the owner after us.

use std::io;
use std::os::fd::RawFd;
use std::sync::{Mutex, PoisonError};

/// Held while a thread becomes the owner of a socket or stops being it, so that no two threads of this process think they are.
static OWNERSHIP: Mutex<()> = Mutex::new(());

/// Makes `thread` the owner of `fd`, which then sends it `signal`. Returns false if another is the owner, or if the descriptor
/// sends no signals.
pub(super) fn acquire(fd: RawFd, thread: libc::pid_t, signal: i32) -> io::Result<bool> {
    let _ownership = OWNERSHIP.lock().unwrap_or_else(PoisonError::into_inner);
    if owner(fd)?.pid != 0 {
        return Ok(false);
    }
    let ourselves = Owner::thread(thread);
    // SAFETY: F_SETSIG takes an int; F_SETOWN_EX reads one `Owner`.
    let failed = unsafe {
        libc::fcntl(fd, F_SETSIG, signal) < 0 || libc::fcntl(fd, F_SETOWN_EX, &raw const ourselves) < 0
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

/// Undoes [`acquire`], if `thread` is still the owner.
pub(super) fn release(fd: RawFd, thread: libc::pid_t) {
    let _ownership = OWNERSHIP.lock().unwrap_or_else(PoisonError::into_inner);
    if owner(fd).is_ok_and(|owner| owner == Owner::thread(thread)) {
        set_async(fd, false);
        disown(fd);
    }
}

/// Returns whether another than `thread` owns `fd`.
pub(super) fn is_lost(fd: RawFd, thread: libc::pid_t) -> bool {
    owner(fd).is_ok_and(|owner| owner != Owner::thread(thread))
}

/// Leaves `fd` without an owner.
pub(super) fn disown(fd: RawFd) {
    let nobody = Owner::thread(0);
    // SAFETY: F_SETOWN_EX reads one `Owner`.
    unsafe { libc::fcntl(fd, F_SETOWN_EX, &raw const nobody) };
}

/// The kernel's `struct f_owner_ex`. libc has neither it nor the commands below.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq)]
struct Owner {
    kind: i32,
    /// 0: nobody, or an owner that no longer lives.
    pid: libc::pid_t,
}

impl Owner {
    fn thread(pid: libc::pid_t) -> Owner {
        Owner { kind: F_OWNER_TID, pid }
    }
}

const F_SETSIG: i32 = 10;
const F_SETOWN_EX: i32 = 15;
const F_GETOWN_EX: i32 = 16;

/// `F_SETOWN_EX`'s way to name a thread.
const F_OWNER_TID: i32 = 0;

fn owner(fd: RawFd) -> io::Result<Owner> {
    let mut owner = Owner { kind: 0, pid: 0 };
    // SAFETY: F_GETOWN_EX writes one `Owner`.
    let returned = unsafe { libc::fcntl(fd, F_GETOWN_EX, &raw mut owner) };
    if returned < 0 { Err(io::Error::last_os_error()) } else { Ok(owner) }
}

/// Turns signals on or off by FIOASYNC, which changes this one flag and fails where there are no signals; F_SETFL does neither.
fn set_async(fd: RawFd, on: bool) -> bool {
    let mut value = i32::from(on);
    // SAFETY: FIOASYNC reads one int.
    unsafe { libc::ioctl(fd, libc::FIOASYNC, &raw mut value) == 0 }
}
