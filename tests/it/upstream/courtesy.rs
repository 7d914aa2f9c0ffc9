//! Hosts that ask to be left alone: who is not asked any more, and who still is.

use std::time::Duration;

use colocate::upstream::{Upstream, UpstreamError};

use super::server::{Reply, Server};
use super::{IMAGE, OCI, digest_of, repository, tag, upstream};

#[tokio::test]
async fn a_registry_that_is_asked_too_often_is_not_asked() {
    let server = Server::start(|_| {
        Reply::new(429).with("retry-after", 100).with("ratelimit-limit", "100;w=21600").with("ratelimit-remaining", 0)
    })
    .await;
    let upstream = upstream(&server);
    let first = upstream.manifest_head(&repository(), &tag("v1")).await.unwrap_err();
    assert!(matches!(first, UpstreamError::RateLimited { asked: true, .. }), "{first:?}");
    for error in [
        upstream.manifest(&repository(), &tag("v1")).await.map(|_| ()).unwrap_err(),
        upstream.blob(&"other/app".parse().unwrap(), &digest_of(IMAGE), 0).await.map(|_| ()).unwrap_err(),
    ] {
        assert!(error.is_held_back() && error.is_transient() && error.status().is_none(), "{error:?}");
        let wait = error.retry_after().unwrap();
        assert!(wait <= Duration::from_secs(100) && wait > Duration::from_secs(60), "{wait:?}");
        assert_eq!(error.quota().unwrap().limit.as_ref().unwrap().text, "100;w=21600");
    }
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn an_answer_that_was_the_last_one_allowed_is_the_last_one_asked_for() {
    let digest = digest_of(IMAGE);
    let server = Server::start(move |_| {
        let answer = Reply::ok(IMAGE).kind(OCI).with("docker-content-digest", digest);
        answer.with("ratelimit-remaining", 0).with("ratelimit-reset", 100)
    })
    .await;
    let upstream = upstream(&server);
    assert!(upstream.manifest_head(&repository(), &tag("v1")).await.is_ok());
    let held = upstream.manifest_head(&repository(), &tag("v1")).await.unwrap_err();
    assert!(held.is_held_back() && matches!(held, UpstreamError::RateLimited { .. }), "{held:?}");
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn a_denial_that_means_too_often_is_one() {
    let server = Server::start(|_| {
        Reply::new(403)
            .with("retry-after", 100)
            .body(r#"{"errors":[{"code":"TOOMANYREQUESTS","message":"slow down"}]}"#)
    })
    .await;
    let upstream = upstream(&server);
    assert!(upstream.manifest(&repository(), &tag("v1")).await.is_err());
    assert!(upstream.manifest(&repository(), &tag("v1")).await.unwrap_err().is_held_back());
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn storage_and_token_server_are_hosts_of_their_own() {
    let storage = Server::start(|_| Reply::new(503).with("retry-after", 100)).await;
    let tokens = Server::start(|seen| match seen.query.contains("limited") {
        true => Reply::new(429).with("retry-after", 100),
        false => Reply::ok(r#"{"token":"t"}"#),
    })
    .await;
    let (elsewhere, realm) = (String::from(storage.url("/x?sig=1")), String::from(tokens.url("/token")));
    let digest = digest_of(IMAGE);
    let server = Server::start(move |seen| match seen.header("authorization") {
        None => Reply::new(401).with("www-authenticate", format!("Bearer realm=\"{realm}\"")),
        Some(_) if seen.path.contains("/blobs/") => Reply::new(307).with("location", &elsewhere),
        Some(_) => Reply::ok(IMAGE).kind(OCI).with("docker-content-digest", digest),
    })
    .await;
    let upstream = upstream(&server);
    for asked in [true, false] {
        let error = upstream.blob(&repository(), &digest, 0).await.map(|_| ()).unwrap_err();
        assert!(matches!(error, UpstreamError::Unavailable { .. }) && error.is_held_back() != asked, "{error:?}");
    }
    assert_eq!(storage.seen().len(), 1);
    assert!(upstream.manifest(&repository(), &tag("v1")).await.is_ok(), "the registry itself asked for nothing");

    // No token for another repository, and none is asked for again; the one there is still does.
    for asked in [true, false] {
        let error = upstream.manifest(&"limited/app".parse().unwrap(), &tag("v1")).await.unwrap_err();
        assert!(matches!(error, UpstreamError::RateLimited { .. }) && error.is_held_back() != asked, "{error:?}");
    }
    assert_eq!(tokens.seen().len(), 2);
    assert!(upstream.manifest(&repository(), &tag("v1")).await.is_ok());
}
