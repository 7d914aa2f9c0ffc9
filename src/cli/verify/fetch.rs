//! Manifests, configs and layers from a registry, believed no further than they hash.

use std::fs::File;
use std::io::{self, SeekFrom};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use rustls::pki_types::CertificateDer;
use tokio::io::{AsyncSeekExt as _, AsyncWriteExt as _};

use super::error::VerifyError;
use super::place::Place;
use crate::body::{self, find_source};
use crate::config::DOCKER_HUB_REALM;
use crate::oci::{Algorithm, Descriptor, Digest, Hasher, Manifest, Reference, RegistryName};
use crate::rewrite::MAX_CONFIG_BYTES;
use crate::rewrite::compare::Content;
use crate::upstream::{
    CredentialSource, DockerConfig, Egress, RegistryConfig, RegistryUpstream, Upstream as _, UpstreamError,
};

/// How often something is asked for that a host may have in a moment: a relocation that is under way, or the rest of a
/// layer whose connection broke.
const ATTEMPTS: usize = 5;
/// The longest a host is waited for that asks to be asked again.
const MAX_WAIT: Duration = Duration::from_secs(30);

/// How hosts are spoken to.
pub(super) struct Access {
    pub(super) extra_ca: Vec<CertificateDer<'static>>,
    pub(super) docker_config: Option<PathBuf>,
    pub(super) egress: Egress,
}

/// A repository at a host.
pub(super) struct Source {
    upstream: RegistryUpstream,
    place: Place,
}

impl Source {
    /// The repository of `place`. A Colocate there shows `originals`, or else what it makes for its clients.
    pub(super) fn new(place: Place, originals: bool, access: &Access) -> Result<Self, VerifyError> {
        let host = place.endpoint.as_str();
        let registry = host.parse::<RegistryName>().ok();
        let names = registry.iter().map(ToString::to_string).chain([host.to_owned()]);
        let is_docker_hub = registry.as_ref().is_some_and(RegistryName::is_docker_hub);
        let credentials = match &access.docker_config {
            Some(path) if place.is_private() => CredentialSource::Docker(DockerConfig::new(path, names)),
            _ => CredentialSource::Anonymous,
        };
        let upstream = RegistryUpstream::new(RegistryConfig {
            credentials,
            realm_hosts: is_docker_hub.then(|| DOCKER_HUB_REALM.to_owned()).into_iter().collect(),
            extra_ca: access.extra_ca.clone(),
            egress: access.egress.clone(),
            originals,
            ..RegistryConfig::new(place.url.clone())
        });
        let upstream = upstream.map_err(|source| VerifyError::Registry { host: host.to_owned(), source })?;
        Ok(Self { upstream, place })
    }

    /// A manifest. By digest, it is the one with that digest, whatever the host calls it.
    pub(super) async fn manifest(&self, reference: &Reference) -> Result<Manifest, VerifyError> {
        let repository = &self.place.repository;
        let mut attempts = ATTEMPTS;
        let manifest = loop {
            attempts -= 1;
            match self.upstream.manifest(repository, reference).await {
                Ok(manifest) => break manifest,
                Err(error) => match error.retry_after().filter(|wait| attempts > 0 && *wait <= MAX_WAIT) {
                    Some(wait) => tokio::time::sleep(wait).await,
                    None => return Err(self.failed(&name(repository.as_str(), reference), error)),
                },
            }
        };
        match reference {
            // Docker's schema 1 is let through by another digest than it was asked by, which nobody can check.
            Reference::Digest(digest) if *digest != manifest.digest => {
                let (expected, actual) = (Box::new(*digest), Box::new(manifest.digest));
                let error = UpstreamError::DigestMismatch { expected, actual };
                Err(self.failed(&name(repository.as_str(), reference), error))
            }
            _ => Ok(manifest),
        }
    }

    /// A config.
    pub(super) async fn config(&self, config: &Descriptor) -> Result<Content<Bytes>, VerifyError> {
        let what = format!("the config {}", config.digest);
        let blob = match self.upstream.blob(&self.place.repository, &config.digest, 0).await {
            Ok(blob) => blob,
            Err(UpstreamError::NotFound) => return Ok(Content::Missing),
            Err(error) => return Err(self.failed(&what, error)),
        };
        let bytes = match body::collect(blob.body, MAX_CONFIG_BYTES).await {
            Ok(bytes) => bytes,
            Err(body::CollectError::TooLarge { .. }) => return Ok(Content::TooLarge),
            Err(body::CollectError::Body(cause)) => return Err(self.failed(&what, broken(&*cause))),
        };
        let mut hasher = Hasher::new(config.digest.algorithm());
        hasher.update(&bytes);
        Ok(checked(config.digest, hasher.finish(), bytes))
    }

