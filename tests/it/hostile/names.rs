//! Hosts, paths and prefixes that would lead somewhere else; and whose password goes where, by whatever name.

use super::parts::{ENDPOINT, World, basic, guard};
use crate::support::bundle::Bundle;
use crate::support::scripted::ScriptedUpstream;
use crate::support::secrets::{assert_absent, register, secret};
use crate::upstream::server::{Reply, Server};

#[tokio::test]
async fn paths_lead_into_no_other_upstream() {
    let [main, ghcr, nested] =
        [ScriptedUpstream::start().await, ScriptedUpstream::start().await, ScriptedUpstream::start().await];
    let config = format!(
        "upstream: {{registry: main.example, url: '{}'}}\nupstreams:\n\
         - {{registry: ghcr.io, url: '{}'}}\n- {{registry: nested.example, url: '{}', prefix: ghcr.io/nested}}\n",
        main.url(),
        ghcr.url(),
        nested.url()
    );
    let world = World::new(&config).await;
    for path in [
        "/v2/ghcr.io/../x/manifests/v1",
        "/v2/ghcr.io/./x/manifests/v1",
        "/v2/ghcr.io//x/manifests/v1",
        "/v2/ghcr.io%2Facme/manifests/v1",
        "/v2/ghcr.io%2facme/x/manifests/v1",
        "/v2/ghcr.io/%2e%2e/x/manifests/v1",
        "/v2/ghcr.io%252Facme/manifests/v1",
        "/v2/ghcr.io%00/x/manifests/v1",
        "/v2/GHCR.io/x/manifests/v1",
        "/v2/ghcr.io./x/manifests/v1",
        "/v2/ghcr.io:443/x/manifests/v1",
        "/v2/ghcr.io@evil/x/manifests/v1",
        "/v2/ghcr.io%5Cx/manifests/v1",
        "/v2//ghcr.io/x/manifests/v1",
    ] {
        assert_eq!(world.get(path, &[]).await.code(), (400, "NAME_INVALID".to_owned()), "{path}");
    }
    for upstream in [&main, &ghcr, &nested] {
        assert_eq!(upstream.connections(), 0);
    }
    // What each of these is to its upstream; all are unknown there.
    for (name, upstream, expected) in [
        // A prefix alone is a repository of the default upstream's.
        ("ghcr.io", &main, "ghcr.io"),
        ("ghcr.iox/a", &main, "ghcr.iox/a"),
        ("xghcr.io/a", &main, "xghcr.io/a"),
        ("a/ghcr.io/b", &main, "a/ghcr.io/b"),
        ("ghcr.io/nested", &ghcr, "nested"),
        ("ghcr.io/nestedx/a", &ghcr, "nestedx/a"),
        ("ghcr.io/ghcr.io/a", &ghcr, "ghcr.io/a"),
        ("ghcr.io/nested/a", &nested, "a"),
        ("ghcr.io/nested/ghcr.io/a", &nested, "ghcr.io/a"),
        ("ghcr.io/nested/nested", &nested, "nested"),
        ("%67hcr.io/a", &ghcr, "a"),
    ] {
        for one in [&main, &ghcr, &nested] {
            one.forget();
        }
        assert_eq!(world.get(&format!("/v2/{name}/manifests/v1"), &[]).await.code().0, 404, "{name}");
        let asked: Vec<_> = [&main, &ghcr, &nested].iter().map(|one| one.requests().len()).collect();
        assert!(asked.iter().filter(|count| **count > 0).count() == 1, "{name}: {asked:?}");
        let prefix = format!("/v2/{expected}/manifests/");
        assert!(upstream.requests().iter().all(|seen| seen.path.starts_with(&prefix)), "{name}");
        assert!(!upstream.requests().is_empty(), "{name}");
    }
}

