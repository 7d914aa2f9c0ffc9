//! An OCI registry over HTTP or HTTPS.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::header::CONTENT_RANGE;
use http::{Method, StatusCode};
use http_body_util::BodyExt as _;
use rustls::pki_types::CertificateDer;
use tokio::sync::Semaphore;
use url::{Url, form_urlencoded};

use super::ask::Ask;
use super::auth::Authenticator;
use super::change::{Change, Changed};
use super::courtesy::Courtesy;
use super::credential::{CredentialSource, Source};
use super::egress::Egress;
use super::error::UpstreamError;
use super::face::ClientCredential;
use super::link::next_query;
use super::lists::{Listed, Lists};
use super::manifest_answer::{check_type, told, verify};
use super::name_list::{self, Answered};
use super::realm::Realms;
use super::referrers::{self, Referrer};
use super::transport::{Answer, Timeouts, TlsConfigs, Transport};
use super::{Blob, ListPage, ManifestHead, NameList, Upstream};
use crate::body::{BoxError, BoxFuture};
use crate::oci::{Digest, MAX_MANIFEST_BYTES, Manifest, Reference, RepositoryName};
use crate::telemetry::{Metrics, UpstreamMetrics};
use crate::tls::{ClientIdentity, TlsError, Verification, client_config};

/// Requests at once, of each kind. Registries throttle by client; a hundred layers at once gain nothing.
const DEFAULT_CONCURRENCY: usize = 64;

/// How long the bytes of a manifest may take, of which there are at most 4 MiB.
const MANIFEST_DEADLINE: Duration = Duration::from_secs(60);
/// The same for a page of names, of at most 8 MiB.
const LIST_DEADLINE: Duration = Duration::from_secs(60);
/// The same for a page of referrers, of which all have at most 4 MiB.
const REFERRERS_DEADLINE: Duration = Duration::from_secs(60);
/// How much of the answer to a ping is read, and for how long: a registry's has two bytes.
const PING: (usize, Duration) = (64 << 10, Duration::from_secs(10));

/// Where a registry is, and how it is spoken to.
#[derive(Clone, Debug)]
pub struct RegistryConfig {
    /// `http` or `https`, host, port, and what stands in front of `/v2/`, if anything does.
    pub url: Url,
    /// Who this proxy is to the registry.
    pub credentials: CredentialSource,
    /// The certificate shown to the registry and to the token servers in `realm_hosts` if they ask for one (mTLS).
    pub identity: Option<ClientIdentity>,
    /// Token servers that may have the credentials, as `host` or `host:port`, besides the registry's own host.
    pub realm_hosts: Vec<String>,
    /// CAs trusted besides the system's.
    pub extra_ca: Vec<CertificateDer<'static>>,
    /// Whether the certificate of the registry's own host is verified. Other hosts' are in any case.
    pub verify: bool,
    /// How the registry, its token servers and what it redirects to are reached.
    pub egress: Egress,
    /// How long each step may take.
    pub timeouts: Timeouts,
    /// How many blobs may be on their way at once and, apart from them, how many changes and how many other requests; at
    /// least 1. Uploads are as many as clients send.
    pub concurrency: usize,
    /// Whether another Colocate is to answer with originals ([`VIEW`](super::VIEW)). Only who wants what it makes for its
    /// clients does without.
    pub originals: bool,
    /// Where it is counted what the hosts answer, under the name that the registry is configured by.
    pub metrics: UpstreamMetrics,
}

impl RegistryConfig {
    /// The registry at `url`, anonymously, with the defaults.
    pub fn new(url: Url) -> Self {
        Self {
            metrics: Metrics::new().upstream(url.host_str().unwrap_or_default()),
            url,
            credentials: CredentialSource::Anonymous,
            identity: None,
            realm_hosts: Vec::new(),
            extra_ca: Vec::new(),
            verify: true,
            egress: Egress::direct(),
            timeouts: Timeouts::default(),
            concurrency: DEFAULT_CONCURRENCY,
            originals: true,
        }
    }
}

