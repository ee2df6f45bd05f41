//! The message of a panic names the green thread, not the worker that it happened on; and it is written without holding up the thread when
//! nobody reads standard error.
//!
//! std's own hook prints the name of the OS thread, and waits. So the first runtime of a process, or the first OS thread that it starts by this
//! library, puts a hook in its place that prints the same text for green threads and for OS threads that use this library, and
//! leaves all others to std's. A hook of the user's is left where it is, before or after:
//! `sward::thread::current()` in it is the green thread.

use std::backtrace::Backtrace;
use std::env;
use std::fmt::{self, Write as _};
use std::panic::{PanicHookInfo, set_hook, take_hook};
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Once, OnceLock};
use std::thread;

use super::trace;
use crate::report;
use crate::runtime::counters::this_os_thread;
use crate::runtime::current::with_known_task;
use crate::runtime::task::Task;
use crate::runtime::worker::Worker;

type Hook = Box<dyn Fn(&PanicHookInfo<'_>) + Send + Sync>;

/// Has panic messages name green threads, from now on.
pub(crate) fn install() {
    static INSTALLED: Once = Once::new();
    if thread::panicking() {
        return;
    }
    INSTALLED.call_once(|| {
        let hook = take_hook();
        // What is there when nobody has set anything.
        let standard = take_hook();
        let is_standard = ptr::eq(&raw const *hook, &raw const *standard);
        set_hook(if is_standard { Box::new(move |info| print(info, &hook)) } else { hook });
    });
}

/// The hook.
fn print(info: &PanicHookInfo<'_>, standard: &Hook) {
    // Not by `standard`, which knows the OS thread only, and blocks it.
    Worker::with_current(|_, task| say(&message(info, task, task.id().get())))
        .or_else(|| with_known_task(|task| say(&message(info, task, this_os_thread().into()))))
        .unwrap_or_else(|| standard(info));
}

/// Prints at once what standard error takes, as a panic's message is expected before whatever comes next; and leaves to `report` what would
/// hold up the worker.
fn say(mut text: &str) {
    while !text.is_empty() {
        if !report::is_open() {
            return report::post(text.to_owned());
        }
        let (piece, rest) = text.split_at(text.floor_char_boundary(report::PIECE_BYTES_MAX));
        // `eprint!` alone honours the capture of a test harness.
        eprint!("{}", Unfailing(piece));
        text = rest;
    }
}

/// Text whose printing does not fail, whatever becomes of the stream: a panic in a panic hook would abort.
struct Unfailing<'a>(&'a str);

impl fmt::Display for Unfailing<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let _ = formatter.write_str(self.0);
        Ok(())
    }
}

/// What std would print for an OS thread.
fn message(info: &PanicHookInfo<'_>, task: &Task, number: u64) -> String {
    let name = task.name().unwrap_or("<unnamed>");
    let what = info.payload_as_str().unwrap_or("Box<dyn Any>");
    let mut text = format!("\nthread '{name}' ({number}) panicked at ");
    // (Writing to a string does not fail.)
    let _ = match info.location() {
        Some(location) => writeln!(text, "{location}:\n{what}"),
        None => writeln!(text, "<unnamed>:\n{what}"),
    };
    static IS_FIRST: AtomicBool = AtomicBool::new(true);
    match Style::chosen() {
        Style::Off => {
            if IS_FIRST.swap(false, Ordering::Relaxed) {
                text.push_str(
                    "note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace\n",
                );
            }
        }
        Style::Short => {
            text.push_str("stack backtrace:\n");
            text.push_str(&trace::shorten(&Backtrace::force_capture().to_string()));
            text.push_str(
                "note: Some details are omitted, run with `RUST_BACKTRACE=full` for a verbose backtrace.\n",
            );
        }
        Style::Full => {
            let _ = write!(text, "stack backtrace:\n{:#}", Backtrace::force_capture());
        }
    }
    text
}

/// What `RUST_BACKTRACE` asks for.
#[derive(Clone, Copy)]
enum Style {
    Off,
    Short,
    Full,
}

impl Style {
    /// Read once, as std does.
    fn chosen() -> Style {
        static CHOSEN: OnceLock<Style> = OnceLock::new();
        *CHOSEN.get_or_init(|| match env::var_os("RUST_BACKTRACE") {
            None => Style::Off,
            Some(value) if value == "0" => Style::Off,
            Some(value) if value == "full" => Style::Full,
            Some(_) => Style::Short,
        })
    }
}
