//! What a client says who it is: the `Authorization` header.

use std::fmt;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use http::HeaderMap;
use http::header::{AUTHORIZATION, HeaderValue};
use zeroize::Zeroizing;

use super::fingerprint::Fingerprint;

/// The longest header that is looked at, in bytes: access tokens that stand in for passwords have some KiB.
const MAX_HEADER_BYTES: usize = 8 << 10;

/// RFC 7617 asks for padding; clients that leave it out are understood all the same.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What a request says about who sent it.
#[derive(Clone, Debug)]
pub(in crate::server) enum Credential {
    /// Nothing: no header, or a user and a password that are both empty, which is what containers/image (skopeo,
    /// podman) sends when it is challenged and has nothing to say.
    Anonymous,
    /// A user and a password (RFC 7617).
    Basic(Basic),
    /// A token (RFC 6750), as the whole header.
    Bearer(HeaderValue),
    /// Something that cannot be told.
    Malformed(MalformedCredential),
}

/// A user and a password, of which at least one is not empty.
#[derive(Clone, Debug)]
pub(in crate::server) struct Basic {
    user: String,
    password: Password,
    header: HeaderValue,
}

/// A password, which neither `Debug` shows nor freed memory keeps.
#[derive(Clone)]
pub(in crate::server) struct Password(Zeroizing<String>);

/// Why an `Authorization` header says nothing. The messages show none of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::server) enum MalformedCredential {
    /// More than one, of which a proxy before this one may have meant another.
    #[error("the request has more than one Authorization header")]
    Twice,
    /// Over the cap.
    #[error("the Authorization header is longer than {MAX_HEADER_BYTES} bytes")]
    TooLong,
    /// Neither scheme that is known here.
    #[error("the Authorization header is neither Basic nor Bearer")]
    Scheme,
    /// `Bearer` and nothing that can be a token.
    #[error("the Authorization header holds no Bearer token")]
    Token,
    /// What follows `Basic` does not decode.
    #[error("the Basic credentials are not base64")]
    Base64,
    /// The one encoding that the challenge offers.
    #[error("the Basic credentials are not UTF-8")]
    Utf8,
    /// RFC 7617, section 2: the first colon ends the user's name.
    #[error("the Basic credentials have no colon between user and password")]
    Colon,
    /// RFC 7617, section 2. Often the newline of the command that made the header.
    #[error("the Basic credentials hold a control character, such as a newline at their end")]
    Control,
}

impl Credential {
    /// Reads a request's headers.
    pub(in crate::server) fn from_headers(headers: &HeaderMap) -> Self {
        let mut values = headers.get_all(AUTHORIZATION).iter();
        let Some(value) = values.next() else { return Self::Anonymous };
        if values.next().is_some() {
            return Self::Malformed(MalformedCredential::Twice);
        }
        Self::read(value).unwrap_or_else(Self::Malformed)
    }

    fn read(value: &HeaderValue) -> Result<Self, MalformedCredential> {
        if value.len() > MAX_HEADER_BYTES {
            return Err(MalformedCredential::TooLong);
        }
        // A scheme, spaces and one word (RFC 9110, section 11.4); the scheme in any case.
        let bytes = value.as_bytes();
        let scheme_ends = bytes.iter().position(|byte| *byte == b' ').unwrap_or(bytes.len());
        let (scheme, rest) = bytes.split_at(scheme_ends);
        let word = rest.trim_ascii();
        let header = || {
            let mut header = value.clone();
            header.set_sensitive(true);
            header
        };
        if scheme.eq_ignore_ascii_case(b"basic") {
            let (user, password) = user_and_password(word)?;
            if user.is_empty() && password.expose().is_empty() {
                return Ok(Self::Anonymous);
            }
            return Ok(Self::Basic(Basic { user, password, header: header() }));
        }
        if scheme.eq_ignore_ascii_case(b"bearer") {
            let token = !word.is_empty() && word.iter().all(u8::is_ascii_graphic);
            return if token { Ok(Self::Bearer(header())) } else { Err(MalformedCredential::Token) };
        }
        Err(MalformedCredential::Scheme)
    }

