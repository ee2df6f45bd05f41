//! Keeps figures comparable on one machine: cores, descriptors, idle states, CPU time.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::mem;
use std::time::Duration;

/// The core of servers and micro-benchmarks.
pub(crate) const SERVER_CORE: usize = 0;

/// The core of the generator.
pub(crate) const GENERATOR_CORE: usize = 1;

/// Pins the calling thread, and threads that it starts later.
pub(crate) fn pin(core: usize) -> io::Result<()> {
    // SAFETY: all zeroes is an empty set, and `core` is far below its size; the kernel reads the set.
    let returned = unsafe {
        let mut set: libc::cpu_set_t = mem::zeroed();
        libc::CPU_SET(core, &mut set);
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set)
    };
    if returned < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Raises the limit of descriptors to the hard limit.
pub(crate) fn raise_descriptor_limit() {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the kernel writes and reads one `rlimit`. A failure leaves the limit that is there.
    unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) == 0 {
            limit.rlim_cur = limit.rlim_max;
            libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit);
        }
    }
}

/// Makes idle cores poll instead of halting, as long as the file is open. In a virtual machine, it takes the sender tens of microseconds
/// to wake a halted core. Returns `None` if it is not permitted.
pub(crate) fn keep_cores_awake() -> Option<File> {
    let mut file = OpenOptions::new().write(true).open("/dev/cpu_dma_latency").ok()?;
    file.write_all(&0i32.to_ne_bytes()).ok()?;
    Some(file)
}

/// Returns the CPU time that a process and all its threads have used.
pub(crate) fn cpu_time(process: u32) -> io::Result<Duration> {
    let mut clock = 0;
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the calls write one clock and one time.
    unsafe {
        let error = libc::clock_getcpuclockid(process as libc::pid_t, &raw mut clock);
        if error != 0 {
            return Err(io::Error::from_raw_os_error(error));
        }
        if libc::clock_gettime(clock, &raw mut time) < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(Duration::new(time.tv_sec as u64, time.tv_nsec as u32))
}
