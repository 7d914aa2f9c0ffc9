//! Credentials that are kept in files, and tokens that are sent as they stand.

use std::fs;
use std::path::Path;
use std::time::Duration;

use colocate::upstream::{
    CredentialSource, DockerConfig, RegistryConfig, RegistryConfigError, RegistryUpstream, Upstream, UpstreamError,
};

use super::server::{Reply, Server};
use super::{IMAGE, OCI, bytes, digest_of, patient, repository, tag};
use crate::support::eventually;

const FIRST: &str = "Basic dTpmaXJzdA==";
const SECOND: &str = "Basic dTpzZWNvbmQ=";

/// A registry that takes only `accepted`, by the Basic scheme.
async fn basic(accepted: &'static str) -> Server {
    Server::start(move |seen| match seen.header("authorization") {
        Some(sent) if sent == accepted => Reply::ok(IMAGE).kind(OCI),
        _ => Reply::new(401).with("www-authenticate", "Basic realm=\"r\""),
    })
    .await
}

fn with(server: &Server, credentials: CredentialSource) -> RegistryUpstream {
    RegistryUpstream::new(RegistryConfig { credentials, ..patient(server) }).unwrap()
}

fn docker(server: &Server, path: &Path) -> RegistryUpstream {
    with(server, CredentialSource::Docker(DockerConfig::new(path, ["reg.example"])))
}

async fn pull(upstream: &RegistryUpstream) -> Result<(), UpstreamError> {
    upstream.manifest(&repository(), &tag("v1")).await.map(|_| ())
}

fn auths(auth: &str) -> String {
    format!(r#"{{"auths":{{"https://reg.example/v1/":{{"auth":"{auth}"}}}}}}"#)
}

#[tokio::test]
async fn a_static_token_goes_to_the_upstream_and_nowhere_else() {
    let storage = Server::start(|_| Reply::ok(IMAGE)).await;
    let target = String::from(storage.alias("/x"));
    let server = Server::start(move |seen| match seen.header("authorization") {
        Some("Bearer fixed") if seen.path.contains("/blobs/") => Reply::new(307).with("location", &target),
        Some("Bearer fixed") => Reply::ok(IMAGE).kind(OCI),
        _ => {
            let realm = format!("http://{}/token", seen.header("host").unwrap());
            Reply::new(401).with("www-authenticate", format!(r#"Bearer realm="{realm}""#))
        }
    })
    .await;
    let upstream = with(&server, CredentialSource::Token("fixed".to_owned()));
    pull(&upstream).await.unwrap();
    assert_eq!(server.seen().len(), 1, "it is sent unasked");
    let blob = upstream.blob(&repository(), &digest_of(IMAGE), 0).await.unwrap();
    bytes(blob).await.unwrap();
    assert_eq!(storage.seen()[0].header("authorization"), None);
    let wrong = with(&server, CredentialSource::Token("wrong".to_owned()));
    let error = pull(&wrong).await.unwrap_err();
    assert!(matches!(error, UpstreamError::Unauthorized { .. }), "{error:?}");
    assert_eq!(server.count("/token"), 0);
    let config = RegistryConfig { credentials: CredentialSource::Token("a\nb".to_owned()), ..patient(&server) };
    assert!(matches!(RegistryUpstream::new(config), Err(RegistryConfigError::Token)));
}

#[tokio::test]
async fn a_password_file_that_changed_is_read_again_when_the_old_one_is_rejected() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("password");
    fs::write(&path, "first\n").unwrap();
    let server = basic(SECOND).await;
    let upstream = with(&server, CredentialSource::File { user: Some("u".to_owned()), path: path.clone() });
    assert!(matches!(pull(&upstream).await, Err(UpstreamError::Unauthorized { .. })));
    fs::write(&path, "second\n").unwrap();
    pull(&upstream).await.unwrap();
    let token = with(&server, CredentialSource::File { user: None, path });
    assert!(matches!(pull(&token).await, Err(UpstreamError::Unauthorized { .. })));
    assert_eq!(server.seen().last().unwrap().header("authorization"), Some("Bearer second"));
}

#[tokio::test]
async fn a_configuration_that_changes_is_followed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("config.json");
    fs::write(&path, auths("dTpmaXJzdA==")).unwrap();
    let server = Server::start(|seen| match seen.header("authorization") {
        Some(FIRST | SECOND) => Reply::ok(IMAGE).kind(OCI),
        _ => Reply::new(401).with("www-authenticate", "Basic realm=\"r\""),
    })
    .await;
    let upstream = docker(&server, &path);
    pull(&upstream).await.unwrap();
    assert_eq!(server.seen().last().unwrap().header("authorization"), Some(FIRST));
    // As kubelets and editors do it: another file in its place. The old password would do still.
    let other = directory.path().join("other");
    fs::write(&other, auths("dTpzZWNvbmQ=")).unwrap();
    fs::rename(&other, &path).unwrap();
    eventually("the new password is sent", Duration::from_secs(60), async || {
        pull(&upstream).await.unwrap();
        server.seen().last().unwrap().header("authorization") == Some(SECOND)
    })
    .await;
}

#[tokio::test]
async fn what_cannot_be_read_is_an_error_and_nobody_s_request() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("config.json");
    let server = Server::start(|_| Reply::ok(IMAGE).kind(OCI)).await;
    let upstream = docker(&server, &path);
    for content in [None, Some("{hunter2"), Some(r#"{"auths":{"reg.example":{"auth":"hunter2"}}}"#)] {
        if let Some(content) = content {
            fs::write(&path, content).unwrap();
        }
        let fresh = docker(&server, &path);
        let error = pull(&fresh).await.unwrap_err();
        assert!(matches!(error, UpstreamError::Credentials { .. }), "{error:?}");
        assert!(!error.is_absent() && !error.is_forbidden() && !error.is_transient() && error.status().is_none());
        let told = colocate::body::with_causes(&error);
        assert!(told.contains("config.json") && !told.contains("hunter2"), "{told}");
        assert!(!format!("{error:?}").contains("hunter2"));
    }
    assert!(server.seen().is_empty());
    assert!(pull(&upstream).await.is_err());
    fs::write(&path, "{}").unwrap();
    eventually("it is good again", Duration::from_secs(60), async || pull(&upstream).await.is_ok()).await;
    assert_eq!(server.seen().last().unwrap().header("authorization"), None, "not listed is anonymous");
    fs::remove_file(&path).unwrap();
    eventually("it is missed", Duration::from_secs(60), async || {
        matches!(pull(&upstream).await, Err(UpstreamError::Credentials { .. }))
    })
    .await;
}

#[tokio::test]
async fn what_is_no_file_keeps_nobody_waiting() {
    let directory = tempfile::tempdir().unwrap();
    let server = basic(FIRST).await;
    let pipe = directory.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let large = directory.path().join("large");
    fs::write(&large, vec![b' '; 2 << 20]).unwrap();
    for path in [directory.path().to_owned(), pipe, large] {
        let error = pull(&docker(&server, &path)).await.unwrap_err();
        assert!(matches!(error, UpstreamError::Credentials { .. }), "{error:?}");
    }
}
