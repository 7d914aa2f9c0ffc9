//! The registry protocol, as far as a reader needs it, bent by the faults of the rule that matches.

use std::convert::Infallible;
use std::ops::Range;

use bytes::Bytes;
use colocate::oci::Digest;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde_json::json;

use super::body::{Event, ScriptedBody};
use super::content::Content;
use super::script::Fault;
use super::writes::is_write;
use super::{Repository, Seen, Shared, State, lock};

pub(super) async fn answer(state: Shared, request: Request<Incoming>) -> Result<Response<ScriptedBody>, Infallible> {
    let (head, body) = request.into_parts();
    let seen = Seen {
        method: head.method.to_string(),
        path: head.uri.path().to_owned(),
        query: head.uri.query().unwrap_or_default().to_owned(),
        headers: head.headers,
    };
    let faults = note(&mut lock(&state), &seen);
    for fault in &faults {
        match fault {
            Fault::Delay(delay) => tokio::time::sleep(*delay).await,
            Fault::Stall => std::future::pending().await,
            Fault::Hold(gate) => gate.clone().passed().await,
            _ => {}
        }
    }
    // After the wait: the content may have come meanwhile.
    let scripted = faults.iter().find_map(|fault| fault.as_answer(&seen)).map(|answer| answer.map(Content::from));
    let response = match scripted {
        Some(response) => response,
        None if is_write(&seen) => match body.collect().await {
            Ok(body) => lock(&state).write(&seen, &body.to_bytes()),
            // Whoever sent it is gone.
            Err(_) => std::future::pending().await,
        },
        None => lock(&state).look_up(&seen),
    };
    Ok(bend(state, &seen, response, &faults))
}

/// Writes the request down and picks what goes wrong with it.
fn note(state: &mut State, seen: &Seen) -> Vec<Fault> {
    state.requests.push(seen.clone());
    state.rules.iter_mut().rev().find_map(|rule| rule.strike(&seen.method, &seen.path)).unwrap_or_default()
}

fn bend(state: Shared, seen: &Seen, response: Response<Content>, faults: &[Fault]) -> Response<ScriptedBody> {
    let (mut parts, content) = response.into_parts();
    let ignores_range = faults.iter().any(|fault| matches!(fault, Fault::IgnoreRange));
    let blob = parts.headers.contains_key(header::ACCEPT_RANGES);
    let range = range_of(seen, content.size()).filter(|_| blob && !ignores_range && parts.status == StatusCode::OK);
    let whole = content.size();
    let range = match range {
        Some(range) if range.is_empty() => {
            parts.status = StatusCode::RANGE_NOT_SATISFIABLE;
            parts.headers.insert(header::CONTENT_RANGE, value(&format!("bytes */{whole}")));
            whole..whole
        }
        Some(range) => {
            parts.status = StatusCode::PARTIAL_CONTENT;
            let text = format!("bytes {}-{}/{whole}", range.start, range.end - 1);
            parts.headers.insert(header::CONTENT_RANGE, value(&text));
            range
        }
        None => 0..whole,
    };
    let mut body = ScriptedBody::new(&seen.path, state.clone(), content, range);
    parts.headers.insert(header::CONTENT_LENGTH, body.remaining().into());
    for fault in faults {
        match fault {
            Fault::Header(name, Some(text)) => drop(parts.headers.insert(*name, value(text))),
            Fault::Header(name, None) => drop(parts.headers.remove(*name)),
            Fault::StallAt(offset) => body.happen(*offset, Event::Stall),
            Fault::HoldAt(offset, gate) => body.happen(*offset, Event::Hold(gate.clone())),
            Fault::BreakAt(offset) => body.happen(*offset, Event::Break),
            Fault::Flip(offset) => body.flip(*offset),
            Fault::Slow { chunk, pause } => body.slow(*chunk, *pause),
            _ => {}
        }
    }
    if seen.method == "HEAD" {
        body = ScriptedBody::new(&seen.path, state, Bytes::new().into(), 0..0);
    }
    Response::from_parts(parts, body)
}

/// `bytes=a-b`, `bytes=a-` and `bytes=-n`; empty when it cannot be satisfied.
fn range_of(seen: &Seen, length: u64) -> Option<Range<u64>> {
    let text = seen.headers.get(header::RANGE)?.to_str().ok()?.strip_prefix("bytes=")?;
    let (first, last) = text.split_once('-')?;
    Some(match (first.parse::<u64>(), last.parse::<u64>()) {
        (Ok(first), Ok(last)) => first.min(length)..length.min(last.saturating_add(1)).max(first.min(length)),
        (Ok(first), Err(_)) => first.min(length)..length,
        (Err(_), Ok(suffix)) => length.saturating_sub(suffix)..length,
        (Err(_), Err(_)) => return None,
    })
}

