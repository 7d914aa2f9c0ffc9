//! Writing strings, lists and maps the way go-yaml v2 does: the styles, quoting, folding and indentation of the
//! libyaml emitter it is a port of, for block collections.

use std::fmt::Write as _;

use super::scalar::{self, Resolved};

/// Lines are folded at the first single space past this column.
const BEST_WIDTH: usize = 80;
const INDENT: usize = 2;
/// A longer key is written in the `? key` form.
const MAX_SIMPLE_KEY_BYTES: usize = 128;

/// A YAML document in the making; starts with `---`.
#[derive(Debug)]
pub(super) struct Emitter {
    out: String,
    /// In characters.
    column: usize,
    indent: usize,
    /// Whether the last thing written was white space, so that no more is needed.
    whitespace: bool,
    /// Whether only indentation and indicators were written on this line.
    indention: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Style {
    Plain,
    SingleQuoted,
    DoubleQuoted,
    Literal,
}

impl Emitter {
    pub(super) fn new() -> Self {
        Self { out: "---\n".to_owned(), column: 0, indent: 0, whitespace: true, indention: true }
    }

    pub(super) fn finish(mut self) -> Vec<u8> {
        self.write_indent();
        self.out.into_bytes()
    }

    /// A map's key, and the colon behind it. What follows is its value.
    pub(super) fn key(&mut self, key: &str) {
        self.write_indent();
        let analysis = Analysis::of(key);
        if key.len() <= MAX_SIMPLE_KEY_BYTES && !analysis.line_breaks {
            self.scalar(key, &analysis, true);
            self.indicator(":", false, false);
        } else {
            self.indicator("?", true, true);
            self.scalar(key, &analysis, false);
            self.write_indent();
            self.indicator(":", true, true);
        }
    }

    /// A string as a value.
    pub(super) fn string(&mut self, value: &str) {
        self.scalar(value, &Analysis::of(value), false);
    }

    /// A boolean, null or empty list.
    pub(super) fn word(&mut self, word: &str) {
        self.indicator(word, true, false);
    }

    /// The dash of a list item. A list in a map is not indented against it.
    pub(super) fn item(&mut self) {
        self.write_indent();
        self.indicator("-", true, true);
    }

    /// What `write` writes stands one level further in.
    pub(super) fn nested(&mut self, write: impl FnOnce(&mut Self)) {
        self.indent += INDENT;
        write(self);
        self.indent -= INDENT;
    }

    fn scalar(&mut self, value: &str, analysis: &Analysis, simple_key: bool) {
        // Scalars, too, count as one level: their continuation lines are indented.
        self.nested(|emitter| match analysis.style(value, simple_key) {
            Style::Plain => emitter.write_plain(value, !simple_key),
            Style::SingleQuoted => emitter.write_single_quoted(value, !simple_key),
            Style::DoubleQuoted => emitter.write_double_quoted(value, !simple_key),
            Style::Literal => emitter.write_literal(value),
        });
    }

    fn write_plain(&mut self, value: &str, allow_breaks: bool) {
        if !self.whitespace {
            self.put(' ');
        }
        self.write_folding(value, false, |emitter, space| {
            allow_breaks && emitter.column > BEST_WIDTH && !space.next_is_space
        });
        self.whitespace = false;
        self.indention = false;
    }

    fn write_single_quoted(&mut self, value: &str, allow_breaks: bool) {
        self.indicator("'", true, false);
        self.write_folding(value, true, |emitter, space| {
            allow_breaks && emitter.column > BEST_WIDTH && space.inside && !space.next_is_space
        });
        self.indicator("'", false, false);
    }

    /// The common loop of plain and single-quoted scalars: `fold` says whether a space becomes a line break.
    fn write_folding(&mut self, value: &str, quoted: bool, fold: impl Fn(&Self, Space) -> bool) {
        let (mut spaces, mut breaks) = (false, false);
        for (at, c) in value.char_indices() {
            if c == ' ' {
                if !spaces && fold(self, Space::at(value, at)) {
                    self.write_indent();
                } else {
                    self.put(' ');
                }
                spaces = true;
            } else if is_break(c) {
                if !breaks && c == '\n' {
                    self.put_break('\n');
                }
                self.put_break(c);
                self.indention = true;
                breaks = true;
            } else {
                if breaks {
                    self.write_indent();
                }
                if quoted && c == '\'' {
                    self.put('\'');
                }
                self.put(c);
                self.indention = false;
                spaces = false;
                breaks = false;
            }
        }
    }

    fn write_double_quoted(&mut self, value: &str, allow_breaks: bool) {
        self.indicator("\"", true, false);
        let mut spaces = false;
        for (at, c) in value.char_indices() {
            if !is_printable(c) || is_break(c) || c == '"' || c == '\\' {
                self.put('\\');
                self.write_escape(c);
                spaces = false;
            } else if c == ' ' {
                let space = Space::at(value, at);
                if allow_breaks && !spaces && self.column > BEST_WIDTH && space.inside {
                    self.write_indent();
                    if space.next_is_space {
                        self.put('\\');
                    }
                } else {
                    self.put(' ');
                }
                spaces = true;
            } else {
                self.put(c);
                spaces = false;
            }
        }
        self.indicator("\"", false, false);
    }

