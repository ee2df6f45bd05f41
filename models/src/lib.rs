//! sward's own protocols under model checkers. The tests include the library's files as they are; what these import from
//! `crate::primitive` is a checker's here instead of std's, and around them stands as much of a runtime as they need.
//!
//! | test | checker | what is checked |
//! |---|---|---|
//! | `loom` | all interleavings, and what weak memory allows | park and unpark (`runtime/wake_word.rs`), a worker's sleep and end (`runtime/mailbox.rs`, `runtime/sleepers.rs`), what the end of a group makes visible |
//! | `shuttle` | thousands of random interleavings | the lists of waiters, and the locks, cells, channels, queues and pools over them |
//!
//! ```text
//! cargo test --release --manifest-path models/Cargo.toml
//! ```
