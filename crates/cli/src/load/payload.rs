//! What is sent, and what has to come back.
//!
//! There is one long text without pattern, read round and round. Each connection begins at a place of its own and just goes on, so that
//! two connections, or two messages of one, send different bytes: a reply that is lost, doubled, swapped with another
//! or sent to the wrong connection does not match.

use super::failure::Failure;
use super::plan::Verify;

/// The length after which the text repeats, in bytes. A prime: messages of any size begin at all of its places before they repeat.
/// Short, so that it stays in the processor's first cache: of 64 KiB, with 1000 connections, sending and comparing waited for memory.
const PERIOD: usize = 4093;

/// How far apart neighbouring connections begin, in bytes. Any number that is no multiple of [`PERIOD`].
const STRIDE: usize = 1249;

/// The text, and its replies. Shared by all connections.
pub(super) struct Payload {
    /// One period, and as much more as is ever taken in one piece.
    sent: Box<[u8]>,
    /// The same length; empty if replies are not compared.
    replies: Box<[u8]>,
}

impl Payload {
    /// A text of which `piece_bytes` can be taken at a time.
    pub(super) fn new(piece_bytes: usize, verify: Verify) -> Payload {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let period: Vec<u8> = (0..PERIOD)
            .map(|_| {
                // Marsaglia's xorshift. Printable ASCII, of both cases: a server that changes more than lower-case letters is found out.
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

    /// Where connection `number` begins.
    pub(super) fn offset(number: usize) -> PayloadOffset {
        PayloadOffset((number % PERIOD) * STRIDE % PERIOD)
    }

    /// The next `length` bytes to send.
    #[inline]
    pub(super) fn at(&self, place: PayloadOffset, length: usize) -> &[u8] {
        &self.sent[place.0..][..length]
    }
}

/// A place in the text.
#[derive(Clone, Copy)]
pub(super) struct PayloadOffset(usize);

impl PayloadOffset {
    /// Goes on by `length` bytes.
    #[inline]
    pub(super) fn advance(&mut self, length: usize) {
        self.0 += length;
        if self.0 >= PERIOD {
            self.0 %= PERIOD;
        }
    }
}

/// Follows the replies of one connection.
pub(super) struct Replies<'a> {
    payload: &'a Payload,
    /// The connection's number.
    connection: usize,
    place: PayloadOffset,
    /// Bytes of a message.
    size: usize,
    /// Whole replies so far.
    pub(super) messages: u64,
    /// Bytes of the next one that are here, below `size`.
    partial: usize,
}

impl<'a> Replies<'a> {
    pub(super) fn new(payload: &'a Payload, connection: usize, size: usize) -> Replies<'a> {
        Replies { payload, connection, place: Payload::offset(connection), size, messages: 0, partial: 0 }
    }

    /// Takes the bytes that have come, at most as many as the text gives in one piece. Gives the number of replies that they complete.
    ///
    /// # Errors
    /// They are not what was expected.
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

    /// Whether more bytes have come than `sent` messages ask for.
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

    /// A mistake in the arithmetic of places shows where the payload wraps round.
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
