//! What lines look like, and which there are.

use std::sync::{Arc, Mutex};

use http::{HeaderMap, Method};
use serde_json::{Value, json};

use super::*;
use crate::telemetry::{Span, enter};

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("nobody panicked").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What is written of all that `body` logs.
fn logged(format: LineFormat, colours: bool, filter: &str, body: impl FnOnce(&LogHandle)) -> Vec<String> {
    let lines = Lines::default();
    let writer = lines.clone();
    let filter = parse(filter, "a test").expect("a filter");
    let (subscriber, handle) = subscriber(format, colours, filter, move || writer.clone());
    tracing::subscriber::with_default(subscriber, || body(&handle));
    let bytes = lines.0.lock().expect("nobody panicked").clone();
    String::from_utf8(bytes).expect("text").split_terminator('\n').map(str::to_owned).collect()
}

fn of_request(id: &str, work: impl FnOnce()) {
    let mut headers = HeaderMap::new();
    headers.insert("x-request-id", id.parse().expect("a header"));
    enter(Span::of_request(&Method::GET, &headers).context().cloned(), work);
}

#[test]
fn text_is_for_people() {
    let lines = logged(LineFormat::Text, false, "info", |_| {
        let error = "broken\nFAKE \u{1b}[31mred \u{202e}";
        of_request("r-1", || tracing::warn!(target: "colocate::here", %error, quoted = error, bytes = 5, "a thing"));
        of_request("r-2", || tracing::info!(request_id = "its own", "said"));
        tracing::info!("nobody's");
        tracing::debug!("not this");
    });
    let after = |line: &String| line.split_once('Z').map(|(time, rest)| (time.len(), rest.to_owned()));
    // RFC 3339, to the microsecond.
    assert_eq!(lines[0].find("Z"), Some("2026-01-02T03:04:05.678901".len()), "{}", lines[0]);
    let (broken, quoted) = (r"broken\nFAKE \u001b[31mred \u202e", r#""broken\nFAKE \u{1b}[31mred \u{202e}""#);
    let expected = format!("  WARN colocate::here: a thing error={broken} quoted={quoted} bytes=5 request_id=r-1");
    assert_eq!(after(&lines[0]), Some((26, expected)));
    assert!(lines[1].ends_with(": said request_id=\"its own\""), "{}", lines[1]);
    assert!(lines[2].ends_with(": nobody's"), "{}", lines[2]);
    assert_eq!(lines.len(), 3);
}

#[test]
fn a_terminal_gets_colours_and_nothing_else_does() {
    let line = |colours| logged(LineFormat::Text, colours, "info", |_| tracing::info!(a = 1, "b")).concat();
    let (coloured, plain) = (line(true), line(false));
    assert!(coloured.contains("\u{1b}[32m INFO\u{1b}[0m") && !plain.contains('\u{1b}'), "{coloured}\n{plain}");
    let mut stripped = coloured;
    for code in ["2", "3", "32", "0"] {
        stripped = stripped.replace(&format!("\u{1b}[{code}m"), "");
    }
    assert_eq!(stripped[26..], plain[26..]);
}

#[test]
fn json_is_flat_and_always_right() {
    let lines = logged(LineFormat::Json, false, "info", |_| {
        let odd = "\"quoted\"\\ \n\r\t\u{0}\u{7f}\u{85}\u{2028} ünï";
        of_request("r-1", || {
            tracing::info!(target: "colocate::here", odd, shown = %odd, told = ?odd, n = -1, big = u64::MAX, yes = true,
                part = 0.5, infinite = f64::INFINITY, none = None::<u64>, "a {odd}");
        });
        tracing::info!(target = "mine", level = 3, timestamp = "now", r#type = "t", "reserved");
    });
    let lines: Vec<Value> = lines.iter().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let odd = "\"quoted\"\\ \n\r\t\u{0}\u{7f}\u{85}\u{2028} ünï";
    let mut first = lines[0].clone();
    assert!(first.as_object_mut().expect("an object").remove("timestamp").is_some_and(|time| time.is_string()));
    let expected = json!({
        "level": "INFO", "target": "colocate::here", "message": format!("a {odd}"), "odd": odd, "shown": odd,
        "told": format!("{odd:?}"), "n": -1, "big": u64::MAX, "yes": true, "part": 0.5, "infinite": "inf",
        "request_id": "r-1",
    });
    assert_eq!(first, expected);
    let own = |key: &str| lines[1][key].clone();
    assert_eq!(
        [own("target_"), own("level_"), own("timestamp_"), own("type")],
        [json!("mine"), json!(3), json!("now"), json!("t")]
    );
    assert_eq!((own("level"), own("request_id")), (json!("INFO"), Value::Null));
}

#[test]
fn the_filter_can_be_changed() {
    let lines = logged(LineFormat::Text, false, "warn", |handle| {
        tracing::info!("one");
        assert_eq!(handle.set_filter("debug").expect("a filter"), FilterInForce::Set);
        tracing::debug!("two");
        let refused = handle.set_filter("no=such=filter").expect_err("no filter");
        assert!(refused.to_string().starts_with("`no=such=filter` in log.filter is not a log filter"), "{refused}");
        tracing::debug!("three");
        assert_eq!(handle.set_filter("error").expect("a filter"), FilterInForce::Set);
        tracing::warn!("four");
    });
    let said: Vec<_> = lines.iter().filter_map(|line| line.rsplit(' ').next()).collect();
    assert_eq!(said, ["two", "three"]);
}

#[test]
fn what_the_environment_says_stays() {
    let handle = LogHandle(None);
    assert_eq!(handle.set_filter("debug").expect("a filter"), FilterInForce::Fixed);
    assert!(handle.set_filter("no=such=filter").is_err());
}
