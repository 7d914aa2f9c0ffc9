//! Pins, and taking things out.

use super::*;

#[tokio::test]
async fn what_is_pinned_survives_a_restart_and_a_cache_that_is_too_small() {
    let mut bench = Bench::bounded(1_000_000).await;
    let (image, other) = (large_image(1, 300_000), Bundle::image("other"));
    [&image, &other].iter().for_each(|image| bench.put(image, None));
    let bundle = bench.put_bundle(&[image.digest(), other.digest()], Some("v1"));
    let ordinary: Vec<Bundle> = (10..20).map(|seed| large_image(seed, 200_000)).collect();
    for (number, image) in ordinary.iter().enumerate() {
        bench.put(image, Some(&format!("o{number}")));
    }
    let told = bench.pin("acme/app:v1").await.good();
    let pinned = Event::Pinned { repository: repository_of(REPOSITORY), reference: "v1".to_owned(), contents: 10 };
    assert!(told.0.contains(&pinned), "{told:?}");
    for restart in [false, true] {
        if restart {
            bench.restart().await;
        }
        for number in 0..ordinary.len() {
            bench.warm(&format!("acme/app:o{number}")).await.good();
        }
        let left = ordinary.iter().filter(|image| bench.has(&image.layer_digest())).count();
        assert!((1..4).contains(&left), "{left} of what is not pinned");
        assert!([&image, &other, &bundle].iter().all(|image| bench.has_image(image)), "after a restart: {restart}");
        bench.upstream.forget();
        bench.warm("acme/app:v1").await.good();
        assert_eq!(bench.upstream.requests().len(), 0);
    }

    let unpin = Task::Unpin { references: vec!["acme/app:v1".to_owned()] };
    bench.run(unpin.clone()).await.good();
    assert_eq!(bench.run(unpin).await.problems(), ["acme/app:v1: is not pinned"]);
    for number in 0..ordinary.len() {
        bench.warm(&format!("acme/app:o{number}")).await.good();
    }
    assert!(!bench.has(&image.layer_digest()));
}

#[tokio::test]
async fn a_pin_follows_its_tag() {
    let bench = Bench::new().await;
    let (old, new) = (Bundle::image("old"), Bundle::image("new"));
    bench.put(&old, Some("v1"));
    bench.put(&new, None);
    bench.pin("acme/app:v1").await.good();
    assert!(bench.cache().is_pinned(&old.digest()));
    bench.upstream.tag(REPOSITORY, "v1", &new.digest());
    bench.remove("acme/app:v1", true).await.good();
    bench.pin("acme/app:v1").await.good();
    assert!(bench.cache().is_pinned(&new.layer_digest()) && !bench.cache().is_pinned(&old.digest()));
    // A pull holds what it pulls, and lets go of it.
    bench.warm(&format!("acme/app@{}", old.digest())).await.good();
    assert!(!bench.cache().is_pinned(&old.digest()));
}

#[tokio::test]
async fn digests_and_tags_are_removed() {
    let bench = Bench::new().await;
    let (one, two) = (Bundle::image("one"), Bundle::image("two"));
    bench.put(&one, Some("one"));
    let both = index(&[(&one, "linux/amd64"), (&two, "linux/arm64")]);
    bench.put(&two, None);
    bench.upstream.put_manifest(REPOSITORY, &both.media_type, both.bytes.clone());
    bench.upstream.tag(REPOSITORY, "both", &both.digest);
    bench.warm("acme/app:both").await.good();
    bench.warm("acme/app:one").await.good();

    let layer = one.layer_digest();
    assert_eq!(bench.remove(&layer.to_string(), false).await.good().removed(), [layer]);
    assert!(!bench.has(&layer) && bench.has(&one.config_digest()) && !bench.file(&layer).exists());
    for gone in [layer.to_string(), "acme/app:three".to_owned()] {
        assert_eq!(bench.remove(&gone, false).await.problems(), [format!("{gone}: is not in the cache")]);
    }
    bench.warm("acme/app:one").await.good();

    bench.pin("acme/app:one").await.good();
    for refused in ["acme/app:one".to_owned(), layer.to_string()] {
        let problems = bench.remove(&refused, false).await.problems();
        assert_eq!(problems, [format!("{refused}: is pinned as {REGISTRY}/acme/app:one; unpin it first, or force it")]);
    }
    assert!(bench.has_image(&one));
    // What is shared with the pin stays, and the tag is asked for again.
    let told = bench.remove("acme/app:both", false).await.good();
    let mut expected = vec![both.digest, two.digest(), two.layer_digest()];
    expected.retain(|digest| *digest != one.config_digest());
    assert!(expected.iter().all(|digest| told.removed().contains(digest)), "{told:?}");
    assert!(told.0.contains(&Event::Spared { digest: one.digest() }));
    assert!(bench.has_image(&one) && !bench.has(&two.digest()) && !bench.has(&both.digest));
    bench.upstream.forget();
    bench.warm("acme/app:both").await.good();
    assert_eq!(bench.upstream.count("GET", "/v2/acme/app/manifests/both"), 1);

    bench.remove("acme/app:one", true).await.good();
    assert!(!bench.has(&one.digest()) && !bench.has(&layer));
    assert_eq!(bench.remove("acme/app:one", true).await.problems(), ["acme/app:one: is not in the cache"]);
    let by_digest = format!("acme/app@{}", two.digest());
    assert!(bench.remove(&by_digest, false).await.good().removed().contains(&two.layer_digest()));
}
