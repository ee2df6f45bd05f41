//! The types of `sward` are what std's are, not only by name: they implement the same traits for the same parameters
//! (above all `Send`, `Sync`, `Unpin`, `UnwindSafe` and `RefUnwindSafe`), are covariant where std's are, and let what
//! they hold be dropped in the same order. One source file each, included once for each library; what compiles with
//! `std` has to compile with `sward`. And the same for `sward::channel` and crossbeam-channel.

#[path = "same_types/probe.rs"]
mod probe;
#[path = "same_types/with_crossbeam.rs"]
mod with_crossbeam;
#[path = "same_types/with_std.rs"]
mod with_std;
#[path = "same_types/with_sward.rs"]
#[allow(clippy::duplicate_mod, reason = "that is the point")]
mod with_sward;
#[path = "same_types/with_sward_channel.rs"]
#[allow(clippy::duplicate_mod, reason = "that is the point")]
mod with_sward_channel;

use probe::Row;

/// Traits that a compiler finds out by itself, and that a type may have too much: they are exactly std's. Of the others a
/// type may have more.
const EXACT: [&str; 5] = ["Send", "Sync", "Unpin", "UnwindSafe", "RefUnwindSafe"];

#[test]
fn types_have_the_traits_that_they_have_in_std() {
    compare("std", with_std::table::rows(), with_sward::table::rows(), &EXACT);
}

#[test]
fn channel_types_have_the_traits_that_they_have_in_crossbeam() {
    // That crossbeam's receivers of what must not be moved must not be moved either is of no use to anybody.
    compare(
        "crossbeam-channel",
        with_crossbeam::channel_table::rows(),
        with_sward_channel::channel_table::rows(),
        &[],
    );
}

#[test]
fn values_are_dropped_in_any_order_that_std_allows() {
    with_std::drop_check::run();
    with_sward::drop_check::run();
}

/// Fails with each type and trait of which only `name` says that the type has it; for the traits that are `exact`, also if
/// only sward says so.
fn compare(name: &str, theirs: Vec<Row>, ours: Vec<Row>, exact: &[&str]) {
    assert!(theirs.len() > 70 && theirs.len() == ours.len(), "{} rows and {}", theirs.len(), ours.len());
    let mut differences = Vec::new();
    for (theirs, ours) in theirs.iter().zip(&ours) {
        assert_eq!(theirs.name, ours.name);
        for (&(bound, their_answer), &(_, our_answer)) in theirs.answers.iter().zip(&ours.answers) {
            if their_answer != our_answer && (their_answer || exact.contains(&bound)) {
                differences
                    .push(format!("{}: {bound}: {name} {their_answer}, sward {our_answer}", ours.name));
            }
        }
    }
    assert!(differences.is_empty(), "\n{}\n{} differences", differences.join("\n"), differences.len());
}