/// Why a registry cannot be spoken to as configured.
#[derive(Debug, thiserror::Error)]
pub enum RegistryConfigError {
    /// Not a URL with a host and nothing after the path.
    #[error(
        "an upstream's URL reads http[s]://host[:port][/prefix], without user name, query or fragment; \
         credentials have their own keys"
    )]
    Url,
    /// A token that no header can carry.
    #[error("the upstream's token has characters that cannot be sent; it should be one word, without a line's end")]
    Token,
    /// A CA or a client certificate that cannot be used.
    #[error("TLS for the upstream cannot be set up")]
    Tls(#[from] TlsError),
}

/// An OCI registry over HTTP or HTTPS, spoken to as the proxy itself or as one of its clients.
///
/// Clones share everything.
#[derive(Clone)]
pub struct RegistryUpstream {
    shared: Arc<Shared>,
    transport: Arc<Transport>,
    authenticator: Arc<Authenticator>,
    lists: Arc<Lists>,
}

/// What all faces of a registry have in common.
struct Shared {
    name: String,
    // With the path ending in `/v2/`.
    base: Url,
    // Apart, so that a queue of large blobs never keeps a HEAD waiting.
    blobs: Arc<Semaphore>,
    others: Arc<Semaphore>,
    changes: Arc<Semaphore>,
}

impl fmt::Debug for RegistryUpstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RegistryUpstream").field(&self.shared.name).finish()
    }
}

impl RegistryUpstream {
    /// Prepares to speak to a registry; nothing is sent yet.
    ///
    /// # Errors
    /// When the URL, a token or a certificate cannot be used.
    pub fn new(config: RegistryConfig) -> Result<Self, RegistryConfigError> {
        let RegistryConfig { url, credentials, realm_hosts, timeouts, concurrency, metrics, .. } = &config;
        let name = match (url.host_str(), url.port()) {
            (Some(host), None) => host.to_owned(),
            (Some(host), Some(port)) => format!("{host}:{port}"),
            (None, _) => return Err(RegistryConfigError::Url),
        };
        let plain = matches!(url.scheme(), "http" | "https")
            && url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none();
        if !plain {
            return Err(RegistryConfigError::Url);
        }
        let base = base(url);
        let source = Source::new(credentials.clone()).ok_or(RegistryConfigError::Token)?;
        let realms = Realms { upstream: base.clone(), allowed: realm_hosts.clone() };
        let courtesy = Courtesy::new(&base, metrics.clone());
        let transport = Transport::new(tls(&config)?, config.egress.clone(), *timeouts, courtesy, realms);
        let transport = if config.originals { transport.asking_for_originals() } else { transport };
        if !config.verify {
            tracing::warn!(
                upstream = name,
                "this upstream is insecure: its certificate is NOT verified, and credentials go to it over http, too; \
                 whoever is on the way can read them and change what it sends; name its CA instead"
            );
        }
        let lane = || Arc::new(Semaphore::new((*concurrency).max(1)));
        let shared = Arc::new(Shared { name, base, blobs: lane(), others: lane(), changes: lane() });
        let authenticator = Arc::new(Authenticator::new(source));
        Ok(Self { shared, transport: Arc::new(transport), authenticator, lists: Arc::default() })
    }

    /// Where it is, with the path ending in `/v2/`.
    pub(super) fn base(&self) -> &Url {
        &self.shared.base
    }

    pub(super) fn transport(&self) -> &Transport {
        &self.transport
    }

    pub(super) fn authenticator(&self) -> &Authenticator {
        &self.authenticator
    }

    /// Where a question takes its place.
    pub(super) fn lane(&self, ask: &Ask<'_>) -> &Arc<Semaphore> {
        if ask.is_download() { &self.shared.blobs } else { &self.shared.others }
    }