#[tokio::test]
async fn hosts_lead_nowhere_that_is_not_configured() {
    let evil = Server::start(|_| Reply::ok("{}")).await;
    let (main, own) = (ScriptedUpstream::start().await, ScriptedUpstream::start().await);
    let config = format!(
        "upstream: {{registry: main.example, url: '{}'}}\n\
         upstreams: [{{registry: own.example, url: '{}', hosts: [own.proxy.example]}}]\n",
        main.url(),
        own.url()
    );
    let world = World::new(&config).await;
    let evil_at = evil.alias("").authority().to_owned();
    let long = "a.".repeat(20_000);
    for host in [
        evil_at.as_str(),
        "169.254.169.254",
        "own.proxy.example.evil.example",
        "own.proxy.example:443",
        "evil.example/own.proxy.example",
        "own.proxy.example@evil.example",
        "own.example",
        "*",
        "",
        &long,
    ] {
        let answer = world.get("/v2/acme/app/manifests/v1", &[("host", host)]).await;
        assert!(matches!(answer.status, 400 | 404), "{host}: {}", answer.status);
    }
    for extra in [("x-forwarded-host", "own.proxy.example"), ("forwarded", "host=own.proxy.example")] {
        let answer = world.get("/v2/acme/app/manifests/v1", &[("host", ENDPOINT), extra]).await;
        assert_eq!(answer.code().0, 404);
    }
    // As to a forward proxy: the name in the request line is a host like any other.
    let absolute = format!("http://{evil_at}/v2/acme/app/manifests/v1");
    assert_eq!(world.get(&absolute, &[]).await.code().0, 404);
    assert_eq!((evil.connections(), own.connections()), (0, 0));
    assert_eq!(world.get("/v2/acme/app/manifests/v1", &[("host", "OWN.proxy.example")]).await.code().0, 404);
    assert_eq!(own.count("", "/v2/acme/app/manifests/*"), own.requests().len());
    assert_ne!(own.requests().len(), 0);
}

/// An upstream with a password of its own, or its own token.
struct Guarded {
    upstream: ScriptedUpstream,
    accepted: String,
    credentials: String,
}

async fn guarded(kind: &str) -> Guarded {
    let upstream = ScriptedUpstream::start().await;
    upstream.put("acme/app", &Bundle::image("app").layout(Some("v1")));
    let value = secret(&format!("the credentials of {kind}"));
    let (accepted, credentials) = match kind {
        "token" => (format!("Bearer {value}"), format!("{{token: {value}}}")),
        user => (basic(user, &value), format!("{{username: {user}, password: {value}}}")),
    };
    guard(&upstream, "/v2/*", &accepted, "Basic realm=\"r\"");
    Guarded { upstream, accepted, credentials }
}

#[tokio::test]
async fn every_upstream_gets_its_own_credentials_alone() {
    let all = [guarded("main").await, guarded("prefixed").await, guarded("hosted").await, guarded("token").await];
    let [main, prefixed, hosted, token] = &all;
    let open = ScriptedUpstream::start().await;
    open.put("acme/app", &Bundle::image("app").layout(Some("v1")));
    let config = format!(
        "upstream: {{registry: main.example, url: '{}', credentials: {}}}\nupstreams:\n\
         - {{registry: prefixed.example, url: '{}', credentials: {}, prefix: p}}\n\
         - {{registry: hosted.example, url: '{}', credentials: {}, prefix: none, hosts: [hosted.proxy.example]}}\n\
         - {{registry: token.example, url: '{}', credentials: {}}}\n\
         - {{registry: open.example, url: '{}'}}\naccess: {{allow_public: true}}\n",
        main.upstream.url(),
        main.credentials,
        prefixed.upstream.url(),
        prefixed.credentials,
        hosted.upstream.url(),
        hosted.credentials,
        token.upstream.url(),
        token.credentials,
        open.url()
    );
    let world = World::new(&config).await;
    for name in
        ["acme/app", "p/acme/app", "token.example/acme/app", "open.example/acme/app", "hosted.example/acme/app", "none"]
    {
        for host in [ENDPOINT, "hosted.proxy.example", "evil.example"] {
            for ns in [
                "",
                "?ns=main.example",
                "?ns=prefixed.example",
                "?ns=hosted.example",
                "?ns=token.example",
                "?ns=open.example",
                "?ns=x",
            ] {
                for path in ["manifests/v1", "tags/list"] {
                    let answer = world.get(&format!("/v2/{name}/{path}{ns}"), &[("host", host)]).await;
                    let expected = if ns == "?ns=x" { 404..=404 } else { 200..=404 };
                    assert!(expected.contains(&answer.status), "{host}/{name}/{path}{ns}: {}", answer.status);
                }
            }
        }
    }
    for one in &all {
        let shown: Vec<_> =
            one.upstream.requests().iter().filter_map(|seen| seen.headers.get("authorization").cloned()).collect();
        assert!(!shown.is_empty() && shown.iter().all(|shown| *shown == *one.accepted));
        assert!(
            one.upstream.count("GET", "/v2/acme/app/manifests/*")
                + one.upstream.count("HEAD", "/v2/acme/app/manifests/*")
                > 0
        );
    }
    assert!(
        !open.requests().is_empty() && open.requests().iter().all(|seen| !seen.headers.contains_key("authorization"))
    );
}

