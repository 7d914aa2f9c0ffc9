//! Every golden bundle, by a Colocate as its users start it.

use super::*;
use crate::support::colocate::{Colocate, Settings};
use crate::support::layout::Golden;

#[tokio::test(flavor = "multi_thread")]
async fn golden_bundles_are_proven() {
    for golden in Golden::all() {
        let registry = ScriptedUpstream::start().await;
        registry.put(&golden.repository, &golden.colocated);
        let served = Colocate::start(Settings::new(&registry.url())).await;
        let (name, tag, digest) = (&golden.repository, Golden::TAG, golden.digest.to_string());
        let (reference, target) =
            (format!("{}/{name}:{tag}", served.authority()), format!("{}/{name}", Golden::ENDPOINT));
        let upstream = format!("{}/{name}", registry.url());
        let pinned = format!("{upstream}@{digest}");
        let seen = Digest::of(&served.pull(name, tag).await.manifest).to_string();
        for truth in [["--original", &digest], ["--upstream", &upstream], ["--upstream", &pinned]] {
            let arguments = [&["verify", &reference, "--target", &target, "--json"], &truth[..]].concat();
            let finished = colocate(&arguments).await;
            assert!(finished.status.success(), "{}: {finished:?}", golden.name);
            let report = json(&finished);
            assert_eq!(report["verdict"], "proven", "{}", golden.name);
            assert_eq!((report["original"].as_str(), report["served"].as_str()), (Some(&*digest), Some(&*seen)));
            assert_eq!(report["differences"], serde_json::json!([]));
            let lock = ImagesLock::parse(&golden.pulled).unwrap();
            let pulled: Vec<_> = lock.images().map(|image| image.written.clone()).collect();
            let told = report["images"].as_array().unwrap().iter().map(|image| image["after"].as_str().unwrap());
            assert_eq!(told.collect::<Vec<_>>(), pulled, "{}", golden.name);
        }
        // By digest, too, and as people see it; the original is what its digest stands for.
        let by_digest = format!("{}/{name}@{seen}", served.authority());
        let finished = colocate(&["verify", &by_digest, "--original", &digest, "--target", &target]).await;
        assert!(finished.status.success() && finished.stdout.contains("\nproven: "), "{finished:?}");
        let original = format!("{}/{name}@{digest}", served.authority());
        let finished = colocate(&["verify", &original, "--original", &digest]).await;
        assert!(
            finished.status.success() && finished.stdout.contains("it is the original, byte for byte"),
            "{finished:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_target_is_what_was_typed() {
    let golden = Golden::read("wide-app");
    let registry = ScriptedUpstream::start().await;
    registry.put(&golden.repository, &golden.colocated);
    let url = registry.url();
    let served = Colocate::start_with(&[
        "serve",
        "--upstream",
        &url,
        "--listen",
        "{listen}",
        "--cache",
        "{cache}",
        "--admin",
        "none",
    ])
    .await;
    let reference = format!("http://{}/{}:{}", served.authority(), golden.repository, Golden::TAG);
    let (digest, upstream) = (golden.digest.to_string(), format!("{url}/{}", golden.repository));
    for truth in [["--original", &digest], ["--upstream", &upstream]] {
        let finished = colocate(&[&["verify", &reference], &truth[..]].concat()).await;
        assert!(finished.status.success() && finished.stdout.contains("\nproven: "), "{finished:?}");
    }
    // By another name, the same bundle is another: its images would be pulled from elsewhere.
    let elsewhere = ["verify", &reference, "--original", &digest, "--target", "elsewhere.example/app"];
    let finished = colocate(&elsewhere).await;
    assert_eq!(finished.status.code(), Some(1), "{finished:?}");
    assert!(finished.stdout.contains("lock images[0].image: location: "), "{finished:?}");
}
