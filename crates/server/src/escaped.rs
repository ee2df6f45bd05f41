//! Texts that a client may have written (an error or a panic that quotes it), on their way to the log.
//!
//! A line of the log is one report, and a terminal shows it as it is: so line feeds, escape sequences and whatever else is not printed
//! stand there as a Rust literal has them. Quotation marks stay, and what is endless is cut off.

use std::fmt::{self, Write};

/// The longest text, in characters.
const LENGTH_MAX: usize = 1000;

/// A text as it may be printed.
pub(crate) struct Escaped<'a>(pub(crate) &'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, letter) in self.0.chars().enumerate() {
            match letter {
                _ if index == LENGTH_MAX => return formatter.write_str("…"),
                '\'' | '"' => formatter.write_char(letter)?,
                _ => write!(formatter, "{}", letter.escape_debug())?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_print_is_escaped() {
        let escaped = |text| Escaped(text).to_string();
        assert_eq!(escaped("it's \"größer\""), "it's \"größer\"");
        assert_eq!(escaped("a\nsward: b\r\t\0\u{1b}[2J"), r"a\nsward: b\r\t\0\u{1b}[2J");
        assert_eq!(escaped("\u{202e}txt\u{200b}\u{85}"), r"\u{202e}txt\u{200b}\u{85}");
        assert_eq!(escaped(r"a\n"), r"a\\n", "not to be mistaken for a line feed");
    }

    #[test]
    fn what_is_endless_is_cut_off() {
        assert_eq!(Escaped(&"é".repeat(LENGTH_MAX)).to_string().chars().count(), LENGTH_MAX);
        let cut = Escaped(&"é".repeat(LENGTH_MAX + 1)).to_string();
        assert!(cut.ends_with("é…") && cut.chars().count() == LENGTH_MAX + 1);
    }
}
