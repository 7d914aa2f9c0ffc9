//! What can go wrong, and when.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Response, StatusCode};
use tokio::sync::watch;

use super::Seen;

/// One way to misbehave. Offsets count in the content, not in the answer to a Range request.
#[derive(Clone)]
pub(crate) enum Fault {
    /// Another answer altogether.
    Answer {
        /// The status.
        status: u16,
        /// Header names and values.
        headers: Vec<(String, String)>,
        /// The body.
        body: Bytes,
    },
    /// An answer made from the request; `None` answers as if there were no fault.
    Make(Maker),
    /// The right answer with a header changed, or without it.
    Header(&'static str, Option<String>),
    /// The right answer, late.
    Delay(Duration),
    /// Never an answer.
    Stall,
    /// The right answer once the gate is open.
    Hold(Gate),
    /// The body up to an offset, then nothing for ever.
    StallAt(u64),
    /// The body up to an offset, the rest once the gate is open.
    HoldAt(u64, Gate),
    /// The body up to an offset, then the connection is gone.
    BreakAt(u64),
    /// The body with one bit of the byte at an offset changed.
    Flip(u64),
    /// The body in chunks with pauses between.
    Slow {
        /// Bytes in a chunk.
        chunk: usize,
        /// Time between two chunks.
        pause: Duration,
    },
    /// The whole content, status 200, whatever range was asked for.
    IgnoreRange,
}

/// Makes an answer from a request.
type Maker = Arc<dyn Fn(&Seen) -> Option<Response<Bytes>> + Send + Sync>;

impl Fault {
    /// A bare status.
    pub(crate) fn status(status: u16) -> Self {
        Self::Answer { status, headers: Vec::new(), body: Bytes::new() }
    }

    /// A status with the distribution error document.
    pub(crate) fn error(status: u16, code: &str) -> Self {
        Self::body(status, "application/json", format!(r#"{{"errors":[{{"code":"{code}","message":"scripted"}}]}}"#))
    }

    /// What docker-registry 2.8 says as pull-through cache of something its upstream lacks.
    pub(crate) fn nested_unknown() -> Self {
        let body = r#"{"errors":[{"code":"UNKNOWN","message":"unknown error","detail":{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}}]}"#;
        Self::body(500, "application/json; charset=utf-8", body)
    }

    /// A web page, as captive portals and wrong addresses answer.
    pub(crate) fn html() -> Self {
        Self::body(200, "text/html", "<!DOCTYPE html><title>Welcome</title>")
    }

    /// A status with a body.
    pub(crate) fn body(status: u16, content_type: &str, body: impl Into<Bytes>) -> Self {
        Self::Answer { status, headers: vec![("content-type".into(), content_type.into())], body: body.into() }
    }

    /// The same answer with one more header.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        if let Self::Answer { headers, .. } = &mut self {
            headers.push((name.to_owned(), value.to_owned()));
        }
        self
    }

    /// An answer made from the request.
    pub(crate) fn make(make: impl Fn(&Seen) -> Option<Response<Bytes>> + Send + Sync + 'static) -> Self {
        Self::Make(Arc::new(make))
    }

    pub(crate) fn as_answer(&self, seen: &Seen) -> Option<Response<Bytes>> {
        match self {
            Self::Answer { status, headers, body } => {
                let mut response = Response::new(body.clone());
                *response.status_mut() = StatusCode::from_u16(*status).expect("a status");
                for (name, value) in headers {
                    let name: http::HeaderName = name.parse().expect("a header name");
                    response.headers_mut().append(name, value.parse().expect("a header value"));
                }
                Some(response)
            }
            Self::Make(make) => make(seen),
            _ => None,
        }
    }
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Self::Answer { status, .. } => return write!(f, "Answer({status})"),
            Self::Make(_) => "Make",
            Self::Header(..) => "Header",
            Self::Delay(_) => "Delay",
            Self::Stall => "Stall",
            Self::Hold(_) => "Hold",
            Self::StallAt(_) => "StallAt",
            Self::HoldAt(..) => "HoldAt",
            Self::BreakAt(_) => "BreakAt",
            Self::Flip(_) => "Flip",
            Self::Slow { .. } => "Slow",
            Self::IgnoreRange => "IgnoreRange",
        };
        f.write_str(name)
    }
}

/// Something to wait at until the test opens it.
#[derive(Clone, Debug)]
pub(crate) struct Gate(Arc<watch::Sender<bool>>);

impl Gate {
    /// A closed one.
    pub(crate) fn new() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }

    /// Lets all pass from now on.
    pub(crate) fn open(&self) {
        self.0.send_replace(true);
    }

    pub(super) async fn passed(self) {
        let mut open = self.0.subscribe();
        // Fails only when every gate is gone, and this one is here.
        let _ = open.wait_for(|open| *open).await;
    }
}

/// Which requests go wrong, and how.
#[derive(Clone, Debug)]
pub(crate) struct Rule {
    path: String,
    pub(super) method: Option<&'static str>,
    pub(super) pass: usize,
    pub(super) remaining: Option<usize>,
    pub(super) faults: Vec<Fault>,
}

impl Rule {
    pub(super) fn new(path: &str) -> Self {
        Self { path: path.to_owned(), method: None, pass: 0, remaining: None, faults: Vec::new() }
    }

    /// The faults for this request, and one time less for the next.
    pub(super) fn strike(&mut self, method: &str, path: &str) -> Option<Vec<Fault>> {
        if self.method.is_some_and(|wanted| wanted != method) || !matches(&self.path, path) {
            return None;
        }
        if self.pass > 0 {
            self.pass -= 1;
            return None;
        }
        match &mut self.remaining {
            Some(0) => return None,
            Some(remaining) => *remaining -= 1,
            None => {}
        }
        Some(self.faults.clone())
    }
}

/// Whether a path fits a pattern in which `*` stands for any characters.
pub(crate) fn matches(pattern: &str, path: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else { return pattern == path };
    let Some(path) = path.strip_prefix(start) else { return false };
    (0..=path.len()).any(|at| path.is_char_boundary(at) && matches(rest, &path[at..]))
}

#[test]
fn patterns() {
    for (pattern, path, fits) in [
        ("/v2/", "/v2/", true),
        ("/v2/", "/v2/a", false),
        ("/v2/*", "/v2/a/b", true),
        ("/v2/*/blobs/*", "/v2/a/b/blobs/sha256:0", true),
        ("/v2/*/blobs/*", "/v2/a/manifests/v1", false),
        ("*:1", "/a:1", true),
        ("*:1", "/a:12", false),
    ] {
        assert_eq!(matches(pattern, path), fits, "{pattern} {path}");
    }
}
