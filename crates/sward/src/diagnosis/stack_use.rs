//! How deep stacks have been: `SWARD_STACK_REPORT=1`.
//!
//! A stack is measured in whole pages when its thread is over, and given back to the kernel then, so that the next thread on it is measured
//! by itself. That costs two system calls a thread, so it is only done when asked for.

use std::collections::HashMap;
use std::fmt;
use std::panic::Location;
use std::sync::{Mutex, PoisonError};

use sward_coroutine::Stack;

/// Stacks of one runtime, by spawn site and size.
#[derive(Default)]
pub(crate) struct StackUse(Mutex<HashMap<(&'static Location<'static>, usize), Site>>);

#[derive(Clone, Copy, Default)]
struct Site {
    threads: usize,
    deepest_bytes: usize,
}

impl StackUse {
    /// A thread that was spawned there is over, and this was its stack.
    pub(crate) fn record(&self, spawned_at: &'static Location<'static>, stack: &mut Stack) {
        let bytes = stack.resident_bytes();
        stack.release();
        let mut sites = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let site = sites.entry((spawned_at, stack.size())).or_default();
        site.threads += 1;
        site.deepest_bytes = site.deepest_bytes.max(bytes);
    }
}

/// What to configure for a stack that has been so deep: twice that, to be safe, in a power of two.
fn advised_bytes(deepest_bytes: usize) -> usize {
    (2 * deepest_bytes).next_power_of_two()
}

impl fmt::Display for StackUse {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sites = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut sites: Vec<_> = sites.iter().collect();
        sites.sort_by_key(|((at, _), site)| (std::cmp::Reverse(site.deepest_bytes), at.file(), at.line()));
        writeln!(formatter, "sward: the deepest stacks, in whole pages, by spawn site")?;
        for ((at, size), site) in sites {
            writeln!(
                formatter,
                "{at}: {} KiB of {} KiB deep in {} threads; Builder::stack_size({} * 1024) would do",
                site.deepest_bytes / 1024,
                size / 1024,
                site.threads,
                advised_bytes(site.deepest_bytes) / 1024,
            )?;
        }
        Ok(())
    }
}
