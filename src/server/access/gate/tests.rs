#![expect(clippy::unwrap_used, reason = "a test that fails panics")]

use std::io::Write as _;
use std::sync::{Arc, Mutex};

use base64::prelude::{BASE64_STANDARD, Engine as _};
use http::HeaderMap;
use http::header::{AUTHORIZATION, HeaderValue};
use tempfile::NamedTempFile;

use super::super::credential::MalformedCredential;
use super::super::rules::WithoutRules;
use super::*;
use crate::config::{AccessRule, Action, Glob};

fn with_passwords() -> (Gate, NamedTempFile) {
    let mut file = NamedTempFile::new().unwrap();
    writeln!(file, "alice:{}", bcrypt::hash("secret", 4).unwrap()).unwrap();
    (Gate::Htpasswd(Htpasswd::load(file.path().to_owned()).unwrap()), file)
}

fn header(value: &str) -> Credential {
    Credential::from_headers(&HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::from_str(value).unwrap())]))
}

fn basic(pair: &str) -> Credential {
    header(&format!("Basic {}", BASE64_STANDARD.encode(pair)))
}

fn user(name: &str) -> Identity {
    Identity::User(name.to_owned())
}

fn certificate(names: &[&str]) -> Arc<CertificateNames> {
    let dns = names.iter().map(|name| (*name).to_owned()).collect();
    Arc::new(CertificateNames { dns, ..CertificateNames::default() })
}

fn identity_of(names: &Arc<CertificateNames>) -> Identity {
    Identity::Certificate(Arc::clone(names))
}

#[tokio::test]
async fn open_takes_everyone_for_nobody() {
    let names = certificate(&["node-1"]);
    for credential in [Credential::Anonymous, basic("alice:wrong"), header("Bearer x"), header("Basic !")] {
        for certificate in [None, Some(&names)] {
            assert_eq!(Gate::Open.identify(&credential, certificate).await, Ok(Identity::Anonymous));
        }
    }
}

#[tokio::test]
async fn passwords() {
    let (gate, _file) = with_passwords();
    let names = certificate(&["alice"]);
    let malformed = Refusal::Malformed(MalformedCredential::Base64);
    for (credential, identified) in [
        (Credential::Anonymous, Ok(Identity::Anonymous)),
        (header("Basic Og=="), Ok(Identity::Anonymous)),
        (basic("alice:secret"), Ok(user("alice"))),
        (basic("alice:wrong"), Err(Refusal::Wrong)),
        (basic("mallory:secret"), Err(Refusal::Wrong)),
        (basic(":secret"), Err(Refusal::Wrong)),
        (header("Bearer alice"), Err(Refusal::Bearer)),
        (header("Basic !"), Err(malformed)),
    ] {
        // A certificate is no password.
        for certificate in [None, Some(&names)] {
            assert_eq!(gate.identify(&credential, certificate).await, identified, "{credential:?}");
        }
    }
}

#[tokio::test]
async fn certificates() {
    let gate = Gate::Certificate;
    let names = certificate(&["node-1.example", "10.0.0.1"]);
    let nameless = certificate(&[]);
    // A password is no certificate, and one that nobody asked for no obstacle.
    for credential in [Credential::Anonymous, basic("alice:secret"), header("Basic !")] {
        assert_eq!(gate.identify(&credential, Some(&names)).await, Ok(identity_of(&names)));
        assert_eq!(gate.identify(&credential, Some(&nameless)).await, Ok(identity_of(&nameless)));
        assert_eq!(gate.identify(&credential, None).await, Err(Refusal::CertificateNeeded));
    }
}

