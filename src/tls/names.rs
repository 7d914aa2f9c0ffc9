//! What a certificate says of whose it is.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::ServerConnection;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// The most names taken from one certificate, and the longest: SPIFFE identifiers have up to 2048 bytes. A
/// handshake may carry some 64 KiB of them, which would then be kept for as long as the connection.
const MAX_NAMES: usize = 64;
const MAX_NAME_BYTES: usize = 2048;

/// The names in a certificate. Empty ones say nothing and are left out, and so are all names of other kinds.
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

/// One of a certificate's names, by its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertificateName<'a> {
    /// The subject's common name: free text.
    Common(&'a str),
    /// A host name, in lower case.
    Dns(&'a str),
    /// A URI.
    Uri(&'a str),
    /// A mail address.
    Email(&'a str),
}

impl CertificateNames {
    /// All of them. The first is the one that is shown where there is room for one.
    pub fn all(&self) -> impl Iterator<Item = CertificateName<'_>> {
        let common = self.common_name.iter().map(|name| CertificateName::Common(name));
        let uris = self.uris.iter().map(|uri| CertificateName::Uri(uri));
        let dns = self.dns.iter().map(|name| CertificateName::Dns(name));
        let emails = self.emails.iter().map(|address| CertificateName::Email(address));
        common.chain(uris).chain(dns).chain(emails)
    }

    /// The first, without its kind.
    pub(super) fn label(&self) -> &str {
        self.all().next().map_or("unnamed", |name| match name {
            CertificateName::Common(text)
            | CertificateName::Dns(text)
            | CertificateName::Uri(text)
            | CertificateName::Email(text) => text,
        })
    }
}

/// Why a client's certificate is not taken, although the handshake took it.
///
/// A name that cannot be held against rules is not just left out: a rule that forbids may be about it. Names of
/// kinds that no rule can be about, such as IP addresses and directory names, are no obstacle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientCertificateError {
    /// It cannot be read.
    #[error("the client's certificate cannot be read")]
    Unreadable,
    /// It has more names than are held against rules.
    #[error("the client's certificate has more than {MAX_NAMES} names")]
    TooManyNames,
    /// Which of them is meant is anybody's guess.
    #[error("the client's certificate has a subject with more than one common name")]
    SeveralCommonNames,
    /// Names that are not where they should be.
    #[error("the client's certificate has alternative names that cannot be read, or has them twice")]
    AlternativeNames,
    /// One with control characters, too long, or in letters that its kind does not have (RFC 5280, section 4.2.1.6).
    #[error(
        "the client's certificate has a name with control characters, of more than {MAX_NAME_BYTES} bytes, or in an \
         encoding that is not taken"
    )]
    OddName,
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
    let Summary { names, not_after, fault } = Summary::read(der).ok_or(ClientCertificateError::Unreadable)?;
    // Valid up to and with that second (RFC 5280, section 4.1.2.5).
    if not_after + Duration::from_secs(1) <= now {
        return Err(ClientCertificateError::Expired);
    }
    fault.map_or(Ok(names), Err)
}

/// Whose a certificate is, and until when.
pub(super) struct Summary {
    pub(super) names: CertificateNames,
    pub(super) not_after: SystemTime,
    /// Why these are not all its names.
    fault: Option<ClientCertificateError>,
}

impl Summary {
    /// Reads the DER form.
    pub(super) fn read(der: &[u8]) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let seconds = u64::try_from(certificate.validity().not_after.timestamp()).unwrap_or(0);
        let not_after = UNIX_EPOCH.checked_add(Duration::from_secs(seconds))?;
        let (names, fault) = names(&certificate);
        Some(Self { names, not_after, fault })
    }
}

