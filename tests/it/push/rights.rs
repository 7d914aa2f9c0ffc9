//! Who may push: by the rules, or by the registry's word.

use colocate::oci::Digest;

use super::parts::{ANYBODY, begin, blob, finish, forwarding, manifest, put_manifest, under};
use crate::hostile::parts::{World, basic, guard, own_realm};
use crate::support::bundle::{Bundle, BundleBuilder, lock_of};
use crate::support::scripted::{Fault, ScriptedUpstream};
use crate::support::secrets::secret;

const BYTES: &[u8] = b"some bytes";

/// Every way to change something, each with how it is answered.
async fn writes(world: &World, headers: &[(&str, &str)]) -> Vec<u16> {
    let upload = under("blobs/uploads/session");
    let digest = Digest::of(BYTES);
    let mut statuses = Vec::new();
    for (method, path) in [
        ("POST", under("blobs/uploads/")),
        ("POST", under(&format!("blobs/uploads/?digest={digest}"))),
        ("POST", under(&format!("blobs/uploads/?mount={digest}&from=acme/other"))),
        ("PATCH", upload.clone()),
        ("PUT", format!("{upload}?digest={digest}")),
        ("GET", upload.clone()),
        ("DELETE", upload.clone()),
        ("PUT", manifest("v1")),
        ("PUT", manifest(digest)),
        ("DELETE", manifest("v1")),
        ("DELETE", manifest(digest)),
        ("DELETE", blob(&digest)),
    ] {
        statuses.push(world.send(method, &path, headers, BYTES).await.status);
    }
    statuses
}

#[tokio::test]
async fn nothing_is_sent_for_who_may_not() {
    let registry = ScriptedUpstream::start().await;
    let read_only = format!("upstream: {{registry: registry.example, url: '{}'}}\n{ANYBODY}\n", registry.url());
    let elsewhere = "access: {rules: [{identity: '**', repository: 'elsewhere', allow: [push, delete]}, \
                     {identity: '**', allow: [pull]}]}";
    for (config, expected) in [(read_only, 405), (forwarding(&registry, elsewhere), 403)] {
        let world = World::new(&config).await;
        let statuses = writes(&world, &[]).await;
        assert!(statuses.iter().all(|status| *status == expected), "{statuses:?}");
    }
    assert_eq!(registry.requests().len(), 0, "{:?}", registry.requests());
}

/// One of two registries takes pushes.
#[tokio::test]
async fn each_registry_for_itself() {
    let (one, other) = (ScriptedUpstream::start().await, ScriptedUpstream::start().await);
    let config = format!("upstreams: [{{registry: other.example, url: '{}', prefix: other}}]\n{ANYBODY}", other.url());
    let world = World::new(&forwarding(&one, &config)).await;
    begin(&world, &[]).await;
    assert_eq!(world.ask("POST", "/v2/other/app/blobs/uploads/", &[]).await.code(), (405, "UNSUPPORTED".to_owned()));
    assert_eq!(world.ask("POST", "/v2/app/blobs/uploads/?ns=other.example", &[]).await.status, 405);
    assert_eq!(other.requests().len(), 0);
    // By the registry's own name it comes back by that.
    let answer = world.ask("POST", "/v2/app/blobs/uploads/?ns=registry.example", &[]).await;
    let at = answer.header("location").unwrap().to_owned();
    assert!(at.ends_with("?ns=registry.example"), "{at}");
    let answer = world.send("PUT", &format!("{at}&digest={}", Digest::of(BYTES)), &[], BYTES).await;
    assert_eq!(answer.status, 201, "{answer:?}");
}

/// A proxy whose clients the registry judges.
async fn judged_upstream(registry: &ScriptedUpstream) -> World {
    let config = format!(
        "upstream: {{registry: registry.example, url: '{}', writes: forward, insecure: true}}\n\
         access: {{mode: upstream}}\n",
        registry.url()
    );
    World::new(&config).await
}

#[tokio::test]
async fn where_the_registry_judges_it_judges_each_request() {
    let registry = ScriptedUpstream::start().await;
    registry.put("acme/app", &Bundle::image("app").layout(Some("v1")));
    let [anna, bob] = ["Anna's password", "Bob's password"].map(secret);
    let (anna, bob) = (basic("anna", &anna), basic("bob", &bob));
    guard(&registry, "/v2/*", &anna, "Basic realm=\"registry\"");
    let world = judged_upstream(&registry).await;
    for who in [vec![], vec![("authorization", bob.as_str())]] {
        let answer = world.ask("POST", &under("blobs/uploads/"), &who).await;
        assert_eq!(answer.status, 401);
        assert_eq!(answer.header("www-authenticate"), Some("Basic realm=\"registry\""));
    }
    let as_anna = [("authorization", anna.as_str())];
    let at = begin(&world, &as_anna).await;
    assert_eq!(finish(&world, &at, BYTES, &[("authorization", &bob)]).await.status, 401);
    let at = begin(&world, &as_anna).await;
    assert_eq!(finish(&world, &at, BYTES, &as_anna).await.status, 201);
    assert_eq!(put_manifest(&world, "v2", b"{}").await.status, 401);
}