#[tokio::test]
async fn a_client_s_password_is_for_the_upstream_it_was_meant_for() {
    let [one, two, shared, closed] = [
        ScriptedUpstream::start().await,
        ScriptedUpstream::start().await,
        ScriptedUpstream::start().await,
        ScriptedUpstream::start().await,
    ];
    for upstream in [&one, &two, &shared, &closed] {
        upstream.put("acme/app", &Bundle::image("app").layout(Some("v1")));
    }
    let config = format!(
        "upstreams:\n- {{registry: one.example, url: '{}', hosts: [one.proxy.example]}}\n\
         - {{registry: two.example, url: '{}', hosts: [two.proxy.example]}}\n\
         - {{registry: shared.example, url: '{}'}}\n\
         - {{registry: closed.example, url: '{}', client_credentials: false}}\naccess: {{mode: upstream}}\n",
        one.url(),
        two.url(),
        shared.url(),
        closed.url()
    );
    let world = World::new(&config).await;
    let token = "Bearer a-token-for-whatever-host-it-is";
    register("a client's token", "a-token-for-whatever-host-it-is");
    for host in [ENDPOINT, "one.proxy.example", "two.proxy.example", "evil.example"] {
        let password = secret("a client's password");
        let shown = basic("anna", &password);
        for upstream in [&one, &two, &shared, &closed] {
            upstream.forget();
            // Those that only answer when they are asked by somebody.
            guard(upstream, "/v2/*", &shown, "Basic realm=\"r\"");
        }
        for authorization in [shown.as_str(), token] {
            for name in ["acme/app", "shared.example/acme/app", "one.example/acme/app", "closed.example/acme/app"] {
                for ns in ["", "?ns=one.example", "?ns=two.example", "?ns=shared.example", "?ns=closed.example"] {
                    let headers = [("host", host), ("authorization", authorization)];
                    world.get(&format!("/v2/{name}/manifests/v1{ns}"), &headers).await;
                    world.get(&format!("/v2/{ns}"), &headers).await;
                }
            }
        }
        let meant = match host {
            "one.proxy.example" => &one,
            "two.proxy.example" => &two,
            _ => &shared,
        };
        for upstream in [&one, &two, &shared, &closed] {
            let seen = format!("{:?}", upstream.requests());
            if upstream.authority() == meant.authority() {
                assert!(seen.contains(shown.trim_start_matches("Basic ")), "{host}");
            } else {
                assert_absent("what another upstream saw", seen);
            }
        }
        upstream_forget_rules(&[&one, &two, &shared, &closed]);
    }
}

fn upstream_forget_rules(upstreams: &[&ScriptedUpstream]) {
    upstreams.iter().for_each(|upstream| upstream.heal());
}
