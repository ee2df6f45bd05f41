//! Who takes part.

use std::io;
use std::net::TcpListener;

use crate::micro;
use crate::micro::Costs;
use crate::server;

/// Serves on the listener until the process ends.
pub(crate) type Serve = fn(TcpListener) -> io::Result<()>;

/// One runtime, or loop.
pub(crate) struct Contender {
    pub(crate) name: &'static str,
    pub(crate) serve: Option<Serve>,
    pub(crate) micro: Option<fn() -> Costs>,
}

/// The first one is what the others are divided by.
pub(crate) const CONTENDERS: &[Contender] = &[
    Contender { name: "raw-io_uring", serve: Some(server::raw_io_uring::serve), micro: None },
    Contender { name: "raw-epoll", serve: Some(server::raw_epoll::serve), micro: None },
    Contender {
        name: "sward-io_uring",
        serve: Some(server::sward::serve_io_uring),
        micro: Some(micro::sward::measure),
    },
    Contender { name: "sward-epoll", serve: Some(server::sward::serve_epoll), micro: None },
    Contender { name: "tokio", serve: Some(server::tokio::serve), micro: Some(micro::tokio::measure) },
    Contender { name: "monoio", serve: Some(server::monoio::serve), micro: None },
    Contender { name: "may", serve: Some(server::may::serve), micro: Some(micro::may::measure) },
    Contender { name: "os-threads", serve: None, micro: Some(micro::os_threads::measure) },
];

impl Contender {
    pub(crate) fn named(name: &str) -> Result<&'static Contender, String> {
        CONTENDERS.iter().find(|contender| contender.name == name).ok_or_else(|| {
            let names: Vec<_> = CONTENDERS.iter().map(|contender| contender.name).collect();
            format!("{name:?} takes no part; there are {}", names.join(", "))
        })
    }
}
