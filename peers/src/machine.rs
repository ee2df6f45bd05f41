//! What keeps figures comparable on one machine: cores, descriptors, idle states, and whose CPU time it is.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::mem;
use std::time::Duration;

/// Where servers and micro-benchmarks run.
pub(crate) const SERVER_CORE: usize = 0;

/// Where the generator runs.
pub(crate) const GENERATOR_CORE: usize = 1;

/// Pins the process, as long as it has one thread; threads that it starts stay on that core, too.
pub(crate) fn pin(core: usize) -> io::Result<()> {
    // SAFETY: all zeroes is an empty set, and `core` is far below its size; the kernel reads the set.
    let returned = unsafe {
        let mut set: libc::cpu_set_t = mem::zeroed();
        libc::CPU_SET(core, &mut set);
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set)
    };
    if returned < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// As many descriptors as the hard limit allows.
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

/// While the file is open, idle cores poll and do not halt. In a virtual machine, waking a core that has halted costs tens of
/// microseconds, and the sender pays. `None`: not allowed here.
pub(crate) fn keep_cores_awake() -> Option<File> {
    let mut file = OpenOptions::new().write(true).open("/dev/cpu_dma_latency").ok()?;
    file.write_all(&0i32.to_ne_bytes()).ok()?;
    Some(file)
}

/// CPU time that a process and all its threads have used.
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
