//! What a client gets.

use colocate::oci::Digest;

use super::parts::{
    APPS, REPOSITORY, Registries, at_apps, at_target, blob, get, manifest, parts, pull, pull_image, put,
};
use crate::hostile::parts::World;
use crate::support::bundle::{Bundle, BundleBuilder, index, lock_of};
use crate::support::scripted::Fault;

#[tokio::test]
async fn a_bundle_that_was_only_pushed_is_relocated_and_its_images_pull_as_written() {
    let registries = Registries::start().await;
    let images = registries.images(2);
    // One beside the bundle's repository in the same registry, one in another, one that is there already.
    registries.own.put("acme/base", &images[1].layout(None));
    let own = Bundle::image("its own");
    registries.own.put(REPOSITORY, &own.layout(None));
    let references = [
        at_apps(&images[0].digest()),
        format!("registry.example/acme/base@{}", images[1].digest()),
        format!("elsewhere.invalid/x/y@{}", own.digest()),
    ];
    let bundle = registries.push(&references, "v1");
    let world = registries.world("").await;
    let pulled = pull(&world, "v1").await;
    assert_ne!(pulled.digest, bundle.digest());
    assert_eq!(pulled.answer.header("colocate-original-digest"), Some(bundle.digest().to_string().as_str()));
    for image in [&images[0], &images[1], &own] {
        assert!(pulled.lock.contains(&at_target(&image.digest())), "{}", pulled.lock);
        pull_image(&world, image).await;
    }
    let original = get(&world, &manifest(bundle.digest())).await;
    original.expect(&bundle.digest());
    assert_eq!(original.header("colocate-original-digest"), None);
}

#[tokio::test]
async fn heads_and_ranges_are_those_of_the_origin() {
    let registries = Registries::start().await;
    let (_, images) = registries.bundle(1);
    let world = registries.world("").await;
    pull(&world, "v1").await;
    let (image, layer) = (&images[0], images[0].layer_digest());
    let head = world.ask("HEAD", &manifest(image.digest()), &[]).await;
    assert_eq!((head.status, head.header("docker-content-digest")), (200, Some(image.digest().to_string().as_str())));
    for _ in 0..2 {
        let head = world.ask("HEAD", &blob(&layer), &[]).await;
        assert_eq!(head.header("content-length"), Some(image.layers[0].len().to_string().as_str()));
        let part = world.get(&blob(&layer), &[("range", "bytes=5-9")]).await;
        assert_eq!((part.status, part.body.as_slice()), (206, &image.layers[0][5..10]));
    }
}

#[tokio::test]
async fn an_index_pulls_with_its_children_whichever_is_asked_for_first() {
    for children_first in [false, true] {
        let registries = Registries::start().await;
        let images = registries.images(2);
        let list = index(&[&images[0], &images[1]]);
        put(&registries.apps, APPS, &list);
        registries.push(&[at_apps(&list.digest)], "v1");
        let world = registries.world("").await;
        let pulled = pull(&world, "v1").await;
        assert!(pulled.lock.contains(&at_target(&list.digest)));
        if !children_first {
            get(&world, &manifest(list.digest)).await.expect(&list.digest);
        }
        for image in &images {
            pull_image(&world, image).await;
        }
        get(&world, &manifest(list.digest)).await.expect(&list.digest);
    }
}

/// A bundle of a bundle, each in its own repository, and an image of the inner one.
fn nested(registries: &Registries, depth: usize) -> (Bundle, Vec<Bundle>) {
    let leaf = registries.images(1).remove(0);
    let mut all = vec![leaf];
    for level in 0..depth {
        let inner = all.last().unwrap();
        let reference = match level {
            0 => at_apps(&inner.digest()),
            level => format!("apps.example/bundles/level{}@{}", level - 1, inner.digest()),
        };
        let bundle = BundleBuilder::with_lock(&lock_of(&[reference])).file("level", level.to_string()).build();
        registries.apps.put(&format!("bundles/level{level}"), &bundle.layout(None));
        all.push(bundle);
    }
    let outer =
        registries.push(&[format!("apps.example/bundles/level{}@{}", depth - 1, all.last().unwrap().digest())], "v1");
    (outer, all)
}

#[tokio::test]
async fn bundles_within_bundles_pull_through_one_repository() {
    let registries = Registries::start().await;
    let (outer, inner) = nested(&registries, 3);
    let world = registries.world("").await;
    let pulled = pull(&world, "v1").await;
    assert_ne!(pulled.digest, outer.digest());
    // Outermost first, as `imgpkg pull -r` has it; each by its digest, and so as it stands.
    for bundle in inner.iter().rev() {
        pull_image(&world, bundle).await;
    }
}