/// What is known here of a bundle is no answer to who may not push it.
#[tokio::test]
async fn a_relocated_bundle_is_judged_like_any_other() {
    let registry = ScriptedUpstream::start().await;
    let image = Bundle::image("beside the bundle");
    let lock = lock_of(&[format!("elsewhere.example/app@{}", image.digest())]);
    registry.put("acme/app", &image.layout(None));
    registry.put("acme/app", &BundleBuilder::with_lock(&lock).file("a", "b").build().layout(Some("v1")));
    let anna = basic("anna", &secret("Anna's password"));
    guard(&registry, "/v2/*", &anna, "Basic realm=\"registry\"");
    let world = judged_upstream(&registry).await;
    let relocated = world.get(&manifest("v1"), &[("authorization", &anna)]).await;
    let digest = Digest::of(&relocated.body);
    for reference in [digest.to_string(), "v2".to_owned()] {
        assert_eq!(put_manifest(&world, &reference, &relocated.body).await.status, 401, "{reference}");
        assert_eq!(world.ask("DELETE", &manifest(&reference), &[]).await.status, 401, "{reference}");
    }
}

/// A token runs out in the middle: what comes once is not lost without a word.
#[tokio::test]
async fn what_the_registry_wants_another_credential_for_is_sent_again() {
    let registry = ScriptedUpstream::start().await;
    let password = secret("the proxy's password");
    let shown = basic("proxy", &password);
    guard(&registry, "/v2/*", &shown, "Basic realm=\"registry\"");
    let config = format!(
        "upstream: {{registry: registry.example, url: '{}', writes: forward, insecure: true, \
         credentials: {{username: proxy, password: '{password}'}}}}\n\
         access: {{allow_public: true, rules: [{{identity: '**', allow: [pull, push]}}]}}\n",
        registry.url()
    );
    let mut world = World::new(&config).await;
    let at = begin(&world, &[]).await;
    // After a restart, the proxy finds out what is wanted before it sends what comes once.
    world.restart().await;
    registry.forget();
    assert_eq!(finish(&world, &at, BYTES, &[]).await.status, 201);
    assert_eq!(registry.count("PUT", "*"), 1);
    // Refused all the same, it is not taken for the client's fault.
    let at = begin(&world, &[]).await;
    registry.on("/v2/acme/app/blobs/uploads/*").times(1).fails(Fault::error(401, "UNAUTHORIZED"));
    let answer = finish(&world, &at, BYTES, &[]).await;
    assert!(matches!(answer.status, 403 | 503), "{answer:?}");
    assert_eq!(finish(&world, &at, BYTES, &[]).await.status, 201);
}

/// A token is asked for what is to be done, and no more.
#[tokio::test]
async fn tokens_are_for_what_is_to_be_done() {
    let registry = ScriptedUpstream::start().await;
    registry.put("acme/app", &Bundle::image("app").layout(Some("v1")));
    let password = secret("the proxy's password");
    own_realm(&registry, &basic("proxy", &password));
    let config = format!(
        "upstream: {{registry: registry.example, url: '{}', writes: forward, insecure: true, \
         credentials: {{username: proxy, password: '{password}'}}}}\n\
         access: {{allow_public: true, rules: [{{identity: '**', allow: [pull, push, delete]}}]}}\n",
        registry.url()
    );
    let mut world = World::new(&config).await;
    let asked = || {
        let tokens = registry.requests().into_iter().filter(|seen| seen.path == "/token");
        let asked: Vec<String> = tokens.map(|seen| seen.query.replace("%3A", ":").replace("%2F", "/")).collect();
        registry.forget();
        asked
            .iter()
            .map(|query| query.split_once("scope=").map(|(_, scope)| scope.to_owned()).unwrap())
            .collect::<Vec<_>>()
    };
    assert_eq!(world.get(&manifest("v1"), &[]).await.status, 200);
    assert_eq!(asked(), ["repository:acme/app:pull"]);
    let at = begin(&world, &[]).await;
    assert_eq!(asked(), ["repository:acme/app:pull%2Cpush"]);
    assert_eq!(finish(&world, &at, BYTES, &[]).await.status, 201);
    assert_eq!(asked(), [""; 0], "it is the same token");
    let mount = under(&format!("blobs/uploads/?mount={}&from=acme/other", Digest::of(BYTES)));
    assert_eq!(world.ask("POST", &mount, &[]).await.status, 202);
    let both = asked();
    assert_eq!(both.len(), 1);
    assert!(both[0].starts_with("repository:acme/app:pull%2Cpush") && both[0].ends_with("repository:acme/other:pull"));
    assert_eq!(world.ask("DELETE", &manifest("v1"), &[]).await.status, 202);
    assert_eq!(asked(), ["repository:acme/app:pull%2Cpush%2Cdelete"]);
    // After a restart it is had before what comes only once is sent.
    let at = begin(&world, &[]).await;
    world.restart().await;
    asked();
    assert_eq!(finish(&world, &at, BYTES, &[]).await.status, 201);
    assert_eq!(asked(), ["repository:acme/app:pull%2Cpush"]);
}
