//! The promise of this library, kept to the letter: one source file, included twice, in which `use std::…` has become
//! `use sward::…` and nothing else has changed, prints the same; on every engine, and outside a runtime.

#[path = "same_program/with_std.rs"]
mod with_std;
#[path = "same_program/with_sward.rs"]
#[allow(clippy::duplicate_mod, reason = "that is the point")]
mod with_sward;

use std::sync::LazyLock;

use sward_testing::everywhere;

static EXPECTED: LazyLock<String> = LazyLock::new(|| with_std::key_value::run().expect("std runs it"));

#[test]
fn the_program_does_something() {
    let ends = [
        "key-value, 6 workers\nclient 0: VALUE 300\n",
        "BYE too silent\nclosed\n214 answers, 201 changes, 1 crash, journal [\"gate=open\"]",
    ];
    assert!(EXPECTED.starts_with(ends[0]) && EXPECTED.ends_with(ends[1]), "{}", *EXPECTED);
}

everywhere! {
    fn prints_the_same() {
        assert_eq!(with_sward::key_value::run().unwrap(), *EXPECTED);
    }
}
