//! The examples, as programs that a test runs.

use std::process::Command;

/// The example `name` of `package`, whose test the caller is. `cargo test` has built it.
///
/// # Panics
/// If it has not been built. The message says how.
pub fn example(package: &str, name: &str) -> Command {
    let here = std::env::current_exe().expect("a test knows its own path");
    // target/debug/deps/examples-0123 -> target/debug/examples/NAME
    let directory = here.parent().and_then(|deps| deps.parent()).expect("a test lies in target/PROFILE/deps");
    let path = directory.join("examples").join(name);
    assert!(path.exists(), "build {}: cargo build -p {package} --examples", path.display());
    Command::new(path)
}
