//! The library's files, and the names that they need.

#[path = "../../../crates/runtime/src/mailbox.rs"]
pub(crate) mod mailbox;
#[path = "../../../crates/runtime/src/sleepers.rs"]
pub(crate) mod sleepers;
#[path = "../../../crates/runtime/src/wake_word.rs"]
pub(crate) mod wake_word;

pub(crate) mod task {
    pub(crate) struct Task;
}

pub(crate) mod worker {
    pub(crate) struct Worker;
}
