//! The rules of the house that a program can keep, so that no reviewer has to.

use std::fs;
use std::path::{Path, PathBuf};

/// Files whose code may say `unsafe`, besides tests, examples and benches. Each block in them has its SAFETY argument
/// (`clippy::undocumented_unsafe_blocks`). A new file on this list is a decision.
const UNSAFE_FILES: &[&str] = &[
    // The one `unsafe` at the door: a program starts its runtime.
    "crates/compare/src/perform/green.rs",
    "crates/cli/src/connect.rs",
    "crates/cli/src/load/watcher.rs",
    "crates/cli/src/serve.rs",
    "crates/server/src/model.rs",
    "crates/server/src/model/processes.rs",
    "crates/server/src/server.rs",
    "crates/testing/src/lib.rs",
    // Stacks, guards, switching, the signal handler.
    "crates/coroutine/src/",
    // What talks to the kernel by address.
    "crates/engine/src/",
    "crates/sward/src/net/socket.rs",
    "crates/sward/src/os/fd.rs",
    // Descriptors that std's traits give and take.
    "crates/sward/src/net/std_traits.rs",
    // What the process says on standard error.
    "crates/runtime/src/report.rs",
    // The scheduler: what only the owning worker touches.
    "crates/sward/src/run.rs",
    "crates/runtime/src/counters.rs",
    "crates/runtime/src/current.rs",
    "crates/runtime/src/deadline.rs",
    "crates/runtime/src/futex.rs",
    "crates/runtime/src/inspection.rs",
    "crates/runtime/src/message.rs",
    "crates/runtime/src/run_queue.rs",
    "crates/runtime/src/reason.rs",
    "crates/runtime/src/shared.rs",
    "crates/runtime/src/task.rs",
    "crates/runtime/src/timers.rs",
    "crates/runtime/src/unwinding.rs",
    "crates/runtime/src/wait.rs",
    "crates/runtime/src/worker.rs",
    "crates/runtime/src/worker/",
    // Closures and results that cross threads.
    "crates/sward/src/thread/builder.rs",
    "crates/sward/src/thread/local.rs",
    "crates/sward/src/thread/packet.rs",
    // A signal handler.
    "crates/sward/src/diagnosis/quit.rs",
    // Where messages lie on their way, and that a select may go to any thread.
    "crates/sward/src/channel/buffer.rs",
    "crates/sward/src/channel/exchange.rs",
    "crates/sward/src/channel/message_slot.rs",
    "crates/sward/src/channel/select.rs",
    // Nested coroutines.
    "crates/sward/src/coroutine/fiber.rs",
    "crates/sward/src/coroutine/generator.rs",
    "crates/sward/src/coroutine/hub.rs",
    // What a lock protects.
    "crates/sward/src/sync/lazy_lock.rs",
    "crates/sward/src/sync/mutex.rs",
    "crates/sward/src/sync/once_lock.rs",
    "crates/sward/src/sync/reentrant_mutex.rs",
    "crates/sward/src/sync/rwlock.rs",
    "crates/sward/src/sync/spin_lock.rs",
    "crates/sward/src/sync/wait_list.rs",
];

/// The longest file. One that grows past it lacks a room.
const LINES_MAX: usize = 600;

#[test]
fn every_file_says_what_it_is() {
    check(|file| (!file.text.starts_with("//!")).then(|| "does not open with `//!`".into()));
}

#[test]
fn no_file_is_too_long() {
    check(|file| {
        let lines = file.text.lines().count();
        (lines > LINES_MAX)
            .then(|| format!("has {lines} lines, more than {LINES_MAX}: which room is missing?"))
    });
}

#[test]
fn no_file_is_a_drawer() {
    const DRAWERS: [&str; 6] = ["mod", "utils", "util", "common", "misc", "helpers"];
    check(|file| {
        let stem = file.path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        DRAWERS.contains(&stem).then(|| "is named for nothing in particular".into())
    });
}

