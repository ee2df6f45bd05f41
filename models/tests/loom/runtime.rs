//! The library's files.

#[path = "../../../crates/runtime/src/mailbox.rs"]
pub(crate) mod mailbox;
#[path = "../../../crates/runtime/src/sleepers.rs"]
pub(crate) mod sleepers;
#[path = "../../../crates/runtime/src/wake_word.rs"]
pub(crate) mod wake_word;
