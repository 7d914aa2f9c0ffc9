//! Bodies that are not what their head says.

use crate::support::pusher::OCTETS;
use crate::support::raw::Raw;

/// How a body is sent.
#[derive(Debug)]
pub(super) struct Sent {
    /// The length that the head says; `None` for a body in chunks, whose last one never comes.
    pub(super) said: Option<usize>,
    /// How many bytes come.
    pub(super) bytes: usize,
    /// Whether the client then waits for an answer without saying more, or is gone.
    pub(super) silent: bool,
}

/// Sends such a request; gives the answer's status, if there is one.
pub(super) async fn said(authority: &str, method: &str, path: &str, sent: &Sent, content: &[u8]) -> Option<u16> {
    let media_type = if path.contains("/manifests/") {
        ("content-type", "application/vnd.docker.distribution.manifest.v2+json")
    } else {
        OCTETS
    };
    let mut raw = Raw::open(authority).await;
    let length = sent.said.map(|said| said.to_string());
    let framing = match &length {
        Some(length) => ("content-length", length.as_str()),
        None => ("transfer-encoding", "chunked"),
    };
    raw.head(method, path, &[media_type, framing]).await;
    let bytes = &content[..sent.bytes];
    if sent.said.is_some() {
        raw.say(bytes).await;
    } else {
        raw.say(format!("{:x}\r\n", bytes.len()).as_bytes()).await;
        raw.say(bytes).await;
        raw.say(b"\r\n").await;
    }
    if !sent.silent {
        return None;
    }
    raw.fall_silent().await;
    raw.status().await
}
