//! The atomics and locks of those protocols that run under model checkers: std's here, the checkers' in `models/`, which
//! includes the same files with another module of this name.

pub(crate) use std::sync::Mutex;
pub(crate) use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicUsize, Ordering, fence};