    fn write_escape(&mut self, c: char) {
        let short = match c {
            '\0' => '0',
            '\x07' => 'a',
            '\x08' => 'b',
            '\t' => 't',
            '\n' => 'n',
            '\x0B' => 'v',
            '\x0C' => 'f',
            '\r' => 'r',
            '\x1B' => 'e',
            '"' | '\\' => c,
            '\u{85}' => 'N',
            '\u{A0}' => '_',
            '\u{2028}' => 'L',
            '\u{2029}' => 'P',
            _ => {
                let code = u32::from(c);
                let start = self.out.len();
                // Writing to a string cannot fail.
                let _ = match code {
                    0..=0xFF => write!(self.out, "x{code:02X}"),
                    0x100..=0xFFFF => write!(self.out, "u{code:04X}"),
                    _ => write!(self.out, "U{code:08X}"),
                };
                self.column += self.out.len() - start;
                return;
            }
        };
        self.put(short);
    }

    fn write_literal(&mut self, value: &str) {
        self.indicator("|", true, false);
        if value.starts_with(|c| c == ' ' || is_break(c)) {
            self.indicator("2", false, false);
        }
        let mut from_end = value.chars().rev();
        match (from_end.next().is_some_and(is_break), from_end.next()) {
            (false, _) => self.indicator("-", false, false),
            (true, None) => self.indicator("+", false, false),
            (true, Some(c)) if is_break(c) => self.indicator("+", false, false),
            (true, Some(_)) => {}
        }
        self.put_break('\n');
        self.indention = true;
        self.whitespace = true;
        let mut breaks = true;
        for c in value.chars() {
            if is_break(c) {
                self.put_break(c);
                self.indention = true;
                breaks = true;
            } else {
                if breaks {
                    self.write_indent();
                }
                self.put(c);
                self.indention = false;
                breaks = false;
            }
        }
    }

    fn write_indent(&mut self) {
        let indent = self.indent;
        if !self.indention || self.column > indent || (self.column == indent && !self.whitespace) {
            self.put_break('\n');
        }
        while self.column < indent {
            self.put(' ');
        }
        self.whitespace = true;
        self.indention = true;
    }

    fn indicator(&mut self, indicator: &str, needs_whitespace: bool, is_indention: bool) {
        if needs_whitespace && !self.whitespace {
            self.put(' ');
        }
        self.out.push_str(indicator);
        self.column += indicator.len();
        self.whitespace = false;
        self.indention &= is_indention;
    }

    fn put(&mut self, c: char) {
        self.out.push(c);
        self.column += 1;
    }

    fn put_break(&mut self, c: char) {
        self.out.push(c);
        self.column = 0;
    }
}

/// A space and what surrounds it in its value.
#[derive(Clone, Copy)]
struct Space {
    /// Neither the first nor the last character.
    inside: bool,
    next_is_space: bool,
}

impl Space {
    fn at(value: &str, at: usize) -> Self {
        let next = value.as_bytes().get(at + 1);
        Self { inside: at > 0 && next.is_some(), next_is_space: next == Some(&b' ') }
    }
}

/// What a value contains, as far as styles depend on it.
#[derive(Debug, Default)]
struct Analysis {
    indicators: bool,
    line_breaks: bool,
    special: bool,
    leading_or_trailing: bool,
    trailing_space: bool,
    break_then_space: bool,
    space_then_break: bool,
}

impl Analysis {
    fn of(value: &str) -> Self {
        let mut found = Self { indicators: value.starts_with("---") || value.starts_with("..."), ..Self::default() };
        let mut before: Option<char> = None;
        let mut characters = value.chars().peekable();
        while let Some(c) = characters.next() {
            let after = characters.peek().copied();
            let followed_by_blank = after.is_none_or(|c| c == ' ' || c == '\t');
            found.indicators |= match (before, c) {
                (
                    None,
                    '#' | ',' | '[' | ']' | '{' | '}' | '&' | '*' | '!' | '|' | '>' | '\'' | '"' | '%' | '@' | '`',
                ) => true,
                (None, '?' | '-') | (_, ':') => followed_by_blank,
                (Some(before), '#') => matches!(before, ' ' | '\t' | '\0') || is_break(before),
                _ => false,
            };
            found.special |= !is_printable(c);
            let edge = before.is_none() || after.is_none();
            if c == ' ' {
                found.leading_or_trailing |= edge;
                found.trailing_space |= after.is_none();
                found.break_then_space |= before.is_some_and(is_break);
            } else if is_break(c) {
                found.line_breaks = true;
                found.leading_or_trailing |= edge;
                found.space_then_break |= before == Some(' ');
            }
            before = Some(c);
        }
        found
    }

    /// go-yaml asks for a literal block where there are newlines, for quotes where a plain scalar would read as
    /// something else; libyaml then falls back to the next style that can hold the value.
    fn style(&self, value: &str, simple_key: bool) -> Style {
        let inexact = self.special || self.space_then_break;
        if value.contains('\n') {
            let block = !inexact && !self.trailing_space && !simple_key;
            return if block { Style::Literal } else { Style::DoubleQuoted };
        }
        if scalar::resolve(value) != Resolved::Text || scalar::is_base60(value) {
            return Style::DoubleQuoted;
        }
        if inexact || self.break_then_space || (simple_key && self.line_breaks) {
            return Style::DoubleQuoted;
        }
        let plain = !self.leading_or_trailing && !self.line_breaks && !self.indicators;
        if plain { Style::Plain } else { Style::SingleQuoted }
    }
}

/// libyaml's line breaks, all five.
fn is_break(c: char) -> bool {
    matches!(c, '\n' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

/// What go-yaml writes as it is. Characters beyond U+FFFF are not among them.
fn is_printable(c: char) -> bool {
    matches!(c, '\n' | ' '..='~' | '\u{A0}'..='\u{FEFE}' | '\u{FF00}'..='\u{FFFD}')
}
