//! The distribution error document, `{"errors":[{"code","message","detail"}]}`.

pub use oci_spec::distribution::ErrorCode;
use serde_json::Value;

/// One error to tell a client, or read from an upstream.
///
/// Written and read by hand rather than with `oci-spec`'s `ErrorResponse`: that one cannot hold a code
/// outside the spec's list (`UNKNOWN`, which every registry sends), and its `Display` of a code differs from
/// the spec's spelling where its serde form does not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorDocument {
    /// The code in the spec's spelling, or a registry's own.
    pub code: String,
    /// A sentence for people.
    pub message: String,
}

impl ErrorDocument {
    /// An error of the spec's.
    pub fn new(code: &ErrorCode, message: impl Into<String>) -> Self {
        Self { code: spelling(code), message: message.into() }
    }

    /// An error of this proxy's for which the spec has no code.
    pub fn unknown(message: impl Into<String>) -> Self {
        Self { code: "UNKNOWN".to_owned(), message: message.into() }
    }

    /// The JSON body.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::json!({ "errors": [{ "code": self.code, "message": self.message }] }).to_string().into_bytes()
    }

    /// Whether an upstream's error body says one of `codes` anywhere inside.
    ///
    /// docker-registry as a pull-through cache answers 500 `UNKNOWN` with its own upstream's document, and so
    /// `MANIFEST_UNKNOWN`, nested in `detail`; so the search goes down to a fixed depth.
    pub fn body_says(body: &[u8], codes: &[ErrorCode]) -> bool {
        let spellings: Vec<String> = codes.iter().map(spelling).collect();
        serde_json::from_slice::<Value>(body).is_ok_and(|document| says(&document, &spellings, 0))
    }

    /// The first error of an upstream's body, if it is an error document.
    pub fn parse(body: &[u8]) -> Option<Self> {
        let document = serde_json::from_slice::<Value>(body).ok()?;
        let first = document.get("errors")?.get(0)?;
        let text = |key: &str| first.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        Some(Self { code: text("code"), message: text("message") })
    }
}

/// The spec's spelling, which is the serde form.
fn spelling(code: &ErrorCode) -> String {
    match serde_json::to_value(code) {
        Ok(Value::String(text)) => text,
        _ => "UNKNOWN".to_owned(),
    }
}

/// Where an error document can sit inside another: a chain of three proxies, each adding `errors`, an element
/// and `detail`.
const MAX_NESTING: usize = 12;

fn says(value: &Value, codes: &[String], depth: usize) -> bool {
    if depth > MAX_NESTING {
        return false;
    }
    match value {
        Value::Array(items) => items.iter().any(|item| says(item, codes, depth + 1)),
        Value::Object(fields) => {
            let own = fields.get("code").and_then(Value::as_str);
            own.is_some_and(|own| codes.iter().any(|code| code == own))
                || ["errors", "detail"]
                    .iter()
                    .any(|key| fields.get(*key).is_some_and(|inner| says(inner, codes, depth + 1)))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_nested_in_detail_is_found() {
        let body = br#"{"errors":[{"code":"UNKNOWN","message":"unknown error",
            "detail":{"errors":[{"code":"MANIFEST_UNKNOWN","message":"m"}]}}]}"#;
        assert!(ErrorDocument::body_says(body, &[ErrorCode::ManifestUnknown]));
        assert!(!ErrorDocument::body_says(body, &[ErrorCode::BlobUnknown]));
        let bare = br#"{"errors":[{"code":"UNKNOWN","detail":[{"code":"MANIFEST_UNKNOWN"}]}]}"#;
        assert!(ErrorDocument::body_says(bare, &[ErrorCode::ManifestUnknown]));
        assert!(!ErrorDocument::body_says(b"<html>MANIFEST_UNKNOWN</html>", &[ErrorCode::ManifestUnknown]));
    }

    #[test]
    fn codes_are_spelled_as_the_spec_does() {
        let document = ErrorDocument::new(&ErrorCode::TooManyRequests, "later");
        assert_eq!(document.code, "TOOMANYREQUESTS");
        assert_eq!(ErrorDocument::parse(&document.to_json()), Some(document));
    }
}
