//! The repositories there are.

use std::fs;

use serde_json::Value;

use super::odd::{Way, names};
use super::{link, list, walk};
use crate::hostile::parts::{World, basic};
use crate::support::bundle::Bundle;
use crate::support::scripted::{Fault, ScriptedUpstream};
use crate::support::secrets::secret;
use crate::support::token_server::TokenServer;

const PATH: &str = "/v2/_catalog";

async fn upstream(repositories: &[&str]) -> ScriptedUpstream {
    let upstream = ScriptedUpstream::start().await;
    repositories.iter().for_each(|name| upstream.put(name, &Bundle::image(name).layout(Some("v1"))));
    upstream
}

async fn all(world: &World, path: &str, headers: &[(&str, &str)]) -> Vec<Value> {
    walk(world, path, headers, "repositories").await.concat()
}

#[tokio::test]
async fn repositories_are_listed_page_by_page() {
    let upstream = upstream(&["acme/app", "acme/lib", "b", "c"]).await;
    let world = World::new(&format!("upstream: {{url: '{}'}}", upstream.url())).await;
    let first = world.get("/v2/_catalog?n=3", &[]).await;
    assert_eq!(list(&first, "repositories"), ["acme/app", "acme/lib", "b"]);
    assert_eq!(first.header("content-type"), Some("application/json"));
    assert_eq!(link(&first).unwrap(), "/v2/_catalog?n=3&last=b");
    assert_eq!(all(&world, "/v2/_catalog?n=1", &[]).await, ["acme/app", "acme/lib", "b", "c"]);
    assert_eq!(all(&world, "/v2/_catalog?last=b", &[]).await, ["c"]);
    assert_eq!(all(&world, "/v2/_catalog?n=0", &[]).await, [""; 0]);
    let head = world.ask("HEAD", PATH, &[]).await;
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(world.get("/v2/_catalog?n=x", &[]).await.status, 400);
    for way in Way::ALL {
        upstream.on(PATH).fails(way.lists("repositories", &names(130)));
        let mut sorted = names(130);
        sorted.sort();
        assert_eq!(all(&world, "/v2/_catalog?n=40", &[]).await, sorted, "{way:?}");
    }
}

#[tokio::test]
async fn each_host_has_the_catalog_of_the_registry_that_its_names_lead_to() {
    let (own, other) = (upstream(&["acme/app", "other.example/hidden", "z"]).await, upstream(&["there"]).await);
    let upstreams = format!("upstreams: [{{registry: other.example, url: '{}', hosts: [other.proxy]}}]", other.url());
    let both = World::new(&format!("upstream: {{url: '{}'}}\n{upstreams}", own.url())).await;
    assert_eq!(all(&both, PATH, &[]).await, ["acme/app", "z"], "what is behind a prefix is the other registry's");
    assert_eq!(all(&both, PATH, &[("host", "other.proxy")]).await, ["there"]);
    assert_eq!(all(&both, "/v2/_catalog?ns=other.example", &[]).await, ["there"]);
    assert_eq!(both.get("/v2/_catalog?ns=evil.example", &[]).await.code(), (404, "NAME_UNKNOWN".to_owned()));
    other.put("two", &Bundle::image("two").layout(None));
    let first = both.get("/v2/_catalog?ns=other.example&n=1", &[]).await;
    assert_eq!(link(&first).unwrap(), "/v2/_catalog?ns=other.example&n=1&last=there");
    // Without a default, names without a prefix lead nowhere.
    let prefixed = World::new(&upstreams).await;
    assert_eq!(prefixed.get(PATH, &[]).await.code(), (404, "NAME_UNKNOWN".to_owned()));
    assert_eq!(all(&prefixed, "/v2/_catalog?ns=other.example", &[]).await, ["there", "two"]);
}

