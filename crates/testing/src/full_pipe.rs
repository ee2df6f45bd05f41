//! A full pipe, for a child's standard error that nobody reads.

use std::io::{PipeReader, PipeWriter, Write, pipe};

use nix::fcntl::{FcntlArg, OFlag, fcntl};

/// Makes a pipe and fills it. A write to it blocks until somebody reads.
///
/// # Panics
/// The process has no descriptors left.
pub fn full_pipe() -> (PipeReader, PipeWriter) {
    let (reader, mut writer) = pipe().expect("a pipe");
    fcntl(&writer, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).expect("a pipe has this flag");
    for piece in [&[b'-'; 4096][..], b"-"] {
        while writer.write(piece).is_ok() {}
    }
    fcntl(&writer, FcntlArg::F_SETFL(OFlag::empty())).expect("a pipe has this flag");
    (reader, writer)
}
