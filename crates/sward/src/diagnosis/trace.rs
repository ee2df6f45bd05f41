//! Return addresses on a stack, and what they are called.

use std::fmt::Write as _;

/// Deeper stacks are cut off.
const FRAMES_MAX: usize = 128;

/// The lowest frame of a green thread has its stack pointer this close to the base, in bytes; the next one does not.
const LOWEST_FRAME_BYTES: usize = 128;

/// The return addresses on the calling green thread's stack, innermost first. `base` is where the stack begins; below it stand the
/// frames of its worker, which are left out.
pub(crate) fn return_addresses(base: usize) -> Vec<usize> {
    let mut addresses = Vec::with_capacity(FRAMES_MAX);
    backtrace::trace(|frame| {
        addresses.push(frame.ip().addr());
        frame.sp().addr().abs_diff(base) >= LOWEST_FRAME_BYTES && addresses.len() < FRAMES_MAX
    });
    addresses
}

/// Frames of this library's engine room, which every suspended thread has at the top.
const SUSPENSION: [&str; 9] = [
    "backtrace::",
    "corosensei::",
    "sward_coroutine::",
    "sward::diagnosis::",
    "sward::runtime::",
    "core::ops::function",
    "std::panicking::",
    "std::panic::catch_unwind",
    "core::panic::",
];

/// Frames of assembly that nobody wants to see.
const TRAMPOLINES: [&str; 2] = ["__rust", "stack_"];

/// The frame that calls the thread's closure; below it stand the worker's.
const BOTTOM: &str = "sward::thread::packet::";

/// The names of the frames that belong to the user or to a call that the user made, a line or two each. Slow: tens of microseconds a
/// frame, and much more the first time, when debug information is read.
pub(super) fn describe(addresses: &[usize]) -> String {
    let mut text = String::new();
    let mut number = 0;
    let mut over = false;
    for &address in addresses {
        backtrace::resolve(std::ptr::without_provenance_mut(address), |symbol| {
            let name = symbol.name().map_or_else(|| format!("{address:#x}"), |name| format!("{name:#}"));
            over |= name.trim_start_matches('<').starts_with(BOTTOM);
            let is_ours = SUSPENSION.iter().any(|part| name.trim_start_matches('<').starts_with(part));
            if over || is_ours || TRAMPOLINES.iter().any(|part| name.starts_with(part)) {
                return;
            }
            let _ = writeln!(text, "  {number:>4}: {name}");
            if let (Some(file), Some(line)) = (symbol.filename(), symbol.lineno()) {
                let _ = writeln!(text, "             at {}:{line}", file.display());
            }
            number += 1;
        });
        if over {
            break;
        }
    }
    text
}