impl State {
    fn look_up(&self, seen: &Seen) -> Response<Content> {
        if seen.path == "/v2/" || seen.path == "/v2" {
            return found("application/json", None, Bytes::from_static(b"{}").into());
        }
        if seen.path == "/v2/_catalog" {
            let document = |page: &[&String]| json!({ "repositories": page });
            return listed("_catalog", document, self.repositories.keys(), &seen.query);
        }
        let Some(route) = Route::parse(&seen.path) else { return unknown("UNSUPPORTED") };
        let Some(repository) = self.repositories.get(route.repository) else { return unknown("NAME_UNKNOWN") };
        match route.kind {
            "manifests" => repository.manifest(route.reference),
            "blobs" => repository.blob(route.reference),
            "referrers" => repository.referrers(route.reference),
            _ => repository.tags(route.repository, &seen.query),
        }
    }
}

impl Repository {
    fn manifest(&self, reference: &str) -> Response<Content> {
        let digest = reference.parse::<Digest>().ok().or_else(|| self.tags.get(reference).copied());
        match digest.and_then(|digest| self.manifests.get(&digest)) {
            Some(document) => found(&document.media_type, Some(&document.digest), document.bytes.clone().into()),
            None => unknown("MANIFEST_UNKNOWN"),
        }
    }

    fn blob(&self, reference: &str) -> Response<Content> {
        let digest = reference.parse::<Digest>().ok();
        let Some((digest, content)) = digest.and_then(|digest| self.blobs.get_key_value(&digest)) else {
            return unknown("BLOB_UNKNOWN");
        };
        let mut response = found("application/octet-stream", Some(digest), content.clone());
        response.headers_mut().insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        response
    }

    fn referrers(&self, reference: &str) -> Response<Content> {
        let Some(digest) = reference.parse::<Digest>().ok().filter(|_| !self.referrers.is_empty()) else {
            return unknown("UNSUPPORTED");
        };
        let media_type = "application/vnd.oci.image.index.v1+json";
        let manifests = self.referrers.get(&digest).cloned().unwrap_or_default();
        let index = json!({"schemaVersion": 2, "mediaType": media_type, "manifests": manifests});
        found(media_type, None, json_of(&index))
    }

    fn tags(&self, name: &str, query: &str) -> Response<Content> {
        let document = |page: &[&String]| json!({"name": name, "tags": page});
        listed(&format!("{name}/tags/list"), document, self.tags.keys(), query)
    }
}

/// A page of names, as the distribution spec has it.
fn listed<'a>(
    path: &str,
    document: impl Fn(&[&String]) -> serde_json::Value,
    names: impl Iterator<Item = &'a String>,
    query: &str,
) -> Response<Content> {
    let parameters: Vec<_> = url::form_urlencoded::parse(query.as_bytes()).collect();
    let parameter = |wanted| parameters.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_ref());
    let after = parameter("last").unwrap_or_default();
    let limit = parameter("n").and_then(|n| n.parse().ok()).unwrap_or(usize::MAX);
    let rest: Vec<_> = names.filter(|name| name.as_str() > after).collect();
    let page = &rest[..rest.len().min(limit)];
    let mut response = found("application/json", None, json_of(&document(page)));
    if let Some(last) = page.last().filter(|_| page.len() < rest.len()) {
        let link = format!("</v2/{path}?last={last}&n={limit}>; rel=\"next\"");
        response.headers_mut().insert(header::LINK, value(&link));
    }
    response
}

struct Route<'a> {
    repository: &'a str,
    kind: &'a str,
    reference: &'a str,
}

impl<'a> Route<'a> {
    fn parse(path: &'a str) -> Option<Self> {
        let (rest, reference) = path.strip_prefix("/v2/")?.rsplit_once('/')?;
        let (repository, kind) = rest.rsplit_once('/')?;
        let known = matches!(kind, "manifests" | "blobs" | "referrers") || (kind == "tags" && reference == "list");
        known.then_some(Self { repository, kind, reference })
    }
}

fn found(content_type: &str, digest: Option<&Digest>, body: Content) -> Response<Content> {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, value(content_type));
    headers.insert("docker-distribution-api-version", HeaderValue::from_static("registry/2.0"));
    if let Some(digest) = digest {
        headers.insert("docker-content-digest", value(&digest.to_string()));
    }
    response
}

fn json_of(value: &serde_json::Value) -> Content {
    Bytes::from(serde_json::to_vec(value).expect("JSON")).into()
}

fn unknown(code: &str) -> Response<Content> {
    let body = json!({"errors": [{"code": code, "message": "the scripted upstream does not have it"}]});
    let mut response = found("application/json", None, json_of(&body));
    *response.status_mut() = StatusCode::NOT_FOUND;
    response
}

pub(super) fn value(text: &str) -> HeaderValue {
    text.parse().expect("a header value")
}
