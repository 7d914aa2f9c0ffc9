//! Relocation through the proxy, in one process, in front of an upstream that misbehaves as it is told.

mod odd;
mod world;

use std::sync::Arc;
use std::time::Duration;

use colocate::body;
use colocate::cache::MemoryStore;
use colocate::imgpkg::{ImageLocation, ImageLocations, locations_tag};
use colocate::oci::{Digest, Reference};
use colocate::proxy::{Outcome, Proxy, ProxyError, View};
use http::StatusCode;

use crate::support::bundle::{Bundle, BundleBuilder, gunzip, lock_in, lock_of};
use crate::support::layout::Golden;
use crate::support::scripted::{Fault, Gate};
use crate::support::tarball::noise;
use crate::support::view::{each, exact, relocated};
use world::{ENDPOINT, NEGATIVE_TTL, Parts, REPOSITORY, World, blob_path, eventually, manifest_path, reference, view};

#[tokio::test]
async fn a_tag_gives_the_relocated_bundle_and_a_digest_exactly_that_digest() {
    for builder in [BundleBuilder::new(), BundleBuilder::new().oci()] {
        let world = World::new().await;
        let (bundle, images) = world.bundle_of(builder, 3);
        let relocated = world.pull("v1").await.expect("relocated");
        assert_eq!(relocated.status.outcome, Outcome::Relocated);
        let served = relocated.manifest;
        assert_ne!(served.digest, bundle.digest());
        assert_eq!(served.digest, Digest::of(&served.bytes));
        assert_eq!(served.media_type.as_ref(), bundle.manifest.media_type);

        let parts = Parts::of(&served);
        let config = world.blob(&parts.config).await.expect("the config");
        let layer = world.blob(&parts.layer).await.expect("the layer");
        assert_eq!((Digest::of(&config), Digest::of(&layer)), (parts.config, parts.layer));
        assert_eq!(layer.len() as u64, parts.layer_size);
        let tar = gunzip(&layer);
        let config: serde_json::Value = serde_json::from_slice(&config).expect("JSON");
        assert_eq!(config["rootfs"]["diff_ids"][0], Digest::of(&tar).to_string());
        let lock = String::from_utf8(lock_in(&tar)).expect("text");
        for image in &images {
            assert!(lock.contains(&format!("- image: {ENDPOINT}/{REPOSITORY}@{}\n", image.digest())), "{lock}");
        }

        for digest in [bundle.digest(), served.digest] {
            let exact = world.manifest(&digest.to_string()).await.expect("by digest").manifest;
            assert_eq!(Digest::of(&exact.bytes), digest);
        }
        let original = world.blob(&bundle.layer_digest()).await.expect("the original's layer");
        assert_eq!(original, bundle.layers[0]);

        let open = world.open_blob(&parts.layer).await.expect("the layer");
        for range in [0..1, 5..layer.len() as u64 - 5, 100..300, open.size - 1..open.size, 7..7] {
            let part = body::collect(open.body(range.clone()), usize::MAX).await.expect("in range");
            assert_eq!(part, layer[range.start as usize..range.end as usize]);
        }
    }
}

/// What a digest is made of must never change by accident: clients have it in their lock files. A change here is a
/// breaking one, to be said in the changelog.
#[tokio::test]
async fn the_relocated_digests_of_the_golden_bundles() {
    let pinned = [
        ("simple-app", "sha256:69046f247f8776e7bb53f9dddc9ef59a742e19b33ed13f1d1ce8ebc0de3ef6a2"),
        ("nested-app", "sha256:52da91fb56eb5c14960319a1af460ed97a622fd4b4635c8636745b8e0d1e610f"),
        ("multi-app", "sha256:ec3719f2196d172c7d0e62aa50a01e5dba8ade10b44f1f888056babbf4ae14cd"),
        ("wide-app", "sha256:44afc413b6f41c57216c8b34e9d31612b173e942ad64827c9a7c40ccd78ffd92"),
    ];
    let mut made = Vec::new();
    for (name, _) in pinned {
        let golden = Golden::read(name);
        let world = World::new().await;
        world.upstream.put(&golden.repository, &golden.colocated);
        let view = relocated(&golden.repository, Golden::ENDPOINT);
        let tag = Golden::TAG.parse().expect("a tag");
        let served = world.proxy.manifest(&view, &tag).await.expect("relocated").manifest;
        made.push((name, served.digest.to_string()));
        let layer = world.proxy.blob(&view, &Parts::of(&served).layer).await.expect("the layer");
        let layer = body::collect(layer.body(0..layer.size), usize::MAX).await.expect("whole");
        assert_eq!(lock_in(&gunzip(&layer)), golden.pulled, "{name}: as imgpkg pull writes it");
    }
    assert_eq!(made, pinned.map(|(name, digest)| (name, digest.to_owned())));
}

