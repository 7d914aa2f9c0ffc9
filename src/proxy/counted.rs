//! An upstream whose requests are counted, by what was asked and how it went.

use std::sync::Arc;

use super::health::Health;
use crate::body::BoxFuture;
use crate::oci::{Digest, Manifest, Reference, RepositoryName};
use crate::telemetry::UpstreamMetrics;
use crate::upstream::{
    Blob, Change, Changed, ClientCredential, ListPage, ManifestHead, NameList, Piece, Referrer, Upstream, UpstreamError,
};

pub(super) struct Counted {
    pub(super) upstream: Arc<dyn Upstream>,
    pub(super) health: Arc<Health>,
    /// Whether it is asked as a client, whose own limits are nobody else's.
    pub(super) as_client: bool,
    pub(super) metrics: UpstreamMetrics,
}

impl Counted {
    fn count<T>(&self, operation: &'static str, result: Result<T, UpstreamError>) -> Result<T, UpstreamError> {
        let outcome = match &result {
            Ok(_) => "ok",
            Err(error) if error.is_absent() => "absent",
            Err(error) if error.is_forbidden() => "forbidden",
            Err(error) if error.is_held_back() => "held_back",
            Err(UpstreamError::RateLimited { .. }) => "limited",
            Err(UpstreamError::Refused { .. }) => "refused",
            Err(_) => "failed",
        };
        self.metrics.asked(operation, outcome);
        let limited = matches!(result, Err(UpstreamError::RateLimited { .. }));
        if !(self.as_client && limited) {
            self.health.note(result.as_ref().map(|_| ()));
        }
        result
    }
}

impl Upstream for Counted {
    fn manifest<'a>(
        &'a self,
        repository: &'a RepositoryName,
        reference: &'a Reference,
    ) -> BoxFuture<'a, Result<Manifest, UpstreamError>> {
        Box::pin(async move { self.count("manifest", self.upstream.manifest(repository, reference).await) })
    }

    fn manifest_head<'a>(
        &'a self,
        repository: &'a RepositoryName,
        reference: &'a Reference,
    ) -> BoxFuture<'a, Result<ManifestHead, UpstreamError>> {
        Box::pin(async move { self.count("manifest_head", self.upstream.manifest_head(repository, reference).await) })
    }

    fn blob<'a>(
        &'a self,
        repository: &'a RepositoryName,
        digest: &'a Digest,
        offset: u64,
    ) -> BoxFuture<'a, Result<Blob, UpstreamError>> {
        Box::pin(async move { self.count("blob", self.upstream.blob(repository, digest, offset).await) })
    }

    fn blob_head<'a>(
        &'a self,
        repository: &'a RepositoryName,
        digest: &'a Digest,
    ) -> BoxFuture<'a, Result<u64, UpstreamError>> {
        Box::pin(async move { self.count("blob_head", self.upstream.blob_head(repository, digest).await) })
    }

    fn tags<'a>(
        &'a self,
        repository: &'a RepositoryName,
        page: &'a ListPage,
    ) -> BoxFuture<'a, Result<NameList, UpstreamError>> {
        Box::pin(async move { self.count("tags", self.upstream.tags(repository, page).await) })
    }

    fn catalog<'a>(&'a self, page: &'a ListPage) -> BoxFuture<'a, Result<NameList, UpstreamError>> {
        Box::pin(async move { self.count("catalog", self.upstream.catalog(page).await) })
    }

    fn referrers<'a>(
        &'a self,
        repository: &'a RepositoryName,
        digest: &'a Digest,
        artifact_type: Option<&'a str>,
    ) -> BoxFuture<'a, Result<Option<Vec<Referrer>>, UpstreamError>> {
        Box::pin(
            async move { self.count("referrers", self.upstream.referrers(repository, digest, artifact_type).await) },
        )
    }

    fn change<'a>(
        &'a self,
        repository: &'a RepositoryName,
        change: Change<'a>,
    ) -> BoxFuture<'a, Result<Changed, UpstreamError>> {
        let label = change.label();
        Box::pin(async move { self.count(label, self.upstream.change(repository, change).await) })
    }

    fn ping<'a>(&'a self) -> BoxFuture<'a, Result<(), UpstreamError>> {
        Box::pin(async move { self.count("ping", self.upstream.ping().await) })
    }

    fn for_client(&self, credential: &ClientCredential) -> Option<Arc<dyn Upstream>> {
        let upstream = self.upstream.for_client(credential)?;
        let (health, metrics) = (Arc::clone(&self.health), self.metrics.clone());
        Some(Arc::new(Self { upstream, health, as_client: true, metrics }))
    }

    fn is_in_place(&self) -> bool {
        self.upstream.is_in_place()
    }

    fn in_place<'a>(
        &'a self,
        repository: &'a RepositoryName,
        digest: &'a Digest,
    ) -> BoxFuture<'a, Result<Piece, UpstreamError>> {
        Box::pin(async move { self.count("blob", self.upstream.in_place(repository, digest).await) })
    }

    fn holders<'a>(&'a self, digests: &'a [Digest]) -> BoxFuture<'a, Vec<(Digest, Vec<RepositoryName>)>> {
        self.upstream.holders(digests)
    }

    fn original_name<'a>(
        &'a self,
        repository: &'a RepositoryName,
        digest: &'a Digest,
    ) -> BoxFuture<'a, Option<String>> {
        self.upstream.original_name(repository, digest)
    }

    fn name(&self) -> &str {
        self.upstream.name()
    }
}
