//! Where an upload goes on: at its upstream, in its repository, for its client, and nowhere else.

use colocate::oci::Digest;
use tempfile::TempDir;

use super::parts::{ANYBODY, REPOSITORY, begin, blob, finish, forwarding, open, push_blob, under};
use crate::hostile::parts::{World, basic, guard};
use crate::support::bundle::Bundle;
use crate::support::scripted::{Fault, Gate, ScriptedUpstream};
use crate::support::secrets::secret;

const BYTES: &[u8] = b"what nobody else is to have";

#[tokio::test]
async fn the_registry_s_own_place_stays_between_it_and_the_proxy() {
    let registry = ScriptedUpstream::start().await;
    let world = open(&registry).await;
    let at = begin(&world, &[]).await;
    assert!(at.starts_with(&under("blobs/uploads/")) && !at.contains("upload-") && !at.contains("_state"), "{at}");
    let answer = world.send("PATCH", &at, &[], b"what nobody ").await;
    assert_eq!((answer.status, answer.header("range")), (202, Some("0-11")));
    let at = answer.header("location").unwrap().to_owned();
    assert_eq!(finish(&world, &at, b"else is to have", &[]).await.code(), (400, "DIGEST_INVALID".to_owned()));
    assert_eq!(push_blob(&world, BYTES).await, Digest::of(BYTES));
    world.get(&blob(&Digest::of(BYTES)), &[]).await.expect(&Digest::of(BYTES));
    let stated = registry.requests().into_iter().filter(|seen| seen.query.contains("_state=the-registry-s-own"));
    assert_eq!(stated.count(), 3);
    assert!(!world.log().contains("the-registry-s-own"));
}

#[tokio::test]
async fn a_place_at_another_host_gets_nothing() {
    let (registry, evil) = (ScriptedUpstream::start().await, ScriptedUpstream::start().await);
    let evil_port = evil.url().rsplit(':').next().unwrap().to_owned();
    let (own, foreign) = (registry.url(), evil.url());
    for place in [
        foreign.clone(),
        foreign.replace("http:", ""),
        format!("https://{}", evil.authority()),
        format!("http://localhost:{evil_port}"),
        own.replace("http://", "http://user:password@"),
        own.replace("http://", &format!("http://{}@", evil.authority())),
    ] {
        let world = open(&registry).await;
        let location = format!("{place}/v2/acme/app/blobs/uploads/1");
        registry.heal();
        registry.on("/v2/acme/app/blobs/uploads/*").times(1).fails(Fault::status(202).with("location", &location));
        let answer = world.ask("POST", &under("blobs/uploads/"), &[]).await;
        assert_eq!(answer.status, 502, "{place}: {answer:?}");
        // Nor where one that was begun well is said to go on.
        let at = begin(&world, &[]).await;
        registry.on("/v2/acme/app/blobs/uploads/*").times(1).fails(Fault::status(202).with("location", &location));
        assert_eq!(world.send("PATCH", &at, &[], BYTES).await.status, 502, "{place}");
    }
    // A redirect is no better: the bytes are the client's, and come once.
    let world = open(&registry).await;
    for status in [301, 302, 303, 307, 308] {
        registry.heal();
        let at = begin(&world, &[]).await;
        registry.on("/v2/acme/app/*").fails(Fault::status(status).with("location", &format!("{foreign}/x")));
        for answer in [
            world.ask("POST", &under("blobs/uploads/"), &[]).await,
            world.send("PATCH", &at, &[], BYTES).await,
            finish(&world, &at, BYTES, &[]).await,
            world.send("PUT", &under("manifests/v1"), &[], b"{}").await,
            world.ask("DELETE", &under("manifests/v1"), &[]).await,
        ] {
            assert_eq!(answer.status, 502, "{status}: {answer:?}");
        }
    }
    assert_eq!(evil.connections(), 0);
}