#[tokio::test]
async fn with_a_locations_image_no_image_is_asked_for() {
    let world = World::new().await;
    let images = world.images(5);
    let references: Vec<String> = images.iter().map(reference).collect();
    let bundle = BundleBuilder::with_lock(&lock_of(&references)).build();
    world.put(&bundle, Some("v1"));
    let located = references.iter().map(|image| ImageLocation { image: image.clone(), is_bundle: false });
    let list = ImageLocations::new(located).to_yaml();
    let locations = BundleBuilder::new().label(None).file("image-locations.yml", list).build();
    world.put(&locations, Some(&locations_tag(&bundle.digest())));
    // The images themselves are not there at all: as imgpkg does, the list is believed.
    assert_eq!(world.pull("v1").await.expect("relocated").status.outcome, Outcome::Relocated);
    for image in &images {
        assert_eq!(world.upstream.count("HEAD", &manifest_path(&image.digest().to_string())), 0);
    }
}

#[tokio::test]
async fn a_missing_image_means_the_original_until_it_is_there() {
    let world = World::new().await;
    let (bundle, images) = world.bundle(3);
    world.upstream.remove(REPOSITORY, &images[1].digest().to_string());
    assert_eq!(world.pulled("v1").await, bundle.digest());

    world.put(&images[1], None);
    assert_eq!(world.pulled("v1").await, bundle.digest(), "believed for negative_ttl");
    world.clock.advance(NEGATIVE_TTL);
    assert_ne!(world.pulled("v1").await, bundle.digest(), "relocated");
}

#[tokio::test]
async fn an_image_nobody_can_say_anything_of_is_no_reason_for_the_original() {
    let faults = [
        ("500", Fault::status(500)),
        ("503", Fault::status(503).with("retry-after", "7")),
        ("401", Fault::status(401)),
        ("429", Fault::status(429).with("retry-after", "7")),
        ("stall", Fault::Stall),
        ("HTML", Fault::html()),
    ];
    for (name, fault) in faults {
        let mut world = World::new().await;
        let (bundle, images) = world.bundle(4);
        world.upstream.on(&manifest_path(&images[2].digest().to_string())).fails(fault);
        let error = world.pull("v1").await.expect_err(name);
        assert!(matches!(error, ProxyError::Undecided(_)), "{name}: {error}");
        assert_eq!(error.answer().0, StatusCode::SERVICE_UNAVAILABLE, "{name}");
        let retry_after = error.retry_after().expect("a wait").as_secs();
        assert!(if name.starts_with('5') && name != "500" || name == "429" {
            retry_after == 7
        } else {
            retry_after > 0
        });
        // The original is there for those who ask for exactly that.
        assert_eq!(world.manifest(&bundle.digest().to_string()).await.expect("there").manifest.digest, bundle.digest());

        world.upstream.heal();
        // One that has not been told to leave the upstream alone for seven seconds.
        world.proxy = world.proxy_over(Arc::clone(&world.store));
        assert_ne!(world.pulled("v1").await, bundle.digest(), "{name}: relocated once it can be said");
    }
}

#[tokio::test]
async fn forbidden_is_missing_only_to_those_who_may_read_the_bundle() {
    let world = World::new().await;
    let (bundle, images) = world.bundle(2);
    let forbidden = manifest_path(&images[0].digest().to_string());
    world.upstream.on(&forbidden).fails(Fault::status(403));
    assert_eq!(world.pulled("v1").await, bundle.digest());

    let world = World::new().await;
    let (bundle, images) = world.bundle(2);
    world.upstream.on(&manifest_path(&images[0].digest().to_string())).fails(Fault::status(403));
    world.upstream.on(&manifest_path(&bundle.digest().to_string())).fails(Fault::status(403));
    assert!(matches!(world.pull("v1").await, Err(ProxyError::Undecided(_))));
}

