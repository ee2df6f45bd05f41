//! A server's settings, and the one `match` over the models.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use sward::time::Duration;

use sward::EngineKind;

use crate::connection::Connection;
use crate::listen::listen;
use crate::model::processes::{self, is_child};
use crate::model::{Model, Setup, serve_blocking, serve_green, serve_on_threads};
use crate::running::Running;
use crate::signals::SignalWatch;
use crate::summary::Summary;

/// Builds a server.
#[derive(Clone, Debug)]
pub struct Server {
    address: String,
    model: Model,
    engine: Option<EngineKind>,
    workers: Option<usize>,
    max_connections: Option<usize>,
    idle_timeout: Option<Duration>,
    drain: Duration,
    signals: bool,
}

impl Default for Server {
    fn default() -> Self {
        Server::new()
    }
}

impl Server {
    /// Returns the default settings: 127.0.0.1:8080, green threads on the default engine, a worker per core, no limits, ten seconds to
    /// drain, no signal handlers.
    pub fn new() -> Server {
        Server {
            address: "127.0.0.1:8080".to_owned(),
            model: Model::Green,
            engine: None,
            workers: None,
            max_connections: None,
            idle_timeout: None,
            drain: Duration::from_secs(10),
            signals: false,
        }
    }

    /// Sets the address to listen on: `host:port` or a `SocketAddr`. With port 0 the kernel chooses a port; [`Bound::local_addr`] returns it.
    pub fn address(mut self, address: impl fmt::Display) -> Server {
        self.address = address.to_string();
        self
    }

    /// Sets what a connection runs on.
    pub fn model(mut self, model: Model) -> Server {
        self.model = model;
        self
    }

    /// Sets the engine under green threads, in the models `green` and `processes`. Serving fails if the engine is not available.
    pub fn engine(mut self, engine: EngineKind) -> Server {
        self.engine = Some(engine);
        self
    }

    /// Sets the number of workers (model `green`) or child processes (model `processes`). The default is one per core. There are never more
    /// child processes than [connections](Server::max_connections).
    ///
    /// # Panics
    /// If `workers` is 0.
    pub fn workers(mut self, workers: usize) -> Server {
        assert!(workers > 0, "a server needs at least one worker");
        self.workers = Some(workers);
        self
    }

    /// Limits the number of connections that are served at once. Further clients wait in the kernel's backlog, except for one per worker
    /// that waited in `accept` when the limit was reached. The model `processes` divides the number among its children.
    ///
    /// # Panics
    /// If `connections` is 0.
    pub fn max_connections(mut self, connections: usize) -> Server {
        assert!(connections > 0, "a server needs at least one connection");
        self.max_connections = Some(connections);
        self
    }

    /// Limits how long a read or a write may wait. Afterwards it fails with [`TimedOut`](io::ErrorKind::TimedOut), which ends most handlers,
    /// and is not reported.
    ///
    /// # Panics
    /// If `timeout` is zero.
    pub fn idle_timeout(mut self, timeout: Duration) -> Server {
        assert!(!timeout.is_zero(), "an idle timeout of zero would close every connection");
        self.idle_timeout = Some(timeout);
        self
    }

    /// Limits how long open connections may go on once the server is stopping. Then they are cut off.
    pub fn drain(mut self, deadline: Duration) -> Server {
        self.drain = deadline;
        self
    }

    /// Makes SIGINT and SIGTERM stop the server. A second one ends the process at once, with exit code 128 plus the signal's number (130,
    /// 143). After [`serve`](Server::serve) has returned, the two signals do nothing.
    pub fn stop_on_signals(mut self) -> Server {
        self.signals = true;
        self
    }

