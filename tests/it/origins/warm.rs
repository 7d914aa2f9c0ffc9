//! Bundles that were only pushed, pulled before anybody asks.

use super::parts::{APPS, Registries, at_apps, at_target, pull, pull_image, put};
use crate::support::bundle::{Bundle, BundleBuilder, index, lock_of};
use crate::support::colocate::colocate;

#[tokio::test]
async fn a_warm_bundle_needs_neither_its_registry_nor_its_origins() {
    let registries = Registries::start().await;
    let images = registries.images(3);
    let children = index(&[&images[1], &images[2]]);
    put(&registries.apps, APPS, &children);
    let inner = BundleBuilder::with_lock(&lock_of(&[at_apps(&images[0].digest()), at_apps(&children.digest)])).build();
    registries.apps.put("bundles/inner", &inner.layout(None));
    let reference = format!("apps.example/bundles/inner@{}", inner.digest());
    let outer = registries.push(&[reference], "v1");
    for command in ["warm", "pin"] {
        let mut world = registries.world("tags: {immutable: ['**:v1']}").await;
        let file = world.scratch().join("c.yaml");
        std::fs::write(&file, world.config()).unwrap();
        let told = colocate(&[command, "--config", file.to_str().unwrap(), "acme/app:v1"]).await;
        assert!(told.status.success(), "{told:?}");
        registries.own.forget();
        registries.apps.forget();
        world.restart().await;
        let pulled = pull(&world, "v1").await;
        assert!(pulled.digest != outer.digest() && pulled.lock.contains(&at_target(&inner.digest())));
        let all: Vec<&Bundle> = images.iter().chain([&inner]).collect();
        for image in all {
            pull_image(&world, image).await;
        }
        assert_eq!(registries.own.requests().len() + registries.apps.requests().len(), 0, "{command}");
    }
}
