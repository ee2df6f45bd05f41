//! Why an engine did not open: the step, what the kernel said of it, and what the user can do.

use std::fmt;
use std::io;

use crate::kind::EngineKind;

/// Why an engine did not open.
#[derive(Debug)]
pub struct OpenError {
    kind: EngineKind,
    attempted: &'static str,
    cause: io::Error,
}

impl OpenError {
    /// `attempted` is the step, as a system call where it is one.
    pub(crate) fn new(kind: EngineKind, attempted: &'static str, cause: io::Error) -> OpenError {
        OpenError { kind, attempted, cause }
    }

    /// The engine that did not open.
    pub fn kind(&self) -> EngineKind {
        self.kind
    }

    /// What the kernel said.
    pub fn cause(&self) -> &io::Error {
        &self.cause
    }

    /// What the user can do about it.
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
                "memory that may be locked is short; raise the limit (ulimit -l), or choose epoll".to_owned()
            }
            (Some(libc::EBUSY), EngineKind::Sigio) => {
                "a thread can have only one, and this one has it already".to_owned()
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

/// The sysctl that forbids io_uring, if it does: 1 for processes outside a group, 2 for all.
fn io_uring_disabled() -> Option<String> {
    let value = std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled").ok()?;
    let value = value.trim();
    (value != "0").then(|| value.to_owned())
}