    /// What verdicts about this credential can be kept by: the whole header's, as it came. Anonymous ones have one
    /// in common, and malformed ones another.
    pub(in crate::server) fn fingerprint(&self) -> Fingerprint {
        match self {
            Self::Anonymous => Fingerprint::of(&[b"anonymous"]),
            Self::Basic(Basic { header, .. }) | Self::Bearer(header) => {
                Fingerprint::of(&[b"header", header.as_bytes()])
            }
            Self::Malformed(_) => Fingerprint::of(&[b"malformed"]),
        }
    }

    /// The header as it came, marked as sensitive, for whoever lets an upstream judge it.
    pub(in crate::server) fn header(&self) -> Option<&HeaderValue> {
        match self {
            Self::Basic(Basic { header, .. }) | Self::Bearer(header) => Some(header),
            Self::Anonymous | Self::Malformed(_) => None,
        }
    }
}

impl Basic {
    /// The user's name, which may be empty and is the client's to choose: escape it before it is shown.
    pub(in crate::server) fn user(&self) -> &str {
        &self.user
    }

    /// The password.
    pub(in crate::server) fn password(&self) -> &Password {
        &self.password
    }
}

impl Password {
    /// Keeps `text` from being shown and wipes it in the end.
    pub(in crate::server) fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The text itself, for the one place that checks it.
    pub(in crate::server) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

fn user_and_password(encoded: &[u8]) -> Result<(String, Password), MalformedCredential> {
    // In one piece from the start: a buffer that grows leaves copies behind.
    let mut decoded = Zeroizing::new(vec![0; base64::decoded_len_estimate(encoded.len())]);
    let length = BASE64.decode_slice(encoded, &mut decoded).map_err(|_| MalformedCredential::Base64)?;
    let pair = str::from_utf8(&decoded[..length]).map_err(|_| MalformedCredential::Utf8)?;
    if pair.contains(char::is_control) {
        return Err(MalformedCredential::Control);
    }
    let (user, password) = pair.split_once(':').ok_or(MalformedCredential::Colon)?;
    Ok((user.to_owned(), Password::new(password.to_owned())))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that fails panics")]
mod tests {
    use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD};
    use proptest::prelude::*;

    use super::*;

    fn read(value: &[u8]) -> Credential {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, HeaderValue::from_bytes(value).unwrap());
        Credential::from_headers(&headers)
    }

    fn basic(pair: impl AsRef<[u8]>) -> Credential {
        read(format!("Basic {}", BASE64_STANDARD.encode(pair)).as_bytes())
    }

    fn parts(credential: &Credential) -> Option<(&str, &str)> {
        match credential {
            Credential::Basic(basic) => Some((basic.user(), basic.password().expose())),
            _ => None,
        }
    }

    #[test]
    fn users_and_passwords() {
        for (value, expected) in [
            // The example of RFC 7617, section 2, and the one with UTF-8 of section 2.1.
            ("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==", ("Aladdin", "open sesame")),
            ("Basic dGVzdDoxMjPCow==", ("test", "123£")),
            ("basic QWxhZGRpbjpvcGVuIHNlc2FtZQ", ("Aladdin", "open sesame")),
            ("BASIC   YTpiOmM6", ("a", "b:c:")),
            ("Basic OnNlY3JldA==", ("", "secret")),
            ("Basic dXNlcjo=", ("user", "")),
        ] {
            assert_eq!(parts(&read(value.as_bytes())), Some(expected), "{value}");
        }
    }

    #[test]
    fn nothing_said_is_anonymous() {
        assert!(matches!(Credential::from_headers(&HeaderMap::new()), Credential::Anonymous));
        for value in ["Basic Og==", "Basic Og", "basic  Og=="] {
            assert!(matches!(read(value.as_bytes()), Credential::Anonymous), "{value}");
        }
    }

    #[test]
    fn tokens() {
        for value in ["Bearer abc.DEF-_~+/==", "bearer  x"] {
            let credential = read(value.as_bytes());
            assert!(matches!(credential, Credential::Bearer(_)), "{value}");
            let header = credential.header().unwrap();
            assert_eq!(header, value);
            assert!(header.is_sensitive());
        }
    }