/// The names that can be used, and what is wrong with the others.
fn names(certificate: &X509Certificate<'_>) -> (CertificateNames, Option<ClientCertificateError>) {
    use ClientCertificateError::{AlternativeNames, OddName, SeveralCommonNames, TooManyNames};
    let mut names = CertificateNames::default();
    let mut fault = None;
    let mut common = certificate.subject().iter_common_name();
    match (common.next(), common.next()) {
        (Some(_), Some(_)) => fault = Some(SeveralCommonNames),
        (Some(only), None) => match only.as_str() {
            Ok("") => {}
            Ok(name) if is_usable(name) => names.common_name = Some(name.to_owned()),
            _ => fault = Some(OddName),
        },
        (None, _) => {}
    }
    let alternative = match certificate.subject_alternative_name() {
        Ok(None) => return (names, fault),
        Ok(Some(alternative)) => &alternative.value.general_names,
        Err(_) => return (names, fault.or(Some(AlternativeNames))),
    };
    if alternative.len() > MAX_NAMES {
        fault = fault.or(Some(TooManyNames));
    }
    for name in alternative.iter().take(MAX_NAMES) {
        match name {
            GeneralName::DNSName("") | GeneralName::URI("") | GeneralName::RFC822Name("") => {}
            GeneralName::DNSName(name) if is_plain(name) => names.dns.push(name.to_ascii_lowercase()),
            GeneralName::URI(uri) if is_plain(uri) => names.uris.push((*uri).to_owned()),
            GeneralName::RFC822Name(address) if is_plain(address) => names.emails.push((*address).to_owned()),
            GeneralName::DNSName(_) | GeneralName::URI(_) | GeneralName::RFC822Name(_) | GeneralName::Invalid(..) => {
                fault = fault.or(Some(OddName));
            }
            _ => {}
        }
    }
    (names, fault)
}

fn is_usable(name: &str) -> bool {
    name.len() <= MAX_NAME_BYTES && !name.chars().any(char::is_control)
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
    fn a_certificate_with_names_that_no_rule_can_be_about_is_refused() {
        use ClientCertificateError::{AlternativeNames, OddName, SeveralCommonNames, TooManyNames};
        let many = |count: usize| (0..count).map(|number| dns(&format!("h{number}.example"))).collect::<Vec<_>>();
        let other = |oid: &[u64], value: &str| SanType::OtherName((oid.to_vec(), value.to_owned().into()));
        let long = "x".repeat(MAX_NAME_BYTES + 1);
        for (common, alternative, expected) in [
            (&["one", "other"][..], vec![dns("a.example")], Err(SeveralCommonNames)),
            (&["two\nlines"], vec![dns("a.example")], Err(OddName)),
            (&[&long], vec![dns("a.example")], Err(OddName)),
            (&[&long[1..]], vec![dns("a.example")], Ok(2)),
            (&[], vec![dns("a\0.example"), dns("a.example")], Err(OddName)),
            (&[], vec![SanType::URI(long.as_str().try_into().unwrap())], Err(OddName)),
            (&[], vec![SanType::Rfc822Name("a\n@example".try_into().unwrap())], Err(OddName)),
            (&[], many(MAX_NAMES + 1), Err(TooManyNames)),
            (&[], many(MAX_NAMES), Ok(MAX_NAMES)),
            (&[""], vec![dns("")], Ok(0)),
            (&[], vec![other(&[1, 2, 3], "a\nb"), SanType::IpAddress([127, 0, 0, 1].into())], Ok(0)),
        ] {
            let found = checked(&certificate(common, alternative), UNIX_EPOCH).map(|names| names.all().count());
            assert_eq!(found, expected, "{common:?}");
        }
        // As the extension's own number and tag, since rcgen writes neither a second extension nor other letters.
        let plain = certificate(&[], vec![dns("a.example")]);
        let changed = |from: &[u8], to: &[u8]| {
            let at = plain.windows(from.len()).position(|window| window == from).unwrap();
            let mut bytes = plain.clone();
            bytes[at..at + to.len()].copy_from_slice(to);
            checked(&bytes, UNIX_EPOCH)
        };
        assert_eq!(changed(b"a.example", "\u{e9}example".as_bytes()), Err(OddName));
        assert_eq!(changed(b"a.example", b"\xff.example"), Err(OddName));
        // Its sequence is none any more.
        assert_eq!(changed(&[0x30, 11, 0x82, 9], &[0x31]), Err(AlternativeNames));
    }

    #[test]
    fn the_first_name_is_shown() {
        assert_eq!(of(&[], Vec::new()).label(), "unnamed");
        assert_eq!(of(&[], vec![dns("a.example")]).label(), "a.example");
        let uri = SanType::URI("spiffe://a".try_into().unwrap());
        assert_eq!(of(&[], vec![dns("a.example"), uri.clone()]).label(), "spiffe://a");
        assert_eq!(of(&["node"], vec![uri]).label(), "node");
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