    /// Binds the address without accepting yet: clients wait in the backlog.
    ///
    /// # Errors
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) if the address does not resolve. Otherwise the kernel refuses to bind it, for example
    /// with [`AddrInUse`](io::ErrorKind::AddrInUse) or [`PermissionDenied`](io::ErrorKind::PermissionDenied). The message names the address.
    pub fn bind(self) -> io::Result<Bound> {
        let workers =
            self.workers.unwrap_or_else(|| sward::thread::available_parallelism().map_or(1, usize::from));
        let workers = match (self.model, self.max_connections) {
            (Model::Processes, Some(limit)) => workers.min(limit),
            _ => workers,
        };
        let child = processes::child_index().filter(|_| self.model == Model::Processes);
        let (listeners, max_connections) = match child {
            Some(index) => (
                vec![processes::inherited_listener()?],
                processes::share(self.max_connections, workers, index),
            ),
            None => {
                let count = if self.model == Model::Green { workers } else { 1 };
                (listen(&self.address, count)?, self.max_connections)
            }
        };
        let local_addr = listeners[0].local_addr()?;
        let listeners: Vec<_> = listeners.into_iter().map(Arc::new).collect();
        let running = Running::new(listeners.clone(), max_connections, self.idle_timeout, self.drain);
        let setup =
            Setup { running: Arc::new(running), listeners, workers, engine: self.engine, announce: None };
        Ok(Bound { model: self.model, signals: self.signals, local_addr, setup })
    }

    /// [Binds](Server::bind) and [serves](Bound::serve).
    ///
    /// # Safety
    /// That of [`Bound::serve`].
    ///
    /// # Errors
    /// Those of both.
    #[allow(unsafe_code)]
    pub unsafe fn serve<H>(self, handler: H) -> io::Result<Summary>
    where
        H: Fn(Connection) -> io::Result<()> + Send + Sync + 'static,
    {
        // SAFETY: the handler keeps the contract of `Bound::serve`, by that of this function.
        unsafe { self.bind()?.serve(handler) }
    }
}

/// A server whose address is bound.
#[derive(Debug)]
pub struct Bound {
    model: Model,
    signals: bool,
    local_addr: SocketAddr,
    setup: Setup,
}

impl Bound {
    /// Returns the address that clients connect to.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Returns the number of workers (model `green`) or child processes (model `processes`), or 0 in the other models, which have neither.
    pub fn workers(&self) -> usize {
        match self.model {
            Model::Green | Model::Processes => self.setup.workers,
            Model::Blocking | Model::Threads => 0,
        }
    }

    /// Returns a handle that stops the server from any thread.
    pub fn stop_handle(&self) -> StopHandle {
        StopHandle(Arc::clone(&self.setup.running))
    }

    /// Calls `announce` right before accepting begins, when the engines are open: the time to tell the user that the server is ready.
    /// If it fails, the server ends and [`serve`](Bound::serve) returns the error. In the model `processes`, the parent calls it.
    pub fn announce(mut self, announce: impl FnOnce() -> io::Result<()> + Send + Sync + 'static) -> Bound {
        self.setup.announce = Some(Box::new(announce));
        self
    }

    /// Serves until the server is [stopped](StopHandle::stop) and drained, and returns what it has done.
    ///
    /// Call this on an OS thread, not inside [`sward::run`]: the model decides whether there is a runtime.
    ///
    /// In the model `processes`, each child is this program, started again with the same arguments. It must reach this call again, which
    /// does not return there. [`is_child`](crate::is_child) tells whether the process is a child. What a child prints goes to standard
    /// error. A child never outlives its parent, and leaves SIGINT and SIGTERM to it, so a supervisor may send them to all processes at once.
    ///
    /// # Safety
    /// In the models `green` and `processes`, the handler runs on green threads, so it must keep the contract of [`sward::run`]: it holds
    /// no scoped thread-local value across a blocking call.
    ///
    /// # Errors
    /// [`Unsupported`](io::ErrorKind::Unsupported) if the engine is not available. Otherwise a thread or process cannot be started. Once
    /// the server accepts, it waits for exhausted resources instead of failing.
    ///
    /// # Panics
    /// In the model `green`, if it is called on a green thread.
    #[allow(unsafe_code)]
    pub unsafe fn serve<H>(self, handler: H) -> io::Result<Summary>
    where
        H: Fn(Connection) -> io::Result<()> + Send + Sync + 'static,
    {
        let running = Arc::clone(&self.setup.running);
        if self.model == Model::Processes && is_child() {
            // SAFETY: the handler keeps the contract of `sward::run`, by that of this function.
            unsafe { processes::serve_as_child(self.setup, handler) }
        }
        let stop = self.stop_handle();
        let _signals = self.signals.then(|| SignalWatch::start(move || stop.stop())).transpose()?;
        match self.model {
            Model::Blocking => serve_blocking(self.setup, handler),
            Model::Threads => serve_on_threads(self.setup, handler),
            Model::Processes => processes::serve(self.setup),
            // SAFETY: the handler keeps the contract of `sward::run`, by that of this function.
            Model::Green => unsafe { serve_green(self.setup, handler) },
        }?;
        Ok(running.counters.summary())
    }
}

/// Stops a server. Cheap to clone; works from any thread.
#[derive(Clone)]
pub struct StopHandle(Arc<Running>);

impl StopHandle {
    /// Stops accepting and begins to [drain](Server::drain). Does not wait. Further calls do nothing.
    pub fn stop(&self) {
        self.0.stop();
    }
}

impl fmt::Debug for StopHandle {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("StopHandle").finish_non_exhaustive()
    }
}
