//! Uploads of others, and uploads that never were: not there, and what is sent to them goes nowhere.

use std::fs;

use colocate::oci::Digest;
use serde_json::json;
use tempfile::TempDir;

use super::World;
use crate::support::access::Access;
use crate::support::colocate::{Colocate, Settings};
use crate::support::http::Method;
use crate::support::process::succeed;
use crate::support::pusher::{OCTETS, Outcome, Pusher, refused, wanted, with_digest};
use crate::support::registry::DockerRegistry;
use crate::support::require;
use crate::support::secrets::secret;
use crate::support::tarball::noise;

/// Nothing can be done with an upload at this location.
async fn nothing_there(at: &Pusher, location: &str, content: &[u8]) -> Outcome {
    let digest = Digest::of(content).to_string();
    for (method, path) in [
        (Method::GET, location.to_owned()),
        (Method::PATCH, location.to_owned()),
        (Method::PUT, with_digest(location, &digest)),
        (Method::DELETE, location.to_owned()),
    ] {
        let what = format!("{method} {path}");
        let answer = at.ask(method, &path, &[OCTETS], content.to_vec()).await?;
        refused(&what, answer, &[404], &["BLOB_UPLOAD_UNKNOWN"])?;
    }
    Ok(())
}

/// An upload that nobody else could do anything with is as good as before.
async fn goes_on(at: &Pusher, location: &str, so_far: &[u8], rest: &[u8]) -> Outcome {
    let (found, location) = at.progress(location).await?;
    if found != so_far.len() {
        return Err(format!("{found} bytes and not {}", so_far.len()));
    }
    let whole = [so_far, rest].concat();
    wanted("PUT at the end", at.end(&location, &Digest::of(&whole).to_string(), rest).await?, &[201])?;
    at.holds(&format!("blobs/{}", Digest::of(&whole)), &whole).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_is_of_one_repository() {
    if !require(&["docker-registry"]) {
        return;
    }
    let world = World::new().await;
    let (one, other) = (world.through("acme/one"), world.through("acme/other"));
    other.blob(b"so that there is a repository").await.expect("a blob is taken");
    let content = noise(31, 20_000);
    let location = one.begin().await.expect("an upload");
    let answer = one.chunk(&location, 0, &content[..5000]).await.expect("an answer").expect(202);
    let location = one.location(&answer).expect("a location");
    let before = world.registry.stored();
    let elsewhere = location.replace("/acme/one/", "/acme/other/");
    assert_ne!(location, elsewhere, "the location names its repository");
    nothing_there(&other, &elsewhere, &content).await.expect("nothing in another repository");
    assert_eq!(world.registry.stored(), before);
    goes_on(&one, &location, &content[..5000], &content[5000..]).await.expect("it goes on where it is");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_is_of_one_user() {
    if !require(&["docker-registry", "htpasswd"]) {
        return;
    }
    let registry = DockerRegistry::setup().deleting().start().await;
    let directory = TempDir::new().expect("a directory");
    let mut lines = String::new();
    let mut users = Vec::new();
    for name in ["alice", "bob"] {
        let password = secret(&format!("{name}'s password"));
        lines += &succeed("htpasswd", &["-Bbn", name, &password]).await;
        users.push(Access::anonymous().login(name, &password));
    }
    let file = directory.path().join("users");
    fs::write(&file, lines).expect("a password file");
    let settings = Settings::forwarding(&registry.url())
        .set("access.mode", "htpasswd")
        .set("access.htpasswd", file.to_string_lossy().as_ref())
        .set("access.rules", json!([{"identity": "user:**", "allow": ["pull", "push", "delete"]}]));
    let colocate = Colocate::start(settings).await;
    let [alice, bob] = [&users[0], &users[1]].map(|user| Pusher::new(user, &colocate.url(), "acme/app"));
    let content = noise(32, 20_000);
    let location = alice.begin().await.expect("an upload");
    let answer = alice.chunk(&location, 0, &content[..5000]).await.expect("an answer").expect(202);
    let location = alice.location(&answer).expect("a location");
    nothing_there(&bob, &location, &content).await.expect("nothing for another user");
    let nobody = Pusher::anonymous(&colocate.url(), "acme/app");
    let answer = nobody.get(&location).await.expect("an answer");
    wanted("GET by nobody", answer, &[401]).expect("nothing for who gives no name");
    assert_eq!(registry.stored().len(), 0);
    goes_on(&alice, &location, &content[..5000], &content[5000..]).await.expect("it goes on for whose it is");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_location_that_was_tampered_with_leads_nowhere() {
    if !require(&["docker-registry"]) {
        return;
    }
    let world = World::new().await;
    let at = world.through("acme/app");
    at.blob(b"so that there is a repository").await.expect("a blob is taken");
    let before = world.registry.stored();
    let content = noise(33, 2000);
    let location = at.begin().await.expect("an upload");
    assert!(!location.contains(&world.registry.authority()), "{location} tells where the registry is");
    let (start, session) = location.split_once("/uploads/").expect("a location of an upload");
    let path = |session: &str| format!("{start}/uploads/{session}");

    let mut forged = vec!["x".to_owned(), "0".repeat(32), format!("{session}A"), format!("A{session}")];
    forged.push("d3b07384-d113-4ec6-a7f1-5bca1e2a9d77".to_owned());
    forged.push(session[..session.len() / 2].to_owned());
    forged.push(session[..session.len() - 1].to_owned());
    forged.push(session.repeat(2));
    // One character anywhere.
    for at in (0..session.len()).step_by(session.len().div_ceil(12)) {
        let mut changed = session.as_bytes().to_vec();
        if !changed[at].is_ascii_alphanumeric() {
            continue;
        }
        changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
        forged.push(String::from_utf8(changed).expect("plain text"));
    }
    // The halves of two.
    let second = at.begin().await.expect("an upload");
    let (_, second) = second.split_once("/uploads/").expect("a location of an upload");
    let half = session.len().min(second.len()) / 2;
    forged.push(format!("{}{}", &session[..half], &second[half..]));
    for forged in forged.iter().filter(|forged| *forged != session && *forged != second) {
        nothing_there(&at, &path(forged), &content).await.unwrap_or_else(|error| panic!("{forged}: {error}"));
    }

    // What is not even made like one is refused, by whatever notices first.
    for garbled in ["..", "%2e%2e%2fapp", "%00", "a/b", "?", "%ff%fe", "\u{7e}", &"A".repeat(6000)] {
        for method in [Method::GET, Method::PATCH, Method::PUT, Method::DELETE] {
            let what = format!("{method} {}", &garbled[..garbled.len().min(20)]);
            let answer = at.ask(method, &path(garbled), &[OCTETS], content.clone()).await.expect("an answer");
            assert!(answer.status.is_client_error() || answer.status.is_redirection(), "{what}: {answer:?}");
        }
    }
    assert_eq!(world.registry.stored(), before);
    goes_on(&at, &location, b"", &content).await.expect("the upload itself goes on");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_goes_on_or_is_gone_after_the_proxy_was_started_again() {
    if !require(&["docker-registry"]) {
        return;
    }
    let mut world = World::new().await;
    let at = world.through("acme/app");
    let content = noise(34, 20_000);
    let location = at.begin().await.expect("an upload");
    let answer = at.chunk(&location, 0, &content[..5000]).await.expect("an answer").expect(202);
    let location = at.location(&answer).expect("a location");
    world.colocate.stop().await;
    world.colocate.start_again().await;
    // It may be forgotten, but then it is not there, and the client begins again.
    let answer = at.get(&location).await.expect("an answer");
    if answer.status == 404 {
        refused("GET", answer, &[404], &["BLOB_UPLOAD_UNKNOWN"]).expect("an error document");
        at.blob(&content).await.expect("a blob is taken");
    } else {
        goes_on(&at, &location, &content[..5000], &content[5000..]).await.expect("it goes on");
    }
}
