//! Pushes and deletes: what a request says, and what its answer says (distribution spec, "Push" and "Content Management").

use std::time::Duration;

use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue, LOCATION, RANGE};
use http::{HeaderMap, Method, Response, StatusCode};
use http_body::Body as _;
use serde::Deserialize;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use url::form_urlencoded;

use super::admission::Admitted;
use super::conditional::text_value;
use super::error::RequestError;
use super::manifest::CONTENT_DIGEST;
use super::patience;
use super::push_request::{BadPush, content_range, query};
use super::route::Route;
use crate::body::{self, Body, CollectError};
use crate::oci::{Digest, MAX_MANIFEST_BYTES, Manifest, MediaType, RepositoryName};
use crate::proxy::{Begun, Mount, Piece, Proxy, ProxyError, PushError, Put, Uploading};
use crate::upstream::UpstreamError;

const MIN_CHUNK: HeaderName = HeaderName::from_static("oci-chunk-min-length");
const SUBJECT: HeaderName = HeaderName::from_static("oci-subject");
const UPLOAD_ID: HeaderName = HeaderName::from_static("docker-upload-uuid");

/// How long a whole manifest may take.
const MANIFEST_DEADLINE: Duration = Duration::from_secs(30);

/// A request that changes something.
pub(super) struct Push<'a> {
    pub(super) proxy: &'a Proxy,
    /// Whose turn it is to have a manifest taken in.
    pub(super) manifests: &'a Semaphore,
    pub(super) admitted: &'a Admitted,
    /// What the client calls the registry, if it does (`ns`).
    pub(super) ns: Option<&'a str>,
    pub(super) method: &'a Method,
    pub(super) headers: &'a HeaderMap,
    pub(super) query: Option<&'a str>,
}

