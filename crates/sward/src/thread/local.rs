//! Values of which each thread, green or not, has its own.
//!
//! `thread_local!` is per OS thread: all green threads of a worker share it. A [`Local`] is per green thread.

use std::any::Any;
use std::collections::hash_map::Entry;

use crate::runtime::current::with_local;

/// A value of which each thread has its own, made when the thread first asks for it and dropped at the thread's end.
///
/// It has to be a `static`. For an OS thread that sward did not start, it is dropped when that thread ends.
///
/// ```
/// use std::cell::Cell;
/// use sward::thread::{self, Local};
///
/// static COUNT: Local<Cell<u32>> = Local::new(|| Cell::new(0));
///
/// COUNT.with(|count| count.set(5));
/// let theirs = thread::spawn(|| COUNT.with(|count| count.get())).join().unwrap();
/// assert_eq!((theirs, COUNT.with(|count| count.get())), (0, 5));
/// ```
#[derive(Debug)]
pub struct Local<T: 'static> {
    make: fn() -> T,
    /// Not zero-sized, so that each static has an address of its own.
    _place: u8,
}

impl<T: 'static> Local<T> {
    /// `make` is called once in each thread that asks for its value.
    pub const fn new(make: fn() -> T) -> Local<T> {
        Local { make, _place: 0 }
    }

    /// Lends the calling thread's value. `f` may block.
    pub fn with<R>(&'static self, f: impl FnOnce(&T) -> R) -> R {
        let key = (&raw const *self).addr();
        with_local(|_, local| {
            // Nothing of the storage is borrowed while `make` or `f` run but the value's box, which stays where it is until the
            // thread ends.
            let storage = local.storage.get();
            // SAFETY: the map is this thread's, and borrowed for the length of one expression, which runs nothing of the user's.
            let values = || unsafe { (*storage).get_or_insert_default() };
            if !values().contains_key(&key) {
                let value: Box<dyn Any> = Box::new((self.make)());
                // `make` may have made it meanwhile, by asking for it itself: then the first one stays. The other's destructor
                // may ask for values as well, so it runs when nothing of them is borrowed.
                let surplus = match values().entry(key) {
                    Entry::Vacant(place) => {
                        place.insert(value);
                        None
                    }
                    Entry::Occupied(_) => Some(value),
                };
                drop(surplus);
            }
            let value: *const dyn Any = &raw const *values()[&key];
            // SAFETY: the value lies in a box of its own, which stays until the thread ends.
            f(unsafe { &*value }.downcast_ref().expect("a key is one static's, so its type is that static's"))
        })
    }
}
