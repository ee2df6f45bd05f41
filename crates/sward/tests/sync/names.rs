//! What is stable in `std::sync` and `std::thread` is in sward's, by the same names and with the same signatures: the
//! same uses are compiled against both. Those against std are there to say that no more is asked of sward than std has.

macro_rules! uses {
    ($world:ident) => {
        mod $world {
            use std::fmt::{Debug, Display};
            use std::ops::{Deref, DerefMut};
            use std::panic::{RefUnwindSafe, UnwindSafe};
            use std::time::Duration;

            #[allow(deprecated)]
            use $world::sync::ONCE_INIT;
            use $world::sync::atomic::{AtomicUsize, Ordering};
            use $world::sync::mpsc::{
                IntoIter, Iter, Receiver, RecvError, RecvTimeoutError, SendError, Sender, SyncSender,
                TryIter, TryRecvError, TrySendError, channel, sync_channel,
            };
            use $world::sync::{
                Arc, Barrier, BarrierWaitResult, Condvar, LazyLock, LockResult, Mutex, MutexGuard, Once,
                OnceLock, OnceState, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, TryLockError,
                TryLockResult, WaitTimeoutResult, Weak,
            };

            fn is_shared<T: Send + Sync + UnwindSafe + RefUnwindSafe + Debug>() {}
            fn is_sent<T: Send + Debug>() {}
            fn is_guard<T: Sync + Debug + Display + Deref>() {}
            fn is_made_from<T: From<u8> + Default>() {}

            #[test]
            fn types_are_what_they_are_in_std() {
                is_shared::<Mutex<std::cell::Cell<u8>>>();
                is_shared::<RwLock<u8>>();
                is_shared::<(Barrier, Condvar, Once)>();
                is_shared::<OnceLock<u8>>();
                is_shared::<LazyLock<u8>>();
                is_shared::<(BarrierWaitResult, WaitTimeoutResult)>();
                is_sent::<(Sender<u8>, SyncSender<u8>, Receiver<u8>, IntoIter<u8>)>();
                is_sent::<(SendError<u8>, TrySendError<u8>, RecvError, TryRecvError, RecvTimeoutError)>();
                is_guard::<MutexGuard<'static, u8>>();
                is_guard::<RwLockReadGuard<'static, u8>>();
                is_guard::<RwLockWriteGuard<'static, u8>>();
                is_made_from::<Mutex<u8>>();
                is_made_from::<RwLock<u8>>();
                is_made_from::<OnceLock<u8>>();
                let _: (Condvar, LazyLock<u8>) = Default::default();
                let _: (Arc<str>, Weak<u8>, AtomicUsize) = ("".into(), Weak::new(), AtomicUsize::new(0));
                let (sender, receiver) = channel::<Box<dyn Send>>();
                let _: (&dyn Debug, &dyn Debug) = (&sender, &receiver);
            }

            #[test]
            #[allow(deprecated)]
            fn locks() {
                static ONCE: Once = ONCE_INIT;
                let mut mutex = Mutex::new(1);
                let _: LockResult<&mut i32> = mutex.get_mut();
                let tried: TryLockResult<MutexGuard<'_, i32>> = mutex.try_lock();
                assert!(tried.is_ok());
                drop(tried);
                let condvar = Condvar::new();
                let guard: MutexGuard<'_, i32> =
                    condvar.wait_while(mutex.lock().unwrap(), |_| false).unwrap();
                let (guard, in_time): (_, bool) = condvar.wait_timeout_ms(guard, 1).unwrap();
                assert!(!in_time);
                let (guard, result) = condvar.wait_timeout(guard, Duration::ZERO).unwrap();
                assert!(result.timed_out() && result == result.clone());
                drop(condvar.wait_timeout_while(guard, Duration::ZERO, |_| true).unwrap());
                mutex.clear_poison();
                assert!(!mutex.is_poisoned() && mutex.into_inner().is_ok());

                let mut lock: Box<RwLock<[u8]>> = Box::new(RwLock::new([1, 2]));
                let _: LockResult<&mut [u8]> = lock.get_mut();
                let tried: TryLockResult<RwLockReadGuard<'_, [u8]>> = lock.try_read();
                assert!(tried.is_ok());
                drop(tried);
                let reading: RwLockReadGuard<'_, [u8]> = RwLockWriteGuard::downgrade(lock.write().unwrap());
                assert!(matches!(lock.try_write(), Err(TryLockError::WouldBlock)));
                drop(reading);
                let error: PoisonError<i32> = PoisonError::new(1);
                assert_eq!(TryLockError::from(error).to_string(), PoisonError::new(()).to_string());

                ONCE.call_once_force(|state: &OnceState| assert!(!state.is_poisoned()));
                ONCE.wait_force();
                assert!(Barrier::new(0).wait().is_leader());
            }

            #[test]
            fn cells() {
                let mut lazy: LazyLock<AtomicUsize> = LazyLock::new(|| AtomicUsize::new(1));
                assert!(LazyLock::get(&lazy).is_none() && LazyLock::get_mut(&mut lazy).is_none());
                assert_eq!(format!("{lazy:?}"), "LazyLock(<uninit>)");
                *lazy.deref_mut().get_mut() += 1;
                *LazyLock::force_mut(&mut lazy).get_mut() += 1;
                *LazyLock::get_mut(&mut lazy).unwrap().get_mut() += 1;
                assert_eq!(LazyLock::force(&lazy).load(Ordering::Relaxed), 4);
                let cell: OnceLock<u8> = OnceLock::new();
                assert_eq!((cell.get_or_init(|| 1), cell.wait(), cell.set(2)), (&1, &1, Err(2)));
            }

            /// Beside `sync`: what std has in `thread`.
            #[test]
            #[allow(deprecated)]
            fn threads() {
                use $world::thread::{self, Builder, JoinHandle, Scope, ScopedJoinHandle, Thread, ThreadId};
                let named: JoinHandle<u8> =
                    Builder::new().name("a".into()).stack_size(1 << 16).spawn(|| 1).unwrap();
                let (thread, id): (&Thread, ThreadId) = (named.thread(), named.thread().id());
                assert!(thread.name() == Some("a") && id == thread.id());
                let result: thread::Result<u8> = named.join();
                assert!(matches!(result, Ok(1)));
                thread::current().unpark();
                thread::park_timeout_ms(1);
                thread::sleep_ms(1);
                thread::scope(|scope: &Scope<'_, '_>| {
                    let scoped: ScopedJoinHandle<'_, ()> =
                        Builder::new().spawn_scoped(scope, thread::yield_now).unwrap();
                    drop(scoped.thread().clone());
                    scoped.join().unwrap();
                });
                let _: fn() -> std::io::Result<std::num::NonZero<usize>> = thread::available_parallelism;
                assert!(!thread::panicking());
            }

            #[test]
            fn channels() {
                let (sender, receiver): (SyncSender<u8>, Receiver<u8>) = sync_channel(2);
                (sender.try_send(1).unwrap(), sender.send(2).unwrap());
                assert_eq!(sender.try_send(3), Err(TrySendError::Full(3)));
                let some: TryIter<'_, u8> = receiver.try_iter();
                assert_eq!(some.count(), 2);
                let _: Iter<'_, u8> = receiver.iter();
                drop(sender.clone());
                drop(sender);
                let all: IntoIter<u8> = receiver.into_iter();
                assert_eq!(all.count(), 0);
                assert_eq!(TrySendError::from(SendError(1)), TrySendError::Disconnected(1));
                assert_eq!(TryRecvError::from(RecvError), TryRecvError::Disconnected);
                assert_eq!(RecvTimeoutError::from(RecvError), RecvTimeoutError::Disconnected);
            }
        }
    };
}

uses!(std);
uses!(sward);
