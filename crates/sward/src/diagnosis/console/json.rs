//! JSON, as far as the console writes it. It reads none, and a dependency would be larger than this.

use std::fmt::{self, Write};

/// A value. Its text has no line breaks.
pub(super) enum Json {
    Null,
    Number(u64),
    Text(String),
    List(Vec<Json>),
    Object(Vec<(&'static str, Json)>),
}

/// An object with these fields.
pub(super) fn object<const FIELDS: usize>(fields: [(&'static str, Json); FIELDS]) -> Json {
    Json::Object(fields.into())
}

impl fmt::Display for Json {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Json::Null => formatter.write_str("null"),
            Json::Number(number) => number.fmt(formatter),
            Json::Text(text) => quote(text, formatter),
            Json::List(values) => {
                formatter.write_char('[')?;
                for (index, value) in values.iter().enumerate() {
                    write!(formatter, "{}{value}", if index > 0 { "," } else { "" })?;
                }
                formatter.write_char(']')
            }
            Json::Object(fields) => {
                formatter.write_char('{')?;
                for (index, (name, value)) in fields.iter().enumerate() {
                    write!(formatter, "{}\"{name}\":{value}", if index > 0 { "," } else { "" })?;
                }
                formatter.write_char('}')
            }
        }
    }
}

/// Quotes and backslashes are escaped, and the control characters, which also end lines; nothing else has to be.
fn quote(text: &str, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
    formatter.write_char('"')?;
    for letter in text.chars() {
        match letter {
            '"' | '\\' => write!(formatter, "\\{letter}")?,
            '\0'..='\x1f' => write!(formatter, "\\u{:04x}", u32::from(letter))?,
            letter => formatter.write_char(letter)?,
        }
    }
    formatter.write_char('"')
}

impl From<u64> for Json {
    fn from(number: u64) -> Json {
        Json::Number(number)
    }
}

impl From<usize> for Json {
    fn from(number: usize) -> Json {
        Json::Number(number as u64)
    }
}

impl From<String> for Json {
    fn from(text: String) -> Json {
        Json::Text(text)
    }
}

impl From<&str> for Json {
    fn from(text: &str) -> Json {
        Json::Text(text.to_owned())
    }
}

impl<T: Into<Json>> From<Option<T>> for Json {
    fn from(value: Option<T>) -> Json {
        value.map_or(Json::Null, T::into)
    }
}

impl FromIterator<Json> for Json {
    fn from_iter<Values: IntoIterator<Item = Json>>(values: Values) -> Json {
        Json::List(values.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_json_cannot_hold_is_escaped() {
        let value = object([
            ("text", "say \"\\\"\n\u{1}\u{7f} é\u{2028}".into()),
            ("list", [Json::Null, 7u64.into(), "".into()].into_iter().collect()),
            ("none", None::<u64>.into()),
            ("empty", Json::List(Vec::new())),
        ]);
        let expected = "{\"text\":\"say \\\"\\\\\\\"\\u000a\\u0001\u{7f} é\u{2028}\",\"list\":[null,7,\"\"],\"none\":null,\"empty\":[]}";
        assert_eq!(value.to_string(), expected);
    }
}
