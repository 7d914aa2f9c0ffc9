//! Where clients' credentials go: to the registry that they are for, and nowhere else.

use http::Method;
use tempfile::TempDir;

use super::content::{Content, REPOSITORY};
use super::mode::{EVERY_MODE, LISTEN, Mode};
use super::registry::{Guard, Guarded};
use super::world::{Caller, EVERYONE, Proxy, Who, World};
use crate::support::log::Log;
use crate::support::scripted::{Fault, ScriptedUpstream};
use crate::support::secrets::{assert_absent, secret};

/// Three registries that know Alice by one and the same password, behind one proxy: the first where several are, the
/// second likewise but not to be told, the third at a host of its own.
struct Three {
    proxy: Proxy,
    first: Guarded,
    second: Guarded,
    third: Guarded,
    alice: Caller,
    _cache: TempDir,
}

/// Which of the three.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    First,
    Third,
    None,
}

const OWN_HOST: &str = "third.example";

impl Three {
    async fn start() -> Self {
        let [first, second, third] = [
            Guarded::start(Guard::Basic).await,
            Guarded::start(Guard::Basic).await,
            Guarded::start(Guard::Basic).await,
        ];
        let password = first.user("alice", &["acme/*"]);
        for other in [&second, &third] {
            other.knows("alice", &password, &["acme/*"]);
        }
        let content = Content::new();
        [&first, &second, &third].into_iter().for_each(|registry| content.put(&registry.upstream));
        let cache = tempfile::tempdir().expect("a directory");
        let text = format!(
            "{LISTEN}cache: {{dir: '{}'}}\naccess: {{mode: upstream}}\nupstreams:\n\
             - {{url: '{}', registry: first.registry, prefix: first}}\n\
             - {{url: '{}', registry: second.registry, prefix: second, client_credentials: false}}\n\
             - {{url: '{}', registry: third.registry, prefix: third, hosts: [{OWN_HOST}]}}\n",
            cache.path().display(),
            first.upstream.url(),
            second.upstream.url(),
            third.upstream.url()
        );
        let proxy = Proxy::start(&text, false).await;
        Self { proxy, first, second, third, alice: Caller::login("alice", &password), _cache: cache }
    }

    /// Who of the three has seen Alice's credential since the last time, and that nobody saw anything else.
    fn who_was_told(&self) -> Told {
        let told = [&self.first, &self.second, &self.third].map(|registry| {
            let shown = registry.was_shown();
            registry.upstream.forget();
            assert!(shown.iter().flatten().all(|header| Some(header) == self.alice.authorization.as_ref()));
            shown.iter().any(Option::is_some)
        });
        match told {
            [false, false, false] => Told::None,
            [true, false, false] => Told::First,
            [false, false, true] => Told::Third,
            _ => panic!("told to others, too: {told:?}"),
        }
    }
}

#[tokio::test]
async fn a_credential_goes_to_the_registry_that_was_named_and_to_no_other() {
    let three = Three::start().await;
    for (host, path, status, told) in [
        (None, "/v2/first/acme/app/manifests/plain", 200, Told::First),
        (None, "/v2/acme/app/manifests/plain?ns=first.registry", 200, Told::None),
        (None, "/v2/acme/app/manifests/v1?ns=first.registry", 200, Told::First),
        (None, "/v2/first/acme/app/tags/list", 200, Told::First),
        (None, "/v2/acme/app/tags/list?ns=first.registry", 200, Told::First),
        (None, "/v2/second/acme/app/manifests/plain", 403, Told::None),
        (None, "/v2/acme/app/manifests/plain?ns=second.registry", 403, Told::None),
        (None, "/v2/second/acme/app/tags/list", 403, Told::None),
        (None, "/v2/third/acme/app/manifests/plain", 403, Told::None),
        (None, "/v2/acme/app/manifests/plain?ns=third.registry", 403, Told::None),
        (Some(OWN_HOST), "/v2/acme/app/manifests/plain", 200, Told::Third),
        (Some(OWN_HOST), "/v2/acme/app/tags/list?ns=third.registry", 200, Told::Third),
        (Some(OWN_HOST), "/v2/acme/app/manifests/plain?ns=first.registry", 403, Told::None),
        (Some(OWN_HOST), "/v2/acme/app/tags/list?ns=first.registry", 403, Told::None),
        (Some(OWN_HOST), "/v2/acme/app/tags/list?ns=second.registry", 403, Told::None),
        (None, "/v2/", 200, Told::First),
        (None, "/v2/?ns=first.registry", 200, Told::First),
        (None, "/v2/?ns=second.registry", 200, Told::None),
        (None, "/v2/?ns=third.registry", 200, Told::None),
        (Some(OWN_HOST), "/v2/", 200, Told::Third),
        (Some(OWN_HOST), "/v2/?ns=first.registry", 200, Told::None),
        (Some("first.registry"), "/v2/", 200, Told::First),
        (Some("evil.example"), "/v2/third/acme/app/tags/list", 403, Told::None),
    ] {
        let host: Vec<_> = host.map(|host| ("host", host)).into_iter().collect();
        let answer = three.alice.ask(&three.proxy, Method::GET, path, &host).await.expect("an answer");
        assert_eq!(answer.status.as_u16(), status, "{host:?} {path}: {answer:?}");
        assert_eq!(three.who_was_told(), told, "{host:?} {path}");
    }
}