#[tokio::test]
async fn what_was_pulled_is_there_after_a_restart_without_any_registry() {
    let registries = Registries::start().await;
    let (_, images) = registries.bundle(3);
    let mut world = registries.world("tags: {immutable: ['**:v1']}").await;
    let pulled = pull(&world, "v1").await;
    for image in &images {
        pull_image(&world, image).await;
    }
    drop(registries);
    world.restart().await;
    assert_eq!(pull(&world, "v1").await.digest, pulled.digest);
    for image in &images {
        pull_image(&world, image).await;
    }
}

#[tokio::test]
async fn grants_are_found_again_with_an_empty_cache() {
    let registries = Registries::start().await;
    let (_, inner) = nested(&registries, 2);
    let leaf = &inner[0];
    let list = index(&[leaf]);
    put(&registries.apps, APPS, &list);
    registries.push(&[at_apps(&list.digest)], "v2");
    // The first thing that is asked for: an image of an inner bundle, a layer of an index's child, the inner bundle.
    for (path, digest) in [
        (manifest(leaf.digest()), leaf.digest()),
        (blob(&leaf.layer_digest()), leaf.layer_digest()),
        (blob(&leaf.config_digest()), leaf.config_digest()),
        (manifest(inner[1].digest()), inner[1].digest()),
        (manifest(list.digest), list.digest),
    ] {
        let world = registries.world("").await;
        get(&world, &path).await.expect(&digest);
    }
    let world = registries.world("").await;
    let nowhere = Digest::of(b"nowhere");
    assert_eq!(get(&world, &manifest(nowhere)).await.code(), (404, "MANIFEST_UNKNOWN".to_owned()));
    assert_eq!(get(&world, &blob(&nowhere)).await.code(), (404, "BLOB_UNKNOWN".to_owned()));
}

#[tokio::test]
async fn one_of_two_origins_is_enough() {
    for fault in [Fault::status(500), Fault::status(404), Fault::status(403), Fault::html()] {
        let registries = Registries::start().await;
        let image = registries.images(1).remove(0);
        registries.apps.put("apps/broken", &image.layout(None));
        registries.apps.on("/v2/apps/broken/*").fails(fault);
        registries.push(&[format!("apps.example/apps/broken@{}", image.digest()), at_apps(&image.digest())], "v1");
        let world = registries.world("").await;
        let pulled = pull(&world, "v1").await;
        assert!(pulled.lock.contains(&at_target(&image.digest())), "{}", pulled.lock);
        pull_image(&world, &image).await;
    }
}

#[tokio::test]
async fn an_origin_that_goes_away_is_no_404() {
    let registries = Registries::start().await;
    let (_, images) = registries.bundle(1);
    let world = registries.world("").await;
    pull(&world, "v1").await;
    registries.apps.on("/v2/apps/web/*").fails(Fault::status(500));
    let answer = get(&world, &manifest(images[0].digest())).await;
    assert_eq!(answer.status, 503, "{answer:?}");
    registries.apps.heal();
    pull_image(&world, &images[0]).await;
}

#[tokio::test]
async fn a_copy_that_comes_later_changes_nothing() {
    let registries = Registries::start().await;
    let (_, images) = registries.bundle(2);
    let world = registries.world("").await;
    let before = pull(&world, "v1").await.digest;
    images.iter().for_each(|image| registries.own.put(REPOSITORY, &image.layout(None)));
    let other: World = registries.world("").await;
    assert_eq!(pull(&other, "v1").await.digest, before, "where images are is not in the digest");
    for image in &images {
        assert_eq!(parts(&image.manifest.bytes).len(), 2);
        pull_image(&world, image).await;
        pull_image(&other, image).await;
    }
}

#[tokio::test]
async fn by_its_own_name_a_registry_counts_only_where_that_always_leads_here() {
    let registries = Registries::start().await;
    let (bundle, images) = registries.bundle(1);
    let path = format!("{}?ns=registry.example", manifest("v1"));
    let world = registries.world("").await;
    assert_eq!(Digest::of(&get(&world, &path).await.body), bundle.digest());
    let config = registries.config("").replacen(
        "registry: registry.example",
        "registry: registry.example, always_proxied: true",
        1,
    );
    let world = World::new(&config).await;
    let relocated = get(&world, &path).await;
    assert_ne!(Digest::of(&relocated.body), bundle.digest());
    let image = format!("{}?ns=registry.example", manifest(images[0].digest()));
    get(&world, &image).await.expect(&images[0].digest());
}
