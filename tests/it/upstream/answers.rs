//! What upstreams answer to questions about manifests and tags, true and false.

use std::time::Duration;

use colocate::oci::{Algorithm, Digest, Hasher, MediaType, Reference};
use colocate::upstream::{ListPage, Upstream, UpstreamError};
use http::Method;

use super::server::{Reply, Server};
use super::{IMAGE, OCI, digest_of, repository, tag, upstream};

async fn failing(reply: impl Fn() -> Reply + Send + Sync + 'static) -> UpstreamError {
    let server = Server::start(move |_| reply()).await;
    upstream(&server).manifest(&repository(), &tag("v1")).await.unwrap_err()
}

#[tokio::test]
async fn a_manifest_by_tag_and_by_digest() {
    let server = Server::start(|_| Reply::ok(IMAGE).kind(&format!("{OCI}; charset=utf-8"))).await;
    let (upstream, digest) = (upstream(&server), digest_of(IMAGE));
    for reference in [tag("v1"), Reference::Digest(digest)] {
        let manifest = upstream.manifest(&repository(), &reference).await.unwrap();
        assert_eq!((manifest.digest, manifest.media_type), (digest, MediaType::ImageManifest));
        assert_eq!(manifest.bytes, IMAGE);
    }
    let mut hasher = Hasher::new(Algorithm::Sha512);
    hasher.update(IMAGE.as_bytes());
    let long = hasher.finish();
    let manifest = upstream.manifest(&repository(), &Reference::Digest(long)).await.unwrap();
    assert_eq!(manifest.digest, long);
    let seen = server.seen();
    assert_eq!(seen[1].path, format!("/v2/acme/app/manifests/{digest}"));
    for seen in seen {
        assert_eq!(seen.header("accept"), Some(colocate::oci::MANIFEST_ACCEPT));
        assert_eq!(seen.header("accept-encoding"), Some("identity"));
    }
}

#[tokio::test]
async fn wrong_bytes_are_never_a_manifest() {
    let server =
        Server::start(|_| Reply::ok(IMAGE).kind(OCI).with("docker-content-digest", digest_of("something else"))).await;
    let upstream = upstream(&server);
    for reference in [tag("v1"), Reference::Digest(digest_of("asked"))] {
        let error = upstream.manifest(&repository(), &reference).await.unwrap_err();
        let UpstreamError::DigestMismatch { actual, .. } = error else { panic!("{error:?}") };
        assert_eq!(*actual, digest_of(IMAGE));
    }
    // Asked by digest, the bytes count and not what the header says of them.
    assert!(upstream.manifest(&repository(), &Reference::Digest(digest_of(IMAGE))).await.is_ok());
    let error = upstream.manifest_head(&repository(), &Reference::Digest(digest_of(IMAGE))).await.unwrap_err();
    assert!(matches!(error, UpstreamError::DigestMismatch { .. }), "{error:?}");
}

#[tokio::test]
async fn a_page_is_no_manifest() {
    let error = failing(|| Reply::ok("<html>sign in</html>").kind("text/html; charset=utf-8")).await;
    assert!(
        matches!(&error, UpstreamError::NotAManifest { media_type } if media_type.as_ref() == "text/html"),
        "{error:?}"
    );
    let error = failing(|| Reply::ok("<html>sign in</html>")).await;
    assert!(matches!(error, UpstreamError::Malformed { .. }), "{error:?}");
    let error = failing(|| Reply::ok("{}").kind("application/json")).await;
    assert!(matches!(error, UpstreamError::Malformed { .. }), "{error:?}");
    let error = failing(|| Reply::ok(IMAGE).kind(OCI).with("content-encoding", "gzip")).await;
    assert!(matches!(error, UpstreamError::Malformed { .. }), "{error:?}");
}

#[tokio::test]
async fn a_vague_media_type_is_sniffed() {
    for kind in ["application/json", "application/octet-stream"] {
        let server = Server::start(move |_| Reply::ok(IMAGE).kind(kind)).await;
        let manifest = upstream(&server).manifest(&repository(), &tag("v1")).await.unwrap();
        assert_eq!(manifest.media_type, MediaType::ImageManifest);
    }
}

