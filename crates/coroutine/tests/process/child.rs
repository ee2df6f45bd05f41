//! Runs the body of a test in a child process, for what ends the process. The child is this test binary
//! again, told by a variable to run the one test, and in it the body.

use std::env;
use std::os::unix::process::ExitStatusExt;
use std::process::{self, Command};

const VARIABLE: &str = "SWARD_TEST_CHILD";

/// How a child ended.
pub(crate) struct Child {
    /// The signal that killed it.
    pub(crate) signal: Option<i32>,
    /// Its standard error.
    pub(crate) errors: String,
}

/// In the parent: runs `body` in a child and says how that ended. In the child: runs `body` and does not
/// return.
pub(crate) fn run(test: &str, body: impl FnOnce()) -> Child {
    if env::var_os(VARIABLE).is_some_and(|value| value == test) {
        let no_core_dump = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: the structure is valid.
        unsafe { libc::setrlimit(libc::RLIMIT_CORE, &no_core_dump) };
        body();
        process::exit(0);
    }
    let output = Command::new(env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture", "--test-threads=1"])
        .env(VARIABLE, test)
        .output()
        .unwrap();
    Child { signal: output.status.signal(), errors: String::from_utf8_lossy(&output.stderr).into_owned() }
}