    #[test]
    fn what_cannot_be_told_is_malformed() {
        use MalformedCredential::*;
        let long = format!("Bearer {}", "x".repeat(MAX_HEADER_BYTES));
        for (value, expected) in [
            (&b""[..], Scheme),
            (b"Basic", Colon),
            (b"Basic ", Colon),
            (b"Basicx", Scheme),
            (b"Digest username=\"x\"", Scheme),
            (b"Negotiate YWJj", Scheme),
            (b"Basic YTpi YTpi", Base64),
            (b"Basic a:b", Base64),
            (b"Basic YTpi===", Base64),
            (b"Basic \xff\xfe", Base64),
            (b"Basic YWI=", Colon),
            (b"Basic YTr/", Utf8),
            (b"Bearer", Token),
            (b"Bearer a b", Token),
            (b"Bearer \xc3\xa9", Token),
            (long.as_bytes(), TooLong),
        ] {
            let credential = read(value);
            let text = String::from_utf8_lossy(value);
            assert!(matches!(credential, Credential::Malformed(found) if found == expected), "{text}: {credential:?}");
        }
        for pair in ["a:b\n", "a\0:b", "a:\u{85}"] {
            assert!(matches!(basic(pair), Credential::Malformed(Control)), "{pair:?}");
        }
    }

    #[test]
    fn two_headers_are_malformed_even_if_alike() {
        let mut headers = HeaderMap::new();
        for _ in 0..2 {
            headers.append(AUTHORIZATION, HeaderValue::from_static("Basic YTpi"));
        }
        let credential = Credential::from_headers(&headers);
        assert!(matches!(credential, Credential::Malformed(MalformedCredential::Twice)), "{credential:?}");
    }

    #[test]
    fn debug_shows_no_secret() {
        let shown = format!("{:?} {:?}", basic("alice:hunter2"), read(b"Bearer hunter2"));
        assert!(shown.contains("alice"), "{shown}");
        for secret in ["hunter2", &BASE64_STANDARD_NO_PAD.encode("alice:hunter2")] {
            assert!(!shown.contains(secret), "{shown}");
        }
    }

    #[test]
    fn fingerprints_tell_credentials_apart() {
        let credentials = [
            Credential::Anonymous,
            Credential::Malformed(MalformedCredential::Colon),
            basic("a:b"),
            basic("a:c"),
            read(b"Bearer anonymous"),
            read(b"Bearer malformed"),
        ];
        for (at, one) in credentials.iter().enumerate() {
            for (other_at, other) in credentials.iter().enumerate() {
                assert_eq!(one.fingerprint() == other.fingerprint(), at == other_at, "{one:?} {other:?}");
            }
        }
        assert_eq!(read(b"Basic Og==").fingerprint(), Credential::Anonymous.fingerprint());
        let twice = Credential::Malformed(MalformedCredential::Twice);
        assert_eq!(twice.fingerprint(), credentials[1].fingerprint());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(scheme in "(?i)(basic|bearer|) ?", rest in prop::collection::vec(any::<u8>(), 0..200)) {
            let value = [scheme.as_bytes(), &rest].concat();
            if let Ok(value) = HeaderValue::from_bytes(&value) {
                let headers = HeaderMap::from_iter([(AUTHORIZATION, value)]);
                let _ = Credential::from_headers(&headers).fingerprint();
            }
        }

        #[test]
        fn any_decoded_bytes_are_read(pair in prop::collection::vec(any::<u8>(), 0..200)) {
            let text = str::from_utf8(&pair).ok().filter(|text| !text.contains(char::is_control) && *text != ":");
            let expected = text.and_then(|text| text.split_once(':'));
            let credential = basic(&pair);
            prop_assert_eq!(parts(&credential), expected);
        }

        #[test]
        fn round_trip(user in "[^:\\p{Cc}]{0,64}", password in "\\P{Cc}{0,200}", padded: bool) {
            let pair = format!("{user}:{password}");
            let encoded =
                if padded { BASE64_STANDARD.encode(pair) } else { BASE64_STANDARD_NO_PAD.encode(pair) };
            let credential = read(format!("Basic {encoded}").as_bytes());
            if user.is_empty() && password.is_empty() {
                prop_assert!(matches!(credential, Credential::Anonymous));
            } else {
                prop_assert_eq!(parts(&credential), Some((user.as_str(), password.as_str())));
            }
        }
    }
}
