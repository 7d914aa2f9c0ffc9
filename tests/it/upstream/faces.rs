//! An upstream asked as its clients, and what they are told.

use std::sync::Arc;

use colocate::upstream::{
    ClientCredential, CredentialSource, Credentials, RegistryConfig, RegistryUpstream, Upstream, UpstreamError,
};
use http::HeaderValue;

use super::server::{Reply, Seen, Server};
use super::{IMAGE, OCI, bytes, digest_of, patient, repository, tag};
use crate::support::log::Log;

const PASSED: &str = "Bearer client-secret";

fn login(user: &str, password: &str) -> Option<Credentials> {
    Some(Credentials { user: user.to_owned(), password: password.to_owned() })
}

/// What the operator configured.
fn configured(server: &Server, user: &str, password: &str) -> RegistryUpstream {
    let credentials = login(user, password).map(CredentialSource::Password).unwrap();
    RegistryUpstream::new(RegistryConfig { credentials, ..patient(server) }).unwrap()
}

fn passed_on(upstream: &RegistryUpstream, header: Option<&'static str>) -> Arc<dyn Upstream> {
    upstream.for_client(&ClientCredential::PassedOn(header.map(HeaderValue::from_static))).unwrap()
}

fn exchanged(upstream: &RegistryUpstream, credentials: Option<Credentials>) -> Arc<dyn Upstream> {
    upstream.for_client(&ClientCredential::Exchanged(credentials)).unwrap()
}

/// The configured credentials are `own:own`.
fn upstream(server: &Server) -> RegistryUpstream {
    configured(server, "own", "own")
}

