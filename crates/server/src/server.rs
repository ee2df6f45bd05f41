//! A server's settings, and the one place where a [`Model`] turns into code.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use sward::time::Duration;

use sward::EngineKind;

use crate::connection::Connection;
use crate::listen::listen;
use crate::model::processes::{self, is_child};
use crate::model::{Model, Site, blocking, green, threads};
use crate::running::Running;
use crate::signals::SignalWatch;
use crate::summary::Summary;

/// Settings of a server.
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
    /// 127.0.0.1:8080, green, on the best engine, a worker per core, no limits, ten seconds to drain, signals left alone.
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

    /// Where to listen: `host:port` or a `SocketAddr`. Port 0 lets the kernel choose; [`Bound::local_addr`] says what it chose.
    pub fn address(mut self, address: impl fmt::Display) -> Server {
        self.address = address.to_string();
        self
    }

    /// What a connection runs on.
    pub fn model(mut self, model: Model) -> Server {
        self.model = model;
        self
    }

    /// The engine under green threads, for the models `green` and `processes`. If the kernel refuses it, serving fails.
    pub fn engine(mut self, engine: EngineKind) -> Server {
        self.engine = Some(engine);
        self
    }

    /// How many workers (model `green`) or child processes (model `processes`) there are: one per core by default. There are no more child
    /// processes than [connections](Server::max_connections).
    ///
    /// # Panics
    /// If `workers` is 0.
    pub fn workers(mut self, workers: usize) -> Server {
        assert!(workers > 0, "a server needs at least one worker");
        self.workers = Some(workers);
        self
    }

    /// How many connections are served at once. While so many are open, no more are accepted (beyond one per worker that
    /// had been waiting in `accept` before); they wait in the kernel's backlog. The model `processes` deals the number out to its children.
    ///
    /// # Panics
    /// If `connections` is 0.
    pub fn max_connections(mut self, connections: usize) -> Server {
        assert!(connections > 0, "a server needs at least one connection");
        self.max_connections = Some(connections);
        self
    }

    /// How long a read or a write may wait. A connection on which nothing moves for so long is closed, quietly.
    ///
    /// # Panics
    /// If `timeout` is zero.
    pub fn idle_timeout(mut self, timeout: Duration) -> Server {
        assert!(!timeout.is_zero(), "an idle timeout of zero would close every connection");
        self.idle_timeout = Some(timeout);
        self
    }

    /// How long open connections may go on once the server is stopping. Then they are cut off.
    pub fn drain(mut self, deadline: Duration) -> Server {
        self.drain = deadline;
        self
    }

    /// Lets SIGINT and SIGTERM stop the server; a second one ends the process at once, with exit code 128 and the signal's number (130, 143).
    /// When [`serve`](Server::serve) has returned, the two signals do nothing.
    pub fn stop_on_signals(mut self) -> Server {
        self.signals = true;
        self
    }

    /// Binds the address, without accepting yet: clients that come meanwhile wait.
    ///
    /// # Errors
    /// The address cannot be bound; the error names it.
    pub fn bind(self) -> io::Result<Bound> {
        let workers =
            self.workers.unwrap_or_else(|| sward::thread::available_parallelism().map_or(1, usize::from));
        let workers = match (self.model, self.max_connections) {
            (Model::Processes, Some(most)) => workers.min(most),
            _ => workers,
        };
        let child = processes::child_index().filter(|_| self.model == Model::Processes);
        let (listeners, most_connections) = match child {
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
        let running = Running::new(listeners.clone(), most_connections, self.idle_timeout, self.drain);
        let site =
            Site { running: Arc::new(running), listeners, workers, engine: self.engine, announce: None };
        Ok(Bound { model: self.model, signals: self.signals, local_addr, site })
    }

    /// [Binds](Server::bind) and [serves](Bound::serve).
    ///
    /// # Safety
    /// As [`Bound::serve`].
    ///
    /// # Errors
    /// Of both.
    #[allow(unsafe_code)]
    pub unsafe fn serve<H>(self, handler: H) -> io::Result<Summary>
    where
        H: Fn(Connection) -> io::Result<()> + Send + Sync + 'static,
    {
        // SAFETY: the caller's word.
        unsafe { self.bind()?.serve(handler) }
    }
}

/// A server whose address is bound.
#[derive(Debug)]
pub struct Bound {
    model: Model,
    signals: bool,
    local_addr: SocketAddr,
    site: Site,
}

impl Bound {
    /// The address that clients connect to.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// How many workers (model `green`) or child processes (model `processes`) there will be; 0 in the other models, which have neither.
    pub fn workers(&self) -> usize {
        match self.model {
            Model::Green | Model::Processes => self.site.workers,
            Model::Blocking | Model::Threads => 0,
        }
    }

    /// A way to stop the server from any thread.
    pub fn stop_handle(&self) -> StopHandle {
        StopHandle(Arc::clone(&self.site.running))
    }

    /// Calls `announce` when the engines are open and nothing but the accepting is left to do: the time to tell the user that the server
    /// serves. Its error ends the server, and is that of [`serve`](Bound::serve). In the model `processes` it is called in the parent.
    pub fn announce(mut self, announce: impl FnOnce() -> io::Result<()> + Send + Sync + 'static) -> Bound {
        self.site.announce = Some(Box::new(announce));
        self
    }

    /// Serves until the server is [stopped](StopHandle::stop) and drained, and says what it has done.
    ///
    /// Called on an OS thread, not inside [`sward::run`]: the model decides whether there is a runtime. In the model `processes`
    /// the program starts itself again as each child, with the same arguments, and must come to this call again;
    /// there it does not return. ([`is_child`](crate::is_child) tells a child apart.) What a child prints goes to standard error.
    /// A child ends as its parent says and with it, and leaves SIGINT and SIGTERM to it, so a supervisor may send them to all processes at once.
    ///
    /// # Safety
    /// In the models `green` and `processes` the handler runs on green threads, so it keeps the contract of [`sward::run`]: no scoped
    /// thread-local value is held across a blocking call.
    ///
    /// # Errors
    /// The engine cannot be opened, or a thread or process cannot be started. Once it serves, whatever is short is waited for.
    ///
    /// # Panics
    /// Inside a green thread, in the model `green`.
    #[allow(unsafe_code)]
    pub unsafe fn serve<H>(self, handler: H) -> io::Result<Summary>
    where
        H: Fn(Connection) -> io::Result<()> + Send + Sync + 'static,
    {
        let running = Arc::clone(&self.site.running);
        if self.model == Model::Processes && is_child() {
            // SAFETY: the caller's word.
            unsafe { processes::serve_as_child(self.site, handler) }
        }
        let stop = self.stop_handle();
        let _signals = self.signals.then(|| SignalWatch::start(move || stop.stop())).transpose()?;
        match self.model {
            Model::Blocking => blocking::serve(self.site, handler),
            Model::Threads => threads::serve(self.site, handler),
            Model::Processes => processes::serve(self.site),
            // SAFETY: the caller's word.
            Model::Green => unsafe { green::serve(self.site, handler) },
        }?;
        Ok(running.counters.summary())
    }
}

/// Stops a server. Cheap to clone; works from any thread.
#[derive(Clone)]
pub struct StopHandle(Arc<Running>);

impl StopHandle {
    /// Stops accepting and begins to [drain](Server::drain). Does not wait. More calls do nothing more.
    pub fn stop(&self) {
        self.0.stop();
    }
}

impl fmt::Debug for StopHandle {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("StopHandle").finish_non_exhaustive()
    }
}
