//! Where the registry behind the proxy is asked: a registry over HTTP, or files: image layouts and archives.
//!
//! [`Upstream`] is all that the rest of the program knows. What comes out of it is checked as far as one
//! answer can be: a manifest's bytes hash to the digest that was asked for, or to the one the upstream
//! claims; its media type is a manifest's; every buffer has a cap. A blob is a stream and so is *not*
//! verified here: whoever stores it hashes it, and holds back the end until the digest matches.
//!
//! The way of a request to a registry: [`RegistryUpstream`] builds the URL and takes a permit (`conversation`) · `auth` asks
//! `credential` who is asking, and adds the repository's token, if there is one · `courtesy` keeps it from a host that
//! asked to be left alone (429, `Retry-After`, a `quota` that is used up) · `transport` sends it, through the HTTP
//! proxy that `egress` knows, if any, retries a stale connection, follows redirects, and watches every wait with a
//! timeout · a 401 goes back to `auth`, which reads it (`challenge`), judges where it leads (`realm`) and fetches a
//! new `token` (`token_server`), once · `answer` turns any other status into an [`UpstreamError`]. Lists of names, which
//! registries have in many orders and pages, come out of `listing` in one.
//!
//! An upstream may have many *faces* ([`Upstream::for_client`]): through each it is spoken to as one client, and shows
//! what that client may see.
//!
//! [`FilesUpstream`] serves layouts and archives from where they lie, in blocking threads.
//!
//! What changes an upstream ([`Change`]) goes the same way (`changing`), but to exactly one URL, and with a body that may come
//! only once (`payload`).
//!
//! Left out: caching, revalidation and who may see what (`cache` and `proxy`), and any host that the
//! configuration does not name, other than by a redirect or a token realm of an upstream it does name.

mod answer;
mod ask;
mod auth;
mod challenge;
mod challenges;
mod change;
mod changing;
mod conversation;
mod courtesy;
mod credential;
mod egress;
mod error;
mod face;
mod files;
mod link;
mod listing;
mod lists;
mod manifest_answer;
mod name_list;
mod payload;
mod quota;
mod quoted;
mod realm;
mod referrers;
mod registry;
mod retry_after;
mod token;
mod token_server;
mod transport;
mod watched;

use std::sync::Arc;

use crate::body::{Body, BoxFuture};
use crate::oci::{Digest, Manifest, MediaType, Reference, RepositoryName};

pub use challenges::{Challenges, ForeignRealm};
pub use change::{Change, Changed, Sent, Upload};
pub use credential::{CredentialError, CredentialSource, Credentials, DockerConfig, HelperConfig, HelperProblem};
pub use egress::{Egress, EgressError, ProxyVariables};
pub use error::{RedirectProblem, TimeoutStage, UpstreamError};
pub use face::ClientCredential;
pub use files::{FilesUpstream, Piece};
pub use quota::{Figure, Quota};
pub use referrers::Referrer;
pub use registry::{RegistryConfig, RegistryConfigError, RegistryUpstream, manifest_url};
pub use transport::{Timeouts, VIEW};