    /// The same for a change.
    pub(super) fn changes(&self) -> &Arc<Semaphore> {
        &self.shared.changes
    }

    async fn say_hello(&self) -> Result<(), UpstreamError> {
        let answer = expect(self.ask(Ask::ping()).await?, StatusCode::OK).await?;
        // What it says is nothing, but read to its end it leaves its connection.
        let _ = answer.collect(PING.0, PING.1).await;
        Ok(())
    }

    async fn get_manifest(
        &self,
        repository: &RepositoryName,
        reference: &Reference,
    ) -> Result<Manifest, UpstreamError> {
        let answer = self.ask(Ask::manifest(Method::GET, repository, reference)).await?;
        let answer = expect(answer, StatusCode::OK).await?.require_identity()?;
        let (named, claimed) = (answer.media_type(), answer.content_digest());
        check_type(named.as_ref())?;
        // Small, and everybody who pulls the tag waits for the same one: it may not drip in for days.
        verify(answer.collect(MAX_MANIFEST_BYTES, MANIFEST_DEADLINE).await?, named, reference, claimed)
    }

    async fn head_manifest(
        &self,
        repository: &RepositoryName,
        reference: &Reference,
    ) -> Result<ManifestHead, UpstreamError> {
        let answer = self.ask(Ask::manifest(Method::HEAD, repository, reference)).await?;
        if answer.status() == StatusCode::OK {
            if let Some(head) = told(&answer, reference)? {
                return Ok(head);
            }
        } else if !answer.wants_get() {
            return Err(answer.into_error().await);
        }
        drop(answer);
        let Manifest { bytes, digest, media_type } = self.get_manifest(repository, reference).await?;
        Ok(ManifestHead { digest, media_type, size: bytes.len() as u64 })
    }

    async fn get_blob(&self, repository: &RepositoryName, digest: &Digest, offset: u64) -> Result<Blob, UpstreamError> {
        let answer = self.ask(Ask::blob(Method::GET, repository, digest, offset)).await?;
        let (offset, size) = match answer.status() {
            StatusCode::OK => (0, answer.content_length()),
            StatusCode::PARTIAL_CONTENT => {
                let range = answer.text(&CONTENT_RANGE).and_then(content_range);
                match range {
                    Some((start, size)) if start == offset => (start, size),
                    _ => return Err(UpstreamError::malformed("answered another range than was asked for")),
                }
            }
            StatusCode::RANGE_NOT_SATISFIABLE => return Err(UpstreamError::RangeNotSatisfiable { offset }),
            _ => return Err(answer.into_error().await),
        };
        let body = answer.require_identity()?.body.map_err(BoxError::from).boxed();
        Ok(Blob { offset, size, body })
    }

    async fn head_blob(&self, repository: &RepositoryName, digest: &Digest) -> Result<u64, UpstreamError> {
        let mut answer = self.ask(Ask::blob(Method::HEAD, repository, digest, 0)).await?;
        let told = answer.status() == StatusCode::OK && answer.content_length().is_some();
        if !told && (answer.status() == StatusCode::OK || answer.wants_get()) {
            drop(answer);
            // The body is dropped unread, at the price of a connection; it is rare.
            answer = self.ask(Ask::blob(Method::GET, repository, digest, 0)).await?;
        }
        let answer = expect(answer, StatusCode::OK).await?;
        answer.content_length().ok_or_else(|| UpstreamError::malformed("does not say how large a blob is"))
    }

    /// One answer to a request for a list, of at most `room` bytes; `query` says for which page.
    pub(super) async fn ask_page(
        &self,
        listed: Listed<'_>,
        query: &str,
        room: usize,
    ) -> Result<Answered, UpstreamError> {
        let ask = match listed {
            Listed::Tags(repository) => Ask::tags(repository, query),
            Listed::Catalog => Ask::catalog(query),
        };
        let url = ask.url(&self.shared.base);
        let answer = expect(self.ask(ask).await?, StatusCode::OK).await?.require_identity()?;
        let headers = answer.head.headers.clone();
        name_list::read(&headers, &answer.collect(room, LIST_DEADLINE).await?, &url)
    }

