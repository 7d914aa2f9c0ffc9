//! One request, from its head to its response.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AGE, HeaderName, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use http::{Method, Request, Response, Version};
use http_body::Body as _;
use tokio::sync::Semaphore;
use url::form_urlencoded;

use super::activity::Busy;
use super::admission::{Access, Visitor};
use super::cache_status::{self, CACHE_STATUS};
use super::client::Client;
use super::conditional::{client_has, text_value};
use super::directory::{Directory, NoSuchName};
use super::entry::{Entry, Logged};
use super::error::RequestError;
use super::patience;
use super::peer::Peer;
use super::push::Push;
use super::push_request::{self, BadPush};
use super::route::Route;
use super::{blob, manifest, names, received, referrers, stall};
use crate::body::{self, Body, BoxError};
use crate::config::{Action, TrustedProxy};
use crate::oci::RepositoryName;
use crate::proxy::{CacheStatus, Mount, Outcome, Proxy, View};
use crate::telemetry::{Metrics, Span, X_REQUEST_ID, within};
use crate::upstream::VIEW;

/// Over HTTP/1.1, hyper takes in bodies up to this length without waiting for the client, so nobody can stall them.
const UNWATCHED_BYTES: u64 = 64 << 10;

/// Says which registry's content an answer is, to a client that named one.
const OCI_NAMESPACE: HeaderName = HeaderName::from_static("oci-namespace");

/// Says of a relocated bundle which one it was made of.
const ORIGINAL_DIGEST: HeaderName = HeaderName::from_static("colocate-original-digest");

/// What every request needs.
pub(super) struct Service {
    pub(super) proxy: Proxy,
    pub(super) metrics: Metrics,
    pub(super) directory: Directory,
    pub(super) access: Access,
    pub(super) idle_body_timeout: Duration,
    pub(super) trusted_proxies: Vec<TrustedProxy>,
    /// Manifests that are taken in at one time: each may have 4 MiB before anybody has judged it.
    pub(super) manifests: Semaphore,
}

impl Service {
    /// Answers one request; errors are answers too. The request's body is read only for what takes one.
    pub(super) async fn answer<B>(self: Arc<Self>, peer: &Peer, request: Request<B>, busy: Busy) -> Response<Logged>
    where
        B: http_body::Body<Data = Bytes> + Send + Sync + Unpin + 'static,
        B::Error: Into<BoxError>,
    {
        let span = Span::of_request(request.method(), request.headers());
        let context = span.context().cloned();
        let mut response = within(context.clone(), self.answer_within(span, peer, request, busy)).await;
        if let Some(context) = context {
            response.headers_mut().insert(X_REQUEST_ID, context.id().header());
        }
        response
    }

    async fn answer_within<B>(
        self: Arc<Self>,
        span: Span,
        peer: &Peer,
        request: Request<B>,
        busy: Busy,
    ) -> Response<Logged>
    where
        B: http_body::Body<Data = Bytes> + Send + Sync + Unpin + 'static,
        B::Error: Into<BoxError>,
    {
        let (head, body) = request.into_parts();
        let request = Request::from_parts(head, ());
        let mut body = Some(patience::watch(body, self.idle_body_timeout));
        let activity = busy.activity();
        let client = Client::of(peer, &request, &self.trusted_proxies);
        let mut entry = Entry::new(&self.metrics, peer, &client, &request, busy, span);
        let ns = namespace(request.uri().query());
        let (mut response, status) = match self.route(&mut entry, peer, &client, &ns, &request, &mut body).await {
            Ok(answered) => answered,
            Err(error) => {
                if let Some(body) = body {
                    patience::let_finish(body, request.headers()).await;
                }
                let status = error.cache_status();
                (error.into_response(), status)
            }
        };
        let headers = response.headers_mut();
        headers.insert("docker-distribution-api-version", HeaderValue::from_static("registry/2.0"));
        // Content comes from whoever pushed it; a browser must not take it for a page of this host.
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        // Only to who was let in: which registries there are is nobody else's affair.
        if let Ok(Some(ns)) = &ns
            && entry.is_admitted()
        {
            headers.insert(OCI_NAMESPACE, text_value(ns));
        }
        headers.insert(CACHE_STATUS, cache_status::value(&status));
        // That there is one says that the upstream was not asked for this answer (RFC 9111, section 5.1).
        if let Some(age) = status.age {
            headers.insert(AGE, age.into());
        }
        if request.method() == Method::HEAD {
            *response.body_mut() = body::empty();
        }
        // An HTTP/2 client can stall even the shortest body, by a window of nothing.
        let short = |body: &Body| body.size_hint().upper().is_some_and(|length| length <= UNWATCHED_BYTES);
        let response = response.map(|body| match request.version() {
            _ if body.is_end_stream() => body,
            Version::HTTP_09 | Version::HTTP_10 | Version::HTTP_11 if short(&body) => body,
            _ => stall::watch(body, self.idle_body_timeout, activity),
        });
        entry.respond(response, &status)
    }

