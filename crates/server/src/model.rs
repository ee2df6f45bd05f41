//! The models: what a connection runs on. A model decides how a handler is started. All models accept and drain through
//! [`accept_until_stopped`]; in `processes.rs`, each child does.

pub(crate) mod processes;

use std::fmt;
use std::io;
use std::str::FromStr;
use std::sync::Arc;

use sward::EngineKind;
use sward::net::TcpListener;
use sward::thread::Builder;

use crate::accept::{accept_connections, serve_connection};
use crate::connection::Connection;
use crate::running::Running;

/// What a connection runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Model {
    /// A green thread per connection, on any engine. Each worker has a listener of its own.
    Green,
    /// One client at a time, on one OS thread.
    Blocking,
    /// An OS thread per connection.
    Threads,
    /// Child processes that share the listener, each with a green thread per connection. A child that crashes loses its own clients only,
    /// and is restarted.
    Processes,
}

impl Model {
    /// Every model, the preferred one first.
    pub const ALL: [Model; 4] = [Model::Green, Model::Blocking, Model::Threads, Model::Processes];

    /// Returns its name, as users write it.
    pub const fn name(self) -> &'static str {
        match self {
            Model::Green => "green",
            Model::Blocking => "blocking",
            Model::Threads => "threads",
            Model::Processes => "processes",
        }
    }

    /// Returns what it is, in a few words.
    pub const fn description(self) -> &'static str {
        match self {
            Model::Green => "a green thread per connection",
            Model::Blocking => "one client at a time, on one OS thread",
            Model::Threads => "an OS thread per connection",
            Model::Processes => "child processes with green threads inside",
        }
    }

    /// Returns whether an [engine](EngineKind) runs under it. In the other models, each OS thread blocks in its system call.
    pub const fn has_engine(self) -> bool {
        matches!(self, Model::Green | Model::Processes)
    }
}

impl fmt::Display for Model {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}

impl FromStr for Model {
    type Err = UnknownModel;

    fn from_str(name: &str) -> Result<Model, UnknownModel> {
        Model::ALL.into_iter().find(|model| model.name() == name).ok_or_else(|| UnknownModel(name.to_owned()))
    }
}

/// The error for a name that no model has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownModel(String);

impl fmt::Display for UnknownModel {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = Model::ALL.map(Model::name).join(", ");
        write!(formatter, "there is no model {:?}; the models are {names}", self.0)
    }
}

impl std::error::Error for UnknownModel {}

/// What a model needs to serve.
pub(crate) struct Setup {
    pub(crate) running: Arc<Running>,
    /// One for each accept loop.
    pub(crate) listeners: Vec<Arc<TcpListener>>,
    /// Workers or child processes.
    pub(crate) workers: usize,
    pub(crate) engine: Option<EngineKind>,
    /// Called once, right before accepting begins.
    pub(crate) announce: Option<Box<dyn FnOnce() -> io::Result<()> + Send + Sync>>,
}

impl Setup {
    fn announce(&mut self) -> io::Result<()> {
        self.announce.take().map_or(Ok(()), |announce| announce())
    }
}

impl fmt::Debug for Setup {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Setup")
            .field("workers", &self.workers)
            .field("engine", &self.engine)
            .finish_non_exhaustive()
    }
}

/// Serves one client after another, all on one OS thread, until stopped and drained.
pub(crate) fn serve_blocking<H>(setup: Setup, handler: H) -> io::Result<()>
where
    H: Fn(Connection) -> io::Result<()> + Send + Sync + 'static,
{
    let running = Arc::clone(&setup.running);
    accept_until_stopped(setup, move |connection| {
        serve_connection(&running, &handler, connection);
        Ok(())
    })
}

/// Serves each connection on a thread of its own until stopped and drained: on OS threads outside a runtime, on green threads inside.
pub(crate) fn serve_on_threads<H>(setup: Setup, handler: H) -> io::Result<()>
where
    H: Fn(Connection) -> io::Result<()> + Send + Sync + 'static,
{
    let (running, handler) = (Arc::clone(&setup.running), Arc::new(handler));
    accept_until_stopped(setup, move |connection| {
        let (running, handler) = (Arc::clone(&running), Arc::clone(&handler));
        let name = connection.peer_addr().to_string();
        Builder::new().name(name).spawn(move || serve_connection(&running, &*handler, connection)).map(drop)
    })
}

/// Serves each connection on a green thread of its own until stopped and drained. Each worker accepts from a listener of its own.
///
/// Handlers that outlive the drain deadline, although their sockets are shut down, are cancelled by the end of the runtime.
///
/// # Safety
/// The handler must keep the contract of [`sward::run`].
#[allow(unsafe_code)]
pub(crate) unsafe fn serve_green<H>(setup: Setup, handler: H) -> io::Result<()>
where
    H: Fn(Connection) -> io::Result<()> + Send + Sync + 'static,
{
    let mut runtime = sward::Builder::new().workers(setup.workers);
    if let Some(engine) = setup.engine {
        runtime = runtime.engine(engine);
    }
    // SAFETY: this crate's own code uses no thread-local values, and the handler keeps the contract of `run`, by that of this function.
    unsafe { runtime.run(|| serve_on_threads(setup, handler)) }?
}

/// Accepts on every listener, each on a thread of its own (green or not), until the server is stopped; then drains.
///
/// `start` begins to serve a connection, on the thread of the accept loop or on another.
fn accept_until_stopped(
    mut setup: Setup,
    start: impl Fn(Connection) -> io::Result<()> + Send + Sync + 'static,
) -> io::Result<()> {
    setup.announce()?;
    let Setup { running, listeners, .. } = setup;
    let start = Arc::new(start);
    let mut loops = Vec::new();
    for (worker, listener) in listeners.into_iter().enumerate() {
        let (running, start) = (Arc::clone(&running), Arc::clone(&start));
        let accept = move || accept_connections(&running, &listener, |connection| start(connection));
        loops.push(Builder::new().name(format!("accept {worker}")).worker(worker).spawn(accept)?);
    }
    running.connections.wait_for_stop(None);
    if running.drain() {
        for accept in loops {
            let _ = accept.join();
        }
    }
    Ok(())
}