#[tokio::test]
async fn an_oversized_manifest_is_not_read() {
    const FIVE_MIB: usize = 5 << 20;
    // With a length that says so, and without one.
    let error = failing(|| Reply::ok(vec![b' '; FIVE_MIB]).kind(OCI)).await;
    assert!(matches!(error, UpstreamError::TooLarge { limit: 4_194_304 }), "{error:?}");
    let error = failing(|| Reply::ok(vec![b' '; FIVE_MIB]).kind(OCI).stalling()).await;
    assert!(matches!(error, UpstreamError::TooLarge { .. }), "{error:?}");
}

#[tokio::test]
async fn schema_1_passes_under_the_digest_of_its_bytes() {
    const SCHEMA1: &str = r#"{"schemaVersion":1,"name":"acme/app"}"#;
    let asked = digest_of("the payload without signatures");
    let kind = "application/vnd.docker.distribution.manifest.v1+prettyjws";
    let server = Server::start(move |_| Reply::ok(SCHEMA1).kind(kind).with("docker-content-digest", asked)).await;
    let upstream = upstream(&server);
    for reference in [tag("v1"), Reference::Digest(asked)] {
        let manifest = upstream.manifest(&repository(), &reference).await.unwrap();
        assert_eq!((manifest.digest, manifest.media_type.as_ref()), (digest_of(SCHEMA1), kind));
        assert_eq!(upstream.manifest_head(&repository(), &reference).await.unwrap().digest, digest_of(SCHEMA1));
    }
}

