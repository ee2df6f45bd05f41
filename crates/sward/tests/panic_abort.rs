//! In a program that is compiled with `panic = "abort"`, nothing can be unwound: threads that are left when the main closure returns
//! are abandoned, as std abandons threads.

use std::path::Path;
use std::process::Command;

#[test]
fn threads_that_are_left_are_abandoned() {
    // `cargo test` compiles everything for unwinding, so the program has to be built apart.
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("panic-abort");
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["run", "--quiet", "--offline", "--locked", "--package", "sward", "--example", "panic_abort"]);
    cargo.args(["--config", "profile.dev.panic='abort'", "--target-dir"]).arg(target);
    // Whatever this very build was told is not meant for that one.
    cargo.env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS");
    let output = cargo.output().expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "42\n42\nend\n");
}
