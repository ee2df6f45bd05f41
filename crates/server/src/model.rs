//! The models: what a connection runs on. Each is one file that says how to start a handler; all of them accept and drain
//! through [`accept_until_stopped`].

pub(crate) mod blocking;
pub(crate) mod green;
pub(crate) mod processes;
pub(crate) mod threads;

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
pub enum Model {
    /// A green thread per connection, on any engine. Each worker has a listener of its own.
    Green,
    /// One client at a time, on one OS thread.
    Blocking,
    /// An OS thread per connection.
    Threads,
    /// Child processes that share the listener, with green threads inside. A child that crashes takes only its own clients
    /// with it and is started again.
    Processes,
}

impl Model {
    /// Every model, the preferred one first.
    pub const ALL: [Model; 4] = [Model::Green, Model::Blocking, Model::Threads, Model::Processes];

    /// The name by which a user asks for it.
    pub const fn name(self) -> &'static str {
        match self {
            Model::Green => "green",
            Model::Blocking => "blocking",
            Model::Threads => "threads",
            Model::Processes => "processes",
        }
    }

    /// What it is, in a few words.
    pub const fn description(self) -> &'static str {
        match self {
            Model::Green => "a green thread per connection",
            Model::Blocking => "one client at a time, on one OS thread",
            Model::Threads => "an OS thread per connection",
            Model::Processes => "child processes with green threads inside",
        }
    }

    /// Whether an [engine](EngineKind) runs under it. In the other models each OS thread blocks in its system call.
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

/// A name that no model has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownModel(String);

impl fmt::Display for UnknownModel {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = Model::ALL.map(Model::name).join(", ");
        write!(formatter, "there is no model {:?}; the models are {names}", self.0)
    }
}

impl std::error::Error for UnknownModel {}

/// What a model serves with.
pub(crate) struct Site {
    pub(crate) running: Arc<Running>,
    /// One for each accept loop.
    pub(crate) listeners: Vec<Arc<TcpListener>>,
    /// Workers or child processes.
    pub(crate) workers: usize,
    pub(crate) engine: Option<EngineKind>,
    /// Called once, when nothing but the accepting is left to do.
    pub(crate) announce: Option<Box<dyn FnOnce() -> io::Result<()> + Send + Sync>>,
}

impl Site {
    fn announce(&mut self) -> io::Result<()> {
        self.announce.take().map_or(Ok(()), |announce| announce())
    }
}

impl fmt::Debug for Site {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Site")
            .field("workers", &self.workers)
            .field("engine", &self.engine)
            .finish_non_exhaustive()
    }
}

/// Accepts on every listener, each on a thread (green or not) of its own, until the server is stopped; then drains.
///
/// `start` begins to serve a connection, on the accept loop's thread or on another.
fn accept_until_stopped(
    mut site: Site,
    start: impl Fn(Connection) -> io::Result<()> + Send + Sync + 'static,
) -> io::Result<()> {
    site.announce()?;
    let Site { running, listeners, .. } = site;
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

/// Starts a thread for each connection: green inside a runtime, an OS thread outside.
fn thread_per_connection<H>(
    running: &Arc<Running>,
    handler: H,
) -> impl Fn(Connection) -> io::Result<()> + use<H>
where
    H: Fn(Connection) -> io::Result<()> + Send + Sync + 'static,
{
    let (running, handler) = (Arc::clone(running), Arc::new(handler));
    move |connection| {
        let (running, handler) = (Arc::clone(&running), Arc::clone(&handler));
        let name = connection.peer_addr().to_string();
        Builder::new().name(name).spawn(move || serve_connection(&running, &*handler, connection)).map(drop)
    }
}
