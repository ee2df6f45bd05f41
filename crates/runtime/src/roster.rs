//! The green threads that live on a worker: everything started there and not over.
//!
//! Who comes takes the place that was left last, and keeps it to the end, so to come and to go touches no other thread: that one
//! has not run for long perhaps, and its stack is in no cache.

use std::mem;
use std::ptr;

use super::task::Task;

/// The list. A place holds a task; or, being vacant, the number of the next vacant place, as an odd address (tasks are aligned).
pub(crate) struct Roster {
    places: Vec<*const Task>,
    /// The vacant place to be taken next, or the number of places if none is vacant.
    vacant: usize,
    length: usize,
}

/// An empty roster keeps this many places at most.
const PLACES_KEPT: usize = 1024;

impl Roster {
    pub(crate) const fn new() -> Roster {
        Roster { places: Vec::new(), vacant: 0, length: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.length
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Takes in a task. Gives its place.
    #[inline]
    pub(crate) fn insert(&mut self, task: *const Task) -> usize {
        let place = self.vacant;
        match self.places.get_mut(place) {
            Some(entry) => self.vacant = mem::replace(entry, task).addr() >> 1,
            None => {
                self.places.push(task);
                self.vacant = place + 1;
            }
        }
        self.length += 1;
        place
    }

    /// The task in this place goes.
    #[inline]
    pub(crate) fn remove(&mut self, place: usize) {
        let left = mem::replace(&mut self.places[place], ptr::without_provenance(self.vacant << 1 | 1));
        debug_assert!(is_task(left), "nobody is at place {place}");
        self.vacant = place;
        self.length -= 1;
        if self.length == 0 && self.places.len() > PLACES_KEPT {
            *self = Roster::new();
        }
    }

    /// All who live here.
    pub(crate) fn iter(&self) -> impl Iterator<Item = *const Task> {
        self.places.iter().copied().filter(|&entry| is_task(entry))
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
        let mut roster = Roster::new();
        let places: Vec<_> = (1..=10_000).map(|number| roster.insert(task(number))).collect();
        places.into_iter().for_each(|place| roster.remove(place));
        assert_eq!((roster.len(), roster.places.capacity()), (0, 0));
        assert_eq!(roster.insert(task(1)), 0);
    }

    proptest! {
        #[test]
        fn behaves_like_a_map(steps in proptest::collection::vec(proptest::option::of(0usize..50), 1..300)) {
            let mut roster = Roster::new();
            let mut model = BTreeMap::new();
            for (number, step) in steps.into_iter().enumerate() {
                match step {
                    None => prop_assert!(model.insert(roster.insert(task(number + 1)), task(number + 1)).is_none()),
                    Some(which) => if let Some(&place) = model.keys().nth(which) {
                        model.remove(&place);
                        roster.remove(place);
                    }
                }
                prop_assert_eq!(roster.len(), model.len());
                prop_assert_eq!(roster.iter().collect::<Vec<_>>(), model.values().copied().collect::<Vec<_>>());
            }
        }
    }
}
