//! In which order items leave a queue: what std's three collections do.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

/// A collection with an order of its own. An empty one owns nothing.
pub(super) trait Order<T>: Default {
    /// Whether [`push`](Order::push) and [`pop`](Order::pop) compare items: that is the user's code, which may block, panic
    /// and ask the queue for something. A `push` that unwinds keeps its item; a `pop` may lose it.
    const COMPARES: bool;

    fn push(&mut self, item: T);
    fn pop(&mut self) -> Option<T>;
    fn len(&self) -> usize;
}

/// First in, first out.
impl<T> Order<T> for VecDeque<T> {
    const COMPARES: bool = false;

    fn push(&mut self, item: T) {
        self.push_back(item);
    }

    fn pop(&mut self) -> Option<T> {
        self.pop_front()
    }

    fn len(&self) -> usize {
        self.len()
    }
}

/// Last in, first out.
impl<T> Order<T> for Vec<T> {
    const COMPARES: bool = false;

    fn push(&mut self, item: T) {
        self.push(item);
    }

    fn pop(&mut self) -> Option<T> {
        self.pop()
    }

    fn len(&self) -> usize {
        self.len()
    }
}

/// The least first.
impl<T: Ord> Order<T> for BinaryHeap<Reverse<T>> {
    const COMPARES: bool = true;

    fn push(&mut self, item: T) {
        self.push(Reverse(item));
    }

    fn pop(&mut self) -> Option<T> {
        self.pop().map(|Reverse(item)| item)
    }

    fn len(&self) -> usize {
        self.len()
    }
}
