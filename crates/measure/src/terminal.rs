//! Text for a terminal. Much of it comes from outside, such as errors, commands and the processor's name, and may contain escape sequences.

use std::borrow::Cow;
use std::io::{Write, stderr};

/// Writes a line to standard error, with control characters escaped. Ignores errors: a full disk is no reason to stop measuring.
///
/// This is for programs that also write a status line to the same terminal, in order. Others use `sward::report`, which never
/// blocks, but writes later.
pub fn notice(line: &str) {
    let _ = writeln!(stderr(), "{}", printable(line));
}

/// Escapes characters that a terminal or a browser would interpret, as in `\u{1b}`: control characters other than line feeds, and those
/// that change the direction of text.
#[must_use]
pub fn printable(text: &str) -> Cow<'_, str> {
    if text.chars().all(is_plain) {
        return text.into();
    }
    let escape =
        |each: char| if is_plain(each) { each.to_string() } else { each.escape_unicode().to_string() };
    text.chars().map(escape).collect()
}

fn is_plain(character: char) -> bool {
    match character {
        '\n' => true,
        // Marks, separators, embeddings and isolates of the bidirectional algorithm; and noncharacters, which XML forbids.
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => false,
        '\u{fffe}' | '\u{ffff}' => false,
        other => !other.is_control(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_obeys_becomes_visible() {
        assert_eq!(printable("plain: µs – ✓\nnext"), "plain: µs – ✓\nnext");
        assert_eq!(printable("\u{1b}[2J\r\0\u{9b}\u{202e}"), "\\u{1b}[2J\\u{d}\\u{0}\\u{9b}\\u{202e}");
    }
}