    async fn route(
        &self,
        entry: &mut Entry,
        peer: &Peer,
        client: &Client<'_>,
        ns: &Result<Option<String>, NoSuchName>,
        request: &Request<()>,
        body: &mut Option<Body>,
    ) -> Result<(Response<Body>, CacheStatus), RequestError> {
        let route = Route::parse(request.uri().path())?;
        entry.route(route.label());
        entry.template(route.template());
        let (method, headers) = (request.method(), request.headers());
        let action = route.action(method).filter(|action| *action == Action::Pull || self.directory.takes_writes());
        let action = action.ok_or_else(|| RequestError::method(&route, self.directory.takes_writes()))?;
        let (host, ns) = (client.host()?, ns.as_ref().map_err(Clone::clone)?.as_deref());
        let visitor = self.access.identify(headers, peer, client.address).await?;
        entry.identity(visitor.name());
        let mut admit = |name| {
            let place = self.directory.find(host, ns, name);
            let mut place = place.map_err(|nowhere| self.access.told_nowhere(&visitor, nowhere))?;
            // A proxy of this kind in front of this one relocates for its own clients.
            if headers.get(VIEW).is_some_and(|view| view == "exact") {
                place.view = View::exact(place.view.repository);
            }
            if action != Action::Pull && !place.takes_writes {
                return Err(RequestError::method(&route, false));
            }
            let mut admitted = self.access.admit(&visitor, place, action)?;
            // Who may push and asks by HEAD is probably about to.
            admitted.view.is_pushing &= *method == Method::HEAD;
            entry.admitted(&admitted.view.repository);
            Ok::<_, RequestError>(admitted)
        };
        if action != Action::Pull {
            let Some(repository) = route.repository() else { return Err(RequestError::method(&route, true)) };
            let admitted = admit(repository)?;
            let (query, place) = (request.uri().query(), (host, ns));
            let mount = self.mount(&visitor, &admitted.view, place, query)?;
            let body = received::count(body.take().unwrap_or_else(body::empty), self.metrics.received(route.label()));
            let (proxy, manifests) = (&self.proxy, &self.manifests);
            let push = Push { proxy, manifests, admitted: &admitted, ns, method, headers, query };
            let response = push.answer(&route, mount, body).await?;
            let status = CacheStatus { upstream: Some(response.status()), ..CacheStatus::from(Outcome::Bypass) };
            return Ok((response, status));
        }
        Ok(match &route {
            Route::Manifest { repository, reference } => {
                let admitted = admit(repository)?;
                let served = self.proxy.manifest(&admitted.view, reference).await;
                let served = served.map_err(|error| admitted.told(error))?;
                let mut response = manifest::respond(&served.manifest, reference, method, headers);
                if let Some(original) = &served.original {
                    response.headers_mut().insert(ORIGINAL_DIGEST, text_value(&original.to_string()));
                }
                (response, served.status)
            }
            Route::Blob { repository, digest } => {
                let admitted = admit(repository)?;
                // A client that wants no bytes is no reason to fetch any.
                let served = if *method == Method::HEAD || client_has(headers, digest) {
                    self.proxy.blob_head(&admitted.view, digest).await
                } else {
                    self.proxy.blob(&admitted.view, digest).await
                };
                let served = served.map_err(|error| admitted.told(error))?;
                (blob::respond(&served, method, headers), served.status())
            }
            Route::Tags { repository } => {
                let admitted = admit(repository)?;
                let page = names::page(request.uri().query())?;
                let list = self.proxy.tags(&admitted.view, &page).await;
                let list = list.map_err(|error| admitted.told(error))?;
                // What a repository holds is always asked: a list that is kept would hide what was just pushed.
                let status = CacheStatus::from(Outcome::Bypass);
                (names::respond_tags(&list, &page, repository, ns, method), status)
            }
            Route::Referrers { repository, digest } => {
                let admitted = admit(repository)?;
                let wanted = referrers::Wanted::read(request.uri().query())?;
                let listed = self.proxy.referrers(&admitted.view, digest, wanted.artifact_type.as_deref()).await;
                let listed = listed.map_err(|error| admitted.told(error))?;
                let status = CacheStatus::from(Outcome::Bypass);
                (referrers::respond(listed, &wanted, (repository, digest), ns, method), status)
            }
            Route::Catalog => {
                let at = self.directory.catalog_at(host, ns);
                let (registry, passage) = at.map_err(|nowhere| self.access.told_nowhere(&visitor, nowhere))?;
                let browser = self.access.browse(&visitor, passage)?;
                let page = names::page(request.uri().query())?;
                let shown = |name: &RepositoryName| {
                    browser.may_pull(registry, name) && self.directory.leads_to(registry, host, ns, name)
                };
                let list = self.proxy.catalog(registry, browser.reader.as_ref(), &page, shown).await;
                let list = list.map_err(|error| browser.told(error))?;
                (names::respond_catalog(&list, &page, ns, method), CacheStatus::from(Outcome::Bypass))
            }
            // A 200 tells go-containerregistry that no credentials are wanted here, a 401 tells all clients which are.
            Route::Base | Route::Uploads { .. } | Route::Upload { .. } => {
                let at = self.directory.passage_at(host, ns);
                let at = at.map_err(|nowhere| self.access.told_nowhere(&visitor, nowhere))?;
                self.access.enter(&visitor, &self.proxy, at).await?;
                (base(), CacheStatus::from(Outcome::Local))
            }
        })
    }