#[tokio::test]
async fn a_credential_stays_behind_where_the_registry_redirects() {
    for mode in [Mode::Passed, Mode::PassedTokens, Mode::Exchanged, Mode::ExchangedTokens] {
        let world = World::new(mode).await;
        let cache = tempfile::tempdir().expect("a directory");
        let proxy = world.proxy(cache.path(), "").await;
        let alice = world.caller(Who::Owner);
        let repository = mode.called(REPOSITORY);
        // Lets her in, and has the proxy know how she is to be shown.
        assert_eq!(alice.get(&proxy, &format!("/v2/{repository}/manifests/v1")).await.status, 200, "{mode:?}");
        let elsewhere = ScriptedUpstream::start().await;
        world.content.put(&elsewhere);
        let moved = |path: &str| {
            let location = format!("{}{path}", elsewhere.url());
            world.behind.upstream.on(path).fails(Fault::status(307).with("location", &location));
        };
        world.behind.upstream.forget();
        for (reference, kind) in world.content.two_originals() {
            let path = format!("/v2/{REPOSITORY}/{kind}/{reference}");
            moved(&path);
            for method in [Method::HEAD, Method::GET] {
                let answer = alice.ask(&proxy, method, &path.replace(REPOSITORY, &repository), &[]).await;
                assert_eq!(answer.expect("an answer").status, 200, "{mode:?} {path}");
            }
            let shown = world.behind.upstream.requests();
            assert!(
                shown.iter().any(|seen| seen.path == path && seen.headers.contains_key("authorization")),
                "{mode:?}"
            );
            assert_ne!(elsewhere.count("", &path), 0, "{mode:?}: that is where it is");
        }
        assert!(elsewhere.requests().iter().all(|seen| !seen.headers.contains_key("authorization")), "{mode:?}");
    }
}

#[tokio::test]
async fn nobody_is_sent_for_a_token_to_a_host_that_was_not_listed() {
    for mode in [Mode::Passed, Mode::Exchanged] {
        let world = World::new(mode).await;
        let cache = tempfile::tempdir().expect("a directory");
        let proxy = world.proxy(cache.path(), "").await;
        let evil = ScriptedUpstream::start().await;
        evil.on("*").fails(Fault::body(200, "application/json", format!(r#"{{"token":"{}"}}"#, secret("a bait"))));
        // By another name than the registry's own host.
        let realm = evil.url().replace("127.0.0.1", "localhost");
        let challenge = format!(r#"Bearer realm="{realm}/token",service="evil""#);
        world.behind.upstream.on("*").fails(Fault::error(401, "UNAUTHORIZED").with("www-authenticate", &challenge));
        for path in ["/v2/".to_owned(), format!("/v2/{}/manifests/plain", mode.called(REPOSITORY))] {
            let answer = world.caller(Who::Owner).get(&proxy, &path).await;
            let what = format!("{mode:?} {path}: {answer:?}");
            if mode == Mode::Passed {
                assert_eq!(evil.requests().len(), 0, "{what}");
            }
            // The operator is who can say whether that host is right, and is told which it is.
            assert_eq!((answer.status.as_u16(), answer.header("www-authenticate")), (502, None), "{what}");
        }
        assert!(evil.requests().iter().all(|seen| !seen.headers.contains_key("authorization")), "{mode:?}");
        assert!(evil.requests().iter().all(|seen| seen.method == "GET"), "{mode:?}: a form would hold the password");
    }
}

// One thread, so that the log of this test is its own.
#[tokio::test]
async fn no_credential_is_in_the_log_however_much_is_logged() {
    let (log, _capture) = Log::capture("trace");
    for mode in EVERY_MODE {
        let world = World::new(mode).await;
        let cache = tempfile::tempdir().expect("a directory");
        let proxy = world.proxy(cache.path(), "").await;
        for who in EVERYONE {
            for path in ["manifests/v1", "manifests/none", "tags/list"] {
                let path = format!("/v2/{}/{path}", mode.called(REPOSITORY));
                let _ = world.ask(&proxy, who, Method::GET, &path, &[]).await;
            }
            let _ = world.ask(&proxy, who, Method::GET, "/v2/", &[]).await;
        }
    }
    let lines = log.text();
    assert!(lines.contains("upstream answered") && lines.contains("status=403"), "it is the proxy's log");
    assert_absent("the log", &lines);
}
