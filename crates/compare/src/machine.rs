//! The machine: its kernel and processor, and the cores that may be used.

use crate::error::{Context, Result};
use std::time::{SystemTime, UNIX_EPOCH};

use nix::sched::{CpuSet, sched_getaffinity};
use nix::sys::utsname::uname;
use nix::unistd::Pid;
use procfs::{CpuInfo, Current};
use serde::Serialize;

/// The machine that is measured on.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Machine {
    /// For example `Linux 6.12.1`.
    pub(crate) kernel: String,
    pub(crate) processor: String,
    /// The cores that this process may use.
    pub(crate) cores: Vec<usize>,
    /// When the run began, in UTC.
    pub(crate) date: String,
    /// This program's version, and whether the compiler optimized it.
    pub(crate) program: String,
}

impl Machine {
    pub(crate) fn here() -> Result<Machine> {
        let allowed = sched_getaffinity(Pid::from_raw(0)).context("asking which cores may be used")?;
        let cores = (0..CpuSet::count()).filter(|&core| allowed.is_set(core).unwrap_or(false)).collect();
        let build = if cfg!(debug_assertions) { " (debug build: figures mean little)" } else { "" };
        Ok(Machine {
            kernel: format!(
                "Linux {}",
                uname().context("asking for the kernel's version")?.release().display()
            ),
            processor: processor().unwrap_or_else(|| format!("{} processor", std::env::consts::ARCH)),
            cores,
            date: date(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())),
            program: format!("sward {}{build}", env!("CARGO_PKG_VERSION")),
        })
    }

    /// Returns a core for the server and one for the generator, if there are two.
    pub(crate) fn two_cores(&self) -> Option<(usize, usize)> {
        match self.cores.as_slice() {
            [first, .., last] => Some((*first, *last)),
            _ => None,
        }
    }
}

/// Returns the name that the kernel has for the processor.
fn processor() -> Option<String> {
    Some(CpuInfo::current().ok()?.model_name(0)?.to_owned())
}

/// Formats seconds since 1970 as `2026-01-31 13:05 UTC`.
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
    fn this_machine_has_cores_and_a_kernel() {
        let machine = Machine::here().unwrap();
        assert!(!machine.cores.is_empty() && machine.kernel.len() > "Linux ".len());
    }
}
