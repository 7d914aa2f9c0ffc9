//! The protocol as far as one who pushes needs it.

use bytes::Bytes;
use colocate::oci::Digest;
use http::{Response, StatusCode, header};
use serde_json::{Value, json};

use super::answer::value;
use super::content::Content;
use super::{Seen, State};
use crate::support::layout::Document;

/// Whether a request is one that changes something, or asks about such.
pub(super) fn is_write(seen: &Seen) -> bool {
    !matches!(seen.method.as_str(), "GET" | "HEAD") || seen.path.contains("/blobs/uploads/")
}

impl State {
    /// Does what is asked. Only a whole `body` is ever given.
    pub(super) fn write(&mut self, seen: &Seen, body: &Bytes) -> Response<Content> {
        let rest = seen.path.strip_prefix("/v2/").unwrap_or_default();
        let parameter = |wanted: &str| {
            let mut pairs = url::form_urlencoded::parse(seen.query.as_bytes());
            pairs.find(|(name, _)| name == wanted).map(|(_, value)| value.into_owned())
        };
        if let Some((repository, id)) = rest.split_once("/blobs/uploads/") {
            return match seen.method.as_str() {
                "POST" => self.begin(repository),
                "DELETE" if self.uploads.remove(id).is_some() => answer(204),
                method => match self.uploads.get_mut(id) {
                    None => error(404, "BLOB_UPLOAD_UNKNOWN"),
                    Some(so_far) => {
                        so_far.extend_from_slice(body);
                        let length = so_far.len();
                        match (method, parameter("digest")) {
                            ("PUT", digest) => self.finish(repository, id, digest.as_deref()),
                            ("GET", _) => goes_on(204, &seen.path, length),
                            _ => goes_on(202, &seen.path, length),
                        }
                    }
                },
            };
        }
        let Some((rest, reference)) = rest.rsplit_once('/') else { return error(405, "UNSUPPORTED") };
        match (seen.method.as_str(), rest.rsplit_once('/')) {
            ("PUT", Some((repository, "manifests"))) => {
                let media_type = seen.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
                self.put_manifest(repository, reference, media_type.unwrap_or_default(), body)
            }
            ("DELETE", Some((repository, _))) => self.delete(repository, reference),
            _ => error(405, "UNSUPPORTED"),
        }
    }

    fn begin(&mut self, repository: &str) -> Response<Content> {
        let id = format!("upload-{}", self.requests.len());
        self.uploads.insert(id.clone(), Vec::new());
        goes_on(202, &format!("/v2/{repository}/blobs/uploads/{id}"), 0)
    }

    fn finish(&mut self, repository: &str, id: &str, digest: Option<&str>) -> Response<Content> {
        let bytes = Bytes::from(self.uploads.remove(id).unwrap_or_default());
        let own = Digest::of(&bytes);
        if digest != Some(own.to_string().as_str()) {
            return error(400, "DIGEST_INVALID");
        }
        self.repositories.entry(repository.to_owned()).or_default().blobs.insert(own, bytes.into());
        created(&own)
    }

    fn put_manifest(
        &mut self,
        repository: &str,
        reference: &str,
        media_type: &str,
        bytes: &Bytes,
    ) -> Response<Content> {
        let repository = self.repositories.entry(repository.to_owned()).or_default();
        let Ok(document) = serde_json::from_slice::<Value>(bytes) else { return error(400, "MANIFEST_INVALID") };
        let digest_of = |part: &Value| part["digest"].as_str().and_then(|digest| digest.parse::<Digest>().ok());
        let list = |key: &str| document[key].as_array().cloned().unwrap_or_default();
        let blobs = document.get("config").cloned().into_iter().chain(list("layers"));
        let is_absent = |digest: Option<Digest>| digest.is_none_or(|digest| !repository.blobs.contains_key(&digest));
        if blobs.into_iter().any(|part| is_absent(digest_of(&part))) {
            return error(400, "MANIFEST_BLOB_UNKNOWN");
        }
        let is_absent =
            |digest: Option<Digest>| digest.is_none_or(|digest| !repository.manifests.contains_key(&digest));
        if list("manifests").iter().any(|part| is_absent(digest_of(part))) {
            return error(400, "MANIFEST_UNKNOWN");
        }
        let digest = Digest::of(bytes);
        let document = Document { digest, media_type: media_type.to_owned(), bytes: bytes.clone() };
        repository.manifests.insert(digest, document);
        if reference.parse::<Digest>().is_err() {
            repository.tags.insert(reference.to_owned(), digest);
        }
        created(&digest)
    }

    fn delete(&mut self, repository: &str, reference: &str) -> Response<Content> {
        let Some(repository) = self.repositories.get_mut(repository) else { return error(404, "NAME_UNKNOWN") };
        let gone = match reference.parse::<Digest>() {
            Ok(digest) => {
                repository.tags.retain(|_, target| *target != digest);
                repository.manifests.remove(&digest).is_some() | repository.blobs.remove(&digest).is_some()
            }
            Err(_) => repository.tags.remove(reference).is_some(),
        };
        if gone { answer(202) } else { error(404, "MANIFEST_UNKNOWN") }
    }
}

/// The place of an upload has a secret in it, as registries' have.
fn goes_on(status: u16, path: &str, length: usize) -> Response<Content> {
    let mut response = answer(status);
    response.headers_mut().insert(header::LOCATION, value(&format!("{path}?_state=the-registry-s-own")));
    response.headers_mut().insert(header::RANGE, value(&format!("0-{}", length.saturating_sub(1))));
    response
}

fn created(digest: &Digest) -> Response<Content> {
    let mut response = answer(201);
    response.headers_mut().insert("docker-content-digest", value(&digest.to_string()));
    response
}

fn answer(status: u16) -> Response<Content> {
    let mut response = Response::new(Content::from(Bytes::new()));
    *response.status_mut() = StatusCode::from_u16(status).expect("a status");
    response
}

fn error(status: u16, code: &str) -> Response<Content> {
    let body = json!({"errors": [{"code": code, "message": "the scripted upstream says no"}]});
    let mut response = Response::new(Content::from(Bytes::from(body.to_string())));
    *response.status_mut() = StatusCode::from_u16(status).expect("a status");
    response.headers_mut().insert(header::CONTENT_TYPE, value("application/json"));
    response
}
