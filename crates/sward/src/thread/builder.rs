//! Settings of a thread, and the one place where threads are made.

use std::io;
use std::marker::PhantomData;
use std::panic::Location;
use std::sync::Arc;

use super::join_handle::Joiner;
use super::scope::{Scope, ScopedJoinHandle};
use super::{JoinHandle, OsPacket, Packet, Thread, packet};
use crate::diagnosis;
use crate::runtime::current::set_current_task;
use crate::runtime::scope_data::ScopeData;
use crate::runtime::shared::Shared;
use crate::runtime::stack_reservation::StackReservation;
use crate::runtime::task::Task;
use crate::runtime::worker::Worker;

/// A thread's name and stack size: [`std::thread::Builder`].
///
/// ```
/// let thread = sward::thread::Builder::new().name("sum".into()).stack_size(64 * 1024).spawn(|| 1 + 1)?;
/// assert_eq!(thread.thread().name(), Some("sum"));
/// assert_eq!(thread.join().unwrap(), 2);
/// # std::io::Result::Ok(())
/// ```
#[derive(Debug, Default)]
#[must_use = "must eventually spawn the thread"]
pub struct Builder {
    name: Option<String>,
    stack_bytes: Option<usize>,
    worker: Option<usize>,
    joined_at_exit: bool,
}

impl Builder {
    /// No name, the runtime's stack size, any worker.
    pub fn new() -> Builder {
        Builder::default()
    }

    /// The thread's name, for panic messages, dumps and reports.
    ///
    /// # Panics
    /// [`spawn`](Builder::spawn) panics if the name has a NUL byte, as std's does.
    pub fn name(mut self, name: String) -> Builder {
        self.name = Some(name);
        self
    }

    /// The size of the stack in bytes, rounded up to whole pages; only pages that are used take memory. Without it, the
    /// [runtime's](crate::Builder::stack_size); outside a runtime, std's.
    pub fn stack_size(mut self, size: usize) -> Builder {
        self.stack_bytes = Some(size);
        self
    }

    /// The worker, from 0, that is to run the thread; without it, the spawner's or an idle one. Outside a runtime it means nothing.
    pub fn worker(mut self, index: usize) -> Builder {
        self.worker = Some(index);
        self
    }

    /// Whether the thread ends with the main closure (`true`, the default: it is cancelled) or the runtime waits for it
    /// first: Python's `daemon`. Outside a runtime it means nothing: there, the process ends with `main`.
    pub fn daemon(mut self, daemon: bool) -> Builder {
        self.joined_at_exit = !daemon;
        self
    }

