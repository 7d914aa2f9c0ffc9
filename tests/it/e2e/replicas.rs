//! Two processes that share nothing agree on every byte.

use super::golden_registry;
use crate::support::colocate::{Colocate, Settings};
use crate::support::layout::Golden;
use crate::support::require;

#[tokio::test(flavor = "multi_thread")]
async fn one_answers_what_the_other_named() {
    if !require(&["docker-registry"]) {
        return;
    }
    let registry = golden_registry().await;
    let settings = Settings::new(&registry.url());
    let (mut first, mut second) = (Colocate::start(settings.clone()).await, Colocate::start(settings).await);
    for golden in Golden::all() {
        let named = first.manifest_head(&golden.repository, Golden::TAG).await.expect(200).digest();
        assert_ne!(named, golden.digest, "{}", golden.name);
        // The second has never seen the tag, nor this digest.
        let second = second.pull(&golden.repository, &named.to_string()).await;
        let first = first.pull(&golden.repository, &named.to_string()).await;
        assert_eq!(first, second);
        assert_eq!(second.lock(), golden.pulled);
    }
    second.start_empty().await;
    for golden in Golden::all() {
        let before = first.pull(&golden.repository, Golden::TAG).await;
        let after = second.pull(&golden.repository, &before.digest.to_string()).await;
        assert_eq!(before, after);
    }
    first.start_empty().await;
    for golden in Golden::all() {
        // A blob asked for first, as a client does whose manifest came from the other replica.
        let before = second.pull(&golden.repository, Golden::TAG).await;
        let layer = first.blob(&golden.repository, &before.layer_digest().to_string()).await.expect(200);
        assert_eq!(layer.body, before.layer);
        let config = first.blob(&golden.repository, &before.config_digest().to_string()).await.expect(200);
        assert_eq!(config.body, before.config);
        assert_eq!(first.pull(&golden.repository, Golden::TAG).await, before);
    }
}