#[test]
fn unsafe_stays_in_its_rooms() {
    check(|file| {
        let allowed = !file.is_source() || UNSAFE_FILES.iter().any(|allowed| file.name.starts_with(allowed));
        let line = code(&file.text).find(|(_, line)| has_word(line, "unsafe"))?;
        (!allowed).then(|| format!("says `unsafe` in line {}, and is not on the list of this test", line.0))
    });
}

#[test]
fn the_list_of_unsafe_files_is_not_out_of_date() {
    for name in UNSAFE_FILES {
        assert!(root().join(name).exists(), "{name} is on the list of this test and not in the tree");
    }
}

#[test]
fn nothing_is_left_unfinished() {
    const MARKS: [&str; 6] = ["todo!(", "unimplemented!(", "FIX\u{4d}E", "X\u{58}X", "dbg!(", "TO\u{44}O"];
    check(|file| {
        if file.name.ends_with("tests/tidy.rs") {
            return None;
        }
        let mark = MARKS.into_iter().find(|mark| file.text.contains(mark))?;
        Some(format!("has the mark {mark}"))
    });
}

#[test]
fn only_wait_blocks_an_os_thread() {
    // Whoever sleeps or parks by std's own means holds up a worker. These three know what they do.
    const CALLS: [&str; 3] = ["std::thread::sleep(", "std::thread::park(", "std::thread::yield_now("];
    const ALLOWED: [&str; 3] =
        ["crates/runtime/src/wait.rs", "crates/runtime/src/offload.rs", "crates/sward/src/sync/spin_lock.rs"];
    check(|file| {
        let checked =
            ["crates/sward/src/", "crates/runtime/src/"].iter().any(|room| file.name.starts_with(room))
                && !ALLOWED.contains(&file.name.as_str());
        let call = code(&file.text).find(|(_, line)| CALLS.iter().any(|call| line.contains(call)))?;
        checked.then(|| format!("blocks the OS thread in line {}", call.0))
    });
}

#[test]
fn what_is_said_waits_for_nobody() {
    // These panic when their stream is closed or full, and block the worker when nobody reads it. Standard error is `sward::report`'s,
    // standard output that of the command's `output.rs`.
    const MACROS: [&str; 4] = ["print", "println", "eprint", "eprintln"];
    check(|file| {
        // A panic's message may be captured by a test harness, which only the macros know.
        let panics = file.name == "crates/sward/src/diagnosis/panic_hook.rs";
        let checked = file.is_source() && !file.name.starts_with("crates/testing/") && !panics;
        let product = file.text.split("#[cfg(test)]\nmod tests").next()?;
        let is_call = |line: &str| MACROS.iter().any(|name| has_word(line, &format!("{name}!")));
        let line = code(product).find(|(_, line)| is_call(line))?;
        checked.then(|| format!("prints in line {} by a macro of std's", line.0))
    });
}

#[test]
fn the_engines_are_listed_once() {
    // Everything else takes them from `for_each_engine!` or `EngineKind::ALL`. A few may be named, for what sets them apart.
    const NAMED_MAX: usize = 4;
    let kinds = sward::EngineKind::ALL;
    check(|file| {
        let has = |word: &str| code(&file.text).any(|(_, line)| has_word(line, word));
        let variants = kinds.iter().filter(|kind| has(&format!("{kind:?}"))).count();
        let names = kinds.iter().filter(|kind| file.text.contains(&format!("\"{kind}\""))).count();
        let listed = variants.max(names) > NAMED_MAX && file.name != "crates/engine/src/kind.rs";
        listed.then(|| "lists the engines by hand, which `for_each_engine!` does".into())
    });
}

#[test]
fn nothing_names_one_machine() {
    // Written so that this file does not find itself.
    let paths = ["work", "root", "farm"].map(|folder| format!("/{folder}/"));
    check(|file| {
        let path = paths.iter().find(|path| file.text.contains(path.as_str()))?;
        Some(format!("names a path of one machine, {path}"))
    });
}

