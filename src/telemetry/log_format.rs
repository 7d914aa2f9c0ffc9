//! How a line of the log is written.
//!
//! One event is one line, whatever is in it: what others have a say in, such as an upstream's words, cannot end a line,
//! colour a terminal or close a string. A line that is written while something is done for a request ends in the request's
//! id, unless it says that itself.

use std::fmt::{self, Debug, Write};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_log::NormalizeEvent as _;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime as _, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use super::trace::with_current;

/// What every JSON line has; a field of such a name gets another.
const RESERVED: [&str; 3] = ["timestamp", "level", "target"];
const REQUEST_ID: &str = "request_id";

/// For whom lines are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LineFormat {
    /// `TIME LEVEL target: message field=value …`
    Text,
    /// `{"timestamp":…,"level":…,"target":…,"message":…,"field":…}`
    Json,
}

impl<S, N> FormatEvent<S, N> for LineFormat
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    N: for<'writer> FormatFields<'writer> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        // What came by way of the `log` crate has its origin among its fields.
        let normalized = event.normalized_metadata();
        let metadata = normalized.as_ref().unwrap_or_else(|| event.metadata());
        let said = event.fields().any(|field| field.name() == REQUEST_ID);
        match self {
            Self::Text => text(&mut writer, metadata, event, said)?,
            Self::Json => json(&mut writer, metadata, event, said)?,
        }
        writer.write_char('\n')
    }
}

fn text(writer: &mut Writer<'_>, metadata: &Metadata<'_>, event: &Event<'_>, said: bool) -> fmt::Result {
    let paint = Paint(writer.has_ansi_escapes());
    paint.dim(writer, |writer| SystemTime.format_time(writer))?;
    writer.write_char(' ')?;
    paint.level(writer, *metadata.level())?;
    writer.write_char(' ')?;
    paint.dim(writer, |writer| write!(writer, "{}:", metadata.target()))?;
    let mut fields = TextFields { writer, paint, result: Ok(()) };
    event.record(&mut fields);
    if !said {
        with_current(|context| fields.add(REQUEST_ID, format_args!("{}", context.id())));
    }
    fields.result
}

fn json(writer: &mut Writer<'_>, metadata: &Metadata<'_>, event: &Event<'_>, said: bool) -> fmt::Result {
    writer.write_str("{\"timestamp\":\"")?;
    SystemTime.format_time(writer)?;
    write!(writer, "\",\"level\":\"{}\",\"target\":\"", metadata.level())?;
    write!(Escaped::json(writer), "{}", metadata.target())?;
    writer.write_char('"')?;
    let mut fields = JsonFields { writer, result: Ok(()) };
    event.record(&mut fields);
    if !said {
        with_current(|context| fields.string(REQUEST_ID, format_args!("{}", context.id())));
    }
    fields.result?;
    writer.write_char('}')
}

/// As it is called where it was written.
fn name(field: &Field) -> Option<&'static str> {
    let name = field.name();
    let name = name.strip_prefix("r#").unwrap_or(name);
    (!name.starts_with("log.")).then_some(name)
}

struct TextFields<'a, 'writer> {
    writer: &'a mut Writer<'writer>,
    paint: Paint,
    result: fmt::Result,
}

impl TextFields<'_, '_> {
    fn add(&mut self, name: &str, value: fmt::Arguments<'_>) {
        if self.result.is_ok() {
            self.result = self.try_add(name, value);
        }
    }

    fn try_add(&mut self, name: &str, value: fmt::Arguments<'_>) -> fmt::Result {
        self.writer.write_char(' ')?;
        if name != "message" {
            self.paint.italic(self.writer, name)?;
            self.paint.dim(self.writer, |writer| writer.write_char('='))?;
        }
        Escaped::text(self.writer).write_fmt(value)
    }
}

impl Visit for TextFields<'_, '_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        match name(field) {
            Some("message") => self.add("message", format_args!("{value}")),
            Some(name) => self.add(name, format_args!("{value:?}")),
            None => {}
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if let Some(name) = name(field) {
            self.add(name, format_args!("{value:?}"));
        }
    }
}

struct JsonFields<'a, 'writer> {
    writer: &'a mut Writer<'writer>,
    result: fmt::Result,
}