#[tokio::test]
async fn undecided_gives_the_original_to_those_who_configured_it() {
    let world = World::with(|limits| limits.undecided_original = true).await;
    let (bundle, images) = world.bundle(2);
    world.upstream.on(&manifest_path(&images[0].digest().to_string())).fails(Fault::status(500));
    assert_eq!(world.pulled("v1").await, bundle.digest());
}

#[tokio::test]
async fn an_answer_stays_until_an_image_is_confirmed_gone() {
    let mut world = World::new().await;
    let (bundle, images) = world.bundle(3);
    let relocated = world.pulled("v1").await;
    assert_ne!(relocated, bundle.digest());

    let image = manifest_path(&images[1].digest().to_string());
    for fault in [Fault::status(500), Fault::status(401), Fault::status(429)] {
        world.upstream.on(&image).fails(fault);
        world.clock.advance(Duration::from_secs(3600));
        let before = world.upstream.count("HEAD", &image);
        assert_eq!(world.pulled("v1").await, relocated);
        eventually(|| world.upstream.count("HEAD", &image) > before).await;
        assert_eq!(world.pulled("v1").await, relocated);
        world.upstream.heal();
    }
    // One that has not been told to leave the upstream alone.
    world.proxy = world.proxy_over(Arc::clone(&world.store));

    world.upstream.remove(REPOSITORY, &images[1].digest().to_string());
    world.clock.advance(Duration::from_secs(3600));
    assert_eq!(world.pulled("v1").await, relocated, "looked at again behind this answer");
    for _ in 0..500 {
        if world.pulled("v1").await == bundle.digest() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(world.pulled("v1").await, bundle.digest(), "an image is gone");
    assert_eq!(world.manifest(&relocated.to_string()).await.expect("still there").manifest.digest, relocated);
}

#[tokio::test]
async fn concurrent_pulls_share_one_pass() {
    let world = World::new().await;
    let (bundle, images) = world.bundle(3);
    let gate = Gate::new();
    world.upstream.on(&blob_path(&bundle.layer_digest())).fails(Fault::Hold(gate.clone()));
    let pulls: Vec<_> = (0..20)
        .map(|_| {
            let proxy = world.proxy.clone();
            tokio::spawn(async move { proxy.manifest(&view(), &"v1".parse().expect("a tag")).await })
        })
        .collect();
    eventually(|| world.upstream.count("GET", &blob_path(&bundle.layer_digest())) > 0).await;
    gate.open();
    for pull in pulls {
        assert_eq!(pull.await.expect("runs").expect("relocated").status.outcome, Outcome::Relocated);
    }
    assert_eq!(world.upstream.count("GET", &blob_path(&bundle.layer_digest())), 1);
    for image in &images {
        assert_eq!(world.upstream.count("HEAD", &manifest_path(&image.digest().to_string())), 1);
    }
}

#[tokio::test]
async fn too_slow_is_undecided_and_the_work_goes_on() {
    let world = World::with(|limits| limits.deadline = Duration::from_millis(200)).await;
    let (bundle, _) = world.bundle(2);
    let gate = Gate::new();
    world.upstream.on(&blob_path(&bundle.layer_digest())).fails(Fault::Hold(gate.clone()));
    let error = world.pull("v1").await.expect_err("too slow");
    assert_eq!(error.answer().0, StatusCode::SERVICE_UNAVAILABLE);
    gate.open();
    for _ in 0..500 {
        if let Ok(served) = world.pull("v1").await {
            assert_ne!(served.manifest.digest, bundle.digest());
            assert_eq!(world.upstream.count("GET", &blob_path(&bundle.layer_digest())), 1);
            return;
        }
    }
    panic!("never relocated");
}

#[tokio::test]
async fn a_restart_needs_no_upstream_and_replicas_agree() {
    let world = World::new().await;
    let (bundle, _) = world.bundle(3);
    let relocated = world.pull("v1").await.expect("relocated").manifest;
    let layer = world.blob(&Parts::of(&relocated).layer).await.expect("the layer");

    // Another replica, with an empty cache, is asked for what only the first has told of.
    let replica = world.proxy_over(Arc::new(MemoryStore::default()));
    let by_digest =
        |proxy: Proxy, digest: Digest| async move { proxy.manifest(&view(), &Reference::Digest(digest)).await };
    let same = by_digest(replica.clone(), relocated.digest).await.expect("made again").manifest;
    assert_eq!(same.bytes, relocated.bytes);
    let replica = world.proxy_over(Arc::new(MemoryStore::default()));
    let part = replica.blob(&view(), &Parts::of(&relocated).layer).await;
    let part = part.expect("made again");
    assert_eq!(body::collect(part.body(0..part.size), usize::MAX).await.expect("whole"), layer);

    // Trouble while searching is not "not there".
    let replica = world.proxy_over(Arc::new(MemoryStore::default()));
    world.upstream.on("/v2/acme/app/tags/list").fails(Fault::status(503));
    let trouble = by_digest(replica.clone(), relocated.digest).await.expect_err("the search failed");
    assert_eq!(trouble.answer().0, StatusCode::SERVICE_UNAVAILABLE);
    world.upstream.heal();
    world.clock.advance(Duration::from_secs(6));
    assert_eq!(by_digest(replica.clone(), relocated.digest).await.expect("made again").manifest.bytes, relocated.bytes);

    // What was never made here is not there, and one look at the repository is enough for a while.
    let unknown = Digest::of(b"unknown");
    assert!(matches!(by_digest(replica.clone(), unknown).await, Err(ProxyError::NotFound { .. })));
    let asked = world.upstream.requests().len();
    assert!(matches!(by_digest(replica, Digest::of(b"another")).await, Err(ProxyError::NotFound { .. })));
    assert_eq!(world.upstream.requests().len(), asked + 1, "the digest itself, and no search");

    world.upstream.on("/*").fails(Fault::status(500));
    world.clock.advance(Duration::from_secs(3600));
    let restarted = world.proxy_over(Arc::clone(&world.store));
    let served = by_digest(restarted.clone(), relocated.digest).await.expect("from the cache").manifest;
    assert_eq!(served.bytes, relocated.bytes);
    for digest in [Parts::of(&relocated).config, Parts::of(&relocated).layer] {
        let blob = restarted.blob(&exact(REPOSITORY), &digest).await.expect("from the cache");
        let bytes = body::collect(blob.body(0..blob.size), usize::MAX).await.expect("whole");
        assert_eq!(Digest::of(&bytes), digest);
    }
    let tag = "v1".parse().expect("a tag");
    let stale = restarted.manifest(&view(), &tag).await.expect("stale");
    assert_eq!(stale.manifest.digest, relocated.digest);
    let original = restarted.manifest(&exact(REPOSITORY), &tag).await.expect("stale");
    assert_eq!((original.manifest.digest, original.status.outcome), (bundle.digest(), Outcome::Stale));
}

#[tokio::test]
async fn views_differ() {
    let world = World::new().await;
    let (bundle, images) = world.bundle(3);
    let pull = |view: View| {
        let proxy = world.proxy.clone();
        async move { proxy.manifest(&view, &"v1".parse().expect("a tag")).await.expect("there").manifest }
    };
    assert_eq!(pull(exact(REPOSITORY)).await.digest, bundle.digest());
    let here = pull(view()).await.digest;
    assert_ne!(here, pull(relocated(REPOSITORY, "other.example")).await.digest);
    assert_eq!(here, pull(each(REPOSITORY, ENDPOINT)).await.digest, "all are there");

    world.upstream.remove(REPOSITORY, &images[0].digest().to_string());
    let other = World::over(world.upstream, world.clock).await;
    let each = each(REPOSITORY, ENDPOINT);
    let some = other.proxy.manifest(&each, &"v1".parse().expect("a tag")).await.expect("there").manifest;
    let layer = other.blob(&Parts::of(&some).layer).await.expect("the layer");
    let lock = String::from_utf8(lock_in(&gunzip(&layer))).expect("text");
    assert!(lock.contains(&reference(&images[0])), "{lock}");
    assert!(lock.contains(&format!("{ENDPOINT}/{REPOSITORY}@{}", images[1].digest())), "{lock}");

    let asked = other.upstream.requests().len();
    let again = other.proxy.manifest(&each, &"v1".parse().expect("a tag")).await.expect("there");
    assert_eq!(again.manifest.digest, some.digest);
    assert_eq!(other.upstream.requests().len(), asked + 1, "the tag, and no image: believed for negative_ttl");
    other.put(&images[0], None);
    other.clock.advance(NEGATIVE_TTL);
    let whole = other.proxy.manifest(&each, &"v1".parse().expect("a tag")).await.expect("there");
    assert_eq!(whole.manifest.digest, here, "all are there");
}

#[tokio::test]
async fn a_bundle_for_too_many_targets_is_served_as_it_stands() {
    let world = World::with(|limits| limits.max_targets = 2).await;
    let (bundle, _) = world.bundle(1);
    let mut digests = Vec::new();
    for endpoint in ["a.example", "b.example", "c.example", "a.example"] {
        let view = relocated(REPOSITORY, endpoint);
        let served = world.proxy.manifest(&view, &"v1".parse().expect("a tag")).await.expect("there");
        digests.push(served.manifest.digest);
    }
    assert_eq!(digests[2], bundle.digest());
    assert_eq!(digests[0], digests[3]);
    assert_ne!(digests[0], bundle.digest());
}

#[tokio::test]
async fn a_cached_blob_is_shown_only_where_it_is() {
    let world = World::new().await;
    let (bundle, _) = world.bundle(1);
    let layer = bundle.layer_digest();
    world.blob(&layer).await.expect("there");
    let elsewhere = exact("other/app");
    world.upstream.put("other/app", &Bundle::image("other").layout(Some("v1")));
    let denied = world.proxy.blob(&elsewhere, &layer).await;
    assert!(matches!(denied, Err(ProxyError::NotFound { .. })));

    world.upstream.put("other/app", &bundle.layout(None));
    let asked = world.upstream.count("GET", "/v2/other/app/blobs/*");
    let blob = world.proxy.blob(&elsewhere, &layer).await.expect("confirmed");
    assert_eq!(blob.outcome, Outcome::Revalidated);
    assert_eq!(world.upstream.count("GET", "/v2/other/app/blobs/*"), asked, "not fetched twice");
}

#[tokio::test]
async fn asking_for_a_length_fetches_nothing() {
    let world = World::new().await;
    let (bundle, _) = world.bundle(1);
    let head = |digest: Digest| {
        let proxy = world.proxy.clone();
        async move { proxy.blob_head(&view(), &digest).await }
    };
    let original = head(bundle.layer_digest()).await.expect("there");
    assert_eq!((original.size, original.outcome), (bundle.layers[0].len() as u64, Outcome::Miss));
    assert_eq!(world.upstream.count("GET", "/v2/acme/app/blobs/*"), 0);
    let parts = Parts::of(&world.pull("v1").await.expect("relocated").manifest);
    assert_eq!(head(parts.layer).await.expect("made here").size, parts.layer_size);
    assert_eq!(head(bundle.layer_digest()).await.expect("cached").outcome, Outcome::Hit);
    assert!(matches!(head(Digest::of(b"none")).await, Err(ProxyError::NotFound { .. })));
}

#[tokio::test]
async fn a_spliced_layer_never_ends_cleanly_on_bytes_that_were_not_verified() {
    let world = World::new().await;
    let (bundle, _) = world.bundle_of(BundleBuilder::new().file("noise", noise(1, 600_000)), 1);
    let parts = Parts::of(&world.pull("v1").await.expect("relocated").manifest);
    world.store.remove(&bundle.layer_digest()).await.expect("removed");
    world.upstream.on(&blob_path(&bundle.layer_digest())).times(1).fails(Fault::Flip(1000));
    // The download may be over, and found wrong, before the blob is handed out.
    if let Ok(layer) = world.open_blob(&parts.layer).await {
        assert!(body::collect(layer.body(0..100_000), usize::MAX).await.is_err(), "a range of it");
    }
    let layer = world.open_blob(&parts.layer).await.expect("again");
    let bytes = body::collect(layer.body(0..layer.size), usize::MAX).await.expect("whole");
    assert_eq!(Digest::of(&bytes), parts.layer);
}

#[tokio::test]
async fn explain_tells_of_every_image() {
    let world = World::new().await;
    let (bundle, images) = world.bundle(3);
    world.upstream.remove(REPOSITORY, &images[2].digest().to_string());
    let missing = world.explain().await;
    assert_eq!((missing.outcome, missing.is_bundle, missing.original), ("original", true, bundle.digest()));
    let found: Vec<&str> = missing.images.iter().map(|image| image.found).collect();
    assert_eq!(found, ["repository", "repository", "missing"]);

    world.put(&images[2], None);
    let whole = world.explain().await;
    let relocated = whole.relocated.as_ref().expect("relocated");
    assert_eq!(world.pulled("v1").await, relocated.manifest);
    assert!(whole.to_string().contains(&relocated.manifest.to_string()));
    assert!(serde_json::to_string(&whole).expect("JSON").contains("\"found\":\"repository\""));
}
