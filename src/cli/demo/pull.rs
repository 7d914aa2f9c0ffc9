//! A plain registry client: it believes nothing that it has not hashed.

use std::io::{self, Read as _};
use std::net::SocketAddr;

use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use http::header::ACCEPT;
use http::{Method, Request, StatusCode};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

use crate::body::{self, Body, CollectError};
use crate::imgpkg::{ImagesLock, LOCK_PATH, LockError};
use crate::oci::{
    Digest, ErrorDocument, MANIFEST_ACCEPT, Manifest, ManifestError, ManifestView, Reference, RepositoryName,
};
use crate::tar::{Scanner, Step, TarError};

/// The sample's parts are a few hundred bytes each.
const MAX_PART_BYTES: usize = 1 << 20;

/// Why a pull failed.
#[derive(Debug, thiserror::Error)]
pub(in crate::cli) enum PullError {
    #[error("the proxy does not answer")]
    Connect(#[from] legacy::Error),
    #[error("the request cannot be made")]
    Request(#[from] http::Error),
    #[error("the answer broke off")]
    Body(#[from] CollectError),
    #[error("{path}: {status}: {message}")]
    Status { path: String, status: StatusCode, message: String },
    #[error("{what} has the digest {actual} instead of {expected}")]
    Digest { what: &'static str, expected: String, actual: String },
    #[error("{0}")]
    NotABundle(&'static str),
    #[error("the manifest cannot be read")]
    Manifest(#[from] ManifestError),
    #[error("the layer cannot be unpacked")]
    Gzip(#[from] io::Error),
    #[error("the layer is no tar")]
    Tar(#[from] TarError),
    #[error("the lock cannot be read")]
    Lock(#[from] LockError),
}

/// A pulled bundle, verified.
pub(super) struct Pulled {
    pub(super) manifest: Digest,
    pub(super) config: Digest,
    pub(super) layer: Digest,
    pub(super) diff_id: Digest,
    pub(super) lock: String,
}

impl Pulled {
    /// The references in the lock.
    pub(super) fn images(&self) -> Result<Vec<String>, PullError> {
        Ok(ImagesLock::parse(self.lock.as_bytes())?.images().map(|image| image.written.clone()).collect())
    }
}

/// A client of the registry at one address.
pub(super) struct Client {
    http: legacy::Client<HttpConnector, Body>,
    address: SocketAddr,
}

impl Client {
    pub(super) fn new(address: SocketAddr) -> Self {
        Self { http: legacy::Client::builder(TokioExecutor::new()).build_http(), address }
    }

    /// Pulls a bundle: manifest, config, layer, and the lock out of it.
    pub(super) async fn pull(&self, repository: &RepositoryName, reference: &Reference) -> Result<Pulled, PullError> {
        let bytes = self.fetch(&format!("/v2/{repository}/manifests/{reference}")).await?;
        let manifest = Digest::of(&bytes);
        if let Reference::Digest(expected) = reference {
            verify("the manifest", expected, manifest)?;
        }
        let media_type = Manifest::sniff(&bytes).ok_or(PullError::NotABundle("the manifest does not say its type"))?;
        let view = Manifest { bytes, digest: manifest, media_type }.view()?;
        let ManifestView::Image { config, layers } = view else {
            return Err(PullError::NotABundle("the manifest is not an image's"));
        };
        let [layer] = layers.as_slice() else { return Err(PullError::NotABundle("there is more than one layer")) };
        let (config, layer) = (config.digest, layer.digest);
        let config_bytes = self.blob(repository, &config).await?;
        let (lock, diff_id) = unpack(&self.blob(repository, &layer).await?)?;
        let claimed: Option<Digest> = serde_json::from_slice::<Value>(&config_bytes)
            .ok()
            .and_then(|config| config.pointer("/rootfs/diff_ids/0")?.as_str()?.parse().ok());
        let claimed = claimed.ok_or(PullError::NotABundle("the config has no diff_ids"))?;
        verify("the unpacked layer", &claimed, diff_id)?;
        Ok(Pulled { manifest, config, layer, diff_id, lock })
    }

    /// Whether an image is there, as imgpkg asks.
    pub(super) async fn has_manifest(&self, repository: &RepositoryName, digest: &str) -> Result<bool, PullError> {
        let (status, _) = self.send(Method::HEAD, &format!("/v2/{repository}/manifests/{digest}")).await?;
        Ok(status == StatusCode::OK)
    }

    async fn blob(&self, repository: &RepositoryName, digest: &Digest) -> Result<Bytes, PullError> {
        let bytes = self.fetch(&format!("/v2/{repository}/blobs/{digest}")).await?;
        verify("a blob", digest, Digest::of(&bytes))?;
        Ok(bytes)
    }

    async fn fetch(&self, path: &str) -> Result<Bytes, PullError> {
        let (status, bytes) = self.send(Method::GET, path).await?;
        if status == StatusCode::OK {
            return Ok(bytes);
        }
        let message = ErrorDocument::parse(&bytes).map(|document| document.message).unwrap_or_default();
        Err(PullError::Status { path: path.to_owned(), status, message })
    }

    async fn send(&self, method: Method, path: &str) -> Result<(StatusCode, Bytes), PullError> {
        let uri = format!("http://{}{path}", self.address);
        let request = Request::builder().method(method).uri(uri).header(ACCEPT, MANIFEST_ACCEPT).body(body::empty())?;
        let response = self.http.request(request).await?;
        let status = response.status();
        Ok((status, body::collect(response.into_body(), MAX_PART_BYTES).await?))
    }
}

fn verify(what: &'static str, expected: &Digest, actual: Digest) -> Result<(), PullError> {
    if actual == *expected {
        return Ok(());
    }
    Err(PullError::Digest { what, expected: expected.to_string(), actual: actual.to_string() })
}

/// The lock in a layer, and the digest of the tar.
fn unpack(layer: &[u8]) -> Result<(String, Digest), PullError> {
    let mut tar = Vec::new();
    MultiGzDecoder::new(layer).take(MAX_PART_BYTES as u64).read_to_end(&mut tar)?;
    let mut scanner = Scanner::new();
    let (mut at, mut lock) = (0, None);
    while at < tar.len() {
        match scanner.push(&tar[at..])? {
            Step::Block(taken, entry) => {
                at += taken;
                if let Some(entry) = entry.filter(|entry| entry.name == LOCK_PATH.as_bytes()) {
                    let size = usize::try_from(entry.size).unwrap_or(usize::MAX);
                    lock = tar.get(at..at.saturating_add(size));
                }
            }
            Step::Partial(taken) | Step::Data(taken) => at += taken,
        }
    }
    scanner.finish()?;
    let lock = lock.ok_or(PullError::NotABundle("the layer holds no .imgpkg/images.yml"))?;
    Ok((String::from_utf8_lossy(lock).into_owned(), Digest::of(&tar)))
}
