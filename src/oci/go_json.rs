//! JSON as Go's `encoding/json` writes it, where its bytes are what counts.

use std::io;

use serde_json::ser::{CompactFormatter, Formatter};

/// Go's `json.Marshal`, for what has its fields and keys in Go's order.
///
/// What Go writes otherwise than `serde_json`: in strings it escapes what means something in HTML, and the two line
/// separators that JavaScript once did not take. The short escapes `\b` and `\f` are those of Go 1.22 and later.
#[derive(Debug)]
pub struct GoFormatter;

impl Formatter for GoFormatter {
    fn write_string_fragment<W: ?Sized + io::Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        let mut rest = fragment;
        while let Some(at) = rest.find(['<', '>', '&', '\u{2028}', '\u{2029}']) {
            let (plain, escaped) = rest.split_at(at);
            CompactFormatter.write_string_fragment(writer, plain)?;
            let mut characters = escaped.chars();
            let code = characters.next().map_or(0, u32::from);
            write!(writer, "\\u{code:04x}")?;
            rest = characters.as_str();
        }
        CompactFormatter.write_string_fragment(writer, rest)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that fails panics")]
mod tests {
    use serde::Serialize as _;
    use serde_json::ser::Serializer;

    use super::*;

    #[test]
    fn strings_as_go_writes_them() {
        let text = "a<b>&\"\\\u{1}\u{8}\u{c}\n\r\t\u{7f}é\u{2028}\u{2029}日";
        let mut json = Vec::new();
        text.serialize(&mut Serializer::with_formatter(&mut json, GoFormatter)).unwrap();
        let expected = r#""a\u003cb\u003e\u0026\"\\\u0001\b\f\n\r\t"#.to_owned() + "\u{7f}é" + r"\u2028\u2029日" + "\"";
        assert_eq!(String::from_utf8(json.clone()).unwrap(), expected);
        assert_eq!(serde_json::from_slice::<String>(&json).unwrap(), text);
    }
}