#[test]
fn links_between_documents_lead_somewhere() {
    check_documents(|document| {
        let targets = document.text.split("](").skip(1).filter_map(|rest| rest.split([')', '#', ' ']).next());
        let folder = document.path.parent()?;
        let is_dead = |target: &&str| !target.contains("://") && !folder.join(target).exists();
        targets.into_iter().find(is_dead).map(|target| format!("has a link to {target}, which is not there"))
    });
}

#[test]
fn paths_in_documents_begin_at_the_root() {
    check_documents(|document| {
        let is_dead = |path: &&str| !path.contains('*') && !root().join(path).exists();
        let path = inline_code(&document.text).filter(|code| is_path(code)).find(is_dead)?;
        Some(format!("names {path}, which is not there (paths begin at the root of the repository)"))
    });
}

#[test]
fn the_readme_and_the_library_list_the_same_modules() {
    let read = |name| fs::read_to_string(root().join(name)).unwrap();
    let table = read("crates/sward/src/modules.md");
    assert!(
        read("README.md").contains(&table),
        "README.md does not contain the table of modules.md as it is"
    );
    for line in read("crates/sward/src/lib.rs").lines() {
        let Some(module) = line.strip_prefix("pub mod ").and_then(|rest| rest.strip_suffix(';')) else {
            continue;
        };
        assert!(table.contains(&format!("`sward::{module}")), "modules.md does not list {module}");
    }
}

struct File {
    path: PathBuf,
    /// Its path from the root of the repository.
    name: String,
    text: String,
}

impl File {
    fn is_source(&self) -> bool {
        self.name.starts_with("crates/") && self.name.contains("/src/")
    }
}

/// Fails with everything that `complaint` has to say of any Rust file.
fn check(complaint: impl Fn(&File) -> Option<String>) {
    let mut files = Vec::new();
    for folder in ["crates", "examples", "tests"] {
        collect(&root().join(folder), "rs", &mut files);
    }
    assert!(files.len() > 50, "the test does not find the tree");
    report(&files, complaint);
}

/// Fails with everything that `complaint` has to say of any document.
fn check_documents(complaint: impl Fn(&File) -> Option<String>) {
    let mut files = Vec::new();
    collect(&root(), "md", &mut files);
    assert!(files.iter().any(|file| file.name == "ARCHITECTURE.md"), "the test does not find the documents");
    report(&files, complaint);
}

fn report(files: &[File], complaint: impl Fn(&File) -> Option<String>) {
    let complaints: Vec<_> =
        files.iter().filter_map(|file| Some(format!("{} {}", file.name, complaint(file)?))).collect();
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

fn collect(folder: &Path, kind: &str, files: &mut Vec<File>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.map(|entry| entry.unwrap().path()) {
        if entry.is_dir() && entry.file_name().is_some_and(|name| name != "target" && name != ".git") {
            collect(&entry, kind, files);
        } else if entry.extension().is_some_and(|extension| extension == kind) {
            let name = entry.strip_prefix(root()).unwrap().to_string_lossy().into_owned();
            files.push(File { text: fs::read_to_string(&entry).unwrap(), path: entry, name });
        }
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// The lines that are not comments, with their numbers from 1.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    (1..).zip(text.lines()).filter(|(_, line)| !line.trim_start().starts_with("//"))
}

/// What stands between backticks in a document, outside of its blocks of code.
fn inline_code(text: &str) -> impl Iterator<Item = &str> {
    text.split("```").step_by(2).flat_map(|prose| prose.split('`').skip(1).step_by(2))
}

/// Whether a piece of inline code is the path of a file or folder of this repository, or looks like one.
fn is_path(code: &str) -> bool {
    const FOLDERS: [&str; 7] = [".ci/", "crates/", "docs/", "examples/", "models/", "peers/", "tests/"];
    !code.contains(' ') && (code.ends_with(".rs") || FOLDERS.iter().any(|folder| code.starts_with(folder)))
}

fn has_word(line: &str, word: &str) -> bool {
    let is_part = |letter: char| letter.is_alphanumeric() || letter == '_';
    line.match_indices(word).any(|(start, _)| {
        !line[..start].ends_with(is_part) && !line[start + word.len()..].starts_with(is_part)
    })
}
