//! The error of opening an engine: the step that failed, the kernel's answer, and what the user can do.

use std::fmt;
use std::io;

use crate::kind::EngineKind;

/// The error of opening an engine. Its message says what the user can do.
#[derive(Debug)]
pub struct OpenError {
    kind: EngineKind,
    attempted: &'static str,
    cause: io::Error,
}

impl OpenError {
    /// Makes an error of `cause`. `attempted` names the step, by its system call if it is one.
    pub(crate) fn new(kind: EngineKind, attempted: &'static str, cause: io::Error) -> OpenError {
        OpenError { kind, attempted, cause }
    }

    /// Returns the engine that did not open.
    pub fn kind(&self) -> EngineKind {
        self.kind
    }

    /// Returns the kernel's answer.
    pub fn cause(&self) -> &io::Error {
        &self.cause
    }

    /// Returns what the user can do about it.
    fn advice(&self) -> String {
        match (self.cause.raw_os_error(), self.kind) {
            (Some(libc::EMFILE | libc::ENFILE), _) => {
                "no descriptor is left; raise the limit (ulimit -n)".to_owned()
            }
            (Some(libc::EPERM | libc::EACCES), EngineKind::IoUring) => match io_uring_disabled() {
                Some(value) => format!(
                    "the sysctl kernel.io_uring_disabled={value} forbids it; set it to 0, or choose epoll"
                ),
                None => {
                    "a seccomp filter forbids it, as those of containers do; allow it there, or choose epoll"
                        .to_owned()
                }
            },
            (Some(libc::ENOSYS), EngineKind::IoUring) => {
                "this kernel has no io_uring, or hides it; choose epoll".to_owned()
            }
            (Some(libc::ENOMEM), EngineKind::IoUring) => {
                "the limit on locked memory is too low; raise it (ulimit -l), or choose epoll".to_owned()
            }
            (Some(libc::EBUSY), EngineKind::Sigio) => {
                "a thread can have only one sigio engine, and this thread has one already".to_owned()
            }
            (_, EngineKind::Epoll) => "choose poll".to_owned(),
            _ => "choose epoll".to_owned(),
        }
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let OpenError { kind, attempted, cause } = self;
        write!(formatter, "{kind}: {attempted} failed: {cause}; {}", self.advice())
    }
}

// The message has the cause in it already, so it is not a source as well: a report would print it twice.
impl std::error::Error for OpenError {}

/// Returns the value of the sysctl that forbids io_uring, if it does: 1 for processes outside a group, 2 for all.
fn io_uring_disabled() -> Option<String> {
    let value = std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled").ok()?;
    let value = value.trim();
    (value != "0").then(|| value.to_owned())
}
