//! What one request is called, here and in the logs of whoever sent it.

use std::fmt;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};

use http::HeaderMap;
use http::header::{HeaderName, HeaderValue};

/// Carries a request's id, both ways.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Ids that others make up are UUIDs and the like; what is longer is no name for a request.
const MAX_ID_BYTES: usize = 128;

/// A short word that is safe in a header, in a line of text and in JSON without any escaping.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestId(HeaderValue);

impl RequestId {
    /// The one that a client sent, unless it is none: then a new one, of 128 random bits.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        Self::given(headers).unwrap_or_else(Self::made)
    }

    /// Two are as good as none: whoever stands in front may have read the other.
    fn given(headers: &HeaderMap) -> Option<Self> {
        let mut given = headers.get_all(X_REQUEST_ID).iter();
        let id = given.next().filter(|_| given.next().is_none())?;
        let right = (1..=MAX_ID_BYTES).contains(&id.len()) && id.as_bytes().iter().all(|byte| is_allowed(*byte));
        // Copied, as what came keeps the whole of the request's head in memory.
        right.then(|| HeaderValue::from_bytes(id.as_bytes()).ok().map(Self)).flatten()
    }

    fn made() -> Self {
        let text = format!("{:016x}{:016x}", random(), random());
        Self(HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static("unknown")))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }

    /// The id as the value of a header.
    pub fn header(&self) -> HeaderValue {
        self.0.clone()
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// 64 random bits, for what has to be different and need not be secret.
///
/// The hash of nothing under a key that the system gave, and that is another one each time (SipHash; see [`RandomState`]). It
/// costs some 10 ns and never fails.
pub(super) fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

fn is_allowed(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"._:+/=@-".contains(&byte)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn given(ids: &[&[u8]]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for id in ids {
            headers.append(X_REQUEST_ID, HeaderValue::from_bytes(id).expect("a header"));
        }
        RequestId::given(&headers).map(|id| id.to_string())
    }

    #[test]
    fn what_a_client_calls_its_request_stays() {
        let longest = "a".repeat(MAX_ID_BYTES);
        for id in ["0", "f47ac10b-58cc-4372-a567-0e02b2c3d479", "Root=1-67891233-abcdef:1/2.3+4@host_", &longest] {
            assert_eq!(given(&[id.as_bytes()]).as_deref(), Some(id));
        }
    }

    #[test]
    fn what_is_no_name_is_replaced() {
        let long = "a".repeat(MAX_ID_BYTES + 1);
        let huge = "a".repeat(60 << 10);
        for bad in [
            &[b"".as_slice()][..],
            &[b" "],
            &[b"two words"],
            &[b"quote\""],
            &[b"back\\slash"],
            &[b"tab\tseparated"],
            &[b"{\"a\":1}"],
            &[b"a,b"],
            &[b"%0d%0aSet-Cookie:x"],
            &[b"<script>"],
            &["ünïcode".as_bytes()],
            &[b"\xff\xfe"],
            &[long.as_bytes()],
            &[huge.as_bytes()],
            &[b"one", b"other"],
            &[b"same", b"same"],
        ] {
            assert_eq!(given(bad), None, "{bad:?}");
        }
        assert!(HeaderValue::from_bytes(b"a\r\nx: y").is_err(), "no header can hold a line's end");
    }

    #[test]
    fn those_made_are_different_and_would_be_taken() {
        let made: HashSet<_> = (0..1000).map(|_| RequestId::of(&HeaderMap::new()).to_string()).collect();
        assert_eq!(made.len(), 1000);
        for id in made {
            assert!(id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
            assert_eq!(given(&[id.as_bytes()]), Some(id));
        }
    }
}