    /// What is known of its lists.
    pub(super) fn lists(&self) -> &Lists {
        &self.lists
    }

    async fn list_repositories(&self, page: &ListPage) -> Result<NameList, UpstreamError> {
        self.list(Listed::Catalog, page).await.map_err(|error| match error.status() {
            // As registries say that they have no such list.
            Some(StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED) => UpstreamError::NotFound,
            _ => error,
        })
    }
}

impl RegistryUpstream {
    async fn list_referrers(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        artifact_type: Option<&str>,
    ) -> Result<Option<Vec<Referrer>>, UpstreamError> {
        let wanted = artifact_type.map(|wanted| ("artifactType", wanted));
        let mut query = form_urlencoded::Serializer::new(String::new()).extend_pairs(wanted).finish();
        let (mut all, mut room) = (Vec::new(), referrers::MAX_REFERRERS_BYTES);
        for _ in 0..referrers::MAX_PAGES {
            let ask = Ask::referrers(repository, digest, &query);
            let url = ask.url(&self.shared.base);
            let answer = self.ask(ask).await?;
            if all.is_empty() && referrers::is_unknown(answer.status(), answer.media_type().as_ref(), answer.foreign) {
                return Ok(None);
            }
            let answer = expect(answer, StatusCode::OK).await?.require_identity()?;
            let next = next_query(&answer.head.headers, &url);
            let page = answer.collect(room, REFERRERS_DEADLINE).await?;
            room -= page.len();
            all.extend(referrers::read(&page)?);
            match next {
                Some(next) if next != query => query = next,
                _ => return Ok(Some(all)),
            }
        }
        Err(UpstreamError::malformed("has more pages of referrers than are asked for"))
    }
}

impl Upstream for RegistryUpstream {
    fn manifest<'a>(
        &'a self,
        repository: &'a RepositoryName,
        reference: &'a Reference,
    ) -> BoxFuture<'a, Result<Manifest, UpstreamError>> {
        Box::pin(self.get_manifest(repository, reference))
    }

    fn manifest_head<'a>(
        &'a self,
        repository: &'a RepositoryName,
        reference: &'a Reference,
    ) -> BoxFuture<'a, Result<ManifestHead, UpstreamError>> {
        Box::pin(self.head_manifest(repository, reference))
    }

    fn blob<'a>(
        &'a self,
        repository: &'a RepositoryName,
        digest: &'a Digest,
        offset: u64,
    ) -> BoxFuture<'a, Result<Blob, UpstreamError>> {
        Box::pin(self.get_blob(repository, digest, offset))
    }

    fn blob_head<'a>(
        &'a self,
        repository: &'a RepositoryName,
        digest: &'a Digest,
    ) -> BoxFuture<'a, Result<u64, UpstreamError>> {
        Box::pin(self.head_blob(repository, digest))
    }

    fn tags<'a>(
        &'a self,
        repository: &'a RepositoryName,
        page: &'a ListPage,
    ) -> BoxFuture<'a, Result<NameList, UpstreamError>> {
        Box::pin(self.list(Listed::Tags(repository), page))
    }

    fn catalog<'a>(&'a self, page: &'a ListPage) -> BoxFuture<'a, Result<NameList, UpstreamError>> {
        Box::pin(self.list_repositories(page))
    }

    fn referrers<'a>(
        &'a self,
        repository: &'a RepositoryName,
        digest: &'a Digest,
        artifact_type: Option<&'a str>,
    ) -> BoxFuture<'a, Result<Option<Vec<Referrer>>, UpstreamError>> {
        Box::pin(self.list_referrers(repository, digest, artifact_type))
    }

    fn change<'a>(
        &'a self,
        repository: &'a RepositoryName,
        change: Change<'a>,
    ) -> BoxFuture<'a, Result<Changed, UpstreamError>> {
        Box::pin(self.ask_change(repository, change))
    }

    fn ping<'a>(&'a self) -> BoxFuture<'a, Result<(), UpstreamError>> {
        Box::pin(self.say_hello())
    }

    fn for_client(&self, credential: &ClientCredential) -> Option<Arc<dyn Upstream>> {
        let authenticator = Arc::new(Authenticator::of_client(credential));
        let transport = Arc::new(self.transport.for_client());
        // What one client is shown of a list is not kept for another.
        Some(Arc::new(Self { shared: Arc::clone(&self.shared), transport, authenticator, lists: Arc::default() }))
    }

    fn name(&self) -> &str {
        &self.shared.name
    }
}

