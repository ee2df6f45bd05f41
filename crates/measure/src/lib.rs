//! Shared by the commands that measure: `sward load`, `sward compare` and `sward top`.
//!
//! | module | holds |
//! |---|---|
//! | [`process`] | CPU time and memory of processes and their descendants |
//! | [`descriptors`] | the limit of open files |
//! | [`quantity`] | numbers with three digits and a unit |
//! | [`terminal`] | text for a terminal, made safe to show |
//!
//! Nothing here depends on green threads, or on what is measured.

#![forbid(unsafe_code)]

pub mod descriptors;
pub mod process;
pub mod quantity;
pub mod terminal;