impl Push<'_> {
    /// Has it done. `mount` is what the query says of another repository, as far as this client may read that.
    pub(super) async fn answer(
        &self,
        route: &Route,
        mount: Option<Mount>,
        body: Body,
    ) -> Result<Response<Body>, RequestError> {
        let (proxy, view, owner) = (self.proxy, &self.admitted.view, self.admitted.owner.as_deref());
        let told = |error| self.told(route, error);
        match (route, self.method) {
            (Route::Uploads { repository }, _) => {
                // Of which it is the whole body, unless there is none.
                if let Some(digest) = self.digest()?
                    && (!body.is_end_stream() || digest == digest.algorithm().of_nothing())
                {
                    proxy.upload(view, &digest, body).await.map_err(told)?;
                    return Ok(self.created(repository, "blobs", &digest));
                }
                match proxy.begin_upload(view, owner, mount.as_ref()).await.map_err(told)? {
                    Begun::Uploading(uploading) => Ok(self.goes_on(repository, &uploading, StatusCode::ACCEPTED)),
                    Begun::Done(digest) => Ok(self.created(repository, "blobs", &digest)),
                }
            }
            (Route::Upload { repository, session }, &Method::PATCH) => {
                let part = Piece { range: content_range(self.headers)?, body };
                let uploading = proxy.upload_part(view, owner, session, part).await.map_err(told)?;
                Ok(self.goes_on(repository, &uploading, StatusCode::ACCEPTED))
            }
            (Route::Upload { repository, session }, &Method::PUT) => {
                let digest = self.digest()?;
                let part = Piece { range: content_range(self.headers)?, body };
                let ended = proxy.finish_upload(view, owner, session, digest.as_ref(), part).await;
                let digest = ended.map_err(told)?;
                Ok(self.created(repository, "blobs", &digest))
            }
            (Route::Upload { session, .. }, &Method::DELETE) => {
                proxy.cancel_upload(view, owner, session).await.map_err(told)?;
                Ok(empty(StatusCode::NO_CONTENT))
            }
            (Route::Upload { repository, session }, _) => {
                let uploading = proxy.upload_status(view, owner, session).await.map_err(told)?;
                Ok(self.goes_on(repository, &uploading, StatusCode::NO_CONTENT))
            }
            (Route::Manifest { repository, reference }, &Method::PUT) => {
                let manifest = self.manifest(body).await.map_err(told)?;
                let Put { digest, subject } = proxy.put_manifest(view, reference, manifest).await.map_err(told)?;
                let mut response = self.created(repository, "manifests", &digest);
                let subject = subject.map(|subject| (SUBJECT, text_value(&subject.to_string())));
                response.headers_mut().extend(subject);
                Ok(response)
            }
            (Route::Manifest { reference, .. }, _) => {
                proxy.delete_manifest(view, reference).await.map_err(told)?;
                Ok(empty(StatusCode::ACCEPTED))
            }
            (Route::Blob { digest, .. }, _) => {
                proxy.delete_blob(view, digest).await.map_err(told)?;
                Ok(empty(StatusCode::ACCEPTED))
            }
            _ => Err(RequestError::method(route, true)),
        }
    }

    /// What the client is told of an error; of a chunk that is not the next one, also where to go on.
    fn told(&self, route: &Route, error: ProxyError) -> RequestError {
        match (error, route) {
            (ProxyError::Push(PushError::OutOfOrder(uploading)), Route::Upload { repository, .. }) => {
                let goes_on = self.goes_on(repository, &uploading, StatusCode::RANGE_NOT_SATISFIABLE);
                let error = PushError::OutOfOrder(uploading);
                RequestError::OutOfOrder { error, headers: Box::new(goes_on.into_parts().0.headers) }
            }
            (error, _) => self.admitted.told(error),
        }
    }

    /// The digest that the query says.
    fn digest(&self) -> Result<Option<Digest>, BadPush> {
        Ok(query(self.query, "digest").map(|text| text.parse()).transpose()?)
    }

    /// The whole manifest.
    async fn manifest(&self, mut body: Body) -> Result<Manifest, ProxyError> {
        // Never closed, so never refused.
        let _turn = self.manifests.acquire().await;
        let bytes = match timeout(MANIFEST_DEADLINE, body::collect(&mut body, MAX_MANIFEST_BYTES)).await {
            Ok(Ok(bytes)) => bytes,
            Ok(Err(CollectError::TooLarge { .. })) => {
                patience::let_finish(body, self.headers).await;
                return Err(PushError::TooLarge.into());
            }
            Ok(Err(CollectError::Body(_))) | Err(_) => return Err(UpstreamError::Aborted.into()),
        };
        let said = self.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let said = said.map(|said| said.split(';').next().unwrap_or_default().trim().to_ascii_lowercase());
        let media_type = match said.filter(|said| !said.is_empty()) {
            Some(said) => MediaType::from(said.as_str()),
            None => own_type(&bytes).unwrap_or(MediaType::ImageManifest),
        };
        Ok(Manifest { digest: Digest::of(&bytes), media_type, bytes })
    }

    /// Something is there now.
    fn created(&self, repository: &RepositoryName, kind: &str, digest: &Digest) -> Response<Body> {
        let mut response = empty(StatusCode::CREATED);
        let location = self.location(&format!("/v2/{repository}/{kind}/{digest}"));
        response.headers_mut().insert(LOCATION, location);
        response.headers_mut().insert(CONTENT_DIGEST, text_value(&digest.to_string()));
        response
    }

    /// An upload goes on.
    fn goes_on(&self, repository: &RepositoryName, uploading: &Uploading, status: StatusCode) -> Response<Body> {
        let Uploading { session, held, min_chunk, id } = uploading;
        let mut response = empty(status);
        let headers = response.headers_mut();
        headers.insert(LOCATION, self.location(&format!("/v2/{repository}/blobs/uploads/{session}")));
        if let Some(held) = held {
            // Of nothing, all registries say this, too.
            headers.insert(RANGE, text_value(&format!("0-{}", held.saturating_sub(1))));
        }
        headers.extend(min_chunk.clone().map(|bytes| (MIN_CHUNK, bytes)));
        headers.extend(id.clone().map(|id| (UPLOAD_ID, id)));
        response
    }

    /// A place here. Without a host, since the client knows by which one it came.
    fn location(&self, path: &str) -> HeaderValue {
        match self.ns {
            None => text_value(path),
            Some(ns) => {
                let query = form_urlencoded::Serializer::new(String::new()).append_pair("ns", ns).finish();
                text_value(&format!("{path}?{query}"))
            }
        }
    }
}

/// The type that a manifest says it has.
fn own_type(bytes: &[u8]) -> Option<MediaType> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Typed {
        media_type: String,
    }
    let typed: Typed = serde_json::from_slice(bytes).ok()?;
    Some(MediaType::from(typed.media_type.as_str()))
}

fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(body::empty());
    *response.status_mut() = status;
    if status != StatusCode::NO_CONTENT {
        response.headers_mut().insert(CONTENT_LENGTH, 0.into());
    }
    response
}