/// What TLS is spoken with whom: an identity is shown only where credentials may go, and only the registry's own host may
/// go unverified.
fn tls(config: &RegistryConfig) -> Result<TlsConfigs, TlsError> {
    let (verified, identity) = (Verification::Roots(&config.extra_ca), config.identity.as_ref());
    let own = if config.verify { verified } else { Verification::Nothing };
    Ok(TlsConfigs {
        own: client_config(own, identity)?,
        listed: client_config(verified, identity)?,
        foreign: client_config(verified, None)?,
    })
}

async fn expect(answer: Answer, status: StatusCode) -> Result<Answer, UpstreamError> {
    if answer.status() == status { Ok(answer) } else { Err(answer.into_error().await) }
}

/// `bytes 5-9/10` is `(5, Some(10))`; the total may be `*` (RFC 9110 §14.4).
fn content_range(text: &str) -> Option<(u64, Option<u64>)> {
    let (range, total) = text.strip_prefix("bytes")?.trim_start().split_once('/')?;
    let (start, end) = range.split_once('-')?;
    let (start, end): (u64, u64) = (start.trim().parse().ok()?, end.trim().parse().ok()?);
    let total = match total.trim() {
        "*" => None,
        total => Some(total.parse::<u64>().ok()?),
    };
    let whole = start <= end && total.is_none_or(|total| end < total);
    whole.then_some((start, total))
}

/// Where a registry's API is, with the path ending in `/v2/`.
fn base(url: &Url) -> Url {
    let mut base = url.clone();
    base.set_path(&format!("{}/v2/", base.path().trim_end_matches('/')));
    base
}

/// Where the registry at `url` is asked for a manifest.
pub fn manifest_url(url: &Url, repository: &RepositoryName, reference: &Reference) -> Url {
    Ask::manifest(Method::GET, repository, reference).url(&base(url))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_ranges() {
        assert_eq!(content_range("bytes 5-9/10"), Some((5, Some(10))));
        assert_eq!(content_range("bytes 0-0/*"), Some((0, None)));
        for bad in
            ["", "bytes", "bytes */10", "bytes 5-4/10", "bytes 5-10/10", "items 1-2/3", "bytes 1-2", "bytes -1-2/3"]
        {
            assert_eq!(content_range(bad), None, "{bad}");
        }
    }

    #[test]
    fn urls() {
        let new = |url: &str| RegistryUpstream::new(RegistryConfig::new(url.parse().expect("a URL")));
        let upstream = new("https://host.example:8443/artifactory/docker/").expect("an upstream");
        assert_eq!(upstream.name(), "host.example:8443");
        assert_eq!(upstream.shared.base.path(), "/artifactory/docker/v2/");
        for bad in
            ["https://u:p@host/", "https://u@host/", "https://host/?a", "https://host/#a", "ftp://host/", "data:x"]
        {
            assert!(matches!(new(bad), Err(RegistryConfigError::Url)), "{bad}");
        }
    }
}
