//! Return addresses on a stack, and what they are called. Without the cargo feature `backtrace` a stack has none, so dumps come
//! without stacks.

use std::fmt::Write as _;

/// Deeper stacks are cut off.
const FRAMES_MAX: usize = 128;

/// The lowest frame of a green thread has its stack pointer this close to the base, in bytes; the next one does not.
const LOWEST_FRAME_BYTES: usize = 128;

/// The return addresses on the calling green thread's stack, innermost first. `base` is where the stack begins; below it stand the
/// frames of its worker, which are left out.
pub(crate) fn return_addresses(base: usize) -> Vec<usize> {
    let mut addresses = Vec::with_capacity(FRAMES_MAX);
    walk(|address, stack_pointer| {
        addresses.push(address);
        stack_pointer.abs_diff(base) >= LOWEST_FRAME_BYTES && addresses.len() < FRAMES_MAX
    });
    addresses
}

/// Calls `visit` with the return address and the stack pointer of each frame, innermost first, until it returns false.
#[cfg(feature = "backtrace")]
fn walk(mut visit: impl FnMut(usize, usize) -> bool) {
    backtrace::trace(|frame| visit(frame.ip().addr(), frame.sp().addr()));
}

#[cfg(not(feature = "backtrace"))]
fn walk(_: impl FnMut(usize, usize) -> bool) {}

/// Calls `visit` with the name, file and line of each function at `address`: of several if some are inlined.
#[cfg(feature = "backtrace")]
fn resolve(address: usize, mut visit: impl FnMut(String, &str, Option<u32>)) {
    backtrace::resolve(std::ptr::without_provenance_mut(address), |symbol| {
        let name = symbol.name().map_or_else(|| format!("{address:#x}"), |name| format!("{name:#}"));
        let file = symbol.filename().map(|file| file.to_string_lossy()).unwrap_or_default();
        visit(name, &file, symbol.lineno());
    });
}

#[cfg(not(feature = "backtrace"))]
fn resolve(_: usize, _: impl FnMut(String, &str, Option<u32>)) {}

/// Code by its module and by its file: programs with full debug information or with none know the names with their paths, those with
/// line tables only know the files.
struct Place {
    module: &'static str,
    file: &'static str,
}

/// Frames of this library's engine room, which every suspended thread has at the top.
const ENGINE_ROOM: [Place; 9] = [
    Place { module: "backtrace::", file: "/backtrace-0." },
    Place { module: "corosensei::", file: "/corosensei-0." },
    Place { module: "sward_coroutine::", file: "coroutine/src/" },
    Place { module: "sward::diagnosis::", file: "sward/src/diagnosis/" },
    Place { module: "sward::runtime::", file: "sward/src/runtime/" },
    Place { module: "core::ops::function", file: "core/src/ops/function.rs" },
    Place { module: "std::panicking::", file: "std/src/panicking.rs" },
    Place { module: "std::panic::catch_unwind", file: "std/src/panic.rs" },
    Place { module: "core::panic::", file: "core/src/panic/" },
];

/// The frame that calls the thread's closure; below it stand the worker's.
const BOTTOM: Place = Place { module: "sward::thread::packet::", file: "sward/src/thread/packet.rs" };

/// What a registry adds to the directories of this workspace's packages.
const PACKAGE_SUFFIX: &str = concat!("-", env!("CARGO_PKG_VERSION"));

impl Place {
    fn holds(&self, name: &str, file: &str) -> bool {
        name.trim_start_matches('<').starts_with(self.module)
            || file.replace(PACKAGE_SUFFIX, "").contains(self.file)
    }
}

/// What std ends the machinery of a panic with.
const END_OF_PANIC: &str = "__rust_end_short_backtrace";

/// What std begins a thread with, the main thread too.
const BEGIN_OF_THREAD: &str = "__rust_begin_short_backtrace";

/// The frames of a thread that panics, as std's `Backtrace` prints them, without those of the panic's machinery and of the worker.
pub(super) fn shorten(backtrace: &str) -> String {
    let is_start =
        |line: &&str| line.split_once(": ").is_some_and(|(number, _)| number.trim().parse::<u32>().is_ok());
    let mut frames: Vec<Vec<&str>> = Vec::new();
    for line in backtrace.lines() {
        match frames.last_mut() {
            Some(frame) if !is_start(&line) => frame.push(line),
            _ => frames.push(vec![line]),
        }
    }
    let name = |frame: &[&'_ str]| frame[0].split_once(": ").map_or("", |(_, name)| name).to_owned();
    let first =
        frames.iter().position(|frame| name(frame).contains(END_OF_PANIC)).map_or(0, |place| place + 1);
    let mut text = String::new();
    for (number, frame) in frames[first..].iter().enumerate() {
        let name = name(frame);
        if BOTTOM.holds(&name, frame.get(1).unwrap_or(&"")) || name.contains(BEGIN_OF_THREAD) {
            break;
        }
        let _ = writeln!(text, "{number:>4}: {name}");
        frame[1..].iter().for_each(|line| text.extend([line, "\n"]));
    }
    text
}

/// Frames of assembly that nobody wants to see.
const TRAMPOLINES: [&str; 2] = ["__rust", "stack_"];

/// The names of the frames that belong to the user or to a call that the user made, a line or two each. Slow: tens of microseconds a
/// frame, and much more the first time, when debug information is read.
pub(super) fn describe(addresses: &[usize]) -> String {
    let mut text = String::new();
    let mut number = 0;
    let mut over = false;
    for &address in addresses {
        resolve(address, |name, file, line| {
            over |= BOTTOM.holds(&name, file);
            let is_ours = ENGINE_ROOM.iter().any(|place| place.holds(&name, file));
            if over || is_ours || TRAMPOLINES.iter().any(|part| name.starts_with(part)) {
                return;
            }
            let _ = writeln!(text, "  {number:>4}: {name}");
            if let Some(line) = line {
                let _ = writeln!(text, "             at {file}:{line}");
            }
            number += 1;
        });
        if over {
            break;
        }
    }
    text
}
