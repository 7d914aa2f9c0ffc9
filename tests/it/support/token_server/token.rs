//! Tokens as distribution's registries read them: a JWT signed by a key whose certificate they know
//! (distribution, docs/spec/auth/jwt.md).

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rcgen::{CertificateParams, DnType, KeyPair, PKCS_RSA_SHA256, SigningKey as _};
use serde_json::{Value, json};

use crate::support::secrets;

/// Whose tokens they are.
pub(super) const ISSUER: &str = "colocate tests";
/// Whom they are for.
pub(super) const SERVICE: &str = "registry of the colocate tests";

/// Makes tokens.
pub(super) struct Signer {
    key: KeyPair,
    header: String,
}

/// What a token says.
pub(super) struct Claims<'a> {
    pub(super) subject: &'a str,
    pub(super) access: Vec<Value>,
    pub(super) number: usize,
    pub(super) expires: Expiry,
}

/// When it ends.
#[derive(Clone, Copy)]
pub(super) enum Expiry {
    In(Duration),
    Ago(Duration),
}

impl Signer {
    /// With a new key; its certificate goes into a file.
    pub(super) fn new(certificate: &Path) -> Self {
        // RSA, because its signatures in a JWT are what the library returns; those of ECDSA would need another form.
        let key = KeyPair::generate_for(&PKCS_RSA_SHA256).expect("a key");
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.distinguished_name.push(DnType::CommonName, ISSUER);
        let own = params.self_signed(&key).expect("a certificate");
        fs::write(certificate, own.pem()).expect("a file");
        let header = json!({"typ": "JWT", "alg": "RS256", "x5c": [STANDARD.encode(own.der())]});
        Self { key, header: segment(header.to_string()) }
    }

    /// A token. It is a secret from now on.
    pub(super) fn sign(&self, claims: &Claims<'_>) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock that is right");
        let expires = match claims.expires {
            Expiry::In(time) => now + time,
            Expiry::Ago(time) => now - time,
        };
        let payload = segment(
            json!({
                "iss": ISSUER,
                "sub": claims.subject,
                "aud": SERVICE,
                "iat": now.as_secs(),
                "nbf": now.as_secs() - 60,
                "exp": expires.as_secs(),
                "jti": format!("token {}", claims.number),
                "access": claims.access,
            })
            .to_string(),
        );
        let signed = format!("{}.{payload}", self.header);
        let signature = segment(self.key.sign(signed.as_bytes()).expect("a signature"));
        // The header is the same in all of them, and no secret.
        secrets::register(&format!("what is in a token of {}", claims.subject), &payload);
        secrets::register(&format!("the signature of a token of {}", claims.subject), &signature);
        format!("{signed}.{signature}")
    }
}

fn segment(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}