#[tokio::test]
async fn not_there_in_every_way_it_is_said() {
    let nested = |code: &str| {
        let detail = format!(r#"{{"errors":[{{"code":"{code}","message":"m"}}]}}"#);
        format!(r#"{{"errors":[{{"code":"UNKNOWN","message":"unknown error","detail":{detail}}}]}}"#)
    };
    assert!(failing(|| Reply::new(404).body("<html>")).await.is_absent());
    for code in ["MANIFEST_UNKNOWN", "BLOB_UNKNOWN", "NAME_UNKNOWN"] {
        let body = nested(code);
        let server = Server::start(move |_| Reply::new(500).kind("application/json").body(body.clone())).await;
        let upstream = upstream(&server);
        assert!(upstream.manifest(&repository(), &tag("v1")).await.unwrap_err().is_absent(), "{code}");
        // A HEAD has no body to say so; it is asked again.
        assert!(upstream.manifest_head(&repository(), &tag("v1")).await.unwrap_err().is_absent(), "{code}");
        assert!(upstream.blob_head(&repository(), &digest_of("")).await.unwrap_err().is_absent(), "{code}");
    }
    let other = nested("DENIED");
    let error = failing(move || Reply::new(500).kind("application/json").body(other.clone())).await;
    assert!(matches!(error, UpstreamError::Unavailable { .. }), "{error:?}");
}

#[tokio::test]
async fn trouble_by_class() {
    let error = failing(|| Reply::new(429).with("retry-after", 7)).await;
    assert!(matches!(error, UpstreamError::RateLimited { .. }) && error.is_transient());
    assert_eq!(error.retry_after(), Some(Duration::from_secs(7)));
    let error = failing(|| Reply::new(503).with("retry-after", "Fri, 31 Dec 1999 23:59:59 GMT")).await;
    assert!(matches!(error, UpstreamError::Unavailable { status, .. } if status == 503));
    assert_eq!(error.retry_after(), Some(Duration::ZERO));
    let error = failing(|| Reply::new(403).body(r#"{"errors":[{"code":"TOOMANYREQUESTS"}]}"#)).await;
    assert!(matches!(error, UpstreamError::RateLimited { asked: true, .. }), "{error:?}");
    // It does not say how long, so that is for this proxy to say.
    assert!(error.retry_after().is_some_and(|wait| wait <= Duration::from_secs(1)));
    let error = failing(|| Reply::new(403)).await;
    assert!(matches!(error, UpstreamError::Denied) && !error.is_transient());
    let server = Server::start(|_| Reply::new(400)).await;
    let error = upstream(&server).manifest(&repository(), &tag("v1")).await.unwrap_err();
    assert!(matches!(error, UpstreamError::UnexpectedStatus { status } if status == 400));
    assert_eq!(server.seen().len(), 1, "a refusal is not asked for twice");
    // An error's body without an end is cut off, not waited for or kept.
    let error = failing(|| Reply::new(502).body(vec![b'x'; 1 << 20]).stalling()).await;
    assert!(matches!(error, UpstreamError::Unavailable { status, .. } if status == 502));
}

#[tokio::test]
async fn a_head_that_says_all_is_enough() {
    let digest = digest_of(IMAGE);
    let server = Server::start(move |_| Reply::ok(IMAGE).kind(OCI).with("docker-content-digest", digest)).await;
    let head = upstream(&server).manifest_head(&repository(), &tag("v1")).await.unwrap();
    assert_eq!((head.digest, head.size), (digest, IMAGE.len() as u64));
    assert_eq!(head.media_type, MediaType::ImageManifest);
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn a_head_that_says_less_is_repeated_as_get() {
    let digest = digest_of(IMAGE);
    let without: [fn(Digest) -> Reply; 4] = [
        |_| Reply::ok(IMAGE).kind(OCI),
        |digest| Reply::ok(IMAGE).with("docker-content-digest", digest),
        |_| Reply::ok(IMAGE).kind(OCI).with("docker-content-digest", "md5:0"),
        |_| Reply::new(405),
    ];
    for reply in without {
        let server = Server::start(move |seen| match seen.method {
            Method::HEAD => reply(digest),
            _ => Reply::ok(IMAGE).kind(OCI),
        })
        .await;
        let head = upstream(&server).manifest_head(&repository(), &tag("v1")).await.unwrap();
        assert_eq!((head.digest, head.size), (digest, IMAGE.len() as u64));
        assert_eq!(server.seen().len(), 2);
    }
}

#[tokio::test]
async fn tags_in_pages() {
    let server = Server::start(|seen| match seen.query.as_str() {
        "" => Reply::ok(r#"{"name":"acme/app","tags":["a","b","c"]}"#),
        "n=2" => Reply::ok(r#"{"name":"acme/app","tags":["a","b"]}"#)
            .with("link", r#"</v2/acme/app/tags/list?last=b&n=2>; rel="next""#),
        "n=2&last=b" => Reply::ok(r#"{"name":"acme/app","tags":["c"]}"#),
        "n=1" => Reply::ok(r#"{"name":"acme/app","tags":["a"]}"#),
        "n=9" => Reply::ok(vec![b' '; 9 << 20]),
        _ => Reply::new(400),
    })
    .await;
    let upstream = upstream(&server);
    let list = async |n, last: Option<&str>| {
        let page = ListPage { n, last: last.map(str::to_owned) };
        upstream.tags(&repository(), &page).await.map(|list| (list.names.join(" "), list.more))
    };
    assert_eq!(list(None, None).await.unwrap(), ("a b c".to_owned(), false));
    assert_eq!(list(Some(2), None).await.unwrap(), ("a b".to_owned(), true));
    assert_eq!(list(Some(2), Some("b")).await.unwrap(), ("c".to_owned(), false));
    assert_eq!(list(Some(0), None).await.unwrap(), (String::new(), false));
    assert!(matches!(list(Some(9), None).await, Err(UpstreamError::TooLarge { .. })));
}

#[tokio::test]
async fn an_upstream_that_ignores_the_page_asked_for_is_not_followed_for_ever() {
    let server = Server::start(|_| {
        let link = r#"</v2/acme/app/tags/list?n=2&next_page=opaque>; rel="next""#;
        Reply::ok(r#"{"name":"acme/app","tags":["a","b"]}"#).with("link", link)
    })
    .await;
    let upstream = upstream(&server);
    let (mut page, mut pages) = (ListPage { n: Some(2), last: None }, 0);
    loop {
        let list = upstream.tags(&repository(), &page).await.unwrap();
        pages += 1;
        let Some(next) = list.next() else { break };
        assert!(pages < 3, "{list:?}");
        page.last = Some(next.to_owned());
    }
}