    /// A layer of at most so many bytes, in a file that is gone when it is closed.
    pub(super) async fn layer(&self, layer: &Descriptor, limit: u64) -> Result<Content<File>, VerifyError> {
        if layer.size > limit {
            return Ok(Content::TooLarge);
        }
        let file = tempfile::tempfile().map_err(VerifyError::Scratch)?;
        let mut download = Download::new(tokio::fs::File::from_std(file), layer.digest.algorithm(), limit);
        let mut attempts = ATTEMPTS;
        loop {
            attempts -= 1;
            match download.go_on(self, &layer.digest).await {
                Ok(()) => break,
                Err(Stopped::TooLarge) => return Ok(Content::TooLarge),
                Err(Stopped::Scratch(error)) => return Err(VerifyError::Scratch(error)),
                Err(Stopped::Upstream(UpstreamError::NotFound)) => return Ok(Content::Missing),
                Err(Stopped::Upstream(error)) => {
                    if attempts == 0 || !error.is_transient() || download.size == 0 {
                        return Err(self.failed(&format!("the layer {}", layer.digest), error));
                    }
                }
            }
        }
        let (file, digest) = download.finish().await.map_err(VerifyError::Scratch)?;
        Ok(checked(layer.digest, digest, file))
    }

    pub(super) fn failed(&self, what: &str, source: UpstreamError) -> VerifyError {
        VerifyError::Fetch { what: what.to_owned(), host: self.place.endpoint.to_string(), source }
    }
}

/// A layer on its way into a file.
struct Download {
    file: tokio::fs::File,
    hasher: Hasher,
    size: u64,
    limit: u64,
    algorithm: Algorithm,
}

enum Stopped {
    TooLarge,
    Scratch(io::Error),
    Upstream(UpstreamError),
}

impl Download {
    fn new(file: tokio::fs::File, algorithm: Algorithm, limit: u64) -> Self {
        Self { file, hasher: Hasher::new(algorithm), size: 0, limit, algorithm }
    }

    /// Asks for what is missing, and takes it in.
    async fn go_on(&mut self, source: &Source, digest: &Digest) -> Result<(), Stopped> {
        let blob = source.upstream.blob(&source.place.repository, digest, self.size).await;
        let mut blob = blob.map_err(Stopped::Upstream)?;
        if blob.offset != self.size {
            self.file.seek(SeekFrom::Start(0)).await.map_err(Stopped::Scratch)?;
            self.file.set_len(0).await.map_err(Stopped::Scratch)?;
            (self.hasher, self.size) = (Hasher::new(self.algorithm), 0);
        }
        while let Some(frame) = blob.body.frame().await {
            let frame = frame.map_err(|cause| Stopped::Upstream(broken(&*cause)))?;
            let Ok(bytes) = frame.into_data() else { continue };
            self.size += bytes.len() as u64;
            if self.size > self.limit {
                return Err(Stopped::TooLarge);
            }
            self.hasher.update(&bytes);
            self.file.write_all(&bytes).await.map_err(Stopped::Scratch)?;
        }
        Ok(())
    }

    async fn finish(mut self) -> io::Result<(File, Digest)> {
        self.file.flush().await?;
        Ok((self.file.into_std().await, self.hasher.finish()))
    }
}

fn checked<T>(expected: Digest, actual: Digest, content: T) -> Content<T> {
    if actual == expected { Content::Verified(content) } else { Content::Wrong(actual) }
}

/// Why a body broke.
fn broken(cause: &(dyn std::error::Error + 'static)) -> UpstreamError {
    let known = find_source::<UpstreamError>(cause).cloned();
    known.unwrap_or_else(|| UpstreamError::Interrupted { cause: Arc::new(io::Error::other(cause.to_string())) })
}

fn name(repository: &str, reference: &Reference) -> String {
    match reference {
        Reference::Tag(tag) => format!("{repository}:{tag}"),
        Reference::Digest(digest) => format!("{repository}@{digest}"),
    }
}