#[tokio::test]
async fn names_of_uploads_cannot_be_made_up() {
    let registry = ScriptedUpstream::start().await;
    let world = open(&registry).await;
    let at = begin(&world, &[]).await;
    let (path, name) = at.rsplit_once('/').unwrap();
    let mut flipped = name.to_owned().into_bytes();
    flipped[20] = if flipped[20] == b'A' { b'B' } else { b'A' };
    let flipped = String::from_utf8(flipped).unwrap();
    registry.forget();
    for bad in ["x", "upload-1", "..", "%2e%2e%2f", &name[..name.len() - 1], &flipped, &"A".repeat(20_000)] {
        for method in ["PATCH", "PUT", "GET", "DELETE"] {
            let target = format!("{path}/{bad}?digest={}", Digest::of(BYTES));
            let answer = world.send(method, &target, &[], BYTES).await;
            assert_eq!(answer.code(), (404, "BLOB_UPLOAD_UNKNOWN".to_owned()), "{method} {bad}");
        }
    }
    // A good one is good for its own repository.
    for method in ["PATCH", "PUT", "GET", "DELETE"] {
        let target = at.replace(REPOSITORY, "acme/other") + &format!("?digest={}", Digest::of(BYTES));
        let answer = world.send(method, &target, &[], BYTES).await;
        assert_eq!(answer.code(), (404, "BLOB_UPLOAD_UNKNOWN".to_owned()), "{method}");
    }
    assert_eq!(registry.requests().len(), 0, "{:?}", registry.requests());
    assert_eq!(finish(&world, &at, BYTES, &[]).await.status, 201);
}

#[tokio::test]
async fn an_upload_outlives_the_proxy() {
    let registry = ScriptedUpstream::start().await;
    let mut world = open(&registry).await;
    let at = begin(&world, &[]).await;
    world.restart().await;
    assert_eq!(finish(&world, &at, BYTES, &[]).await.status, 201);
    // Another proxy has another key.
    let at = begin(&world, &[]).await;
    let other = open(&registry).await;
    assert_eq!(finish(&other, &at, BYTES, &[]).await.code(), (404, "BLOB_UPLOAD_UNKNOWN".to_owned()));
}

/// A client that never heard of its first part sends it again.
#[tokio::test]
async fn what_is_sent_twice_is_not_there_twice() {
    let registry = ScriptedUpstream::start().await;
    let world = open(&registry).await;
    let at = begin(&world, &[]).await;
    let (first, second) = BYTES.split_at(10);
    assert_eq!(world.send("PATCH", &at, &[], first).await.status, 202);
    for (headers, status) in
        [(vec![], 416), (vec![("content-range", "0-9")], 416), (vec![("content-range", "9-18")], 416)]
    {
        let answer = world.send("PATCH", &at, &headers, first).await;
        assert_eq!((answer.status, answer.header("range")), (status, Some("0-9")), "{headers:?}: {answer:?}");
    }
    // By the older name, too, it can go on where it is.
    let range = format!("10-{}", BYTES.len() - 1);
    let answer = world.send("PATCH", &at, &[("content-range", &range)], second).await;
    assert_eq!(answer.status, 202, "{answer:?}");
    let answer = world.send("PATCH", answer.header("location").unwrap(), &[("content-range", "22-31")], first).await;
    assert_eq!(answer.status, 416);
    let answer = world.send("PATCH", &at, &[("content-range", "10-11")], second).await;
    assert_eq!(answer.code(), (400, "SIZE_INVALID".to_owned()));
    assert_eq!(world.get(&at, &[]).await.header("range"), Some("0-26"));
    // Nor is there anything to be doubled by an end without bytes.
    let answer = world.ask("PUT", &format!("{at}?digest={}", Digest::of(BYTES)), &[]).await;
    assert_eq!(answer.status, 201, "{answer:?}");
}

/// One that sends slowly keeps nobody else waiting, however few questions its registry is to be asked at once.
#[tokio::test]
async fn a_slow_upload_is_in_nobody_s_way() {
    let registry = ScriptedUpstream::start().await;
    let config = format!(
        "upstream: {{registry: registry.example, url: '{}', writes: forward, concurrency: 1}}\n{ANYBODY}\n",
        registry.url()
    );
    let world = World::new(&config).await;
    let slow = begin(&world, &[]).await;
    let gate = Gate::new();
    registry.on("/v2/acme/app/blobs/uploads/*").method("PATCH").times(1).fails(Fault::Hold(gate.clone()));
    let waiting = async { assert_eq!(world.send("PATCH", &slow, &[], BYTES).await.status, 202) };
    let others = async {
        registry.reached("PATCH", "/v2/acme/app/blobs/uploads/*", 1).await;
        assert_eq!(push_blob(&world, BYTES).await, Digest::of(BYTES));
        gate.open();
    };
    tokio::join!(waiting, others);
}

/// What it says of an error is told as far as it is a word and a sentence.
#[tokio::test]
async fn what_a_registry_says_is_told_in_short() {
    let registry = ScriptedUpstream::start().await;
    let world = open(&registry).await;
    let said = serde_json::json!({"errors": [{
        "code": "C".repeat(5000), "message": format!("\u{1b}[31m{}", "m".repeat(50_000)),
    }]});
    let fault = Fault::body(400, "application/json", said.to_string());
    registry.on("/v2/acme/app/blobs/uploads/*").fails(fault);
    let (status, code, message) = world.ask("POST", &under("blobs/uploads/"), &[]).await.error();
    assert_eq!((status, code.len(), message.len()), (400, 64, 1024));
    assert!(message.starts_with("[31mmm"), "{message}");
}