#[tokio::test]
async fn only_what_a_client_may_pull_is_listed_to_it() {
    let mut names: Vec<String> = (0..9).map(|at| format!("private/hidden{at}")).collect();
    names.extend(["acme/app", "acme/lib", "z/acme", "zz/hidden"].map(str::to_owned));
    let upstream = upstream(&names.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let scratch = tempfile::tempdir().unwrap();
    let (users, password) = (scratch.path().join("users"), secret("alice's password"));
    let line = |user: &str| format!("{user}:{}\n", bcrypt::hash(&password, 4).unwrap());
    fs::write(&users, line("alice") + &line("root") + &line("bob")).unwrap();
    let world = World::new(&format!(
        "upstream: {{url: '{}', registry: reg.example}}\naccess:\n  mode: htpasswd\n  htpasswd: '{}'\n  rules:\n  \
         - {{identity: 'user:alice', repository: 'acme/**', allow: [pull]}}\n  \
         - {{identity: 'user:alice', repository: 'z/*', allow: [pull]}}\n  \
         - {{identity: 'user:root', repository: '**', allow: [pull]}}\n  \
         - {{identity: 'anonymous', repository: 'acme/**', allow: [pull]}}",
        upstream.url(),
        users.display()
    ))
    .await;
    let nobody = world.get(PATH, &[]).await;
    assert_eq!(nobody.code(), (401, "UNAUTHORIZED".to_owned()));
    assert!(nobody.header("www-authenticate").is_some());
    for (user, expected) in [("alice", &["acme/app", "acme/lib", "z/acme"][..]), ("bob", &[])] {
        let shown = [("authorization", basic(user, &password))];
        let shown = shown.each_ref().map(|(name, value)| (*name, value.as_str()));
        for path in [PATH, "/v2/_catalog?n=1", "/v2/_catalog?n=2"] {
            let mut next = Some(path.to_owned());
            let mut found = Vec::new();
            while let Some(path) = next {
                assert!(!path.contains("hidden"), "{user}: {path}");
                let answer = world.get(&path, &shown).await;
                found.extend(list(&answer, "repositories"));
                next = link(&answer);
            }
            assert_eq!(found, expected, "{user} {path}");
        }
    }
    assert_eq!(all(&world, "/v2/_catalog?n=3", &[("authorization", &basic("root", &password))]).await.len(), 13);
    // So many in a row that a client has to help: it is led on, and comes to the end.
    upstream.on(PATH).fails(Way::Proper.lists("repositories", &self::names(5000)));
    let shown = basic("alice", &password);
    let pages = walk(&world, PATH, &[("authorization", &shown)], "repositories").await;
    assert!(pages.len() > 1 && pages.concat().is_empty());
    // By no name that is not for it, and by none that it could make up.
    let next = link(&world.get(PATH, &[("authorization", &shown)]).await).unwrap();
    assert!(next.contains("last=%7E"), "{next}");
    let made_up = world.get("/v2/_catalog?last=~QUFB", &[("authorization", &shown)]).await;
    assert_eq!((list(&made_up, "repositories").len(), link(&made_up)), (0, None));
}

#[tokio::test]
async fn a_registry_without_a_catalog_is_said_to_have_none() {
    let upstream = upstream(&["a"]).await;
    let world = World::new(&format!("upstream: {{url: '{}'}}", upstream.url())).await;
    for (fault, status, code) in [
        (Fault::status(404), 404, "UNSUPPORTED"),
        (Fault::status(405), 404, "UNSUPPORTED"),
        (Fault::status(501), 404, "UNSUPPORTED"),
        (Fault::error(401, "UNAUTHORIZED"), 403, "DENIED"),
        (Fault::error(403, "DENIED"), 403, "DENIED"),
        (Fault::status(500), 503, "UNKNOWN"),
        (Fault::html(), 502, "UNKNOWN"),
    ] {
        upstream.heal();
        upstream.on(PATH).fails(fault.clone());
        for path in [PATH, "/v2/_catalog?n=0", "/v2/_catalog?n=5"] {
            assert_eq!(world.get(path, &[]).await.code(), (status, code.to_owned()), "{fault:?} {path}");
        }
    }
}

#[tokio::test]
async fn where_the_registry_judges_it_is_asked_as_the_client() {
    let upstream = upstream(&["a"]).await;
    let password = secret("a client's password upstream");
    let known = basic("anna", &password);
    let expected = known.clone();
    upstream.on(PATH).fails(Fault::make(move |seen| {
        let shown = seen.headers.get("authorization").map(|value| value.to_str().unwrap().to_owned());
        let refusal = http::Response::builder().status(401).header("www-authenticate", r#"Basic realm="behind""#);
        (shown.as_ref() != Some(&expected)).then(|| refusal.body(bytes::Bytes::new()).unwrap())
    }));
    let world =
        World::new(&format!("upstream: {{url: '{}'}}\naccess: {{mode: upstream, allow_public: true}}", upstream.url()))
            .await;
    let nobody = world.get(PATH, &[]).await;
    assert_eq!((nobody.status, nobody.header("www-authenticate")), (401, Some(r#"Basic realm="behind""#)));
    assert_eq!(all(&world, PATH, &[("authorization", &known)]).await, ["a"]);
    assert_eq!(world.get(PATH, &[]).await.status, 401, "what one was shown is not another's");
}

#[tokio::test]
async fn a_token_for_the_catalog_is_asked_for_as_such() {
    let (upstream, tokens) = (upstream(&["a"]).await, TokenServer::start().await);
    let challenge = format!(r#"Bearer realm="{}",service="{}""#, tokens.realm(), tokens.service());
    upstream.on("*").fails(Fault::make(move |seen| {
        let scope = if seen.path == PATH { r#",scope="registry:catalog:*""# } else { "" };
        let refusal = http::Response::builder().status(401).header("www-authenticate", format!("{challenge}{scope}"));
        (!seen.headers.contains_key("authorization")).then(|| refusal.body(bytes::Bytes::new()).unwrap())
    }));
    let world = World::new(&format!("upstream: {{url: '{}'}}", upstream.url())).await;
    for _ in 0..2 {
        assert_eq!(all(&world, PATH, &[]).await, ["a"]);
    }
    assert_eq!(world.get("/v2/a/manifests/v1", &[]).await.status, 200);
    let scopes: Vec<_> = tokens.requests().into_iter().map(|asked| asked.scopes.join(" ")).collect();
    assert_eq!(scopes, ["registry:catalog:*", "repository:a:pull"]);
}
