//! The contenders.

use crate::micro::{self, Measure};
use crate::server::{self, Serve};

/// A runtime or a hand-written loop. `None`: it has no such part.
pub(crate) struct Contender {
    pub(crate) name: &'static str,
    pub(crate) serve: Option<Serve>,
    pub(crate) micro: Option<Measure>,
}

/// All contenders. The first one's figures are the unit of the others.
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
            format!("there is no contender {name:?}; there are {}", names.join(", "))
        })
    }
}
