//! Clients of the service `upper`: many at once, large and slow, and ill-mannered.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use socket2::SockRef;

use crate::server::PATIENCE;

/// What goes through one connection in one piece, in bytes.
const LARGE: usize = 8 << 20;

pub(crate) fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// A small generator of numbers that are alike in every run (xorshift).
pub(crate) struct Numbers(u64);

impl Numbers {
    pub(crate) fn new(seed: u64) -> Numbers {
        Numbers(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// At least 1, at most `most`.
    pub(crate) fn up_to(&mut self, most: usize) -> usize {
        1 + (self.next() >> 16) as usize % most
    }

    /// All kinds of bytes, so that lost, repeated and swapped ones show.
    pub(crate) fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| (self.next() >> 24) as u8).collect()
    }
}

/// `count` clients at once; each says some pieces of some size and gets each back before the next. Gives the bytes said.
pub(crate) fn chatter(address: SocketAddr, count: usize) -> u64 {
    let streams: Vec<TcpStream> = (0..count).map(|_| connect(address)).collect();
    std::thread::scope(|scope| {
        let talk = |(seed, stream)| {
            let thread = std::thread::Builder::new().stack_size(128 << 10);
            thread.spawn_scoped(scope, move || converse(stream, Numbers::new(seed))).unwrap()
        };
        let threads: Vec<_> = (0..).zip(streams).map(talk).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    })
}

fn converse(mut stream: TcpStream, mut numbers: Numbers) -> u64 {
    let mut said = 0;
    for _ in 0..numbers.up_to(8) {
        let length = numbers.up_to(6000);
        let message = numbers.bytes(length);
        for chunk in message.chunks(numbers.up_to(3000)) {
            stream.write_all(chunk).unwrap();
        }
        let mut answer = vec![0; length];
        for chunk in answer.chunks_mut(numbers.up_to(3000)) {
            stream.read_exact(chunk).unwrap();
        }
        assert!(answer == message.to_ascii_uppercase(), "another answer than what was said");
        said += length as u64;
    }
    said
}

/// 8 MiB in one piece, from a client that takes its time to read, so that the server's writes have to wait. Gives the bytes said.
pub(crate) fn slow_reader(address: SocketAddr) -> u64 {
    let stream = connect(address);
    let message = Numbers::new(8).bytes(LARGE);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            (&stream).write_all(&message).unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
        });
        let mut answer = Vec::with_capacity(LARGE);
        let mut piece = vec![0; 256 << 10];
        loop {
            // Waits for nothing: it is the time that this reader takes.
            std::thread::sleep(Duration::from_millis(2));
            match (&stream).read(&mut piece).unwrap() {
                0 => break,
                length => answer.extend_from_slice(&piece[..length]),
            }
        }
        assert!(answer == message.to_ascii_uppercase(), "another answer than what was said");
    });
    LARGE as u64
}

/// Clients that end otherwise than by closing when all is said and answered.
#[derive(Clone, Copy)]
pub(crate) enum Odd {
    /// Says something and resets the connection.
    Reset,
    /// Says that it will say no more, and reads to the end.
    HalfClose,
    /// Says much, reads nothing, and goes.
    Vanish,
}

impl Odd {
    pub(crate) fn visit(self, address: SocketAddr) {
        let mut stream = connect(address);
        match self {
            Odd::Reset => {
                stream.write_all(b"never mind").unwrap();
                SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
            }
            Odd::HalfClose => {
                stream.write_all(b"that is all").unwrap();
                stream.shutdown(Shutdown::Write).unwrap();
                let mut answer = String::new();
                stream.read_to_string(&mut answer).unwrap();
                assert_eq!(answer, "THAT IS ALL");
            }
            Odd::Vanish => {
                stream.set_nonblocking(true).unwrap();
                let much = [b'm'; 64 << 10];
                // Until the buffers of both sides are full or a megabyte is said.
                for _ in 0..16 {
                    if stream.write(&much).is_err() {
                        break;
                    }
                }
            }
        }
    }
}
