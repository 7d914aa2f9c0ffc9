//! Who gets a token, who gets the password, and how often.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use colocate::upstream::{CredentialSource, Credentials, RegistryConfig, RegistryUpstream, Upstream, UpstreamError};

use super::server::{Reply, Seen, Server};
use super::{IMAGE, OCI, config, repository, tag, upstream};

const USER: &str = "Basic dXNlcjpzZWNyZXQ=";

fn credentials() -> CredentialSource {
    CredentialSource::Password(Credentials { user: "user".to_owned(), password: "secret".to_owned() })
}

fn image() -> Reply {
    Reply::ok(IMAGE).kind(OCI)
}

/// A registry that wants the token `good` and names `realm`; the realm at its own `/token` gives it.
async fn registry(realm: impl Fn(&Seen) -> String + Send + Sync + 'static) -> Server {
    Server::start(move |seen| match (seen.path.as_str(), seen.header("authorization")) {
        ("/token", _) => Reply::ok(r#"{"token":"good","expires_in":300}"#).kind("application/json"),
        (_, Some("Bearer good")) => image(),
        _ => challenge(&realm(seen)),
    })
    .await
}

fn challenge(realm: &str) -> Reply {
    let bearer = format!(r#"Bearer realm="{realm}",service="reg, istry",scope="repository:acme/app:pull,push""#);
    Reply::new(401).with("www-authenticate", bearer).body(r#"{"errors":[{"code":"UNAUTHORIZED"}]}"#)
}

fn own_realm(seen: &Seen) -> String {
    format!("http://{}/token?a=b", seen.header("host").unwrap())
}

#[tokio::test]
async fn an_anonymous_token_is_fetched_once_and_used_again() {
    let server = registry(own_realm).await;
    let upstream = upstream(&server);
    for _ in 0..3 {
        assert_eq!(upstream.manifest(&repository(), &tag("v1")).await.unwrap().bytes, IMAGE);
    }
    assert_eq!(server.count("/token"), 1);
    assert_eq!(server.seen().len(), 5);
    let asked = server.seen().into_iter().find(|seen| seen.path == "/token").unwrap();
    assert_eq!(asked.query, "a=b&service=reg%2C+istry&scope=repository%3Aacme%2Fapp%3Apull");
    assert_eq!(asked.header("authorization"), None);
    assert!(asked.header("user-agent").unwrap().starts_with("colocate/"));
    let other = "acme/other".parse().unwrap();
    upstream.manifest(&other, &tag("v1")).await.unwrap();
    assert_eq!(server.count("/token"), 2, "a token is for one repository");
}

#[tokio::test]
async fn the_own_realm_gets_the_password_and_the_registry_the_token() {
    let server = registry(own_realm).await;
    let upstream = RegistryUpstream::new(RegistryConfig { credentials: credentials(), ..config(&server) }).unwrap();
    upstream.manifest(&repository(), &tag("v1")).await.unwrap();
    for seen in server.seen() {
        let expected = if seen.path == "/token" { Some(USER) } else { None };
        let sent = seen.header("authorization");
        assert!(sent == expected || (seen.path != "/token" && sent == Some("Bearer good")), "{seen:?}");
    }
}

#[tokio::test]
async fn concurrent_requests_share_one_token_request() {
    let server = Server::start(|seen| match (seen.path.as_str(), seen.header("authorization")) {
        ("/token", _) => Reply::ok(r#"{"access_token":"good"}"#).after(Duration::from_millis(100)),
        (_, Some("Bearer good")) => image(),
        _ => challenge(&own_realm(seen)),
    })
    .await;
    let upstream = Arc::new(upstream(&server));
    let pulls: Vec<_> = (0..16)
        .map(|_| {
            let upstream = Arc::clone(&upstream);
            tokio::spawn(async move { upstream.manifest(&repository(), &tag("v1")).await.map(|_| ()) })
        })
        .collect();
    for pull in pulls {
        pull.await.unwrap().unwrap();
    }
    assert_eq!(server.count("/token"), 1);
}

#[tokio::test]
async fn an_expired_token_is_replaced_before_it_is_used() {
    let server = Server::start(|seen| match (seen.path.as_str(), seen.header("authorization")) {
        ("/token", _) => Reply::ok(r#"{"token":"good","expires_in":1}"#),
        (_, Some("Bearer good")) => image(),
        _ => challenge(&own_realm(seen)),
    })
    .await;
    let upstream = upstream(&server);
    upstream.manifest(&repository(), &tag("v1")).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1000)).await;
    upstream.manifest(&repository(), &tag("v1")).await.unwrap();
    assert_eq!(server.count("/token"), 2);
    assert_eq!(server.count("/v2/acme/app/manifests/v1"), 3, "the second pull needs no second challenge");
}

#[tokio::test]
async fn a_token_that_is_no_longer_good_is_renewed_once() {
    let issued = Arc::new(AtomicUsize::new(0));
    let valid = Arc::new(AtomicUsize::new(1));
    let (counter, now) = (Arc::clone(&issued), Arc::clone(&valid));
    let server = Server::start(move |seen| match (seen.path.as_str(), seen.header("authorization")) {
        ("/token", _) => {
            let number = counter.fetch_add(1, Ordering::SeqCst) + 1;
            Reply::ok(format!(r#"{{"token":"{number}"}}"#))
        }
        (_, Some(token)) if token == format!("Bearer {}", now.load(Ordering::SeqCst)) => image(),
        _ => challenge(&own_realm(seen)),
    })
    .await;
    let upstream = upstream(&server);
    upstream.manifest(&repository(), &tag("v1")).await.unwrap();
    valid.store(2, Ordering::SeqCst);
    upstream.manifest(&repository(), &tag("v1")).await.unwrap();
    assert_eq!(issued.load(Ordering::SeqCst), 2);
    valid.store(99, Ordering::SeqCst);
    let error = upstream.manifest(&repository(), &tag("v1")).await.unwrap_err();
    assert!(matches!(error, UpstreamError::Unauthorized { .. }), "{error:?}");
    assert!(error.is_forbidden() && !error.is_absent());
    assert_eq!(issued.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn a_forged_realm_never_gets_credentials() {
    let realm: Arc<OnceLock<String>> = Arc::default();
    let forged = Arc::clone(&realm);
    let server = registry(move |_| forged.get().unwrap().clone()).await;
    // To the client `localhost` is another host than `127.0.0.1`.
    realm.set(server.alias("/token").into()).unwrap();
    let with = |realm_hosts| RegistryConfig { credentials: credentials(), realm_hosts, ..config(&server) };
    let upstream = RegistryUpstream::new(with(Vec::new())).unwrap();
    upstream.manifest(&repository(), &tag("v1")).await.unwrap();
    assert_eq!(server.count("/token"), 1);
    assert!(server.seen().iter().all(|seen| seen.header("authorization") != Some(USER)));
    let upstream = RegistryUpstream::new(with(vec!["localhost".to_owned()])).unwrap();
    upstream.manifest(&repository(), &tag("v1")).await.unwrap();
    assert!(server.seen().iter().any(|seen| seen.header("authorization") == Some(USER)), "a listed realm does");
}

#[tokio::test]
async fn basic_credentials_are_sent_when_asked_for_and_not_before() {
    let server = Server::start(|seen| match seen.header("authorization") {
        Some(USER) => image(),
        _ => Reply::new(401).with("www-authenticate", r#"Basic realm="here""#),
    })
    .await;
    let upstream = RegistryUpstream::new(RegistryConfig { credentials: credentials(), ..config(&server) }).unwrap();
    upstream.manifest(&repository(), &tag("v1")).await.unwrap();
    upstream.manifest(&repository(), &tag("v1")).await.unwrap();
    let sent: Vec<bool> = server.seen().iter().map(|seen| seen.header("authorization").is_some()).collect();
    assert_eq!(sent, [false, true, true]);
    let error = super::upstream(&server).manifest(&repository(), &tag("v1")).await.unwrap_err();
    assert!(matches!(error, UpstreamError::Unauthorized { .. }));
}

#[tokio::test]
async fn denied_is_denied_with_a_fresh_token() {
    // As most say it, and as docker-registry does.
    let denied = |_: &Seen| Reply::new(403).body(r#"{"errors":[{"code":"DENIED","message":"no"}]}"#);
    let lacking = |seen: &Seen| {
        let error = r#",error="insufficient_scope""#;
        Reply::new(401).with("www-authenticate", format!(r#"Bearer realm="{}"{error}"#, own_realm(seen)))
    };
    for refuse in [denied as fn(&Seen) -> Reply, lacking] {
        let server = Server::start(move |seen| match (seen.path.as_str(), seen.header("authorization")) {
            ("/token", _) => Reply::ok(r#"{"token":"good"}"#),
            (_, None) => challenge(&own_realm(seen)),
            _ => refuse(seen),
        })
        .await;
        let upstream = upstream(&server);
        for _ in 0..3 {
            let error = upstream.manifest_head(&repository(), &tag("v1")).await.unwrap_err();
            assert!(error.is_forbidden() && !error.is_absent(), "{error:?}");
        }
        assert_eq!(server.count("/token"), 1, "a young token is taken at its word");
    }
}

#[tokio::test]
async fn a_token_server_in_trouble_is_no_missing_image() {
    for (status, absent_or_forbidden) in [(404, false), (500, false), (403, true), (302, false)] {
        let server = Server::start(move |seen| match seen.path.as_str() {
            "/token" => Reply::new(status).with("location", "/elsewhere"),
            _ => challenge(&own_realm(seen)),
        })
        .await;
        let error = upstream(&server).manifest(&repository(), &tag("v1")).await.unwrap_err();
        assert!(!error.is_absent(), "{status}: {error:?}");
        assert_eq!(error.is_forbidden(), absent_or_forbidden, "{status}: {error:?}");
        assert_eq!(server.count("/elsewhere"), 0);
    }
}

#[tokio::test]
async fn realms_that_are_no_token_servers_are_not_asked() {
    for realm in ["file:///etc/passwd", "not a url", "http://user@127.0.0.1/token"] {
        let server = Server::start(move |_| challenge(realm)).await;
        let error = upstream(&server).manifest(&repository(), &tag("v1")).await.unwrap_err();
        assert!(matches!(error, UpstreamError::Malformed { .. }), "{realm}: {error:?}");
    }
}