    /// The blob that a client would rather take from another repository, if it may read that one, and that is in the same
    /// registry. It is only a wish: without, the client uploads.
    fn mount(
        &self,
        visitor: &Visitor,
        view: &View,
        (host, ns): (Option<&str>, Option<&str>),
        query: Option<&str>,
    ) -> Result<Option<Mount>, BadPush> {
        let Some(digest) = push_request::query(query, "mount") else { return Ok(None) };
        let digest = digest.parse()?;
        let Some(from) = push_request::query(query, "from") else {
            // From wherever the registry likes, which is more than this client may read.
            return Ok(self.access.is_judged_upstream().then_some(Mount { digest, from: None }));
        };
        let place = from.parse().ok().and_then(|from| self.directory.find(host, ns, &from).ok());
        let admitted = place.and_then(|place| self.access.admit(visitor, place, Action::Pull).ok());
        let from =
            admitted.map(|admitted| admitted.view.repository).filter(|from| from.registry == view.repository.registry);
        Ok(from.map(|from| Mount { digest, from: Some(from.name) }))
    }
}

/// The registry that a client means, by its own name (distribution spec, "Registry Proxying").
///
/// Two that differ lead nowhere: whoever stands in front and judges by one of them may have read the other.
fn namespace(query: Option<&str>) -> Result<Option<String>, NoSuchName> {
    let pairs = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
    let mut said = pairs.filter(|(key, _)| key == "ns").map(|(_, value)| value);
    let Some(first) = said.next() else { return Ok(None) };
    if said.all(|other| other == first) { Ok(Some(first.into_owned())) } else { Err(NoSuchName::Namespace) }
}

fn base() -> Response<Body> {
    let mut response = Response::new(body::full("{}"));
    response.headers_mut().insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(http::header::CONTENT_LENGTH, 2.into());
    response
}
