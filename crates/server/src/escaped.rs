//! Escapes text that may come from a client, such as an error that quotes it, for the log.
//!
//! A report is one line, which a terminal may show: so line feeds, escape sequences and other characters that do not print become escapes
//! of Rust literals. Quotation marks stay as they are, and long text is cut off. (The measuring commands print text of several lines,
//! which must keep its line feeds: they have another function for that.)

use std::fmt::{self, Write};

/// Longer text is cut off after so many characters.
const LENGTH_MAX: usize = 1000;

/// Displays a text in its escaped form.
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
