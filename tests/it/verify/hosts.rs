//! Whom it asks, what it believes, and what it says when it gets nothing.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::*;
use crate::support::scripted::Fault;
use crate::support::secrets::{assert_absent, secret};

#[track_caller]
fn failed(finished: &Finished, code: i32, what: &str) {
    assert_eq!(finished.status.code(), Some(code), "{finished:?}");
    assert!(finished.stderr.contains(what), "{what}: {finished:?}");
    assert_eq!(finished.stdout, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_the_proxy_says_of_the_original_is_believed() {
    let world = World::new();
    let evil =
        BundleBuilder::new().directory(".imgpkg").lock(&lock_of(&[format!("ghcr.io/a@{}", digest("9"))])).build();
    let own = world.original.digest();
    let manifest = format!("/v2/{REPOSITORY}/manifests/{own}");
    let served = world.with_lock(&world.lock);
    let proxy = world.serve(&served).await;
    proxy.put(REPOSITORY, &evil.layout(None));
    // Another original under the digest, with any claim.
    let evil_bytes = evil.manifest.bytes.clone();
    let lie = |media_type: &str, claimed: &Digest| {
        Fault::body(200, media_type, evil_bytes.clone()).with("docker-content-digest", &claimed.to_string())
    };
    for claimed in [&own, &evil.digest()] {
        for media_type in [&evil.manifest.media_type, "application/vnd.docker.distribution.manifest.v1+prettyjws"] {
            proxy.on(&manifest).fails(lie(media_type, claimed));
            failed(&world.verify(&proxy, &[]).await, 1, "in place of");
        }
    }
    proxy.heal();
    // The tag's answer, called the original.
    let tag = format!("/v2/{REPOSITORY}/manifests/v1");
    proxy.on(&tag).fails(Fault::Header("docker-content-digest", Some(own.to_string())));
    failed(&world.verify(&proxy, &[]).await, 1, "in place of");
    proxy.heal();
    // Other parts of the original.
    for (part, what) in [(world.original.layer_digest(), "layer"), (world.original.config_digest(), "config")] {
        proxy.on(&format!("/v2/{REPOSITORY}/blobs/{part}")).fails(Fault::Flip(20));
        failed(&world.verify(&proxy, &[]).await, 1, &format!("did not give the original's {what} {part}: it sent"));
        proxy.heal();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_registry_behind_is_asked_directly_and_for_originals() {
    let world = World::new();
    let served = world.right();
    let proxy = ScriptedUpstream::start().await;
    proxy.put(REPOSITORY, &served.layout());
    let registry = ScriptedUpstream::start().await;
    registry.put("behind", &world.original.layout(Some("v1")));
    let (reference, upstream) = (reference(&proxy), format!("{}/behind", registry.authority()));
    let arguments = ["verify", &reference, "--upstream", &upstream, "--target", TARGET];
    let finished = colocate(&arguments).await;
    assert!(finished.status.success(), "{finished:?}");
    assert!(finished.stdout.contains(&format!("(by {upstream}:v1)")), "{finished:?}");
    let original = world.original.digest().to_string();
    assert!(proxy.requests().iter().all(|seen| !seen.path.contains(&original)), "the proxy is not asked for it");
    assert!(proxy.requests().iter().all(|seen| !seen.headers.contains_key("colocate-view")));
    assert!(registry.requests().iter().all(|seen| seen.headers["colocate-view"] == "exact"));
    // What is there now is another.
    registry.put("behind", &Bundle::image("moved").layout(Some("v1")));
    failed_report(&colocate(&arguments).await);
}

#[track_caller]
fn failed_report(finished: &Finished) {
    assert_eq!(finished.status.code(), Some(1), "{finished:?}");
    assert!(finished.stdout.contains("NOT PROVEN"), "{finished:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_had_is_told_with_whose_fault_it_is() {
    let world = World::new();
    let proxy = world.serve(&world.right()).await;
    let original = world.original.digest().to_string();
    let nowhere = crate::support::process::free_address();
    let verify = async |reference: &str| colocate(&["verify", reference, "--original", &original]).await;
    failed(
        &verify(&format!("{nowhere}/a:v1")).await,
        1,
        &format!("{nowhere} did not give a:v1: it cannot be reached; check"),
    );
    failed(
        &verify(&format!("{}/a:v1", proxy.authority())).await,
        1,
        "did not give a:v1: it does not have it; check the name",
    );
    proxy.on("/v2/*/manifests/v1").fails(Fault::html());
    failed(&verify(&reference(&proxy)).await, 1, "it answered text/html where a manifest was asked for");
    proxy.on("/v2/*/manifests/v1").fails(Fault::status(403));
    failed(&verify(&reference(&proxy)).await, 1, "log in with `docker login`");
    proxy.heal();
    // A proxy that is at it is asked again.
    proxy.on("/v2/*/manifests/v1").times(1).fails(Fault::error(503, "UNAVAILABLE").with("retry-after", "1"));
    let finished = world.verify(&proxy, &[]).await;
    assert!(finished.status.success(), "{finished:?}");
    // A layer that breaks off is gone on with.
    let layer = Digest::of(&world.right().layer);
    proxy.on(&format!("/v2/*/blobs/{layer}")).times(1).fails(Fault::BreakAt(100));
    let finished = world.verify(&proxy, &[]).await;
    assert!(finished.status.success(), "{finished:?}");
    for (arguments, what) in [
        (&["acme/app:v1", "--original", &original][..], "its host"),
        (&["a.b/App", "--original", &original], "repository name"),
        (&["a.b/app:", "--original", &original], "a tag has letters"),
        (&["ftp://a.b/app", "--original", &original], "http:// or https://"),
        (&["a.b/app", "--original", "sha256:00"], "hexadecimal"),
        (&["a.b/app", "--original", &original, "--target", "a.b/c:v1"], "without tag or digest"),
        (&["a.b/app", "--original", &original, "--ca-file", "/nowhere"], "--ca-file /nowhere cannot be read"),
        (&["a.b/app", "--upstream", "https://a.b/other"], "the very host"),
        (&["a.b/app"], "--original <DIGEST>|--upstream"),
    ] {
        failed(&colocate(&[&["verify"], arguments].concat()).await, 2, what);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn passwords_go_to_their_own_host_and_into_no_output() {
    let world = World::new();
    let proxy = world.serve(&world.right()).await;
    let registry = ScriptedUpstream::start().await;
    registry.put("behind", &world.original.layout(Some("v1")));
    let (own, others) = (secret("password"), secret("another host's password"));
    let login = |password: &str| STANDARD.encode(format!("me:{password}"));
    for (host, password) in [(&proxy, &own), (&registry, &others)] {
        let wanted = format!("Basic {}", login(password));
        host.on("/v2/*").fails(Fault::make(move |seen| {
            let known = seen.headers.get("authorization").is_some_and(|found| found == wanted.as_str());
            let refusal = http::Response::builder().status(401).header("www-authenticate", "Basic realm=\"r\"");
            (!known).then(|| refusal.body(Bytes::new()).unwrap())
        }));
    }
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("config.json");
    let write = |auths: Value| std::fs::write(&file, json!({ "auths": auths }).to_string()).unwrap();
    let file = file.to_string_lossy().into_owned();
    let (reference, upstream) = (reference(&proxy), format!("{}/behind", registry.authority()));
    let arguments =
        ["verify", &reference, "--upstream", &upstream, "--target", TARGET, "--docker-config", &file, "--json"];
    write(json!({ proxy.authority(): {"auth": login(&own)}, registry.authority(): {"auth": login(&others)} }));
    let finished = colocate(&arguments).await;
    assert!(finished.status.success(), "{finished:?}");
    let said = |host: &ScriptedUpstream, password: &str| {
        host.requests().iter().any(|seen| {
            let found = seen.headers.get("authorization").and_then(|found| found.to_str().ok());
            found.is_some_and(|found| found.contains(&login(password)))
        })
    };
    assert!(said(&proxy, &own) && said(&registry, &others) && !said(&proxy, &others) && !said(&registry, &own));
    write(json!({ proxy.authority(): {"auth": login(&others)} }));
    let refused = colocate(&arguments).await;
    failed(&refused, 1, "it wants other credentials; log in");
    // In a reference they have no business.
    let inside = format!("https://me:{own}@{reference}");
    let usage = colocate(&["verify", &inside, "--original", &world.original.digest().to_string()]).await;
    failed(&usage, 2, "credentials do not belong there");
    for finished in [finished, refused, usage] {
        assert_absent("what it says", finished.stdout + &finished.stderr);
    }
}
