//! What is sent, and what must come back.
//!
//! All connections send the same endless text, in which a period without any pattern repeats. Each starts at an offset of its own, so
//! that two connections, or two messages of one, send different bytes: a reply that is lost, doubled, swapped or sent to the wrong
//! connection does not match.

use super::failure::Failure;
use super::plan::Verify;

/// The period, in bytes. It is prime, so messages of any size start at every offset before one repeats. It is short, so it stays in the
/// processor's first-level cache: with 64 KiB and 1000 connections, sending and comparing waited for memory.
const PERIOD: usize = 4093;

/// The distance between the offsets of neighbouring connections, in bytes. It is no multiple of [`PERIOD`].
const STRIDE: usize = 1249;

/// The text and its replies, shared by all connections.
pub(super) struct Payload {
    /// One period, and as many more bytes as are ever taken in one piece.
    sent: Box<[u8]>,
    /// As long as `sent`; empty if replies are not compared.
    replies: Box<[u8]>,
}

impl Payload {
    /// Creates a text from which `piece_bytes` can be taken at a time.
    pub(super) fn new(piece_bytes: usize, verify: Verify) -> Payload {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let period: Vec<u8> = (0..PERIOD)
            .map(|_| {
                // Marsaglia's xorshift. Printable ASCII of both cases shows a server that changes more than lower-case letters.
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                b' ' + (state % 95) as u8
            })
            .collect();
        let sent: Box<[u8]> = period.iter().copied().cycle().take(PERIOD + piece_bytes).collect();
        let replies = match verify {
            Verify::Upper => sent.to_ascii_uppercase().into(),
            Verify::Echo => sent.clone(),
            Verify::None => Box::default(),
        };
        Payload { sent, replies }
    }

    /// Returns the offset at which connection `number` starts.
    pub(super) fn offset(number: usize) -> PayloadOffset {
        PayloadOffset((number % PERIOD) * STRIDE % PERIOD)
    }

    /// Returns the next `length` bytes to send.
    #[inline]
    pub(super) fn at(&self, place: PayloadOffset, length: usize) -> &[u8] {
        &self.sent[place.0..][..length]
    }
}

/// An offset in the period.
#[derive(Clone, Copy)]
pub(super) struct PayloadOffset(usize);

impl PayloadOffset {
    /// Advances by `length` bytes.
    #[inline]
    pub(super) fn advance(&mut self, length: usize) {
        self.0 += length;
        if self.0 >= PERIOD {
            self.0 %= PERIOD;
        }
    }
}

/// The replies of one connection so far.
pub(super) struct Replies<'a> {
    payload: &'a Payload,
    /// The connection's number.
    connection: usize,
    place: PayloadOffset,
    /// Bytes of a message.
    size: usize,
    /// Whole replies so far.
    pub(super) messages: u64,
    /// Bytes of the next reply that have come, less than `size`.
    partial: usize,
}

impl<'a> Replies<'a> {
    pub(super) fn new(payload: &'a Payload, connection: usize, size: usize) -> Replies<'a> {
        Replies { payload, connection, place: Payload::offset(connection), size, messages: 0, partial: 0 }
    }

    /// Checks received bytes, at most one piece, and returns how many replies they complete.
    ///
    /// # Errors
    /// They differ from what was expected.
    #[inline]
    pub(super) fn accept(&mut self, bytes: &[u8]) -> Result<u64, Failure> {
        if !self.payload.replies.is_empty() {
            let expected = &self.payload.replies[self.place.0..][..bytes.len()];
            if bytes != expected {
                return Err(self.mismatch(bytes, expected));
            }
        }
        self.place.advance(bytes.len());
        self.partial += bytes.len();
        let mut completed = 0;
        if self.partial >= self.size {
            completed = (self.partial / self.size) as u64;
            self.partial %= self.size;
            self.messages += completed;
        }
        Ok(completed)
    }

    /// Returns whether more bytes have come than `sent` messages ask for.
    #[inline]
    pub(super) fn is_beyond(&self, sent: u64) -> bool {
        self.messages > sent || (self.messages == sent && self.partial > 0)
    }

    #[cold]
    fn mismatch(&self, bytes: &[u8], expected: &[u8]) -> Failure {
        let first = bytes.iter().zip(expected).position(|(got, expected)| got != expected).unwrap_or(0);
        let offset = self.partial + first;
        Failure::WrongBytes {
            connection: self.connection,
            message: self.messages + (offset / self.size) as u64,
            offset: offset % self.size,
            expected: expected[first],
            got: bytes[first],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A mistake in the arithmetic of offsets shows where the period wraps around.
    #[test]
    fn replies_match_in_any_chunks_round_and_round() {
        for (size, chunk) in [(64, 64), (1, 1000), (1000, 1), (70_000, 4096), (7, 13)] {
            let payload = Payload::new(70_000, Verify::Upper);
            let mut replies = Replies::new(&payload, 3, size);
            let (mut place, mut total) = (Payload::offset(3), 0);
            while total < 3 * PERIOD {
                let mut bytes = payload.at(place, chunk).to_vec();
                bytes.make_ascii_uppercase();
                replies.accept(&bytes).unwrap();
                place.advance(chunk);
                total += chunk;
            }
            assert_eq!(replies.messages, (total / size) as u64, "{size} {chunk}");
        }
    }

    #[test]
    fn says_where_a_byte_is_wrong() {
        let payload = Payload::new(4096, Verify::Echo);
        let mut replies = Replies::new(&payload, 5, 10);
        let place = Payload::offset(5);
        assert_eq!(replies.accept(&payload.at(place, 40)[..13]).unwrap(), 1);
        let mut bytes = payload.at(place, 40)[13..].to_vec();
        bytes[12] ^= 0x80;
        match replies.accept(&bytes).unwrap_err() {
            Failure::WrongBytes { connection: 5, message: 2, offset: 5, expected, got } => {
                assert_eq!(expected ^ got, 0x80);
            }
            other => panic!("{other:?}"),
        }
    }

    /// Otherwise a reply that went to a neighbour would pass.
    #[test]
    fn neighbours_and_successive_messages_differ() {
        let payload = Payload::new(4096, Verify::Echo);
        let start = |connection| payload.at(Payload::offset(connection), 64);
        for connection in 0..1000 {
            assert_ne!(start(connection), start(connection + 1));
            let mut next = Payload::offset(connection);
            next.advance(64);
            assert_ne!(start(connection), payload.at(next, 64));
        }
    }
}
