//! Every type that both libraries have.

use super::library::net::{Incoming, TcpListener, TcpStream, UdpSocket};
use super::library::sync::mpsc::{
    IntoIter, Iter, Receiver, RecvError, RecvTimeoutError, SendError, Sender, SyncSender, TryIter,
    TryRecvError, TrySendError,
};
use super::library::sync::{
    Arc, Barrier, BarrierWaitResult, Condvar, LazyLock, Mutex, MutexGuard, Once, OnceLock, OnceState,
    PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, TryLockError, WaitTimeoutResult, Weak,
};
use super::library::thread::{
    AccessError, Builder, JoinHandle, LocalKey, Scope, ScopedJoinHandle, Thread, ThreadId,
};
use crate::probe::{Row, generic, plain, row, unsized_parameter};

type OfMutexGuard<T> = MutexGuard<'static, T>;
type OfRwLockReadGuard<T> = RwLockReadGuard<'static, T>;
type OfRwLockWriteGuard<T> = RwLockWriteGuard<'static, T>;
type PoisonedMutexGuard<T> = PoisonError<MutexGuard<'static, T>>;
type TriedMutexGuard<T> = TryLockError<MutexGuard<'static, T>>;
type LazyLockMadeBy<F> = LazyLock<u8, F>;
type OfIter<T> = Iter<'static, T>;
type OfTryIter<T> = TryIter<'static, T>;
type OfScopedJoinHandle<T> = ScopedJoinHandle<'static, T>;

pub(crate) fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    plain!(rows: Barrier, BarrierWaitResult, Condvar, Once, OnceState, WaitTimeoutResult);
    generic!(rows: Mutex, RwLock, OnceLock, LazyLock, LazyLockMadeBy, PoisonError, TryLockError, Arc, Weak);
    generic!(rows: OfMutexGuard, OfRwLockReadGuard, OfRwLockWriteGuard, PoisonedMutexGuard, TriedMutexGuard);
    unsized_parameter!(rows: Mutex, RwLock, OfMutexGuard, OfRwLockReadGuard, OfRwLockWriteGuard);
    plain!(rows: RecvError, RecvTimeoutError, TryRecvError);
    generic!(rows: Sender, SyncSender, Receiver, OfIter, OfTryIter, IntoIter, SendError, TrySendError);
    plain!(rows: AccessError, Builder, LocalKey<u8>, Scope<'static, 'static>, Thread, ThreadId);
    generic!(rows: JoinHandle, OfScopedJoinHandle);
    plain!(rows: TcpListener, TcpStream, UdpSocket, Incoming<'static>);
    rows
}