impl JsonFields<'_, '_> {
    /// A value that needs no quotes.
    fn bare(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        if let Some(name) = name(field) {
            self.add(name, |writer| writer.write_fmt(value));
        }
    }

    fn string(&mut self, name: &str, value: fmt::Arguments<'_>) {
        self.add(name, |writer| {
            writer.write_char('"')?;
            Escaped::json(writer).write_fmt(value)?;
            writer.write_char('"')
        });
    }

    fn add(&mut self, name: &str, value: impl FnOnce(&mut Writer<'_>) -> fmt::Result) {
        let add = || {
            self.writer.write_str(",\"")?;
            Escaped::json(self.writer).write_str(name)?;
            self.writer.write_str(if RESERVED.contains(&name) { "_\":" } else { "\":" })?;
            value(self.writer)
        };
        if self.result.is_ok() {
            self.result = add();
        }
    }
}

impl Visit for JsonFields<'_, '_> {
    fn record_f64(&mut self, field: &Field, value: f64) {
        if value.is_finite() { self.bare(field, format_args!("{value}")) } else { self.record_debug(field, &value) }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.bare(field, format_args!("{value}"));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.bare(field, format_args!("{value}"));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.bare(field, format_args!("{value}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if let Some(name) = name(field) {
            self.string(name, format_args!("{value}"));
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if let Some(name) = name(field) {
            self.string(name, format_args!("{value:?}"));
        }
    }
}

/// Writes what comes with its special characters made harmless, on the way: a line is written once for every request.
struct Escaped<'a, W> {
    inner: &'a mut W,
    json: bool,
}

impl<'a, W: Write> Escaped<'a, W> {
    fn text(inner: &'a mut W) -> Self {
        Self { inner, json: false }
    }

    fn json(inner: &'a mut W) -> Self {
        Self { inner, json: true }
    }

    fn escape(&mut self, special: char) -> fmt::Result {
        match special {
            '"' | '\\' => write!(self.inner, "\\{special}"),
            '\n' => self.inner.write_str("\\n"),
            '\t' => self.inner.write_str("\\t"),
            '\r' => self.inner.write_str("\\r"),
            // All that are special have less than 16 bits.
            other => write!(self.inner, "\\u{:04x}", u32::from(other)),
        }
    }
}

impl<W: Write> Write for Escaped<'_, W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let json = self.json;
        // Control characters of both kinds, what else ends a line for some readers, and what turns its direction.
        let is_special = |c: char| {
            c.is_control()
                || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
                || (json && matches!(c, '"' | '\\'))
        };
        let mut rest = text;
        while let Some((at, special)) = rest.char_indices().find(|(_, c)| is_special(*c)) {
            let (plain, more) = rest.split_at(at);
            self.inner.write_str(plain)?;
            self.escape(special)?;
            rest = &more[special.len_utf8()..];
        }
        self.inner.write_str(rest)
    }
}

/// Colours, for a terminal.
#[derive(Clone, Copy)]
struct Paint(bool);

impl Paint {
    fn dim(self, writer: &mut Writer<'_>, what: impl FnOnce(&mut Writer<'_>) -> fmt::Result) -> fmt::Result {
        self.begin(writer, "2")?;
        what(writer)?;
        self.end(writer)
    }

    fn italic(self, writer: &mut Writer<'_>, what: &str) -> fmt::Result {
        self.begin(writer, "3")?;
        writer.write_str(what)?;
        self.end(writer)
    }

    fn level(self, writer: &mut Writer<'_>, level: Level) -> fmt::Result {
        let colour = match level {
            Level::ERROR => "31",
            Level::WARN => "33",
            Level::INFO => "32",
            Level::DEBUG => "34",
            Level::TRACE => "35",
        };
        self.begin(writer, colour)?;
        write!(writer, "{level:>5}")?;
        self.end(writer)
    }

    fn begin(self, writer: &mut Writer<'_>, code: &str) -> fmt::Result {
        if self.0 { write!(writer, "\x1b[{code}m") } else { Ok(()) }
    }

    fn end(self, writer: &mut Writer<'_>) -> fmt::Result {
        if self.0 { writer.write_str("\x1b[0m") } else { Ok(()) }
    }
}
