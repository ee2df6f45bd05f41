//! What the commands that measure share: `sward load`, `sward compare` and `sward top`.
//!
//! | module | holds |
//! |---|---|
//! | [`process`] | CPU time and memory of processes and their descendants |
//! | [`descriptors`] | the limit of open files |
//! | [`quantity`] | numbers as people read them |
//! | [`terminal`] | text for a terminal, from outside or not |
//!
//! Nothing here knows what is measured, or runs a green thread.

#![forbid(unsafe_code)]

pub mod descriptors;
pub mod process;
pub mod quantity;
pub mod terminal;
