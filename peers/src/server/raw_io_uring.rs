//! The limit for completion-based I/O: multishot receives into provided buffers, upper-cased in place, sent from the same
//! buffers. Whatever arrives on a connection during a send goes out as one message.

use std::io;
use std::net::TcpListener;
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};

use super::BUFFER_BYTES;
use crate::ring::{Event, Ring};

const BUFFERS: u16 = 1024;

/// The kernel's limit for the parts of a message.
const PARTS_MAX: usize = 1024;

/// A connection. It is boxed, since the kernel reads `message` by address.
struct Connection {
    /// Buffers to be sent, and the bytes in each, in order. The first `sending` of them are with the kernel.
    pieces: Vec<(u16, usize)>,
    sending: usize,
    parts: Vec<libc::iovec>,
    message: libc::msghdr,
    ended: bool,
    /// Whether it had an event in this turn.
    touched: bool,
}

impl Connection {
    fn new() -> Box<Connection> {
        // SAFETY: all zeroes is a message without parts.
        let message = unsafe { std::mem::zeroed() };
        Box::new(Connection {
            pieces: Vec::new(),
            sending: 0,
            parts: Vec::new(),
            message,
            ended: false,
            touched: false,
        })
    }
}

pub(crate) fn serve(listener: TcpListener) -> io::Result<()> {
    let mut ring = Ring::open(BUFFERS, BUFFER_BYTES)?;
    ring.accept(listener.as_raw_fd());
    let mut connections: Vec<Option<Box<Connection>>> = Vec::new();
    let mut events = Vec::new();
    let mut touched = Vec::new();
    loop {
        ring.turn(&mut events)?;
        for event in events.drain(..) {
            let socket = match event {
                Event::Accepted(socket) => {
                    add(socket, &mut connections)?;
                    ring.receive(socket);
                    continue;
                }
                Event::Received { socket, .. } | Event::Ended { socket, .. } | Event::Sent { socket, .. } => {
                    socket
                }
            };
            let connection = connections[socket as usize].as_mut().expect("it was accepted");
            take(&mut ring, connection, event);
            if !std::mem::replace(&mut connection.touched, true) {
                touched.push(socket);
            }
        }
        for socket in touched.drain(..) {
            let slot = &mut connections[socket as usize];
            let connection = slot.as_mut().expect("it was touched");
            connection.touched = false;
            if connection.sending == 0 && !connection.pieces.is_empty() {
                send(&mut ring, socket, connection);
            } else if connection.sending == 0 && connection.ended {
                *slot = None;
                // SAFETY: the kernel uses nothing of it, and nobody else owns it.
                drop(unsafe { OwnedFd::from_raw_fd(socket) });
            }
        }
    }
}

fn add(socket: RawFd, connections: &mut Vec<Option<Box<Connection>>>) -> io::Result<()> {
    // SAFETY: the kernel has just opened it for us.
    let stream = unsafe { std::net::TcpStream::from_raw_fd(socket) };
    stream.set_nodelay(true)?;
    let index = stream.into_raw_fd() as usize;
    if index >= connections.len() {
        connections.resize_with(index + 1, || None);
    }
    connections[index] = Some(Connection::new());
    Ok(())
}

fn take(ring: &mut Ring, connection: &mut Connection, event: Event) {
    match event {
        Event::Received { buffer, length, .. } => {
            ring.bytes(buffer, length).make_ascii_uppercase();
            connection.pieces.push((buffer, length));
        }
        Event::Sent { result, .. } => {
            let over = if result < 0 { connection.pieces.len() } else { connection.sending };
            for (buffer, _) in connection.pieces.drain(..over) {
                ring.give_back(buffer);
            }
            connection.sending = 0;
        }
        _ => connection.ended = true,
    }
}

fn send(ring: &mut Ring, socket: RawFd, connection: &mut Connection) {
    connection.sending = connection.pieces.len().min(PARTS_MAX);
    if let [(buffer, length)] = connection.pieces[..] {
        let bytes = ring.bytes(buffer, length).as_ptr();
        // SAFETY: the buffer is given back after the send.
        return unsafe { ring.send(socket, bytes, length, false) };
    }
    connection.parts.clear();
    for &(buffer, length) in &connection.pieces[..connection.sending] {
        let iov_base = ring.bytes(buffer, length).as_mut_ptr().cast();
        connection.parts.push(libc::iovec { iov_base, iov_len: length });
    }
    connection.message.msg_iov = connection.parts.as_mut_ptr();
    connection.message.msg_iovlen = connection.sending as _;
    // SAFETY: buffers, parts and message stay valid and unchanged until the send is over; the connection is boxed.
    unsafe { ring.send_message(socket, &raw const connection.message) };
}
