//! monoio on io_uring: a call takes ownership of the buffer, and returns it.

use std::io;

use monoio::io::{AsyncReadRent, AsyncWriteRentExt};
use monoio::net::{TcpListener, TcpStream};
use monoio::{IoUringDriver, RuntimeBuilder};

use super::BUFFER_BYTES;

pub(crate) fn serve(listener: std::net::TcpListener) -> io::Result<()> {
    RuntimeBuilder::<IoUringDriver>::new().with_entries(4096).build()?.block_on(async move {
        let listener = TcpListener::from_std(listener)?;
        loop {
            let (stream, _) = listener.accept().await?;
            monoio::spawn(upper(stream));
        }
    })
}

async fn upper(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = Vec::with_capacity(BUFFER_BYTES);
    loop {
        let (read, filled) = stream.read(buffer).await;
        if read? == 0 {
            return Ok(());
        }
        buffer = filled;
        buffer.make_ascii_uppercase();
        let (written, emptied) = stream.write_all(buffer).await;
        written?;
        buffer = emptied;
        buffer.clear();
    }
}
