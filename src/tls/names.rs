//! What a certificate says of whose it is.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::ServerConnection;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// The most names taken from one certificate, and the longest: SPIFFE identifiers have up to 2048 bytes. A
/// handshake may carry some 64 KiB of them, which would then be kept for as long as the connection.
const MAX_NAMES: usize = 64;
const MAX_NAME_BYTES: usize = 2048;

/// The names in a certificate. Names with control characters, and too long ones, are left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CertificateNames {
    /// The subject's common name. A subject with several has none: which of them is meant is anybody's guess.
    pub common_name: Option<String>,
    /// Host names, in lower case.
    pub dns: Vec<String>,
    /// URIs, such as SPIFFE identifiers, as they stand.
    pub uris: Vec<String>,
    /// Mail addresses, as they stand.
    pub emails: Vec<String>,
}

impl CertificateNames {
    /// All of them, the common name first.
    pub fn all(&self) -> impl Iterator<Item = &str> {
        let alternative = self.dns.iter().chain(&self.uris).chain(&self.emails);
        self.common_name.iter().chain(alternative).map(String::as_str)
    }

    /// The one name that a log line shows.
    pub fn label(&self) -> &str {
        let alternative = || self.uris.iter().chain(&self.dns).chain(&self.emails).next();
        self.common_name.as_ref().or_else(alternative).map_or("unnamed", String::as_str)
    }
}

/// Why a client's certificate is not taken, although the handshake took it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientCertificateError {
    /// It cannot be read.
    #[error("the client's certificate cannot be read")]
    Unreadable,
    /// It has more names than are held against rules, and none may be left out: a rule that forbids may be about it.
    #[error("the client's certificate has more than {MAX_NAMES} names")]
    TooManyNames,
    /// It is over: a resumed session has the certificate of its first handshake, which nobody looks at again.
    #[error("the client's certificate has expired since the session began")]
    Expired,
}

/// The names of the client at the other end, whose certificate the handshake has verified; `None` for one that
/// showed none.
///
/// # Errors
/// When the connection should not be served because of the certificate.
pub fn client_names(connection: &ServerConnection) -> Result<Option<CertificateNames>, ClientCertificateError> {
    let own = connection.peer_certificates().and_then(<[_]>::first);
    own.map(|der| checked(der, SystemTime::now())).transpose()
}

fn checked(der: &[u8], now: SystemTime) -> Result<CertificateNames, ClientCertificateError> {
    let summary = Summary::read(der).ok_or(ClientCertificateError::Unreadable)?;
    // Valid up to and with that second (RFC 5280, section 4.1.2.5).
    let end = summary.not_after + Duration::from_secs(1);
    match summary {
        _ if end <= now => Err(ClientCertificateError::Expired),
        Summary { has_more: true, .. } => Err(ClientCertificateError::TooManyNames),
        Summary { names, .. } => Ok(names),
    }
}

/// Whose a certificate is, and until when.
pub(super) struct Summary {
    pub(super) names: CertificateNames,
    /// Whether there are more names than were taken.
    has_more: bool,
    pub(super) not_after: SystemTime,
}

impl Summary {
    /// Reads the DER form.
    pub(super) fn read(der: &[u8]) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let seconds = u64::try_from(certificate.validity().not_after.timestamp()).unwrap_or(0);
        let not_after = UNIX_EPOCH.checked_add(Duration::from_secs(seconds))?;
        let (names, has_more) = names(&certificate);
        Some(Self { names, has_more, not_after })
    }
}

