//! The answer to `referrers`.

use http::StatusCode;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::error::UpstreamError;
use crate::oci::MediaType;

/// How much is taken in, all pages together: what the distribution spec asks for an index.
pub(super) const MAX_REFERRERS_BYTES: usize = 4 << 20;
/// How many pages are asked for.
pub(super) const MAX_PAGES: usize = 64;

/// A descriptor of something that refers to a manifest, as the upstream wrote it: whatever it says is passed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Referrer(pub Map<String, Value>);

impl Referrer {
    /// The digest, as it is written.
    pub fn digest(&self) -> Option<&str> {
        self.0.get("digest").and_then(Value::as_str)
    }

    /// The kind of artifact, if it says so.
    pub fn artifact_type(&self) -> Option<&str> {
        self.0.get("artifactType").and_then(Value::as_str)
    }
}

/// Whether an answer says that a registry does not know such a question. One that does has an index for every digest, if
/// need be an empty one; of the others, each says it in its own way: 404 as the specification has it, 400, 405, 406 or 501, a
/// page, or a redirect to somewhere else.
pub(super) fn is_unknown(status: StatusCode, media_type: Option<&MediaType>, foreign: bool) -> bool {
    match status {
        StatusCode::OK => media_type.is_some_and(|media_type| *media_type != MediaType::ImageIndex),
        StatusCode::BAD_REQUEST
        | StatusCode::NOT_FOUND
        | StatusCode::METHOD_NOT_ALLOWED
        | StatusCode::NOT_ACCEPTABLE
        | StatusCode::NOT_IMPLEMENTED => true,
        _ => foreign,
    }
}

#[derive(Deserialize)]
struct Index {
    // Go writes an empty slice as `null`.
    manifests: Option<Vec<Map<String, Value>>>,
}

/// One page.
pub(super) fn read(body: &[u8]) -> Result<Vec<Referrer>, UpstreamError> {
    let index: Index = serde_json::from_slice(body)
        .map_err(|_| UpstreamError::malformed("answered something that is no list of referrers"))?;
    Ok(index.manifests.unwrap_or_default().into_iter().map(Referrer).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_index_is_said_so() {
        assert_eq!(read(br#"{"manifests":null}"#).map(|list| list.len()).ok(), Some(0));
        assert_eq!(read(br#"{"manifests":[{"digest":"x","artifactType":"t"}]}"#).map(|list| list.len()).ok(), Some(1));
        for bad in ["<html>", "[]", r#"{"manifests":[1]}"#] {
            assert!(matches!(read(bad.as_bytes()), Err(UpstreamError::Malformed { .. })), "{bad}");
        }
    }
}
