//! The load generator: a closed loop on one thread. Each connection sends a batch, waits for the whole reply, checks every byte
//! of it, and sends again.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use crate::configuration::Configuration;
use crate::machine;
use crate::ring::{Event, Ring};

const BUFFERS: u16 = 2048;

/// Connections start at so many different offsets of one text, so that the reply to another connection is noticed.
const OFFSETS: usize = 4096;

/// The result of one run.
pub(crate) struct Measured {
    pub(crate) messages: u64,
    pub(crate) server_cpu: Duration,
}

impl Measured {
    /// Server CPU time per message, in microseconds.
    pub(crate) fn cpu_us(&self) -> f64 {
        self.server_cpu.as_secs_f64() * 1e6 / self.messages as f64
    }
}

struct Client {
    stream: TcpStream,
    /// Where its batch begins in the text.
    start: usize,
    /// Bytes received of the current reply.
    received: usize,
}

/// Loads `server`, whose process is `process`, for `warm_up` and then measures for `window`.
pub(crate) fn generate(
    server: SocketAddr,
    process: u32,
    configuration: &Configuration,
    warm_up: Duration,
    window: Duration,
) -> io::Result<Measured> {
    let batch = configuration.batch_bytes();
    let request = text(batch + OFFSETS);
    let reply = request.to_ascii_uppercase();
    let mut ring = Ring::open(BUFFERS, if batch <= 1024 { 1024 } else { 16384 })?;
    // By descriptor.
    let mut clients: Vec<Option<Client>> = Vec::new();
    for number in 0..configuration.connections {
        let stream = connect(server)?;
        let (socket, start) = (stream.as_raw_fd(), number * 61 % OFFSETS);
        clients.resize_with(clients.len().max(socket as usize + 1), || None);
        clients[socket as usize] = Some(Client { stream, start, received: 0 });
        ring.receive(socket);
        // SAFETY: the text outlives the ring's use below.
        unsafe { ring.send(socket, request[start..].as_ptr(), batch, true) };
    }
    let begin = Instant::now();
    let mut measured_from = None;
    let mut messages = 0;
    let mut events = Vec::new();
    loop {
        ring.turn(&mut events)?;
        for event in events.drain(..) {
            let (socket, buffer, length) = match event {
                Event::Received { socket, buffer, length } => (socket, buffer, length),
                Event::Sent { result: 0.., .. } => continue,
                Event::Ended { error, .. } if error != 0 => return Err(io::Error::from_raw_os_error(error)),
                _ => return Err(io::Error::other("the server has closed a connection")),
            };
            let client = clients[socket as usize].as_mut().expect("it is a client's");
            let from = client.start + client.received;
            let rest = batch - client.received;
            if length > rest || *ring.bytes(buffer, length) != reply[from..from + length] {
                return Err(io::Error::other("a reply is wrong"));
            }
            ring.give_back(buffer);
            client.received += length;
            if client.received == batch {
                client.received = 0;
                messages += configuration.pipeline as u64;
                // SAFETY: the text outlives the ring's use, and the last send is over, since the reply is there.
                unsafe {
                    ring.send(client.stream.as_raw_fd(), request[client.start..].as_ptr(), batch, true)
                };
            }
        }
        match measured_from {
            None if begin.elapsed() >= warm_up => {
                messages = 0;
                measured_from = Some((Instant::now(), machine::cpu_time(process)?));
            }
            Some((from, cpu_before)) if from.elapsed() >= window => {
                return Ok(Measured { messages, server_cpu: machine::cpu_time(process)? - cpu_before });
            }
            _ => {}
        }
    }
}

/// Returns random lower-case letters.
fn text(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let letters = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        b'a' + (state % 26) as u8
    });
    letters.take(length).collect()
}

/// Connects such that closing resets the connection, which leaves nothing behind in the kernel.
fn connect(server: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(server)?;
    stream.set_nodelay(true)?;
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    // SAFETY: the kernel reads one `linger`.
    unsafe {
        let (value, length) = ((&raw const linger).cast(), size_of::<libc::linger>() as libc::socklen_t);
        libc::setsockopt(stream.as_raw_fd(), libc::SOL_SOCKET, libc::SO_LINGER, value, length);
    }
    Ok(stream)
}