/// The names, and whether there are more.
fn names(certificate: &X509Certificate<'_>) -> (CertificateNames, bool) {
    let mut names = CertificateNames::default();
    let mut common = certificate.subject().iter_common_name();
    if let (Some(only), None) = (common.next(), common.next()) {
        names.common_name = only.as_str().ok().filter(|name| is_usable(name)).map(str::to_owned);
    }
    // An error is an extension that stands there twice, of which neither counts.
    let Ok(Some(alternative)) = certificate.subject_alternative_name() else { return (names, false) };
    for name in alternative.value.general_names.iter().take(MAX_NAMES) {
        match name {
            GeneralName::DNSName(name) if is_plain(name) => names.dns.push(name.to_ascii_lowercase()),
            GeneralName::URI(uri) if is_plain(uri) => names.uris.push((*uri).to_owned()),
            GeneralName::RFC822Name(address) if is_plain(address) => names.emails.push((*address).to_owned()),
            _ => {}
        }
    }
    (names, alternative.value.general_names.len() > MAX_NAMES)
}

fn is_usable(name: &str) -> bool {
    !name.is_empty() && name.len() <= MAX_NAME_BYTES && !name.chars().any(char::is_control)
}

/// The alternative names are ASCII (RFC 5280, section 4.2.1.6).
fn is_plain(name: &str) -> bool {
    is_usable(name) && name.is_ascii()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that fails panics")]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair, SanType};

    use super::*;

    fn certificate(common: &[&str], alternative: Vec<SanType>) -> Vec<u8> {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        for (at, name) in common.iter().enumerate() {
            // rcgen keeps one attribute of a kind, so that the second is written with the name's number.
            let kind = if at == 0 { DnType::CommonName } else { DnType::CustomDnType(vec![2, 5, 4, 3]) };
            params.distinguished_name.push(kind, *name);
        }
        params.subject_alt_names = alternative;
        params.not_after = rcgen::date_time_ymd(2100, 1, 1);
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    fn of(common: &[&str], alternative: Vec<SanType>) -> CertificateNames {
        Summary::read(&certificate(common, alternative)).unwrap().names
    }

    fn dns(name: &str) -> SanType {
        SanType::DnsName(name.try_into().unwrap())
    }

    #[test]
    fn names_of_every_kind() {
        let names = of(
            &["Node 7 of Zürich"],
            vec![
                dns("Node7.Example"),
                SanType::URI("spiffe://example/ns/a".try_into().unwrap()),
                SanType::Rfc822Name("ops@example".try_into().unwrap()),
                SanType::IpAddress([127, 0, 0, 1].into()),
            ],
        );
        assert_eq!(names.common_name.as_deref(), Some("Node 7 of Zürich"));
        assert_eq!(
            (names.dns, names.uris),
            (vec!["node7.example".to_owned()], vec!["spiffe://example/ns/a".to_owned()])
        );
        assert_eq!(names.emails, ["ops@example"]);
    }

    #[test]
    fn odd_names_are_left_out() {
        assert_eq!(of(&["one", "other"], Vec::new()), CertificateNames::default());
        assert_eq!(of(&["two\nlines"], vec![dns("a\0.example"), dns("")]), CertificateNames::default());
        assert_eq!(of(&[&"x".repeat(MAX_NAME_BYTES + 1)], Vec::new()).common_name, None);
        let many = (0..MAX_NAMES + 9).map(|number| dns(&format!("h{number}.example"))).collect();
        let many = certificate(&[], many);
        assert_eq!(Summary::read(&many).unwrap().names.dns.len(), MAX_NAMES);
        assert_eq!(checked(&many, UNIX_EPOCH), Err(ClientCertificateError::TooManyNames));
        assert_eq!(of(&[], Vec::new()).label(), "unnamed");
        assert_eq!(of(&[], vec![dns("a.example")]).label(), "a.example");
    }

    #[test]
    fn a_certificate_that_ended_since_is_told() {
        let der = certificate(&["a"], Vec::new());
        // 1 January 2100.
        let end = UNIX_EPOCH + Duration::from_secs(4_102_444_800);
        assert_eq!(checked(&der, end).unwrap().label(), "a");
        assert_eq!(checked(&der, end + Duration::from_secs(1)), Err(ClientCertificateError::Expired));
        assert_eq!(checked(&der[1..], end), Err(ClientCertificateError::Unreadable));
    }
}