/// Gives each user a token of its own, for a password that is the user's name; everyone reads with any.
async fn token_registry() -> Server {
    Server::start(|seen| match (seen.path.as_str(), seen.header("authorization")) {
        ("/token", Some("Basic b3duOm93bg==")) => Reply::ok(r#"{"token":"own"}"#),
        ("/token", Some("Basic YW5uYTphbm5h")) => Reply::ok(r#"{"token":"anna"}"#),
        ("/token", None) => Reply::ok(r#"{"token":"nobody"}"#),
        ("/token", Some(_)) => Reply::new(401).with("www-authenticate", "Basic realm=\"the token server's\""),
        (_, Some(token)) if token.starts_with("Bearer ") => Reply::ok(IMAGE).kind(OCI),
        _ => challenge(seen, "/token"),
    })
    .await
}

fn challenge(seen: &Seen, path: &str) -> Reply {
    let realm = format!("http://{}{path}", seen.header("host").unwrap());
    Reply::new(401).with("www-authenticate", format!(r#"Bearer realm="{realm}",service="s""#))
}

fn sent(server: &Server, path: &str) -> Vec<String> {
    let seen = server.seen().into_iter().filter(|seen| seen.path == path);
    seen.filter_map(|seen| seen.header("authorization").map(str::to_owned)).collect()
}

const MANIFEST: &str = "/v2/acme/app/manifests/v1";

#[tokio::test]
async fn tokens_of_one_client_are_nobody_else_s() {
    let server = token_registry().await;
    let upstream = upstream(&server);
    let (name, reference) = (repository(), tag("v1"));
    upstream.manifest(&name, &reference).await.unwrap();
    for credentials in [login("anna", "anna"), None] {
        exchanged(&upstream, credentials).manifest(&name, &reference).await.unwrap();
    }
    passed_on(&upstream, Some(PASSED)).manifest(&name, &reference).await.unwrap();
    passed_on(&upstream, None).manifest(&name, &reference).await.unwrap_err();
    upstream.manifest(&name, &reference).await.unwrap();
    assert_eq!(sent(&server, MANIFEST), ["Bearer own", "Bearer anna", "Bearer nobody", PASSED, "Bearer own"]);
    assert_eq!(server.count("/token"), 3);
    // Each of the three that fetch tokens is challenged first, on the one connection that all share.
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn a_wrong_password_is_found_out_by_a_ping() {
    let server = token_registry().await;
    let upstream = upstream(&server);
    upstream.ping().await.unwrap();
    exchanged(&upstream, login("anna", "anna")).ping().await.unwrap();
    exchanged(&upstream, None).ping().await.unwrap();
    let error = exchanged(&upstream, login("anna", "guess")).ping().await.unwrap_err();
    let UpstreamError::Unauthorized { challenges } = &error else { panic!("{error:?}") };
    assert!(challenges.for_clients().unwrap()[0].to_str().unwrap().contains("/token"), "the registry's challenge");
    let tokens: Vec<_> = server.seen().into_iter().filter(|seen| seen.path == "/token").collect();
    assert!(tokens.iter().all(|seen| seen.query == "service=s"), "for no scope");
    let basic = Server::start(|seen| match seen.header("authorization") {
        Some("Basic YW5uYTphbm5h") => Reply::ok("{}"),
        _ => Reply::new(401).with("www-authenticate", "Basic realm=\"r\""),
    })
    .await;
    let upstream = self::upstream(&basic);
    exchanged(&upstream, login("anna", "anna")).ping().await.unwrap();
    for wrong in [login("anna", "guess"), None] {
        let error = exchanged(&upstream, wrong).ping().await.unwrap_err();
        assert!(matches!(error, UpstreamError::Unauthorized { .. }), "{error:?}");
    }
    assert!(sent(&basic, "/v2/").iter().all(|sent| sent != "Basic b3duOm93bg=="));
}

#[tokio::test]
async fn a_header_that_is_passed_on_goes_to_the_upstream_and_nowhere_else() {
    let storage = Server::start(|_| Reply::ok(IMAGE)).await;
    let target = String::from(storage.alias("/blob"));
    let server = Server::start(move |seen| match (seen.path.as_str(), seen.header("authorization")) {
        (_, Some(PASSED)) if seen.path.contains("/blobs/") => Reply::new(307).with("location", &target),
        (_, Some(PASSED)) => challenge(seen, "/token"),
        _ => challenge(seen, "/token").with("www-authenticate", "Basic realm=\"second\""),
    })
    .await;
    let upstream = upstream(&server);
    let face = passed_on(&upstream, Some(PASSED));
    let blob = face.blob(&repository(), &digest_of(IMAGE), 0).await.unwrap();
    bytes(blob).await.unwrap();
    assert_eq!(storage.seen()[0].header("authorization"), None);
    assert_eq!(storage.seen()[0].header("colocate-view"), None);
    // Its challenge is the client's to answer.
    let error = face.manifest(&repository(), &tag("v1")).await.unwrap_err();
    assert!(matches!(error, UpstreamError::Unauthorized { .. }), "{error:?}");
    let error = passed_on(&upstream, None).ping().await.unwrap_err();
    let UpstreamError::Unauthorized { challenges } = &error else { panic!("{error:?}") };
    let values: Vec<_> = challenges.for_clients().unwrap().iter().map(|value| value.to_str().unwrap()).collect();
    assert_eq!(values, [&format!(r#"Bearer realm="{}",service="s""#, server.url("/token")), r#"Basic realm="second""#]);
    assert_eq!(server.count("/token"), 0);
    assert!(server.seen().iter().all(|seen| seen.header("colocate-view") == Some("exact")));
}

#[tokio::test]
async fn the_log_has_the_operator_s_wrong_password_and_no_client_s() {
    let server = token_registry().await;
    let (log, _capture) = Log::capture("colocate=info");
    let client = exchanged(&upstream(&server), login("anna", "wrong"));
    let refused = client.manifest(&repository(), &tag("v1")).await.unwrap_err();
    assert!(matches!(refused, UpstreamError::Unauthorized { .. }), "{refused:?}");
    assert_eq!(log.count("token"), 0, "{}", log.text());
    let refused = configured(&server, "own", "wrong").manifest(&repository(), &tag("v1")).await.unwrap_err();
    assert!(matches!(refused, UpstreamError::Unauthorized { .. }), "{refused:?}");
    assert_eq!(log.count("WARN"), 1, "{}", log.text());
    assert!(log.text().contains("the token server refuses a token"), "{}", log.text());
}

#[tokio::test]
async fn a_forged_realm_reaches_no_client() {
    for path in ["/token", "/token?127.0.0.1"] {
        let evil = Server::start(|_| Reply::ok(r#"{"token":"t"}"#)).await;
        let realm = evil.alias(path);
        let forged = format!(r#"Bearer realm="{realm}",service="s""#);
        let server = Server::start(move |_| Reply::new(401).with("www-authenticate", &forged)).await;
        let face = passed_on(&upstream(&server), Some(PASSED));
        let error = face.manifest(&repository(), &tag("v1")).await.unwrap_err();
        let UpstreamError::Unauthorized { challenges } = &error else { panic!("{error:?}") };
        let refused = challenges.for_clients().unwrap_err().to_string();
        assert!(refused.contains("localhost") && refused.contains("auth.realms"), "{refused}");
        assert!(evil.seen().is_empty());
        let exchanged = exchanged(&upstream(&server), login("anna", "anna"));
        exchanged.manifest(&repository(), &tag("v1")).await.unwrap_err();
        assert!(evil.seen().iter().all(|seen| seen.header("authorization").is_none()));
    }
}

#[tokio::test]
async fn no_debug_output_shows_a_secret() {
    let server = token_registry().await;
    let credentials = CredentialSource::Token("hunter2".to_owned());
    let config = RegistryConfig { credentials, ..patient(&server) };
    let shown = format!("{config:?} {:?}", RegistryUpstream::new(config.clone()).unwrap());
    assert!(!shown.contains("hunter2"), "{shown}");
    for secret in [
        ClientCredential::PassedOn(Some(HeaderValue::from_static("hunter2"))),
        ClientCredential::Exchanged(login("u", "hunter2")),
    ] {
        assert!(!format!("{secret:?}").contains("hunter2"));
    }
}
