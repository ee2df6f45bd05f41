//! The atomics and locks of those protocols that run under model checkers: std's here, the checkers' in `models/`, which
//! includes the same files with another module of this name.

pub(crate) use std::hint::spin_loop;
pub(crate) use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
pub(crate) use std::thread::{sleep, yield_now};
