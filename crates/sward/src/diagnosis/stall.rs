//! Notices a worker that does not switch: some green thread computes for long, or blocks its OS thread in a system call that sward
//! does not know of.

use std::fs;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::snapshot::Named;
use crate::runtime::shared::Shared;
use crate::runtime::span;

/// What was seen of each worker.
pub(super) struct StallWatch {
    after: Duration,
    workers: Vec<Seen>,
}

struct Seen {
    /// As [`Counters::progress`](crate::runtime::counters::Counters::progress).
    progress: u64,
    /// When the worker was first seen with so much progress.
    since: Instant,
    is_reported: bool,
}

impl StallWatch {
    /// Reports a worker that has not switched for `after`.
    pub(super) fn new(after: Duration, workers: usize) -> StallWatch {
        let fresh = || Seen { progress: 0, since: Instant::now(), is_reported: false };
        StallWatch { after, workers: std::iter::repeat_with(fresh).take(workers).collect() }
    }

    /// How often to look.
    pub(super) fn tick_length(&self) -> Duration {
        (self.after / 2).clamp(Duration::from_millis(1), Duration::from_millis(100))
    }

    /// Looks again.
    pub(super) fn tick(&mut self, shared: &Shared) {
        for (worker, seen) in self.workers.iter_mut().enumerate() {
            let counters = shared.counters(worker);
            let progress = counters.progress();
            if !counters.is_awake() || progress != seen.progress {
                *seen = Seen { progress, since: Instant::now(), is_reported: false };
            } else if !seen.is_reported && seen.since.elapsed() >= self.after {
                seen.is_reported = true;
                let report = report(worker, shared, seen.since.elapsed());
                span::found(&report);
                crate::report(&report);
            }
        }
    }
}

fn report(worker: usize, shared: &Shared, stalled_for: Duration) -> String {
    format!(
        "sward: worker {worker} has not switched for {} ms: {}; other green threads of the worker wait meanwhile. Move such \
         work to sward::offload",
        stalled_for.as_millis(),
        what_holds_up(worker, shared),
    )
}

/// Which green thread a worker runs that does not switch, and what the kernel says that it does.
pub(super) fn what_holds_up(worker: usize, shared: &Shared) -> String {
    let counters = shared.counters(worker);
    let doing = match shared.last_resumed(worker) {
        Some(task) => Named(&task).to_string(),
        None => String::from("the scheduler"),
    };
    format!("{doing}, {}", activity(counters.os_thread.load(Ordering::Relaxed)))
}

/// What the kernel says that an OS thread of this process does.
fn activity(os_thread: u32) -> String {
    let read = |file| fs::read_to_string(format!("/proc/self/task/{os_thread}/{file}")).unwrap_or_default();
    let call = read("syscall");
    let Some(number) = call.split(' ').next().and_then(|number| number.parse::<i64>().ok()) else {
        return String::from(if call.starts_with("running") {
            "which computes"
        } else {
            "which does what the kernel does not say"
        });
    };
    let name = system_call_name(number)
        .map_or_else(|| format!("system call {number}"), |name| format!("the system call {name}"));
    let wait_channel = read("wchan");
    match wait_channel.trim() {
        "" | "0" => format!("which sits in {name}"),
        channel => format!("which sits in {name} (in the kernel: {channel})"),
    }
}

/// The names of the calls in which a thread can sit for long.
fn system_call_name(number: i64) -> Option<&'static str> {
    macro_rules! names {
        ($($constant:ident $name:literal)*) => { [$((libc::$constant, $name)),*] };
    }
    let names = names! {
        SYS_accept "accept" SYS_accept4 "accept4" SYS_clock_nanosleep "clock_nanosleep" SYS_close "close" SYS_connect "connect"
        SYS_copy_file_range "copy_file_range" SYS_epoll_pwait "epoll_pwait" SYS_epoll_pwait2 "epoll_pwait2" SYS_execve "execve"
        SYS_fallocate "fallocate" SYS_fcntl "fcntl" SYS_fdatasync "fdatasync" SYS_flock "flock" SYS_fsync "fsync" SYS_futex "futex"
        SYS_getdents64 "getdents64" SYS_getrandom "getrandom" SYS_io_uring_enter "io_uring_enter" SYS_ioctl "ioctl" SYS_madvise "madvise"
        SYS_mmap "mmap" SYS_msync "msync" SYS_munmap "munmap" SYS_nanosleep "nanosleep" SYS_openat "openat" SYS_ppoll "ppoll"
        SYS_pread64 "pread64" SYS_preadv "preadv" SYS_pselect6 "pselect6" SYS_pwrite64 "pwrite64" SYS_pwritev "pwritev" SYS_read "read"
        SYS_readv "readv" SYS_recvfrom "recvfrom" SYS_recvmmsg "recvmmsg" SYS_recvmsg "recvmsg" SYS_rt_sigsuspend "rt_sigsuspend"
        SYS_rt_sigtimedwait "rt_sigtimedwait" SYS_semtimedop "semtimedop" SYS_sendfile "sendfile" SYS_sendmmsg "sendmmsg"
        SYS_sendmsg "sendmsg" SYS_sendto "sendto" SYS_splice "splice" SYS_statx "statx" SYS_sync "sync" SYS_unlinkat "unlinkat"
        SYS_wait4 "wait4" SYS_waitid "waitid" SYS_write "write" SYS_writev "writev"
    };
    names.into_iter().find(|&(known, _)| known == number).map(|(_, name)| name)
}
