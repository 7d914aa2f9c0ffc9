//! In front of docker-registry as a pull-through cache, which answers 500 for what its own upstream lacks
//! (to a HEAD without a body that says so).

use super::golden_registry;
use crate::support::colocate::{Colocate, Settings};
use crate::support::http;
use crate::support::layout::{Golden, push_manifest};
use crate::support::registry::DockerRegistry;
use crate::support::require;

#[tokio::test(flavor = "multi_thread")]
async fn an_absent_image_is_understood_as_absent() {
    if !require(&["docker-registry"]) {
        return;
    }
    let remote = golden_registry().await;
    let golden = Golden::read("simple-app");
    // The bundle alone, in a repository that has none of its images.
    golden.origin.push(&remote.url(), "alone/simple-app").await;
    push_manifest(&remote.url(), "alone/simple-app", Golden::TAG, golden.origin.manifest(&golden.digest)).await;
    let cache = DockerRegistry::pull_through(&remote.url()).await;

    let absent = format!("{}/v2/alone/simple-app/manifests/sha256:{}", cache.url(), "1".repeat(64));
    let answer = http::get(&absent).await;
    if answer.status != 500 {
        assert_eq!(answer.status, 404, "newer registries say what they mean: {answer:?}");
    }

    let colocate = Colocate::start(Settings::new(&cache.url())).await;
    let answer = colocate.manifest("alone/simple-app", Golden::TAG).await.expect(200);
    assert_eq!(answer.digest(), golden.digest, "the original, since its image is not there");
    let answer = colocate.manifest("alone/simple-app", &format!("sha256:{}", "1".repeat(64))).await.expect(404);
    assert_eq!(answer.error_code().as_deref(), Some("MANIFEST_UNKNOWN"));

    // Where the images are, it relocates through both caches.
    for golden in Golden::all() {
        let pulled = colocate.pull(&golden.repository, Golden::TAG).await;
        assert_eq!(pulled.lock(), golden.pulled, "{}", golden.name);
    }
}
