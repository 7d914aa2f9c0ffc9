//! Token servers of either kind, and those that lead nowhere.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use colocate::upstream::{
    CredentialSource, Credentials, DockerConfig, RegistryConfig, RegistryUpstream, TimeoutStage, Upstream,
    UpstreamError,
};
use url::form_urlencoded;

use super::server::{Reply, Seen, Server};
use super::{IMAGE, OCI, config, patient, repository, tag};

fn credentials() -> CredentialSource {
    CredentialSource::Password(Credentials { user: "user".to_owned(), password: "pass&word".to_owned() })
}

/// A registry that wants the token `good`; its own `/token` answers as `token` says.
async fn registry(token: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Server {
    Server::start(move |seen| match (seen.path.as_str(), seen.header("authorization")) {
        ("/token" | "/loop", _) => token(seen),
        (_, Some("Bearer good")) => Reply::ok(IMAGE).kind(OCI),
        _ => {
            let realm = format!("http://{}/token", seen.header("host").unwrap());
            let challenge = format!(r#"Bearer realm="{realm}",service="registry",scope="repository:acme/app:pull""#);
            Reply::new(401).with("www-authenticate", challenge)
        }
    })
    .await
}

fn good() -> Reply {
    Reply::ok(r#"{"access_token":"good","expires_in":300,"refresh_token":"ignored"}"#)
}

fn form(seen: &Seen) -> BTreeMap<String, String> {
    assert_eq!(seen.header("content-type"), Some("application/x-www-form-urlencoded"));
    form_urlencoded::parse(&seen.body).into_owned().collect()
}

fn fields(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[tokio::test]
async fn a_token_server_that_does_not_know_get_is_asked_by_post() {
    for status in [404, 405] {
        let server = registry(move |seen| if seen.method == "POST" { good() } else { Reply::new(status) }).await;
        let upstream =
            RegistryUpstream::new(RegistryConfig { credentials: credentials(), ..patient(&server) }).unwrap();
        upstream.manifest(&repository(), &tag("v1")).await.unwrap();
        let asked: Vec<_> = server.seen().into_iter().filter(|seen| seen.path == "/token").collect();
        assert_eq!(asked.len(), 2);
        assert_eq!(asked[1].header("authorization"), None);
        let expected = fields(&[
            ("grant_type", "password"),
            ("username", "user"),
            ("password", "pass&word"),
            ("service", "registry"),
            ("client_id", "colocate"),
            ("scope", "repository:acme/app:pull"),
            ("access_type", "online"),
        ]);
        assert_eq!(form(&asked[1]), expected);
    }
}

#[tokio::test]
async fn an_identity_token_is_exchanged_by_post_only() {
    let server =
        registry(|seen| if form(seen)["refresh_token"] == "identity" { good() } else { Reply::new(400) }).await;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("config.json");
    let with = |token: &str| {
        std::fs::write(&path, format!(r#"{{"auths":{{"reg.example":{{"identitytoken":"{token}"}}}}}}"#)).unwrap();
        let credentials = CredentialSource::Docker(DockerConfig::new(&path, ["reg.example"]));
        RegistryUpstream::new(RegistryConfig { credentials, ..patient(&server) }).unwrap()
    };
    with("identity").manifest(&repository(), &tag("v1")).await.unwrap();
    let asked = server.seen().into_iter().find(|seen| seen.path == "/token").unwrap();
    assert_eq!((asked.method.as_str(), form(&asked)["grant_type"].as_str()), ("POST", "refresh_token"));
    assert!(server.seen().iter().all(|seen| seen.header("authorization").is_none_or(|sent| sent == "Bearer good")));
    let error = with("expired").manifest(&repository(), &tag("v1")).await.unwrap_err();
    let UpstreamError::Unauthorized { challenges } = &error else { panic!("{error:?}") };
    assert_eq!(challenges.for_clients().unwrap().len(), 1, "the registry's, and not the token server's");
}

#[tokio::test]
async fn an_identity_token_never_goes_to_a_forged_realm() {
    let evil = Server::start(|_| Reply::ok(r#"{"token":"bad"}"#)).await;
    let realm = evil.alias("/token");
    let server =
        Server::start(move |_| Reply::new(401).with("www-authenticate", format!(r#"Bearer realm="{realm}""#))).await;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("config.json");
    std::fs::write(&path, r#"{"auths":{"reg.example":{"identitytoken":"identity"}}}"#).unwrap();
    let credentials = CredentialSource::Docker(DockerConfig::new(&path, ["reg.example"]));
    let upstream = RegistryUpstream::new(RegistryConfig { credentials, ..patient(&server) }).unwrap();
    upstream.manifest(&repository(), &tag("v1")).await.unwrap_err();
    let seen = evil.seen();
    assert!(!seen.is_empty());
    assert!(seen.iter().all(|seen| seen.method == "GET" && seen.body.is_empty() && !seen.query.contains("identity")));
    assert!(seen.iter().all(|seen| seen.header("authorization").is_none() && seen.header("colocate-view").is_none()));
}

#[tokio::test]
async fn a_thousand_requests_share_one_token() {
    let server = registry(|_| good().after(Duration::from_millis(200))).await;
    let config = RegistryConfig { concurrency: 1000, ..patient(&server) };
    let upstream = Arc::new(RegistryUpstream::new(config).unwrap());
    let pulls: Vec<_> = (0..1000)
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
async fn a_token_server_that_leads_nowhere_ends_in_an_error() {
    type Trouble = (&'static str, fn() -> Reply, fn(&UpstreamError) -> bool);
    let late = |error: &UpstreamError| matches!(error, UpstreamError::Timeout { what: TimeoutStage::Token });
    let odd = |error: &UpstreamError| matches!(error, UpstreamError::Malformed { .. });
    let troubles: [Trouble; 6] = [
        ("a redirect to itself", || Reply::new(302).with("location", "/token"), odd),
        ("silence", || Reply::ok("{").after(Duration::from_secs(3600)), late),
        ("a stall", || Reply::ok("{").stalling(), late),
        ("a drip", || Reply::ok("{").dripping(), late),
        ("no end", || Reply::ok(vec![b' '; 8192]).endless(), odd),
        (
            "an error without an end",
            || Reply::new(500).body(vec![b' '; 8192]).endless(),
            |error| matches!(error, UpstreamError::Unavailable { .. }),
        ),
    ];
    for (what, reply, expected) in troubles {
        let server = registry(move |_| reply()).await;
        let upstream = RegistryUpstream::new(RegistryConfig { credentials: credentials(), ..config(&server) }).unwrap();
        let (name, reference) = (repository(), tag("v1"));
        let pull = upstream.manifest(&name, &reference);
        let error = tokio::time::timeout(Duration::from_secs(60), pull).await.expect(what).unwrap_err();
        assert!(expected(&error), "{what}: {error:?}");
        assert!(!error.is_absent() && !error.is_forbidden(), "{what}: {error:?}");
        assert_eq!(server.count("/token"), 1, "{what}");
    }
}