/// Something that holds repositories of manifests and blobs.
///
/// Nothing here is cached: each call asks again. Dropping a future or a body gives the request up.
pub trait Upstream: Send + Sync + 'static {
    /// The manifest, whole.
    ///
    /// Asked by digest, its bytes hash to that digest; asked by tag, to the digest the upstream claims, if it
    /// claims one. Docker schema 1 is the exception: its digest is not that of the bytes sent, so `digest`
    /// is the SHA-256 of the bytes and may differ from what was asked.
    fn manifest<'a>(
        &'a self,
        repository: &'a RepositoryName,
        reference: &'a Reference,
    ) -> BoxFuture<'a, Result<Manifest, UpstreamError>>;

    /// What [`manifest`](Self::manifest) would give, without its bytes where the upstream can say so.
    fn manifest_head<'a>(
        &'a self,
        repository: &'a RepositoryName,
        reference: &'a Reference,
    ) -> BoxFuture<'a, Result<ManifestHead, UpstreamError>>;

    /// A blob's bytes from `offset` on, or from its start where the upstream cannot skip; not verified.
    fn blob<'a>(
        &'a self,
        repository: &'a RepositoryName,
        digest: &'a Digest,
        offset: u64,
    ) -> BoxFuture<'a, Result<Blob, UpstreamError>>;

    /// A blob's size in bytes.
    fn blob_head<'a>(
        &'a self,
        repository: &'a RepositoryName,
        digest: &'a Digest,
    ) -> BoxFuture<'a, Result<u64, UpstreamError>>;

    /// Whether what it has lies on this machine, and is read from there each time rather than kept a second time.
    fn is_in_place(&self) -> bool {
        false
    }

    /// A blob where it lies; not verified. Only of an upstream that [is in place](Self::is_in_place).
    fn in_place<'a>(&'a self, _: &'a RepositoryName, _: &'a Digest) -> BoxFuture<'a, Result<Piece, UpstreamError>> {
        Box::pin(std::future::ready(Err(UpstreamError::NotFound)))
    }

    /// Of these manifests, those that are here, each with repositories that have it, if that needs no asking for each. Files
    /// stand in for wherever their images came from.
    fn holders<'a>(&'a self, _: &'a [Digest]) -> BoxFuture<'a, Vec<(Digest, Vec<RepositoryName>)>> {
        Box::pin(std::future::ready(Vec::new()))
    }

    /// One page of a repository's tags, in lexical order, whatever order the upstream has.
    fn tags<'a>(
        &'a self,
        repository: &'a RepositoryName,
        page: &'a ListPage,
    ) -> BoxFuture<'a, Result<NameList, UpstreamError>>;

    /// One page of the repositories there are, in lexical order, as far as they are shown to who asks;
    /// [`UpstreamError::NotFound`] where there is no such list.
    fn catalog<'a>(&'a self, page: &'a ListPage) -> BoxFuture<'a, Result<NameList, UpstreamError>>;

    /// What a repository says refers to `digest` (distribution spec, "Listing Referrers"), perhaps of one artifact type
    /// only; `None` where it does not know such a question.
    fn referrers<'a>(
        &'a self,
        repository: &'a RepositoryName,
        digest: &'a Digest,
        artifact_type: Option<&'a str>,
    ) -> BoxFuture<'a, Result<Option<Vec<Referrer>>, UpstreamError>>;

    /// Changes a repository: what clients push, and delete.
    fn change<'a>(
        &'a self,
        repository: &'a RepositoryName,
        change: Change<'a>,
    ) -> BoxFuture<'a, Result<Changed, UpstreamError>>;

    /// Whether it can be asked, and takes the credentials it is asked with.
    ///
    /// [`UpstreamError::Unauthorized`] says that it does not, or wants some: so a client's password is tried.
    fn ping<'a>(&'a self) -> BoxFuture<'a, Result<(), UpstreamError>>;

    /// The same upstream asked as a client; nothing if it cannot tell clients apart.
    ///
    /// It shares connections, limits and courtesy with this one, and no credential, token or header: neither this one's
    /// nor another client's.
    fn for_client(&self, credential: &ClientCredential) -> Option<Arc<dyn Upstream>>;

    /// What a manifest's repository was called where it came from, with or without a host, if this upstream only stands in
    /// for that place, as an archive does.
    fn original_name<'a>(&'a self, _: &'a RepositoryName, _: &'a Digest) -> BoxFuture<'a, Option<String>> {
        Box::pin(std::future::ready(None))
    }

    /// The host, or the path, for logs and explanations; never with a credential in it.
    fn name(&self) -> &str;
}

/// What a HEAD of a manifest says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestHead {
    /// The digest: the one asked for, or the one a tag stands for now.
    pub digest: Digest,
    /// The kind of manifest.
    pub media_type: MediaType,
    /// The length of the bytes.
    pub size: u64,
}

/// A blob on its way.
pub struct Blob {
    /// Where `body` starts: the offset asked for, or 0 from an upstream that ignores ranges.
    pub offset: u64,
    /// The length of the whole blob, where the upstream says so. A claim, like the bytes.
    pub size: Option<u64>,
    /// The bytes. Its errors are [`UpstreamError`]s in a box.
    pub body: Body,
}

/// The longest [`ListPage::last`]: longer than any tag, than a repository's name, and than what stands for one.
pub const MAX_LAST_BYTES: usize = 1024;

/// Which page of a list of names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListPage {
    /// At most so many; the upstream decides without it.
    pub n: Option<usize>,
    /// Only names after this one.
    pub last: Option<String>,
}

/// One page of a list of names: tags, or repositories.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NameList {
    /// The names, in lexical order, at most as many as were asked for.
    pub names: Vec<String>,
    /// Whether there is a next page, to be asked for with [`next`](Self::next).
    pub more: bool,
    /// Where the next page starts, if that is not after the last of these names.
    pub after: Option<String>,
}
