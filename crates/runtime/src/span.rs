//! With the cargo feature `tracing`: a span for each green thread, and events for what happens to it. (Without, `no_span.rs`.)
//!
//! `tracing` keeps the spans that are entered for each OS thread, and green threads take turns on one. So the worker enters a thread's
//! spans before its turn and exits them after it, in `Worker::resume` and nowhere else: its own span, and those that its code has entered
//! and not left. So what is logged stands in the right spans, and a span may stay entered across a blocking call.

use std::cell::RefCell;

use tracing::span::Id;
use tracing::{Span, debug, dispatcher, info_span, trace};

use super::task::Task;

/// More spans than this are not exited at the end of a turn: a subscriber that does not keep its promises is no reason to hang.
const DEPTH_MAX: usize = 10_000;

/// The spans of a green thread. Its worker's.
#[derive(Default)]
pub struct ThreadSpans {
    own: RefCell<Option<Span>>,
    /// What it is in, the innermost first, between its turns.
    entered: RefCell<Vec<Id>>,
}

/// The span that the worker itself is in.
pub struct Outer(Option<Id>);

impl ThreadSpans {
    /// The thread starts. Its span has no parent: it may outlive its spawner.
    pub fn open(&self, task: &Task) {
        let spawned_at = tracing::field::display(task.spawned_at());
        let span = info_span!(target: "sward", parent: None, "thread", id = task.id(), name = task.name(), spawned_at);
        self.entered.borrow_mut().extend(span.id());
        *self.own.borrow_mut() = Some(span);
    }

    /// Its turn begins.
    pub fn enter(&self) -> Outer {
        dispatcher::get_default(|dispatch| {
            let outer = dispatch.current_span().id().cloned();
            self.entered.borrow_mut().drain(..).rev().for_each(|id| dispatch.enter(&id));
            Outer(outer)
        })
    }

    /// Its turn is over.
    pub fn exit(&self, Outer(outer): Outer) {
        dispatcher::get_default(|dispatch| {
            let mut entered = self.entered.borrow_mut();
            while entered.len() < DEPTH_MAX
                && let Some(id) =
                    dispatch.current_span().id().filter(|id| Some(*id) != outer.as_ref()).cloned()
            {
                dispatch.exit(&id);
                entered.push(id);
            }
        });
    }

    /// The thread is over. This is not dropped, since it lies on the thread's stack: it has to be empty now.
    pub fn close(&self, task: &Task) {
        trace!(target: "sward", id = task.id(), name = task.name(), "a green thread has ended");
        drop((self.own.take(), self.entered.take()));
    }
}

/// A thread has been made, by the calling thread.
pub fn spawned(task: &Task) {
    let spawned_at = tracing::field::display(task.spawned_at());
    trace!(target: "sward", id = task.id(), name = task.name(), spawned_at, "a green thread is spawned");
}

/// A stall or a deadlock has been found.
pub fn found(report: &str) {
    debug!(target: "sward", "{report}");
}