fn users(names: &[(&str, &str)]) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    let line = |(user, password): &(&str, &str)| format!("{user}:{}\n", bcrypt::hash(password, 4).unwrap());
    std::fs::write(directory.path().join("users"), names.iter().map(line).collect::<String>()).unwrap();
    directory
}

#[tokio::test]
async fn an_upload_is_its_client_s() {
    let registry = ScriptedUpstream::start().await;
    let [anna, bob] = ["Anna's password", "Bob's password"].map(secret);
    let users = users(&[("anna", &anna), ("bob", &bob)]);
    let access = format!(
        "access: {{mode: htpasswd, htpasswd: '{}', rules: [{{identity: 'user:*', allow: [pull, push]}}]}}",
        users.path().join("users").display()
    );
    let world = World::new(&forwarding(&registry, &access)).await;
    let (anna, bob) = (basic("anna", &anna), basic("bob", &bob));
    let at = begin(&world, &[("authorization", &anna)]).await;
    registry.forget();
    let answer = finish(&world, &at, BYTES, &[("authorization", &bob)]).await;
    assert_eq!(answer.code(), (404, "BLOB_UPLOAD_UNKNOWN".to_owned()));
    assert_eq!(finish(&world, &at, BYTES, &[]).await.status, 401);
    assert_eq!(registry.requests().len(), 0);
    assert_eq!(finish(&world, &at, BYTES, &[("authorization", &anna)]).await.status, 201);
}

/// What another repository has is mounted only for who may read that; else the client uploads.
#[tokio::test]
async fn a_mount_is_no_way_around_the_rules() {
    let registry = ScriptedUpstream::start().await;
    let image = Bundle::image("private");
    registry.put("private/app", &image.layout(None));
    let rules = "access: {rules: [{identity: '**', repository: 'acme/**', allow: [pull, push]}]}";
    let layer = image.layer_digest();
    for (rules, from, forwarded) in [
        (rules, "&from=private/app", None),
        (rules, "", None),
        (rules, "&from=acme/other", Some("from=acme%2Fother")),
        (ANYBODY, "", None),
        (ANYBODY, "&from=private/app", Some("from=private%2Fapp")),
        (rules, "&from=..%2f..%2fevil", None),
    ] {
        let world = World::new(&forwarding(&registry, rules)).await;
        registry.forget();
        let answer = world.ask("POST", &under(&format!("blobs/uploads/?mount={layer}{from}")), &[]).await;
        assert_eq!(answer.status, 202, "{from}: {answer:?}");
        let query = registry.requests().pop().unwrap().query;
        match forwarded {
            None => assert_eq!(query, "", "{from}"),
            Some(expected) => assert!(query.contains(expected) && query.contains("mount=sha256"), "{from}: {query}"),
        }
    }
}

/// Credentials of the proxy's own go with what is pushed, to the registry and nowhere else.
#[tokio::test]
async fn the_proxy_s_credential_is_the_registry_s_alone() {
    let (registry, evil) = (ScriptedUpstream::start().await, ScriptedUpstream::start().await);
    let password = secret("the proxy's password");
    guard(&registry, "/v2/*", &basic("proxy", &password), "Basic realm=\"registry\"");
    let config = format!(
        "upstream: {{registry: registry.example, url: '{}', writes: forward, insecure: true, \
         credentials: {{username: proxy, password: '{password}'}}}}\n\
         access: {{allow_public: true, rules: [{{identity: '**', allow: [pull, push, delete]}}]}}\n",
        registry.url()
    );
    let world = World::new(&config).await;
    assert_eq!(push_blob(&world, BYTES).await, Digest::of(BYTES));
    let client = [("authorization", "Bearer of-the-client")];
    let at = begin(&world, &client).await;
    assert_eq!(finish(&world, &at, BYTES, &client).await.status, 201);
    assert!(!format!("{:?}", registry.requests()).contains("of-the-client"));
    registry.on("/v2/acme/app/blobs/uploads/").fails(Fault::status(307).with("location", &evil.url()));
    assert_eq!(world.ask("POST", &under("blobs/uploads/"), &[]).await.status, 502);
    assert_eq!(evil.connections(), 0);
}
