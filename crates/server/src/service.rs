//! Ready-made handlers: plain blocking code over `Read + Write`, which knows nothing of models and engines.

use std::io::{self, ErrorKind, Read, Write};

use crate::Connection;

/// How many bytes a handler reads at once: a page, which fits every stack.
const BUFFER_BYTES: usize = 4096;

/// Sends everything back with ASCII letters in upper case, until the client closes.
///
/// # Errors
/// Reading or writing fails; [`TimedOut`](ErrorKind::TimedOut) after the idle timeout.
pub fn upper(connection: Connection) -> io::Result<()> {
    reply(connection, |message| message.make_ascii_uppercase())
}

/// Sends everything back (RFC 862), until the client closes.
///
/// # Errors
/// Reading or writing fails; [`TimedOut`](ErrorKind::TimedOut) after the idle timeout.
pub fn echo(connection: Connection) -> io::Result<()> {
    reply(connection, |_| {})
}

/// Reads everything and sends nothing (RFC 863), until the client closes.
///
/// # Errors
/// Reading fails; [`TimedOut`](ErrorKind::TimedOut) after the idle timeout.
pub fn discard(mut connection: Connection) -> io::Result<()> {
    let mut buffer = [0; BUFFER_BYTES];
    while read_some(&mut connection, &mut buffer)? > 0 {}
    Ok(())
}

/// Sends lines of characters until the client closes (RFC 864). Does not read what the client sends.
///
/// # Errors
/// Writing fails, other than because the client has closed; [`TimedOut`](ErrorKind::TimedOut) after the idle timeout.
pub fn chargen(mut connection: Connection) -> io::Result<()> {
    let lines = chargen_lines();
    loop {
        match connection.write_all(&lines) {
            Ok(()) => {}
            Err(error) if matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => {
                return Ok(());
            }
            Err(error) => return Err(error),
        }
    }
}

/// Returns one round of the pattern: 95 lines of 72 characters, each of which begins one character later than the line before.
fn chargen_lines() -> Vec<u8> {
    let printable = || b' '..=b'~';
    printable()
        .enumerate()
        .flat_map(|(first, _)| printable().cycle().skip(first).take(72).chain(*b"\r\n"))
        .collect()
}

/// Sends back each message after `change`, until the client closes.
fn reply(mut stream: impl Read + Write, change: impl Fn(&mut [u8])) -> io::Result<()> {
    let mut buffer = [0; BUFFER_BYTES];
    loop {
        let length = read_some(&mut stream, &mut buffer)?;
        if length == 0 {
            return Ok(());
        }
        let message = &mut buffer[..length];
        change(message);
        stream.write_all(message)?;
    }
}

fn read_some(stream: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match stream.read(buffer) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads and writes only some bytes at a time, as a kernel may.
    struct Stingy {
        input: Vec<u8>,
        output: Vec<u8>,
        calls: usize,
    }

    impl Stingy {
        fn portion(&mut self, offered: usize) -> io::Result<usize> {
            self.calls += 1;
            if self.calls.is_multiple_of(5) {
                Err(ErrorKind::Interrupted.into())
            } else {
                Ok(offered.min(self.calls % 7 + 1))
            }
        }
    }

    impl Read for Stingy {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let length = self.portion(buffer.len().min(self.input.len()))?;
            buffer[..length].copy_from_slice(&self.input[..length]);
            self.input.drain(..length);
            Ok(length)
        }
    }

    impl Write for Stingy {
        fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
            let length = self.portion(buffer.len())?;
            self.output.extend_from_slice(&buffer[..length]);
            Ok(length)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reply_is_whole_however_little_is_taken_at_once() {
        let input: Vec<u8> = (0..=u8::MAX).cycle().take(10_000).collect();
        let mut stream = Stingy { input: input.clone(), output: Vec::new(), calls: 0 };
        reply(&mut stream, |message| message.make_ascii_uppercase()).unwrap();
        assert_eq!(stream.output, input.to_ascii_uppercase());
    }

    #[test]
    fn chargen_follows_the_rfc() {
        let pattern = chargen_lines();
        let lines: Vec<&[u8]> = pattern.split_inclusive(|&byte| byte == b'\n').collect();
        assert_eq!(lines.len(), 95);
        assert!(lines.iter().all(|line| line.len() == 74 && line.ends_with(b"\r\n")));
        assert!(lines[0].starts_with(b" !\"#$%&'"));
        assert!(lines[1].starts_with(b"!\"#$%&'("));
        assert!(lines[94].starts_with(b"~ !\"#"));
    }
}
