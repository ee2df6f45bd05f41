//! The machine that is measured on: what it is, which cores we may use, and what else runs on it meanwhile.

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context;
use nix::sched::{CpuSet, sched_getaffinity};
use nix::unistd::{Pid, SysconfVar, sysconf};
use serde::Serialize;
use sward::time::Duration;

/// What it is.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Machine {
    /// As in `Linux 6.12.1`.
    pub(super) kernel: String,
    pub(super) processor: String,
    /// The cores that this process may use.
    pub(super) cores: Vec<usize>,
    /// When the run began, in UTC.
    pub(super) date: String,
    /// This program's version, and whether the compiler optimized it.
    pub(super) program: String,
}

impl Machine {
    pub(super) fn here() -> anyhow::Result<Machine> {
        let allowed = sched_getaffinity(Pid::from_raw(0)).context("asking which cores may be used")?;
        let cores = (0..CpuSet::count()).filter(|&core| allowed.is_set(core).unwrap_or(false)).collect();
        let build = if cfg!(debug_assertions) { " (debug build: figures mean little)" } else { "" };
        Ok(Machine {
            kernel: format!("Linux {}", line("/proc/sys/kernel/osrelease").unwrap_or_else(|| "?".into())),
            processor: processor().unwrap_or_else(|| format!("{} processor", std::env::consts::ARCH)),
            cores,
            date: date(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())),
            program: format!("sward {}{build}", env!("CARGO_PKG_VERSION")),
        })
    }

    /// The server's core and the generator's, if there are two.
    pub(super) fn two_cores(&self) -> Option<(usize, usize)> {
        match self.cores.as_slice() {
            [first, .., last] => Some((*first, *last)),
            _ => None,
        }
    }
}

/// The first line of a file, without spaces around it.
fn line(path: &str) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}

fn processor() -> Option<String> {
    let text = fs::read_to_string("/proc/cpuinfo").ok()?;
    let (_, name) = text.lines().find(|line| line.starts_with("model name"))?.split_once(':')?;
    Some(name.trim().to_owned())
}

/// Seconds since 1970 as `2026-01-31 13:05 UTC`.
fn date(seconds: u64) -> String {
    let (days, minutes) = (seconds / 86_400, seconds % 86_400 / 60);
    // A year that begins in March has its leap day at the end; 719,468 days lie between the first of March of year 0 and 1970.
    let since = days + 719_468;
    let (era, day_of_era) = (since / 146_097, since % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    format!("{year}-{month:02}-{day:02} {:02}:{:02} UTC", minutes / 60, minutes % 60)
}

/// What all programs together have used since the machine started, and what the hypervisor has withheld.
pub(super) fn busy() -> Duration {
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    let fields = text.lines().next().unwrap_or_default().split_whitespace().skip(1);
    let ticks: Vec<u64> = fields.filter_map(|field| field.parse().ok()).collect();
    // user nice system idle iowait irq softirq steal
    let busy: u64 = [0, 1, 2, 5, 6, 7].iter().filter_map(|&field| ticks.get(field)).sum();
    let ticks_per_second = sysconf(SysconfVar::CLK_TCK).ok().flatten().unwrap_or(100);
    Duration::from_secs_f64(busy as f64 / ticks_per_second as f64)
}

/// Memory that a process holds: resident pages and page tables, in bytes. 0 if there is no such process.
pub(super) fn memory_bytes(process: u32) -> u64 {
    let kibibytes = |path: String, key: &str| {
        let text = fs::read_to_string(path).unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with(key));
        line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok())
    };
    let resident = kibibytes(format!("/proc/{process}/smaps_rollup"), "Rss:")
        .or_else(|| kibibytes(format!("/proc/{process}/status"), "VmRSS:"));
    let tables = kibibytes(format!("/proc/{process}/status"), "VmPTE:");
    (resident.unwrap_or(0) + tables.unwrap_or(0)) * 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        assert_eq!(date(0), "1970-01-01 00:00 UTC");
        assert_eq!(date(951_782_400), "2000-02-29 00:00 UTC");
        assert_eq!(date(1_709_251_199), "2024-02-29 23:59 UTC");
        assert_eq!(date(1_767_225_600), "2026-01-01 00:00 UTC");
    }

    #[test]
    fn this_machine_has_cores_and_this_process_memory() {
        let machine = Machine::here().unwrap();
        assert!(!machine.cores.is_empty() && machine.kernel.len() > "Linux ".len());
        assert!(memory_bytes(std::process::id()) > 100_000 && memory_bytes(u32::MAX) == 0);
        assert!(busy() > Duration::ZERO);
    }
}