    /// Starts the thread.
    ///
    /// # Errors
    /// If there is no memory for its stack: the address space is used up or limited (`ulimit -v`), or the size is absurd. If the runtime has
    /// no worker of the [number](Builder::worker) that was asked for. Outside a runtime, if the system cannot start an OS thread.
    ///
    /// A thread for *another* worker gets its stack there when it starts; if there is none then, joining it says so.
    #[track_caller]
    pub fn spawn<F, T>(self, f: F) -> io::Result<JoinHandle<T>>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        // SAFETY: closure and result are 'static.
        unsafe { self.spawn_unchecked(f) }
    }

    /// As [`spawn`](Builder::spawn), for a closure that borrows: [`std::thread::Builder::spawn_unchecked`]. A [`scope`](super::scope) does the
    /// same safely.
    ///
    /// # Errors
    /// As [`spawn`](Builder::spawn).
    ///
    /// # Safety
    /// What `f` and its result borrow outlives the thread, and every handle that could still give the result.
    #[track_caller]
    pub unsafe fn spawn_unchecked<F, T>(self, f: F) -> io::Result<JoinHandle<T>>
    where
        F: FnOnce() -> T + Send,
        T: Send,
    {
        let exit = match self.joined_at_exit {
            true => Worker::with_current(|worker, _| worker.shared().exit()).flatten(),
            false => None,
        };
        // SAFETY: the caller promises that what closure and result borrow lives long enough.
        let Joiner { thread, packet } = unsafe { self.spawn_here(f, exit.as_ref()) }?;
        // SAFETY: the caller promises that what closure and result borrow lives long enough.
        Ok(JoinHandle(Joiner { thread, packet: unsafe { packet::forever(packet) } }))
    }

    /// Starts a scoped thread: see [`scope`](super::scope).
    ///
    /// # Errors
    /// As [`spawn`](Builder::spawn).
    #[track_caller]
    pub fn spawn_scoped<'scope, 'env, F, T>(
        self,
        scope: &'scope Scope<'scope, 'env>,
        f: F,
    ) -> io::Result<ScopedJoinHandle<'scope, T>>
    where
        F: FnOnce() -> T + Send + 'scope,
        T: Send + 'scope,
    {
        // SAFETY: the scope does not return before the thread has left it.
        let joiner = unsafe { self.spawn_here(f, Some(scope.data())) }?;
        scope.data().add(joiner.task());
        Ok(ScopedJoinHandle { joiner, result: PhantomData })
    }

    /// Starts a green thread in `shared`, from any thread.
    #[track_caller]
    pub(crate) fn spawn_in<F, T>(self, shared: &Arc<Shared>, f: F) -> JoinHandle<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let stack = StackReservation::unreserved(self.stack_bytes.unwrap_or(shared.stack_bytes()));
        // SAFETY: closure and result are 'static.
        let (joiner, task) = unsafe { self.prepare(shared, None, stack, f, None, Location::caller()) };
        shared.inject(task);
        // The workers may have looked for the last time. Whoever sees the stop after its own push takes the rest.
        if shared.is_stopping() {
            shared.abandon_unstarted();
        }
        JoinHandle(joiner)
    }

    /// Starts a thread of the caller's kind: green in the caller's runtime, or an OS thread. `scope` waits for its end.
    ///
    /// # Safety
    /// What `f` and its result borrow outlives the thread.
    #[track_caller]
    unsafe fn spawn_here<'scope, F, T>(
        self,
        f: F,
        scope: Option<&Arc<ScopeData>>,
    ) -> io::Result<Joiner<'scope, T>>
    where
        F: FnOnce() -> T + Send + 'scope,
        T: Send + 'scope,
    {
        let spawned_at = Location::caller();
        // It panics, so it comes before the scope begins to wait.
        self.check_name();
        scope.inspect(|scope| scope.enter());
        // SAFETY: used in this frame, which is the calling green thread's.
        let spawned = match unsafe { Worker::current() } {
            // SAFETY: the caller promises that what closure and result borrow lives long enough.
            Some((worker, _)) => unsafe { self.spawn_green(worker, f, scope.cloned(), spawned_at) },
            // SAFETY: the caller promises that what closure and result borrow lives long enough.
            None => unsafe { self.spawn_os_thread(f, scope.cloned(), spawned_at) },
        };
        spawned.inspect_err(|_| scope.into_iter().for_each(|scope| scope.leave()))
    }

    /// # Safety
    /// As [`Builder::spawn_here`].
    unsafe fn spawn_green<'scope, F, T>(
        self,
        worker: &Worker,
        f: F,
        scope: Option<Arc<ScopeData>>,
        spawned_at: &'static Location<'static>,
    ) -> io::Result<Joiner<'scope, T>>
    where
        F: FnOnce() -> T + Send + 'scope,
        T: Send + 'scope,
    {
        let shared = worker.shared();
        let target = self.worker;
        if let Some(index) = target
            && index >= shared.workers()
        {
            let message = format!(
                "spawning on worker {index}: the last one is {}; start more with sward::Builder::workers",
                shared.workers() - 1
            );
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        let stack_bytes = self.stack_bytes.unwrap_or(shared.stack_bytes());
        let stack = match target {
            Some(index) if index != worker.index() => worker.check_stack(stack_bytes)?,
            _ => worker.reserve_stack(stack_bytes)?,
        };
        let only = (shared.workers() == 1).then_some(0);
        // SAFETY: the caller promises that what closure and result borrow lives long enough.
        let (joiner, task) = unsafe { self.prepare(shared, target.or(only), stack, f, scope, spawned_at) };
        match target {
            Some(index) => shared.send_start(index, task),
            None => worker.spawn(task),
        }
        Ok(joiner)
    }

    /// Makes a green thread that has not started, for a certain worker or any, and the handle to wait for it.
    ///
    /// # Safety
    /// As [`Builder::spawn_here`].
    unsafe fn prepare<'scope, F, T>(
        self,
        shared: &Arc<Shared>,
        worker: Option<usize>,
        stack: StackReservation,
        f: F,
        scope: Option<Arc<ScopeData>>,
        spawned_at: &'static Location<'static>,
    ) -> (Joiner<'scope, T>, Arc<Task>)
    where
        F: FnOnce() -> T + Send + 'scope,
        T: Send + 'scope,
    {
        // SAFETY: the caller promises that what they borrow lives long enough; closure and result are Send.
        let packet = unsafe { Packet::new(f, scope) };
        let task = Task::green(
            Arc::clone(shared),
            worker,
            self.name.map(String::into_boxed_str),
            packet.start(),
            stack,
            spawned_at,
        );
        (Joiner { thread: Thread::new(Arc::clone(&task)), packet }, task)
    }

    /// # Safety
    /// As [`Builder::spawn_here`].
    unsafe fn spawn_os_thread<'scope, F, T>(
        self,
        f: F,
        scope: Option<Arc<ScopeData>>,
        spawned_at: &'static Location<'static>,
    ) -> io::Result<Joiner<'scope, T>>
    where
        F: FnOnce() -> T + Send + 'scope,
        T: Send + 'scope,
    {
        // SAFETY: the caller promises that what they borrow lives long enough; closure and result are Send.
        let packet = unsafe { Packet::new(f, scope) };
        let mut thread = std::thread::Builder::new();
        if let Some(name) = &self.name {
            thread = thread.name(name.clone());
        }
        if let Some(bytes) = self.stack_bytes {
            thread = thread.stack_size(bytes);
        }
        diagnosis::install_panic_hook();
        let task = Task::os(self.name.map(String::into_boxed_str), spawned_at);
        let (theirs, start) = (Arc::clone(&task), packet.start());
        let native = thread.spawn(move || {
            set_current_task(Arc::clone(&theirs));
            start.run();
            theirs.drop_locals();
            theirs.complete();
        })?;
        Ok(Joiner { thread: Thread::new(task), packet: Arc::new(OsPacket::new(packet, native)) })
    }

    fn check_name(&self) {
        let is_bad = self.name.as_ref().is_some_and(|name| name.contains('\0'));
        assert!(!is_bad, "thread name may not contain interior null bytes");
    }
}