#[tokio::test]
async fn rules_judge_who_came_in() {
    let (passwords, _file) = with_passwords();
    let rule = |identity: &str, repository: &str, allow: &[Action]| AccessRule {
        identity: identity.parse().unwrap(),
        registry: Glob::any(),
        repository: Glob::new(repository).unwrap(),
        allow: allow.to_vec(),
    };
    let rules = vec![rule("**", "public/*", &[Action::Pull]), rule("user:alice", "acme/*", &[Action::Pull])];
    let rules = AccessRules::new(rules, WithoutRules::IdentifiedPull);
    let node = identity_of(&certificate(&["node-1"]));
    let denied = |identity: &str, action| Err(Refusal::Denied { identity: identity.to_owned(), action });
    use Action::{Delete, Pull, Push};
    for (gate, identity, repository, action, expected) in [
        (&passwords, &Identity::Anonymous, "public/a", Pull, Ok(())),
        (&passwords, &Identity::Anonymous, "acme/app", Pull, Err(Refusal::CredentialsNeeded)),
        (&passwords, &Identity::Anonymous, "public/a", Push, Err(Refusal::CredentialsNeeded)),
        (&passwords, &user("alice"), "acme/app", Pull, Ok(())),
        (&passwords, &user("alice"), "acme/app", Push, denied("user:alice", Push)),
        (&passwords, &user("alice"), "other/app", Pull, denied("user:alice", Pull)),
        (&passwords, &user("bob"), "acme/app", Pull, denied("user:bob", Pull)),
        (&Gate::Certificate, &node, "public/a", Pull, Ok(())),
        (&Gate::Certificate, &node, "public/a", Delete, denied("dns:node-1", Delete)),
        (&Gate::Open, &Identity::Anonymous, "public/a", Pull, Ok(())),
        (&Gate::Open, &Identity::Anonymous, "acme/app", Pull, denied("anonymous", Pull)),
    ] {
        let found = gate.authorize(&rules, identity, "ghcr.io", repository, action);
        assert_eq!(found, expected, "{gate:?} {identity} {repository} {action:?}");
    }
}

#[tokio::test]
async fn without_rules_whoever_is_known_may_pull() {
    let (passwords, _file) = with_passwords();
    let node = identity_of(&certificate(&["node-1"]));
    use WithoutRules::{EveryonePulls, IdentifiedPull};
    for (gate, without, identity, expected) in [
        (&Gate::Open, EveryonePulls, &Identity::Anonymous, Ok(())),
        (&passwords, IdentifiedPull, &Identity::Anonymous, Err(Refusal::CredentialsNeeded)),
        (&passwords, IdentifiedPull, &user("alice"), Ok(())),
        (&Gate::Certificate, IdentifiedPull, &node, Ok(())),
    ] {
        let rules = AccessRules::new(Vec::new(), without);
        assert_eq!(gate.authorize(&rules, identity, "ghcr.io", "a", Action::Pull), expected, "{gate:?} {identity}");
        for action in [Action::Push, Action::Delete] {
            assert!(gate.authorize(&rules, identity, "ghcr.io", "a", action).is_err(), "{gate:?} {identity}");
        }
    }
}

// One thread, so that the log of this test is its own.
#[tokio::test]
async fn failures_are_logged_in_a_few_lines_that_hold_no_secret() {
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);
    impl std::io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let (gate, _file) = with_passwords();
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter("trace")
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    tokio::time::pause();
    let long = basic(&format!("mallory\u{202e}{}:hunter2", "x".repeat(1000)));
    for credential in [long, header("Bearer hunter2"), basic("alice:secret")] {
        let _ = gate.identify(&credential, None).await;
    }
    for _ in 0..100 {
        assert_eq!(gate.identify(&basic("alice:hunter2"), None).await, Err(Refusal::Wrong));
    }
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let lines: Vec<_> = log.lines().filter(|line| line.contains("did not log in")).collect();
    assert_eq!(lines.len(), 5, "{log}");
    assert!(lines.iter().all(|line| line.contains("INFO")), "{log}");
    assert!(lines[0].contains(r"user=mallory\u{202e}x") && lines[0].len() < 300, "{log}");
    assert!(lines[1].contains("Bearer") && !lines[1].contains("user="), "{log}");
    assert!(lines[2].contains("user=alice ") && lines[2].contains("wrong"), "{log}");
    for secret in ["hunter2", "secret", "$2"] {
        assert!(!log.contains(secret), "{log}");
    }
}
