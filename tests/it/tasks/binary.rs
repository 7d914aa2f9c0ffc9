//! The commands, beside a proxy that serves and without one.

use std::fs;
use std::process::Command;

use super::*;
use crate::support::colocate::{BINARY, Colocate, Settings, colocate};
use crate::support::eventually;
use crate::support::process::{Finished, Process};
use crate::support::scripted::Fault;

/// A registry with a bundle of two images, one of them large, tagged `v1`.
async fn registry() -> (ScriptedUpstream, Vec<Bundle>) {
    let upstream = ScriptedUpstream::start().await;
    let images = vec![Bundle::image("small"), large_image(1, 1_000_000)];
    let bundle = bundle_of(&[images[0].digest(), images[1].digest()]);
    images.iter().for_each(|image| upstream.put(REPOSITORY, &image.layout(None)));
    upstream.put(REPOSITORY, &bundle.layout(Some("v1")));
    (upstream, images)
}

fn settings(upstream: &ScriptedUpstream) -> Settings {
    Settings::new(&upstream.url()).set("endpoint", ENDPOINT).set("tags.ttl", "1h")
}

#[track_caller]
fn good(finished: Finished) -> String {
    assert!(finished.status.success(), "{finished:?}");
    finished.stdout
}

#[track_caller]
fn bad(finished: Finished, code: i32, what: &str) {
    assert_eq!(finished.status.code(), Some(code), "{finished:?}");
    assert!(finished.stderr.contains(what), "{finished:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_do_the_same_beside_a_proxy_that_serves_and_without() {
    let (upstream, images) = registry().await;
    let mut served = Colocate::start(settings(&upstream)).await;
    let cache = served.cache().to_string_lossy().into_owned();
    let reference = format!("{ENDPOINT}/acme/app:v1");
    // As it is listed: by the registry it is from.
    let name = format!("{}/acme/app:v1", upstream.url().trim_start_matches("http://"));

    let pinned = good(colocate(&["pin", "--cache", &cache, &reference]).await);
    assert!(
        pinned.contains(&format!("pinned {name}: 10 manifests and blobs")) && pinned.contains("relocated  sha256:")
    );
    upstream.forget();
    assert_eq!(good(colocate(&["pin", "--cache", &cache, "acme/app:v1"]).await), pinned);
    assert_eq!(upstream.requests().len(), 0);
    bad(colocate(&["warm", "--cache", &cache, "other.example/acme/app:v1"]).await, 1, "by none of that name");
    let listed = good(colocate(&["cache", "ls", "--cache", &cache]).await);
    let layer = images[1].layer_digest().to_string();
    assert!(listed.contains(&layer) && listed.contains(&format!("(pinned: {name})")), "{listed}");
    // The proxy's own clients get what was made for them.
    assert!(pinned.contains(&served.manifest(REPOSITORY, "v1").await.expect(200).digest().to_string()));
    let (_, after) = listed.split_once('\n').unwrap();

    served.stop().await;
    upstream.forget();
    let file = served.cache().with_file_name("colocate.yaml").to_string_lossy().into_owned();
    let json = good(colocate(&["cache", "ls", "--config", &file, "--json"]).await);
    let digests = json.lines().filter(|line| line.contains("\"event\":\"content\"")).count();
    assert_eq!(digests, after.lines().count());
    assert_eq!(good(colocate(&["pin", "--config", &file, "acme/app:v1"]).await), pinned);
    let own = ["warm", "--cache", &cache, "--upstream", &upstream.url(), "--endpoint", ENDPOINT, "acme/app:v1"];
    assert_eq!(good(colocate(&own).await), pinned.rsplit_once("pinned ").unwrap().0);
    assert_eq!(upstream.requests().len(), 0);
    bad(colocate(&["warm", "--cache", &cache, "acme/app:v1"]).await, 2, "give --upstream");
    bad(colocate(&["cache", "rm", "--cache", &cache, &layer]).await, 1, &format!("is pinned as {name}"));
    assert!(good(colocate(&["unpin", "--cache", &cache, &name]).await).contains(&format!("unpinned {name}")));
    assert!(good(colocate(&["cache", "rm", "--cache", &cache, &layer]).await).contains("removed"));
    bad(colocate(&["cache", "rm", "--cache", &cache, &layer]).await, 1, "is not in the cache");

    let small = blob_file(&served.cache(), &images[0].layer_digest());
    let mut flipped = fs::read(&small).unwrap();
    flipped[7] ^= 1;
    fs::write(&small, flipped).unwrap();
    let found = colocate(&["cache", "verify", "--cache", &cache]).await;
    assert!(found.stdout.contains(&format!("damaged and removed: {}", images[0].layer_digest())), "{found:?}");
    bad(found, 1, "there was a problem");
    assert!(good(colocate(&["cache", "stats", "--cache", &cache]).await).contains("contents   8,"));

    let nowhere = served.cache().with_file_name("nowhere");
    bad(colocate(&["cache", "stats", "--cache", &nowhere.to_string_lossy()]).await, 2, "there is no cache in");
    assert!(!nowhere.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pull_that_was_killed_is_gone_on_with_and_nobody_comes_between() {
    let (upstream, images) = registry().await;
    let scratch = tempfile::tempdir().unwrap();
    let cache = scratch.path().join("cache").to_string_lossy().into_owned();
    let layer = blob_path(&images[1].layer_digest());
    upstream.on(&layer).get().fails(Fault::StallAt(600_000));
    let arguments = ["warm", "--cache", &cache, "--upstream", &upstream.url(), "--endpoint", ENDPOINT, "acme/app:v1"];
    let mut command = Command::new(BINARY);
    command.args(arguments).env_remove("RUST_LOG");
    let process = Process::spawn(command);
    eventually("half of it is on the disk", Duration::from_secs(20), async || {
        let partials = fs::read_dir(Path::new(&cache).join("partial")).into_iter().flatten();
        partials.flatten().any(|entry| entry.metadata().is_ok_and(|found| found.len() >= 600_000))
    })
    .await;
    bad(colocate(&["cache", "stats", "--cache", &cache]).await, 1, "in use by another colocate that takes no tasks");
    // By SIGKILL.
    drop(process);
    upstream.heal();
    let shown = good(colocate(&arguments).await);
    assert!(shown.contains("/acme/app:v1, 3 manifests and 7 blobs"), "{shown}");
    assert_eq!(upstream.bytes_sent(&layer), 1_000_000);
    assert_eq!(upstream.count("GET", &blob_path(&images[0].layer_digest())), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_stops_waits_for_no_task() {
    let (upstream, images) = registry().await;
    upstream.on(&blob_path(&images[1].layer_digest())).get().fails(Fault::StallAt(600_000));
    let mut served = Colocate::start(settings(&upstream)).await;
    let mut command = Command::new(BINARY);
    command.args(["warm", "acme/app:v1", "--cache"]).arg(served.cache()).env_remove("RUST_LOG");
    let mut warm = Process::spawn(command);
    upstream.reached("GET", &blob_path(&images[1].layer_digest()), 1).await;
    served.stop().await;
    let status = warm.wait().await;
    assert_eq!(status.code(), Some(1));
    assert!(warm.stderr().contains("stopped before the task was done"), "{}", warm.stderr());
}
