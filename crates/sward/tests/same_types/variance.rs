//! What lives long passes for what lives shortly, in each parameter in which std's types allow it. (In which they do not:
//! `variance.rs` of the library.)

#![allow(dead_code, reason = "that it compiles is the test")]

use super::library::net::Incoming;
use super::library::sync::mpsc::{Iter, SendError, TryIter, TrySendError};
use super::library::sync::{
    Arc, MutexGuard, PoisonError, RwLockReadGuard, RwLockWriteGuard, TryLockError, Weak,
};
use super::library::thread::ScopedJoinHandle;

/// `$long` with one life, where `$short` is expected: the same type with a shorter one.
macro_rules! covariant {
    ($($name:ident: $long:ty => $short:ty;)*) => {
        $(
            fn $name<'short, 'long: 'short>(value: $long) -> $short {
                value
            }
        )*
    };
}

covariant! {
    arc: Arc<Option<&'long u8>> => Arc<Option<&'short u8>>;
    weak: Weak<&'long u8> => Weak<&'short u8>;
    poison_error: PoisonError<&'long u8> => PoisonError<&'short u8>;
    try_lock_error: TryLockError<&'long u8> => TryLockError<&'short u8>;
    mutex_guard: MutexGuard<'long, u8> => MutexGuard<'short, u8>;
    read_guard: RwLockReadGuard<'long, u8> => RwLockReadGuard<'short, u8>;
    read_guard_of: RwLockReadGuard<'short, &'long u8> => RwLockReadGuard<'short, &'short u8>;
    read_guard_of_dyn: RwLockReadGuard<'long, dyn Fn() + 'long> => RwLockReadGuard<'short, dyn Fn() + 'short>;
    write_guard: RwLockWriteGuard<'long, u8> => RwLockWriteGuard<'short, u8>;
    iter: Iter<'long, u8> => Iter<'short, u8>;
    try_iter: TryIter<'long, u8> => TryIter<'short, u8>;
    send_error: SendError<&'long u8> => SendError<&'short u8>;
    try_send_error: TrySendError<&'long u8> => TrySendError<&'short u8>;
    scoped_join_handle: ScopedJoinHandle<'long, u8> => ScopedJoinHandle<'short, u8>;
    incoming: Incoming<'long> => Incoming<'short>;
}
