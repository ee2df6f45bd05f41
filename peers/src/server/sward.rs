//! sward: plain blocking code.

use std::io;

use sward::net::{TcpListener, TcpStream};
use sward::{Builder, EngineKind, thread};

use super::BUFFER_BYTES;

pub(crate) fn serve_io_uring(listener: std::net::TcpListener) -> io::Result<()> {
    serve(listener, EngineKind::IoUring)
}

pub(crate) fn serve_epoll(listener: std::net::TcpListener) -> io::Result<()> {
    serve(listener, EngineKind::Epoll)
}

fn serve(listener: std::net::TcpListener, engine: EngineKind) -> io::Result<()> {
    let accept = move || {
        for stream in TcpListener::from(listener).incoming() {
            let stream = stream?;
            thread::spawn(move || upper(stream));
        }
        Ok(())
    };
    // SAFETY: nothing here holds a scoped thread-local value across a blocking call.
    unsafe { Builder::new().workers(1).engine(engine).run(accept)? }
}

fn upper(stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    super::upper(stream, &mut [0; BUFFER_BYTES])
}
