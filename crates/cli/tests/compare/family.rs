//! A `sward compare` under test and all that it starts, found again by a variable in their environment.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use sward_testing::await_that;

pub(crate) const SWARD: &str = env!("CARGO_BIN_EXE_sward");

/// A process with this variable belongs to a test; its value says to which. (`compare` clears what begins with `SWARD_`.)
const MARK: &str = "COMPARE_TEST_FAMILY";

/// A folder and a mark of a test's own.
pub(crate) struct Family {
    pub(crate) folder: PathBuf,
    mark: String,
}

impl Family {
    pub(crate) fn new() -> Family {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let mark = format!("{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("compare-{mark}"));
        fs::create_dir_all(&folder).unwrap();
        Family { folder, mark }
    }

    /// `program`, which starts or becomes `sward`, in the folder.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.current_dir(&self.folder).env(MARK, &self.mark).env_remove("SWARD_ENGINE");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// `sward compare` with these flags.
    pub(crate) fn compare(&self, flags: &[&str]) -> Command {
        let mut command = self.command(SWARD);
        command.arg("compare").args(flags);
        command
    }

    /// The numbers of all processes that belong to it.
    pub(crate) fn processes(&self) -> Vec<u32> {
        let needle = format!("{MARK}={}\0", self.mark);
        let processes = fs::read_dir("/proc").unwrap().flatten();
        let numbers = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        let is_ours = |number: &u32| {
            let environment = fs::read(format!("/proc/{number}/environ")).unwrap_or_default();
            environment.windows(needle.len()).any(|part| part == needle.as_bytes())
        };
        numbers.filter(is_ours).collect()
    }

    /// What lies in its folder.
    pub(crate) fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.folder).unwrap().flatten();
        let mut names: Vec<_> =
            entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.folder.join(name)).unwrap()
    }

    /// Waits until `command` serves and loads: a server and a generator run beside it.
    pub(crate) fn await_measuring(&self, command: &mut Child) {
        await_that("a server and a generator", || {
            assert!(command.try_wait().unwrap().is_none(), "it ended before it measured anything");
            self.processes().len() >= 3
        });
    }

    pub(crate) fn await_end(&self) {
        await_that("the end of all processes", || self.processes().is_empty());
    }
}

impl Drop for Family {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}
