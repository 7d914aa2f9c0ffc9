//! A registry with a certificate of its own and a password, both known to the proxy alone.

use std::fs;

use super::{certificates, golden_registry};
use crate::support::colocate::{Colocate, Settings, colocate};
use crate::support::layout::Golden;
use crate::support::registry::DockerRegistry;
use crate::support::require;

const USER: &str = "puller";
const PASSWORD: &str = "correct horse battery staple";

#[tokio::test(flavor = "multi_thread")]
async fn pulls_through_with_the_credentials_in_the_configuration() {
    if !require(&["docker-registry", "htpasswd"]) {
        return;
    }
    let mut open = golden_registry().await;
    open.stop().await;
    let certificates = certificates::make(open.directory());
    let registry = DockerRegistry::private(&open, &certificates.certificate, &certificates.key, USER, PASSWORD).await;
    let password = open.directory().join("password");
    // A final newline, as editors leave it.
    fs::write(&password, format!("{PASSWORD}\n")).expect("a password file");

    let settings = Settings::new(&registry.tls_url())
        .set("upstream.ca_file", certificates.authority.to_string_lossy().as_ref())
        .set("upstream.credentials.username", USER)
        .set("upstream.credentials.password_file", password.to_string_lossy().as_ref())
        .set("access.allow_public", true);
    let colocate = Colocate::start(settings.clone()).await;
    for golden in Golden::all() {
        let pulled = colocate.pull(&golden.repository, Golden::TAG).await;
        assert_eq!(pulled.lock(), golden.pulled, "{}", golden.name);
    }
    assert!(!colocate.log().contains(PASSWORD), "the password is in the log");

    // With a wrong password nothing comes through, and no client is told that it is the client's fault.
    fs::write(&password, "wrong").expect("a password file");
    let denied = Colocate::start(settings.clone()).await;
    let golden = Golden::read("simple-app");
    let answer = denied.manifest(&golden.repository, Golden::TAG).await;
    assert!(!answer.status.is_success(), "{answer:?}");
    assert!(answer.error_code().is_some(), "an error document: {answer:?}");

    // Nor without the authority's certificate.
    let untrusting = Colocate::start(settings.set("upstream.ca_file", serde_json::Value::Null)).await;
    let answer = untrusting.manifest(&golden.repository, Golden::TAG).await;
    assert_eq!(answer.status, 502, "{answer:?}");
}

#[tokio::test]
async fn credentials_for_everyone_have_to_be_meant() {
    let directory = tempfile::TempDir::new().expect("a directory");
    let file = directory.path().join("colocate.yaml");
    let settings = Settings::new("https://registry.example.test")
        .set("upstream.credentials.username", USER)
        .set("upstream.credentials.password", PASSWORD);
    fs::write(&file, settings.text()).expect("a configuration file");
    let checked = colocate(&["check", "--config", &file.to_string_lossy()]).await;
    assert!(!checked.status.success(), "{checked:?}");
    assert!(checked.stderr.contains("allow_public"), "{checked:?}");
    assert!(!checked.stderr.contains(PASSWORD), "{checked:?}");
}
