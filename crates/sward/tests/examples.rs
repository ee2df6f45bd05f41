//! Runs the examples, and compares what they print with what they should. One row for each; the programs are
//! built by `cargo test -p sward`, or by `cargo build -p sward --examples`.

use std::path::PathBuf;
use std::process::Command;

/// Runs the example `name`, and gives its standard output.
fn output_of(name: &str) -> String {
    let here = std::env::current_exe().expect("a test knows its own path");
    // target/debug/deps/examples-0123 -> target/debug/examples/NAME
    let directory = here.parent().and_then(|deps| deps.parent()).expect("a test lies in target/PROFILE/deps");
    let path: PathBuf = directory.join("examples").join(name);
    let output = Command::new(&path).output().unwrap_or_else(|error| {
        panic!("{}: {error} (build it: cargo build -p sward --examples)", path.display())
    });
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name} failed ({}): {errors}", output.status);
    String::from_utf8(output.stdout).expect("an example prints text")
}

/// One test for each: the example's name, and all of its output.
macro_rules! examples {
    ($($name:ident: $expected:expr;)*) => {
        $(
            #[test]
            fn $name() {
                assert_eq!(output_of(stringify!($name)), $expected);
            }
        )*
    };
}

examples! {
    generator: "\
[PRODUCER] →→ Producing 1...
[CONSUMER] ←← Consuming 1...
[PRODUCER] Consumer return: 200 OK
[PRODUCER] →→ Producing 2...
[CONSUMER] ←← Consuming 2...
[PRODUCER] Consumer return: 200 OK
[PRODUCER] →→ Producing 3...
[CONSUMER] ←← Consuming 3...
[PRODUCER] Consumer return: 200 OK
[PRODUCER] →→ Producing 4...
[CONSUMER] ←← Consuming 4...
[PRODUCER] Consumer return: 200 OK
[PRODUCER] →→ Producing 5...
[CONSUMER] ←← Consuming 5...
[PRODUCER] Consumer return: 200 OK
[OTHER] Worked on while the consumer slept: true
";
    greenlet: "\
12
56
34
78
first is dead: false, second is dead: true
the first one's resource is released
first is dead: true, second is dead: true
";
}
