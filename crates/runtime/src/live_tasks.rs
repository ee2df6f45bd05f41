//! A worker's live tasks: everything that has started there and is not over.
//!
//! Slots are reused LIFO and never move, so inserting and removing a task touches no other task, whose stack may be in no cache.

use std::mem;
use std::ptr;

use super::task::Task;

/// The slots. Each holds a task, or, if vacant, the number of the next vacant slot as an odd address (tasks are aligned).
pub(crate) struct LiveTasks {
    slots: Vec<*const Task>,
    /// The vacant slot to fill next, or the number of slots if none is vacant.
    vacant: usize,
    length: usize,
}

/// How many slots an empty list keeps at most.
const SLOTS_KEPT: usize = 1024;

impl LiveTasks {
    pub(crate) const fn new() -> LiveTasks {
        LiveTasks { slots: Vec::new(), vacant: 0, length: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.length
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Inserts a task and returns its slot.
    #[inline]
    pub(crate) fn insert(&mut self, task: *const Task) -> usize {
        let slot = self.vacant;
        match self.slots.get_mut(slot) {
            Some(entry) => self.vacant = mem::replace(entry, task).addr() >> 1,
            None => {
                self.slots.push(task);
                self.vacant = slot + 1;
            }
        }
        self.length += 1;
        slot
    }

    /// Removes the task in this slot.
    #[inline]
    pub(crate) fn remove(&mut self, slot: usize) {
        let left = mem::replace(&mut self.slots[slot], ptr::without_provenance(self.vacant << 1 | 1));
        debug_assert!(is_task(left), "slot {slot} is vacant");
        self.vacant = slot;
        self.length -= 1;
        if self.length == 0 && self.slots.len() > SLOTS_KEPT {
            *self = LiveTasks::new();
        }
    }

    /// Returns the live tasks.
    pub(crate) fn iter(&self) -> impl Iterator<Item = *const Task> {
        self.slots.iter().copied().filter(|&entry| is_task(entry))
    }
}

fn is_task(entry: *const Task) -> bool {
    entry.addr() & 1 == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    /// Never dereferenced.
    fn task(number: usize) -> *const Task {
        ptr::without_provenance(number << 4)
    }

    #[test]
    fn a_crowd_that_has_gone_takes_no_memory() {
        let mut tasks = LiveTasks::new();
        let slots: Vec<_> = (1..=10_000).map(|number| tasks.insert(task(number))).collect();
        slots.into_iter().for_each(|slot| tasks.remove(slot));
        assert_eq!((tasks.len(), tasks.slots.capacity()), (0, 0));
        assert_eq!(tasks.insert(task(1)), 0);
    }

    proptest! {
        #[test]
        fn behaves_like_a_map(steps in proptest::collection::vec(proptest::option::of(0usize..50), 1..300)) {
            let mut tasks = LiveTasks::new();
            let mut model = BTreeMap::new();
            for (number, step) in steps.into_iter().enumerate() {
                match step {
                    None => prop_assert!(model.insert(tasks.insert(task(number + 1)), task(number + 1)).is_none()),
                    Some(which) => if let Some(&slot) = model.keys().nth(which) {
                        model.remove(&slot);
                        tasks.remove(slot);
                    }
                }
                prop_assert_eq!(tasks.len(), model.len());
                prop_assert_eq!(tasks.iter().collect::<Vec<_>>(), model.values().copied().collect::<Vec<_>>());
            }
        }
    }
}
